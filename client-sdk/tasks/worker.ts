/**
 * Runs an app's tasks: takes them from the broker and gives them to its pool.
 *
 *     idle ──start──► running ──stop──► warm: nothing new, what has not begun goes back at once, what runs goes on up to `graceMs`
 *                                    ──► cold: what runs is told to give up, and a moment later goes back to its queue, killed if the pool can ──► stopped
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { LovageError } from '@lovage/protocol';
import type { Client } from '../client.js';
import type { Consumer } from '../consumer.js';
import type { Delivery } from '../delivery.js';
import { invalidArgument } from '../errors.js';
import { whole } from '../options.js';
import type { TaskApp } from './app.js';
import { Autoscaler } from './autoscaler.js';
import { ChildPool } from './child-pool.js';
import { childRegistry } from './child-registry.js';
import { LocalPool } from './local-pool.js';
import type { Pool, PoolKind } from './pool.js';
import { NAME_HEADER } from './task.js';
import { concurrencyMax, type ParsedWorkerOptions, parseWorkerOptions, type WorkerOptions } from './worker-options.js';

export interface StopOptions {
  /** ms that running tasks have to end, 0-2,147,483,647. Default 30,000. Then `ctx.signal` aborts, and a second later their work goes back to its queue. */
  readonly graceMs?: number | undefined;
}

/** ms before a task that nobody here has is offered again, to this worker or another. */
const UNKNOWN_DELAY_MS = 10_000;
const PREFETCH_MAX = 65_535;
/** ms that tasks have between being told to give up and being given up. */
const ABORT_MS = 1_000;
/** ms between two looks of the autoscaler. */
const LOOK_MS = 250;

export class Worker {
  readonly #app: TaskApp;
  readonly #options: ParsedWorkerOptions;
  readonly #pool: Pool;
  readonly #ended: () => void;
  readonly #autoscaler: Autoscaler | null;
  #concurrency: number;
  #client: Client | null = null;
  #consumer: Consumer | null = null;
  #isStarted = false;
  #stopped: Promise<void> | null = null;
  #lookTimer: NodeJS.Timeout | null = null;

  /** Made by `app.worker`. */
  constructor(app: TaskApp, options: WorkerOptions, ended: () => void) {
    this.#app = app;
    this.#options = parseWorkerOptions(options);
    const { pool, concurrency, autoscale } = this.#options;
    this.#concurrency = concurrency;
    this.#autoscaler = autoscale === null ? null : new Autoscaler(autoscale);
    this.#pool = pool === 'threads' || pool === 'processes' ? this.#childPool(pool) : new LocalPool(app, pool);
    this.#ended = ended;
  }

  /** Where it takes tasks from. */
  get queues(): readonly string[] {
    const tasks = this.#pool.tasks.length > 0 ? this.#pool.tasks : [...this.#app.tasks.values()];
    return this.#options.queues ?? [...new Set(tasks.map(({ queue }) => queue))];
  }

  /** Tasks at a time. */
  get concurrency(): number {
    return this.#concurrency;
  }

  /** Tasks that run now. */
  get active(): number {
    return this.#pool.active;
  }

  /**
   * Begins to take tasks; resolves when the broker knows. Rejects INVALID_ARGUMENT if the app has no task or one with a hard time limit, which the pools `async` and `solo` cannot
   * keep; MODULE_FAILED if a child cannot load the tasks; and what `client.consume` rejects. Once only.
   */
  async start(): Promise<void> {
    const registry = childRegistry();
    if (registry !== null) {
      registry.workerStarted();
      return await new Promise<never>(() => undefined);
    }
    if (this.#isStarted) throw new LovageError('INVALID_ARGUMENT', 'Cannot start the worker: it was started already');
    this.#isStarted = true;
    this.#client = await this.#app.client();
    await this.#pool.start(this.#concurrency, this.#client.bodyBytesMax);
    const { queues } = this;
    if (queues.length === 0) throw invalidArgument('queues', queues, 'a task, or queues to take tasks from');
    await Promise.all(queues.map((queue) => this.#app.ready(queue)));
    this.#consumer = await this.#client.consume(queues, (delivery) => this.#run(delivery), {
      prefetch: this.#prefetch,
      concurrency: this.#concurrency,
      ack: 'late',
      giveBack: (delivery: Delivery) => this.#giveBack(delivery),
    });
    void this.#consumer.ended.then((error) => {
      if (error !== null && error.code !== 'CLIENT_CLOSED') this.#options.onError(error);
    });
    if (this.#autoscaler !== null) this.#lookTimer = setTimeout(() => void this.#look(), LOOK_MS);
  }

