/**
 * Runs an app's tasks: takes them from the broker and gives them to its pool.
 *
 *     idle ──start──► running ──stop──► warm: nothing new, what has not begun goes back at once, what runs goes on up to `graceMs`
 *                                    ──► cold: what runs is told to give up, and a moment later goes back to its queue, killed if the pool can ──► stopped
 */
import { hostname } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { LIMITS, LovageError, type WorkerFacts } from '@lovage/protocol';
import type { Client } from '../client.js';
import type { Consumer } from '../consumer.js';
import type { ActiveDelivery, Delivery } from '../delivery.js';
import { invalidArgument } from '../errors.js';
import { whole } from '../options.js';
import type { TaskApp } from './app.js';
import { Autoscaler } from './autoscaler.js';
import { ChildPool } from './child-pool.js';
import { childRegistry } from './child-registry.js';
import { Intake } from './intake.js';
import { LocalPool, noHardLimit } from './local-pool.js';
import type { Pool, PoolKind, RunningTask, TimeLimits } from './pool.js';
import { NAME_HEADER } from './task.js';
import type { TaskFacts } from './task-facts.js';
import { UnknownTasks } from './unknown-tasks.js';
import { carryOut } from './worker-control.js';
import {
  concurrencyMax,
  type ParsedWorkerOptions,
  parseAutoscale,
  parseWorkerOptions,
  type WorkerOptions,
} from './worker-options.js';

export interface StopOptions {
  /** ms that running tasks have to end, 0-2,147,483,647. Default 30,000. Then `ctx.signal` aborts, and a second later their work goes back to its queue. */
  readonly graceMs?: number | undefined;
}

/** How a worker does. */
export interface WorkerStats {
  readonly pool: PoolKind;
  readonly concurrency: number;
  /** Tasks that run now. */
  readonly active: number;
  /** Tasks at this worker that have not begun. */
  readonly reserved: number;
  /** Attempts that have ended since it was started, whatever came of them. */
  readonly ended: number;
  readonly uptimeMs: number;
  /** Resident set of the process, in bytes. */
  readonly memoryBytes: number;
  /** Ids of its child processes or threads. */
  readonly children: readonly number[];
}

/** ms before a task that nobody here has is offered again, to this worker or another. */
const UNKNOWN_DELAY_MS = 10_000;
const PREFETCH_MAX = 65_535;
/** ms that tasks have between being told to give up and being given up. */
const ABORT_MS = 1_000;
/**
 * ms before the broker is told of tasks in children. It is the child that dies of a task, and its worker tells: so a task that is shorter needs not be told to have begun. In
 * the thread of the worker the broker has to know at once, because that dies with its task.
 */
const GATHER_MS = 2;
/** ms between two looks of the autoscaler. */
const LOOK_MS = 250;

export class Worker {
  readonly #app: TaskApp;
  readonly #options: ParsedWorkerOptions;
  readonly #pool: Pool;
  /** Resolves when nothing is taken any more: null once it was stopped, by whomever, else why its connection is over for good (TOKEN_EXPIRED, UNAUTHORIZED, ...). */
  readonly ended: Promise<LovageError | null>;
  readonly #forget: () => void;
  #end: (error: LovageError | null) => void = () => undefined;
  #autoscaler: Autoscaler | null;
  #concurrency: number;
  #client: Client | null = null;
  readonly #intake: Intake;
  #announced: { changed(): void; withdraw(): void } | null = null;
  readonly #unknown = new UnknownTasks(() => this.#announced?.changed());
  #startedMs = 0;
  #isStarted = false;
  #stopped: Promise<void> | null = null;
  #lookTimer: NodeJS.Timeout | null = null;

  /** Made by `app.worker`. */
  constructor(app: TaskApp, options: WorkerOptions, forget: () => void) {
    this.#app = app;
    this.#options = parseWorkerOptions(options);
    const { pool, concurrency, autoscale } = this.#options;
    this.#concurrency = concurrency;
    this.#autoscaler = autoscale === null ? null : new Autoscaler(autoscale);
    this.#pool = hasChildren(pool) ? this.#childPool(pool) : new LocalPool(app, pool);
    this.#intake = this.#intakeOf(this.#options);
    this.#forget = forget;
    this.ended = new Promise((resolve) => {
      this.#end = resolve;
    });
  }

  /** Where it takes tasks from. */
  get queues(): readonly string[] {
    return this.#intake.queues;
  }

  /** What it can run, once it is started. */
  get tasks(): readonly TaskFacts[] {
    return this.#pool.tasks;
  }

