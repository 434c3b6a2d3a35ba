// hot path
/** The pools `async` and `solo`: tasks run in the thread that has the connection. It can tell a task to give up, but not make it. */
import { LovageError } from '@lovage/protocol';
import type { Delivery } from '../delivery.js';
import type { TaskApp } from './app.js';
import { Attempt } from './attempt.js';
import { say } from './outcome.js';
import { type Pool, type PoolKind, type RunningTask, runningTask } from './pool.js';
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
      const message = `Cannot run task "${name}" in the pool "${this.#kind}": it has a hard time limit (timeLimitMs), and this pool cannot kill`;
      const details = { field: 'timeLimitMs', task: name };
      return Promise.reject(new LovageError('INVALID_ARGUMENT', message, { details }));
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

  run(delivery: Delivery, name: string): Promise<void> {
    const task = this.#app.tasks.get(name)!;
    const attempt = new Attempt(this.#app, task, delivery, this.#bodyBytesMax);
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

  restart(): void {
    const message = `Cannot load the code anew in the pool "${this.#kind}": only "threads" and "processes" can`;
    throw new LovageError('INVALID_ARGUMENT', message, { details: { field: 'pool' } });
  }

  abort(error: LovageError): void {
    for (const { attempt } of this.#running) attempt.context.abort(error);
  }

  /** Whatever the functions still do, nobody waits for it. */
  kill(): void {
    for (const { delivery, resolve } of this.#running) {
      say(delivery.nack({ delayMs: 0 }));
      resolve();
    }
    this.#running.clear();
  }

  stop(): Promise<void> {
    return Promise.resolve();
  }
}