  /** Runs so many tasks at a time, 1-65,535 (1-1,000 in `threads` and `processes`); what runs goes on. Throws INVALID_ARGUMENT. */
  async resize(concurrency: number): Promise<void> {
    const max = concurrencyMax(this.#options.pool);
    const size = whole('concurrency', concurrency, { min: 1, max, fallback: this.#concurrency });
    if (size === this.#concurrency) return;
    this.#concurrency = size;
    this.#pool.resize(size);
    this.#consumer?.setConcurrency(size);
    await this.#consumer?.setPrefetch(this.#prefetch);
  }

  /** Children with the code as it is now take the place of those that run, each when it is ready and its predecessor has nothing to do. Throws INVALID_ARGUMENT in `async` and `solo`. */
  restart(): void {
    this.#pool.restart();
  }

  /** Takes nothing more, gives back what has not begun, and waits for what runs. Asked again with less `graceMs`, it waits less. */
  stop({ graceMs }: StopOptions = {}): Promise<void> {
    const ms = whole('graceMs', graceMs, { min: 0, max: 2_147_483_647, fallback: 30_000 });
    const cancelled = this.#consumer?.cancel() ?? Promise.resolve();
    void this.#giveUpAfter(ms, cancelled);
    this.#stopped ??= this.#stop(cancelled);
    return this.#stopped;
  }

  async #stop(cancelled: Promise<void>): Promise<void> {
    if (this.#lookTimer !== null) clearTimeout(this.#lookTimer);
    this.#lookTimer = null;
    await cancelled;
    await this.#pool.stop();
    this.#ended();
  }

  /** The grace is over: who listens to the signal ends now, others are ended. */
  async #giveUpAfter(graceMs: number, cancelled: Promise<void>): Promise<void> {
    const over = new AbortController();
    const { signal } = over;
    void cancelled.then(() => over.abort());
    try {
      await sleep(graceMs, undefined, { signal });
      this.#pool.abort(new LovageError('CLIENT_CLOSED', 'The worker stops and its grace is over'));
      await sleep(ABORT_MS, undefined, { signal });
      this.#pool.kill();
    } catch {
      // Everything has ended in time.
    }
  }

  get #prefetch(): number {
    return Math.min(PREFETCH_MAX, this.#options.prefetchMultiplier * this.#concurrency);
  }

  #childPool(kind: Extract<PoolKind, 'threads' | 'processes'>): ChildPool {
    const { recycling, onError, modules } = this.#options;
    return new ChildPool({
      kind,
      recycling,
      onError,
      source: () => ({ ...this.#app.connection, modules: modules ?? this.#app.files }),
      hasDeadLetters: async (queue) => {
        const found = await this.#client?.queues.inspect(queue).catch(() => null);
        return found?.settings.deadLetterQueue !== null && found?.settings.deadLetterQueue !== undefined;
      },
    });
  }

  /** A task that the app does not have waits for a worker that has it. */
  #giveBack(delivery: Delivery): number | null {
    const name = nameOf(delivery);
    if (name !== null && this.#pool.has(name)) return null;
    const what = name === null ? 'a message that is no task' : `task "${name}"`;
    const message = `Cannot run ${what} of queue "${delivery.queue}": the app does not have it`;
    const details = { field: NAME_HEADER, id: delivery.id };
    this.#options.onError(new LovageError('INVALID_ARGUMENT', message, { details }));
    return UNKNOWN_DELAY_MS;
  }

  #run(delivery: Delivery): Promise<void> {
    return this.#pool.run(delivery, nameOf(delivery)!);
  }

  async #look(): Promise<void> {
    const autoscaler = this.#autoscaler!;
    const { active, concurrency } = this;
    const isBusy = active >= concurrency && concurrency < autoscaler.bounds.max;
    const waiting = isBusy ? this.#consumer!.waiting + (await this.#readyAtBroker()) : 0;
    if (this.#stopped !== null) return;
    const size = autoscaler.look({ size: concurrency, active, waiting }, performance.now());
    // A lost connection: the prefetch is told again with the next change.
    await this.resize(size).catch(() => undefined);
    if (this.#stopped === null) this.#lookTimer = setTimeout(() => void this.#look(), LOOK_MS);
  }

  async #readyAtBroker(): Promise<number> {
    const found = await Promise.all(this.queues.map((queue) => this.#client!.queues.inspect(queue).catch(() => null)));
    return found.reduce((sum, queue) => sum + (queue?.ready ?? 0), 0);
  }
}

/** Name of the task that a message is; null if it is none. */
function nameOf(delivery: Delivery): string | null {
  try {
    const name = delivery.headers[NAME_HEADER];
    return typeof name === 'string' ? name : null;
  } catch {
    // Headers that JavaScript cannot hold.
    return null;
  }
}