  /** Tasks at this worker that have not begun. */
  get reserved(): number {
    return this.#intake.waiting;
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
   * keep; MODULE_FAILED if a child cannot load the tasks; CLIENT_CLOSED if the worker is stopped before; and what `client.consume` rejects. Once only.
   */
  async start(): Promise<void> {
    const registry = childRegistry();
    if (registry !== null) {
      registry.workerStarted();
      return await new Promise<never>(() => undefined);
    }
    if (this.#isStarted) throw new LovageError('INVALID_ARGUMENT', 'Cannot start the worker: it was started already');
    this.#isStarted = true;
    const client = await Promise.race([this.#app.client(), this.ended]);
    this.#assertNotStopped();
    this.#client = client as Client;
    await this.#pool.start(this.#concurrency, this.#client.bodyBytesMax);
    this.#startedMs = performance.now();
    try {
      this.#assertNotStopped();
      await this.#limitRates();
      await this.#intake.start();
      this.#assertNotStopped();
    } catch (error) {
      // Children would keep the program alive.
      this.#pool.kill();
      await this.#intake.stop();
      throw error;
    }
    this.#announced = this.#client.workers.announce(
      () => this.#facts(),
      (action, options) => carryOut(this, action, options),
    );
    if (this.#autoscaler !== null) this.#lookTimer = setTimeout(() => void this.#look(), LOOK_MS);
  }

  #assertNotStopped(): void {
    if (this.#stopped !== null) throw new LovageError('CLIENT_CLOSED', 'Cannot start the worker: it was stopped');
  }

  /** Throws INVALID_ARGUMENT for a task with a hard time limit once tasks run in a pool that cannot kill. */
  assertCanRun(task: string, { timeLimitMs }: Pick<TimeLimits, 'timeLimitMs'>): void {
    const { pool } = this.#options;
    if (timeLimitMs !== null && this.#isStarted && !hasChildren(pool)) throw noHardLimit(task, pool);
  }

  stats(): WorkerStats {
    return {
      pool: this.#options.pool,
      concurrency: this.#concurrency,
      active: this.active,
      reserved: this.reserved,
      ended: this.#pool.ended,
      uptimeMs: Math.round(performance.now() - this.#startedMs),
      memoryBytes: process.memoryUsage.rss(),
      children: this.#pool.children,
    };
  }

  /** Tasks that run now. */
  running(): readonly RunningTask[] {
    return this.#pool.running();
  }

  /** Takes tasks from this queue as well, behind the others. Rejects INVALID_NAME, and what `client.consume` rejects. */
  async addQueue(queue: string): Promise<void> {
    if (!this.queues.includes(queue)) await this.#intake.serve([...this.queues, queue]);
  }

  /** Takes no more from this queue; what it has of it and has not begun goes back. Rejects INVALID_ARGUMENT for the last one. */
  async cancelQueue(queue: string): Promise<void> {
    const left = this.queues.filter((other) => other !== queue);
    if (left.length === 0) throw invalidArgument('queue', queue, 'one of several queues: stop the worker instead');
    if (left.length < this.queues.length) await this.#intake.serve(left);
  }

  /** Attempts at a task that begin from now on go by these limits, in ms; null for none. Throws INVALID_ARGUMENT for a task that it does not have. */
  setTimeLimits(task: string, { softTimeLimitMs, timeLimitMs }: TimeLimits): void {
    if (!this.#pool.has(task)) throw invalidArgument('task', task, 'a task of this worker');
    this.#pool.setTimeLimits(task, {
      softTimeLimitMs: limitOf('softTimeLimitMs', softTimeLimitMs),
      timeLimitMs: limitOf('timeLimitMs', timeLimitMs),
    });
  }

  /** Follows the work within these bounds from now on, with null no more. Throws INVALID_ARGUMENT. */
  autoscale(bounds: WorkerOptions['autoscale'] | null): void {
    const { pool } = this.#options;
    const parsed = parseAutoscale(bounds ?? undefined, pool, concurrencyMax(pool));
    if (this.#lookTimer !== null) clearTimeout(this.#lookTimer);
    this.#autoscaler = parsed === null ? null : new Autoscaler(parsed);
    if (parsed !== null) void this.#look();
  }

  /** Runs so many tasks at a time, 1-65,535 (1-1,000 in `threads` and `processes`); what runs goes on. Throws INVALID_ARGUMENT. */
  async resize(concurrency: number): Promise<void> {
    const max = concurrencyMax(this.#options.pool);
    const size = whole('concurrency', concurrency, { min: 1, max, fallback: this.#concurrency });
    if (size === this.#concurrency) return;
    this.#concurrency = size;
    this.#pool.resize(size);
    this.#announced?.changed();
    await this.#intake.resize(this.#prefetch);
  }

  /** Children with the code as it is now take the place of those that run, each when it is ready and its predecessor has nothing to do. Throws INVALID_ARGUMENT in `async` and `solo`. */
  restart(): void {
    this.#pool.restart();
  }

  /** Takes nothing more, gives back what has not begun, and waits for what runs. Asked again with less `graceMs`, it waits less. */
  stop({ graceMs }: StopOptions = {}): Promise<void> {
    const ms = whole('graceMs', graceMs, { min: 0, max: 2_147_483_647, fallback: 30_000 });
    const cancelled = this.#intake.stop();
    void this.#giveUpAfter(ms, cancelled);
    this.#stopped ??= this.#stop(cancelled);
    return this.#stopped;
  }

  async #stop(cancelled: Promise<void>): Promise<void> {
    if (this.#lookTimer !== null) clearTimeout(this.#lookTimer);
    this.#unknown.stop();
    await cancelled;
    this.#announced?.withdraw();
    await this.#pool.stop();
    this.#forget();
    this.#end(null);
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

  #intakeOf({ queues, onError }: ParsedWorkerOptions): Intake {
    return new Intake({
      queues: () => queues ?? this.#queuesOfTasks(),
      concurrency: () => this.#concurrency,
      consume: (served, queueGone) => this.#consume(served, queueGone),
      forgetQueues: (gone) => this.#app.forgetQueues(gone),
      onError,
      isClosed: () => this.#client!.status.current.state === 'closed',
      over: (error) => this.#end(error),
      changed: () => this.#announced?.changed(),
    });
  }

  #queuesOfTasks(): readonly string[] {
    const tasks = this.#pool.tasks.length > 0 ? this.#pool.tasks : [...this.#app.tasks.values()];
    return [...new Set(tasks.map(({ queue }) => queue))];
  }

  async #limitRates(): Promise<void> {
    for (const { name, rateLimit } of this.tasks) if (rateLimit !== null) await this.#app.limited(name, rateLimit);
  }

  async #consume(queues: readonly string[], queueGone: (error: LovageError) => void): Promise<Consumer> {
    if (queues.length === 0) throw invalidArgument('queues', queues, 'a task, or queues to take tasks from');
    await Promise.all(queues.map((queue) => this.#app.ready(queue)));
    return await this.#client!.consume(queues, (delivery) => this.#run(delivery), {
      prefetch: this.#prefetch,
      concurrency: Math.max(1, this.#concurrency - this.active),
      ack: 'late',
      giveBack: (delivery: Delivery) => this.#giveBack(delivery),
      gatherMs: hasChildren(this.#options.pool) ? GATHER_MS : 0,
      onError: (error, delivery) => {
        if (delivery === null) queueGone(error as LovageError);
      },
    });
  }

  #facts(): WorkerFacts {
    return {
      host: hostname().slice(0, LIMITS.nameLengthMax),
      pid: process.pid,
      version: this.#app.version,
      pool: this.#options.pool,
      concurrency: this.#concurrency,
      queues: this.queues.slice(0, LIMITS.workerQueuesMax),
      tasks: this.tasks.slice(0, LIMITS.workerTasksMax).map(({ name, version }) => [name, version]),
      unknown: this.#unknown.all,
    };
  }

  /** A task that the app does not have waits for a worker that has it. */
  #giveBack(delivery: Delivery): number | null {
    // It was stopped while it began to consume.
    if (this.#stopped !== null) return 0;
    const name = nameOf(delivery);
    if (name !== null && this.#pool.has(name)) return null;
    const what = name === null ? 'a message that is no task' : `task "${name}"`;
    const message = `Cannot run ${what} of queue "${delivery.queue}": the app does not have it`;
    const details = { field: NAME_HEADER, id: delivery.id };
    if (name !== null) this.#unknown.add(delivery.queue, name);
    if (this.#unknown.isToBeTold(what, performance.now()))
      this.#options.onError(new LovageError('INVALID_ARGUMENT', message, { details }));
    return UNKNOWN_DELAY_MS;
  }

  #run(delivery: Delivery): Promise<void> {
    const name = nameOf(delivery)!;
    return this.#pool.isEarly(name) ? this.#runOnce(delivery, name) : this.#pool.run(delivery, name);
  }

  /** That it begins is on the broker's disk before it does, so that nobody begins it again. */
  async #runOnce(delivery: Delivery, name: string): Promise<void> {
    if (await (delivery as ActiveDelivery).begun()) await this.#pool.run(delivery, name);
  }

  async #look(): Promise<void> {
    const autoscaler = this.#autoscaler;
    if (autoscaler === null || !this.#intake.isOpen) return;
    const { active, concurrency } = this;
    const isBusy = active >= concurrency && concurrency < autoscaler.bounds.max;
    const waiting = isBusy ? this.reserved + (await this.#readyAtBroker()) : 0;
    if (this.#stopped !== null || autoscaler !== this.#autoscaler) return;
    const size = autoscaler.look({ size: concurrency, active, waiting }, performance.now());
    // A lost connection: the prefetch is told again with the next change.
    await this.resize(size).catch(() => undefined);
    if (this.#stopped === null) this.#lookTimer = setTimeout(() => void this.#look(), LOOK_MS);
  }

  async #readyAtBroker(): Promise<number> {
    const found = await Promise.all(this.queues.map((queue) => this.#client!.queues.inspect(queue).catch(() => null)));
    return found.reduce(
      (sum, queue) => sum + (queue === null || queue === undefined ? 0 : queue.ready - queue.limited),
      0,
    );
  }
}

function limitOf(name: string, value: number | null | undefined): number | null | undefined {
  return value === null || value === undefined
    ? value
    : whole(name, value, { min: 1, max: 2_147_483_647, fallback: 1 });
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

function hasChildren(pool: PoolKind): pool is 'threads' | 'processes' {
  return pool === 'threads' || pool === 'processes';
}
