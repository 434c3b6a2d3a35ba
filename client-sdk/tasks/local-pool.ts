// hot path
/** The pools `async` and `solo`: tasks run in the thread that has the connection. It can tell a task to give up, but not make it. */
import { LovageError } from '@lovage/protocol';
import type { Delivery } from '../delivery.js';
import type { TaskApp } from './app.js';
import { Attempt } from './attempt.js';
import { giveBack } from './outcome.js';
import { type Pool, type PoolKind, type RunningTask, runningTask, type TimeLimits } from './pool.js';
import { factsOf, type TaskFacts } from './task-facts.js';

interface Running {
  readonly attempt: Attempt;
  readonly delivery: Delivery;
  readonly resolve: () => void;
}

export class LocalPool implements Pool {
  readonly #app: TaskApp;
  readonly #kind: PoolKind;
  readonly #running = new Set<Running>();
  #bodyBytesMax = 0;
  /** Other ones than those of the tasks. */
  readonly #softLimits = new Map<string, number | null>();
  ended = 0;

  constructor(app: TaskApp, kind: PoolKind) {
    this.#app = app;
    this.#kind = kind;
  }

  get tasks(): readonly TaskFacts[] {
    return [...this.#app.tasks.values()].map(factsOf);
  }

  get active(): number {
    return this.#running.size;
  }

  start(_size: number, bodyBytesMax: number): Promise<void> {
    this.#bodyBytesMax = bodyBytesMax;
    for (const { name, options } of this.#app.tasks.values()) {
      if (options.timeLimitMs === null) continue;
      return Promise.reject(noHardLimit(name, this.#kind));
    }
    return Promise.resolve();
  }

  get children(): readonly number[] {
    return [];
  }

  running(): readonly RunningTask[] {
    return [...this.#running].map(({ attempt, delivery }) => runningTask(attempt.context.name, delivery));
  }

  has(name: string): boolean {
    return this.#app.tasks.has(name);
  }

  isEarly(name: string): boolean {
    return this.#app.tasks.get(name)!.options.ack === 'early';
  }

  run(delivery: Delivery, name: string): Promise<void> {
    const task = this.#app.tasks.get(name)!;
    const attempt = new Attempt(this.#app, task, delivery, this.#bodyBytesMax, this.#softLimits.get(name));
    return new Promise((resolve) => {
      const running = { attempt, delivery, resolve };
      this.#running.add(running);
      void attempt.run().then(() => {
        this.#running.delete(running);
        this.ended++;
        resolve();
      });
    });
  }

  resize(): void {
    // As many run as are given.
  }

  setTimeLimits(task: string, { softTimeLimitMs, timeLimitMs }: TimeLimits): void {
    if (timeLimitMs !== undefined && timeLimitMs !== null) throw noHardLimit(task, this.#kind);
    if (softTimeLimitMs !== undefined) this.#softLimits.set(task, softTimeLimitMs);
  }

  restart(): void {
    const message = `Cannot load the code anew in the pool "${this.#kind}": only "threads" and "processes" can`;
    throw new LovageError('INVALID_ARGUMENT', message, { details: { field: 'pool' } });
  }

  abort(error: LovageError): void {
    for (const { attempt } of this.#running) attempt.context.abort(error);
  }

  /** Whatever the functions still do, nobody waits for it. */
  kill(): void {
    for (const { attempt, delivery, resolve } of this.#running) {
      giveBack(delivery, this.#app.tasks.get(attempt.context.name)!.options);
      resolve();
    }
    this.#running.clear();
  }

  stop(): Promise<void> {
    return Promise.resolve();
  }
}

export function noHardLimit(task: string, pool: PoolKind): LovageError {
  const message = `Cannot run task "${task}" in the pool "${pool}": it has a hard time limit (timeLimitMs), and this pool cannot kill`;
  return new LovageError('INVALID_ARGUMENT', message, { details: { field: 'timeLimitMs', task } });
}
