/**
 * Runs an app's tasks. In the pools `async` and `solo` the functions share the thread with the connection: they must not block it for longer than a heartbeat.
 *
 *     idle ──start──► running ──stop──► stopping: nothing new, what runs goes on up to `graceMs`, then is told to give up ──► stopped
 */
import { availableParallelism } from 'node:os';
import { assertName, LovageError } from '@lovage/protocol';
import type { Consumer } from '../consumer.js';
import type { Delivery } from '../delivery.js';
import { invalidArgument } from '../errors.js';
import { oneOf, whole } from '../options.js';
import type { TaskApp } from './app.js';
import { Attempt } from './attempt.js';
import { NAME_HEADER } from './task.js';

export interface WorkerOptions {
  /** Where it takes tasks from, the first before the others. Default: the queues of the app's tasks. Declared when it starts. */
  readonly queues?: readonly string[] | undefined;
  /** `async` (default): so many at a time on this thread. `solo`: one at a time. */
  readonly pool?: 'async' | 'solo' | undefined;
  /** Tasks at a time, 1-65,535. Default: the number of CPUs; `solo` has 1. */
  readonly concurrency?: number | undefined;
  /** Deliveries that the broker may have out here, as a multiple of the concurrency, 0-1,000; 1: no spare, 0: no bound. Default 4. */
  readonly prefetchMultiplier?: number | undefined;
  /** Told of tasks that the app does not have, and of a consumer that the broker has ended. Default: `process.emitWarning`. */
  readonly onError?: ((error: LovageError) => void) | undefined;
}

export interface StopOptions {
  /** ms that running tasks have to end, 0-2,147,483,647. Default 30,000. Then `ctx.signal` aborts and their work goes back. */
  readonly graceMs?: number | undefined;
}

/** ms before a task that nobody here has is offered again, to this worker or another. */
const UNKNOWN_DELAY_MS = 10_000;
const PREFETCH_MAX = 65_535;

export class Worker {
  readonly #app: TaskApp;
  readonly #queues: readonly string[] | null;
  readonly #pool: 'async' | 'solo';
  readonly #concurrency: number;
  readonly #prefetch: number;
  readonly #onError: (error: LovageError) => void;
  readonly #ended: () => void;
  readonly #running = new Set<Attempt>();
  #bodyBytesMax = 0;
  #consumer: Consumer | null = null;
  #isStarted = false;
  #stopped: Promise<void> | null = null;

  /** Made by `app.worker`. */
  constructor(app: TaskApp, options: WorkerOptions, ended: () => void) {
    if (typeof options !== 'object' || options === null) throw invalidArgument('options', options, 'an object');
    const { queues, onError = warn } = options;
    for (const queue of queues ?? []) assertName(queue, 'queue');
    if (queues?.length === 0) throw invalidArgument('queues', queues, 'one queue or more');
    if (typeof onError !== 'function') throw invalidArgument('onError', onError, 'a function');
    this.#app = app;
    this.#queues = queues ?? null;
    this.#pool = oneOf('pool', options.pool ?? 'async', ['async', 'solo']);
    const cpus = this.#pool === 'solo' ? 1 : availableParallelism();
    this.#concurrency = whole('concurrency', options.concurrency, { min: 1, max: PREFETCH_MAX, fallback: cpus });
    if (this.#pool === 'solo' && this.#concurrency !== 1)
      throw invalidArgument('concurrency', this.#concurrency, '1, because the pool is "solo"');
    const multiplier = whole('prefetchMultiplier', options.prefetchMultiplier, { min: 0, max: 1_000, fallback: 4 });
    this.#prefetch = Math.min(PREFETCH_MAX, multiplier * this.#concurrency);
    this.#onError = onError;
    this.#ended = ended;
  }

  /** Where it takes tasks from. */
  get queues(): readonly string[] {
    return this.#queues ?? [...new Set([...this.#app.tasks.values()].map(({ queue }) => queue))];
  }

  /** Tasks at a time. */
  get concurrency(): number {
    return this.#concurrency;
  }

  /** Tasks that run now. */
  get active(): number {
    return this.#running.size;
  }

  /**
   * Begins to take tasks; resolves when the broker knows. Rejects INVALID_ARGUMENT if the app has no task or one with a hard time limit, which this pool cannot
   * keep, and what `client.consume` rejects. Once only.
   */
  async start(): Promise<void> {
    if (this.#isStarted) throw new LovageError('INVALID_ARGUMENT', 'Cannot start the worker: it was started already');
    this.#isStarted = true;
    for (const { name, options } of this.#app.tasks.values()) {
      if (options.timeLimitMs === null) continue;
      const message = `Cannot run task "${name}" in the pool "${this.#pool}": it has a hard time limit (timeLimitMs), and this pool cannot kill`;
      throw new LovageError('INVALID_ARGUMENT', message, { details: { field: 'timeLimitMs', task: name } });
    }
    const { queues } = this;
    if (queues.length === 0) throw invalidArgument('queues', queues, 'a task, or queues to take tasks from');
    const clients = await Promise.all(queues.map((queue) => this.#app.ready(queue)));
    const options = {
      prefetch: this.#prefetch,
      concurrency: this.#concurrency,
      ack: 'late',
      giveBack: (delivery: Delivery) => this.#giveBack(delivery),
    } as const;
    this.#bodyBytesMax = clients[0]!.bodyBytesMax;
    this.#consumer = await clients[0]!.consume(queues, (delivery) => this.#run(delivery), options);
    void this.#consumer.ended.then((error) => {
      if (error !== null && error.code !== 'CLIENT_CLOSED') this.#onError(error);
    });
  }

  /** Takes nothing more, gives back what has not begun, and waits for what runs. Idempotent. */
  stop({ graceMs }: StopOptions = {}): Promise<void> {
    const ms = whole('graceMs', graceMs, { min: 0, max: 2_147_483_647, fallback: 30_000 });
    this.#stopped ??= this.#stop(ms);
    return this.#stopped;
  }

  async #stop(graceMs: number): Promise<void> {
    const timer = setTimeout(() => this.#giveUp(), graceMs);
    await this.#consumer?.cancel();
    clearTimeout(timer);
    this.#ended();
  }

  /** The grace is over: who listens to the signal ends now. */
  #giveUp(): void {
    const error = new LovageError('CLIENT_CLOSED', 'The worker stops and its grace is over');
    for (const { context } of this.#running) context.abort(error);
  }

  /** A task that the app does not have waits for a worker that has it. */
  #giveBack(delivery: Delivery): number | null {
    const name = nameOf(delivery);
    if (name !== null && this.#app.tasks.has(name)) return null;
    const what = name === null ? 'a message that is no task' : `task "${name}"`;
    const message = `Cannot run ${what} of queue "${delivery.queue}": the app does not have it`;
    this.#onError(new LovageError('INVALID_ARGUMENT', message, { details: { field: NAME_HEADER, id: delivery.id } }));
    return UNKNOWN_DELAY_MS;
  }

  #run(delivery: Delivery): Promise<void> {
    const task = this.#app.tasks.get(nameOf(delivery)!)!;
    const attempt = new Attempt(this.#app, task, delivery, this.#bodyBytesMax);
    this.#running.add(attempt);
    return attempt.run().finally(() => this.#running.delete(attempt));
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

function warn(error: LovageError): void {
  process.emitWarning(error.message, { code: error.code });
}
