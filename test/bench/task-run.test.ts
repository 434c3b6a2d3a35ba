/** Runs of tasks, with a system in the test's hand. */
import { describe, expect, test } from 'vitest';
import { monotonicMs } from '../../bench/run/monotonic-clock.js';
import { missingOf } from '../../bench/tasks/task-peers.js';
import { runTasks } from '../../bench/tasks/task-run.js';
import type { RunningTasks, TaskSystem } from '../../bench/tasks/task-system.js';
import { TASK_HEAD, taskRow } from '../../bench/tasks/task-tables.js';

const TIMES = { warmUpMs: 1, windowMs: 10 };

/** Completes what is sent at once. */
class InstantSystem implements TaskSystem {
  readonly title = 'Instant';
  readonly settings = '';
  readonly sent: number[] = [];
  isClosed = false;
  readonly #changes: Partial<RunningTasks>;

  constructor(changes: Partial<RunningTasks> = {}) {
    this.#changes = changes;
  }

  get total(): number {
    return this.sent.reduce((sum, count) => sum + count, 0);
  }

  async start(): Promise<RunningTasks> {
    return {
      version: '1.0',
      brokerPids: [process.pid],
      workerPids: [process.pid],
      producerPids: [process.pid],
      died: new Promise(() => undefined),
      send: async (count) => {
        this.sent.push(count);
        return monotonicMs();
      },
      completed: async () => this.total,
      kept: async () => this.total,
      close: async () => {
        this.isClosed = true;
      },
      ...this.#changes,
    };
  }
}

describe('a run of tasks', () => {
  test('counts what was sent after the warm-up, and closes the system', async () => {
    const system = new InstantSystem();
    const result = await runTasks(system, undefined, TIMES, 'test');
    expect(result.tasks).toBe(system.sent.at(-1));
    expect(result.kept).toBe(system.total);
    expect(system.sent.length).toBeGreaterThan(1);
    expect(result.tasksPerSecond).toBeCloseTo(result.tasks / result.seconds);
    expect(system.isClosed).toBe(true);
  });

  test('fails when a result is missing', async () => {
    const system: InstantSystem = new InstantSystem({ kept: async () => system.total - 1 });
    await expect(runTasks(system, undefined, TIMES, 'test')).rejects.toThrow('Cannot see all results');
  });

  test('takes it when results are ignored', async () => {
    const result = await runTasks(new InstantSystem({ kept: async () => null }), undefined, TIMES, 'test');
    expect(result.kept).toBeNull();
    expect(taskRow('Instant', [result])[TASK_HEAD.indexOf('results kept')]).toBe('ignored');
  });

  test('fails as soon as a process dies, whatever is not completed yet', async () => {
    const died = Promise.reject(new Error('gone'));
    died.catch(() => undefined);
    const system = new InstantSystem({ died, completed: async () => 0 });
    await expect(runTasks(system, undefined, TIMES, 'test')).rejects.toThrow('gone');
  });
});

describe('the rows of tasks', () => {
  const rounds = [100, 300, 200].map((tasksPerSecond) => ({
    version: '1.0',
    tasks: 1,
    seconds: 1,
    tasksPerSecond,
    kept: 1,
    brokerCores: 0.5,
    workerCores: null,
    producerCores: 0.25,
    workerBytes: 1_048_576,
  }));

  test('have medians and spread, as long as their head', () => {
    const row = taskRow('async', rounds);
    expect(row).toEqual(['async', '200', '100 %', 'all', '0.500', '-', '0.250', '1.00']);
    expect(row).toHaveLength(TASK_HEAD.length);
  });
});

describe('a peer that is not on this machine', () => {
  test('is told with what installs it, each package once', () => {
    const system = new InstantSystem();
    const needs = ['/no/such/program', '/no/such/other'].map((program) => ({ program, debianPackage: 'a-package' }));
    expect(missingOf({ name: 'instant', system, needs })).toBe(
      'Instant: not on this machine; to have it: apt-get install a-package',
    );
  });

  test('is not missing when its programs are there', () => {
    const needs = [{ program: process.execPath, debianPackage: 'nodejs' }];
    expect(missingOf({ name: 'instant', system: new InstantSystem(), needs })).toBeNull();
  });
});
