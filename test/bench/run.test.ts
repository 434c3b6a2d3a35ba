/** The bench as it is run, on its smallest sizes. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { atEnd } from '../support/cleanup.js';
import { within } from '../support/deadline.js';
import { tempDirectory } from '../support/temp-directory.js';

const PROGRAM = fileURLToPath(new URL('../../bench/dist/main.js', import.meta.url));
/** A second, because a disk under load may take half of one for a single sync. */
const SMALL = ['--seconds', '1', '--warm-up', '0.2', '--rounds', '1'];

class BenchRun {
  readonly directory = tempDirectory();
  readonly data = tempDirectory();
  readonly #child: ChildProcess;
  #output = '';

  constructor(...words: readonly string[]) {
    const files = ['--json', this.#path('numbers.json'), '--html', this.#path('report.html'), '--dir', this.data];
    this.#child = spawn(process.execPath, [PROGRAM, ...words, ...files], { stdio: ['ignore', 'pipe', 'pipe'] });
    atEnd(() => this.kill('SIGKILL'));
    for (const stream of [this.#child.stdout!, this.#child.stderr!])
      stream.setEncoding('utf8').on('data', (text: string) => {
        this.#output += text;
        this.#child.emit('said');
      });
  }

  get output(): string {
    return this.#output;
  }

  /** Resolves with the exit code. */
  async end(): Promise<number | null> {
    const closed = once(this.#child, 'close') as Promise<[number | null]>;
    const [code] = await within(closed, () => `the end of the bench; so far:\n${this.#output}`);
    return code;
  }

  async says(text: string): Promise<void> {
    const said = async (): Promise<void> => {
      while (!this.#output.includes(text)) await once(this.#child, 'said');
    };
    await within(said(), () => `"${text}"; so far:\n${this.#output}`);
  }

  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  json(): { circumstances: { command: string }; results: { name: string; data: unknown }[] } {
    return JSON.parse(readFileSync(this.#path('numbers.json'), 'utf8'));
  }

  html(): string {
    return readFileSync(this.#path('report.html'), 'utf8');
  }

  #path(name: string): string {
    return join(this.directory, name);
  }
}

describe('the bench', () => {
  test('measures Lovage and the limit, writes both files and leaves nothing behind', async () => {
    const run = new BenchRun('limit', ...SMALL);
    expect(await run.end(), run.output).toBe(0);
    expect(run.output).toContain('Lovage as a share of the limit');
    const { circumstances, results } = run.json();
    expect(circumstances.command).toContain('limit --seconds 1');
    const [{ lovage, limit }] = results[0]!.data as [{ lovage: { consumed: number }; limit: Record<string, number> }];
    expect(lovage.consumed).toBeGreaterThan(0);
    expect(limit.messagesPerSecond).toBeGreaterThan(0);
    expect(limit.syncsPerSecond).toBeGreaterThan(0);
    expect(run.html()).toContain('<h2 id="limit">');
    expect(readdirSync(run.data)).toEqual([]);
  });

  test('measures latency from the due time to handler and confirm', async () => {
    const run = new BenchRun('latency', ...SMALL);
    expect(await run.end(), run.output).toBe(0);
    const rates = run.json().results[0]!.data as { perSecond: number; deliveryMs: { count: number; p50: number } }[];
    expect(rates.map(({ perSecond }) => perSecond)).toEqual([1_000, 5_000, 20_000, 50_000]);
    for (const { deliveryMs } of rates) {
      expect(deliveryMs.count).toBeGreaterThan(0);
      expect(deliveryMs.p50).toBeGreaterThan(0);
    }
  });

  test('runs tasks in both pools, finds all their results, and looks at an idle worker', async () => {
    const run = new BenchRun('tasks', ...SMALL);
    expect(await run.end(), run.output).toBe(0);
    const { workers, idleBytes } = run.json().results[0]!.data as {
      workers: { worker: { pool: string }; rounds: { tasks: number; tasksPerSecond: number; kept: number }[] }[];
      idleBytes: number;
    };
    expect(workers.map(({ worker }) => worker.pool)).toEqual(['async', 'threads', 'threads']);
    for (const { rounds } of workers) {
      expect(rounds[0]!.tasksPerSecond).toBeGreaterThan(0);
      // Those of the warm-up have results, too.
      expect(rounds[0]!.kept).toBeGreaterThan(rounds[0]!.tasks);
    }
    expect(idleBytes).toBeGreaterThan(0);
    expect(readdirSync(run.data)).toEqual([]);
  });

  test('without a name begins with the first scenario; on SIGINT it ends its processes and removes its data', async () => {
    const run = new BenchRun('--seconds', '60', '--warm-up', '0.1', '--rounds', '1');
    await run.says('throughput 1 x 1');
    expect(readdirSync(run.data)).toHaveLength(1);
    run.kill('SIGINT');
    expect(await run.end(), run.output).toBe(130);
    expect(readdirSync(run.data)).toEqual([]);
  });

  test('refuses what it does not know', async () => {
    const run = new BenchRun('no-such-scenario');
    expect(await run.end()).toBe(1);
    expect(run.output).toContain('Expected one of throughput, limit, latency');
  });
});
