/**
 * The pools `threads` and `processes`: each task has a child for itself while it runs, so one that blocks its event loop, leaks, or dies costs nobody else
 * anything, and one that takes too long is killed. The thread with the connection runs no code of users.
 *
 * Its own, because the pools that npm has (piscina, tinypool, workerpool, poolifier) take a function and give its value: none speaks with a task that runs (signals,
 * progress), tells a child that died before a task from one that died of it, or keeps a child at work until its replacement is ready.
 */
import { LovageError } from '@lovage/protocol';
import type { Delivery } from '../delivery.js';
import type { ChildKind } from './child-host.js';
import type { ChildStart } from './child-messages.js';
import { ChildSlot, type Job } from './child-slot.js';
import { giveBack, giveUp, keepFailure, say } from './outcome.js';
import { type Pool, type ReportError, type RunningTask, runningTask, type TimeLimits } from './pool.js';
import type { TaskFacts } from './task-facts.js';

/** When children are replaced; null: never. */
export interface Recycling {
  readonly maxTasksPerChild: number | null;
  readonly maxMemoryPerChildMb: number | null;
  readonly maxChildAgeMs: number | null;
}

export interface ChildPoolOptions {
  readonly kind: ChildKind;
  readonly recycling: Recycling;
  readonly onError: ReportError;
  /** How its children find the tasks, asked when it starts. */
  readonly source: () => Pick<ChildStart, 'modules' | 'url' | 'connect'>;
  /** Whether what this queue gives up is kept somewhere. */
  readonly hasDeadLetters: (queue: string) => Promise<boolean>;
}

/** ms before a child is started in the place of one that died before it was ready: doubling from the first to the second. */
const RESTART_MS_MIN = 100;
const RESTART_MS_MAX = 10_000;
/** ms that children have to end when they are told to. */
const STOP_MS = 5_000;

export class ChildPool implements Pool {
  readonly #options: ChildPoolOptions;
  #tasks = new Map<string, TaskFacts>();
  #size = 0;
  #start: ChildStart | null = null;
  readonly #slots = new Set<ChildSlot>();
  /** The one that idles for the shortest time is the next to work, so that the others can go. */
  readonly #idle: ChildSlot[] = [];
  readonly #waiting: Job[] = [];
  /** Children that died before they were ready, one after the other. */
  #failures = 0;
  #restartTimer: NodeJS.Timeout | null = null;
  #started: { resolve: () => void; reject: (error: LovageError) => void } | null = null;
  #isStopped = false;
  ended = 0;
  /** Other ones than those of the tasks. */
  readonly #limits = new Map<string, TimeLimits>();
  #whenEmpty: (() => void) | null = null;

  constructor(options: ChildPoolOptions) {
    this.#options = options;
  }

  get tasks(): readonly TaskFacts[] {
    return [...this.#tasks.values()];
  }

  get children(): readonly number[] {
    return [...this.#slots].map(({ pid }) => pid);
  }

  running(): readonly RunningTask[] {
    const jobs = [...this.#slots].flatMap(({ job }) => job ?? []);
    return jobs.map(({ facts, delivery }) => runningTask(facts.name, delivery));
  }

  has(name: string): boolean {
    return this.#tasks.has(name);
  }

  isEarly(name: string): boolean {
    return this.#tasks.get(name)!.ack === 'early';
  }

  get active(): number {
    let busy = this.#waiting.length;
    for (const { state } of this.#slots) if (state === 'busy') busy++;
    return busy;
  }

  async start(size: number, bodyBytesMax: number): Promise<void> {
    const { kind, recycling, source } = this.#options;
    const memory = recycling.maxMemoryPerChildMb === null ? null : kind === 'processes' ? 'rss' : 'heap';
    this.#start = { type: 'start', ...source(), bodyBytesMax, memory };
    this.#size = size;
    const started = new Promise<void>((resolve, reject) => {
      this.#started = { resolve, reject };
    });
    this.#fill();
    try {
      await started;
    } catch (error) {
      this.kill();
      throw error;
    } finally {
      this.#started = null;
    }
  }

  run(delivery: Delivery, name: string): Promise<void> {
    return new Promise((settle) => {
      const resolve = (): void => {
        this.ended++;
        settle();
      };
      const { timeLimitMs, softTimeLimitMs } = this.#limits.get(name) ?? {};
      const known = this.#tasks.get(name)!;
      const facts = timeLimitMs === undefined ? known : { ...known, timeLimitMs };
      const job = { delivery, facts, softTimeLimitMs, resolve };
      const slot = this.#idle.pop();
      if (slot === undefined) this.#waiting.push(job);
      else this.#give(slot, job);
    });
  }

  resize(size: number): void {
    this.#size = size;
    this.#fill();
    this.#thin();
  }

  setTimeLimits(task: string, limits: TimeLimits): void {
    this.#limits.set(task, { ...this.#limits.get(task), ...limits });
  }

  restart(): void {
    for (const slot of this.#slots) slot.isRetiring = true;
    this.#fill();
  }

  abort(error: LovageError): void {
    for (const slot of this.#slots) slot.abort(error);
  }

  kill(): void {
    this.#isStopped = true;
    for (const { delivery, facts, resolve } of this.#waiting.splice(0)) {
      giveBack(delivery, facts);
      resolve();
    }
    for (const slot of this.#slots) slot.kill();
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#started?.reject(new LovageError('CLIENT_CLOSED', 'Cannot start the children: the worker was stopped'));
    if (this.#restartTimer !== null) clearTimeout(this.#restartTimer);
    if (this.#slots.size === 0) return;
    const empty = new Promise<void>((resolve) => {
      this.#whenEmpty = resolve;
    });
    for (const slot of this.#slots) slot.stop();
    const timer = setTimeout(() => this.kill(), STOP_MS);
    await empty;
    clearTimeout(timer);
  }

  /** As many children as there are to be. */
  #fill(): void {
    if (this.#isStopped || this.#restartTimer !== null) return;
    for (let missing = this.#size - this.#count(); missing > 0; missing--) this.#add();
  }

  /** Children that are here to stay. */
  #count(): number {
    let count = 0;
    for (const { isRetiring, state } of this.#slots) if (!isRetiring && state !== 'stopping') count++;
    return count;
  }

  #add(): void {
    const slot = new ChildSlot(this.#options.kind, this.#start!, {
      ready: (ready, tasks) => this.#ready(ready, tasks),
      failed: (failed, text) => this.#failed(failed, text),
      idle: (idle) => this.#free(idle),
      ended: (ended, job, how, wasWanted) => this.#ended(ended, job, how, wasWanted),
    });
    this.#slots.add(slot);
  }

  #ready(slot: ChildSlot, tasks: readonly TaskFacts[]): void {
    this.#failures = 0;
    this.#tasks = new Map(tasks.map((facts) => [facts.name, facts]));
    this.#free(slot);
    // It may be the replacement of one that idles.
    this.#thin();
    if ([...this.#slots].every(({ wasReady }) => wasReady)) this.#started?.resolve();
  }

  #failed(slot: ChildSlot, text: string): void {
    const error = new LovageError('MODULE_FAILED', text);
    if (this.#started === null) this.#options.onError(error);
    this.#started?.reject(error);
    slot.kill();
    this.#retry();
  }

  /** A slot has nothing to do. */
  #free(slot: ChildSlot): void {
    if (this.#isStopped) return;
    if (this.#isUsedUp(slot)) return slot.stop();
    if (!slot.isRetiring && this.#isDue(slot)) this.#retire(slot);
    if (this.#isSpare(slot)) return slot.stop();
    const job = this.#waiting.shift();
    if (job === undefined) this.#idle.push(slot);
    else this.#give(slot, job);
  }

  #give(slot: ChildSlot, job: Job): void {
    slot.run(job);
    // Its last one: the replacement begins to load meanwhile.
    if (this.#isUsedUp(slot)) this.#retire(slot);
  }

  #isUsedUp({ tasks }: ChildSlot): boolean {
    const { maxTasksPerChild } = this.#options.recycling;
    return maxTasksPerChild !== null && tasks >= maxTasksPerChild;
  }

  /** One that has run nothing yet stays: replacing it would never end where loading takes longer than the bound. */
  #isDue({ tasks, memoryBytes, startedMs }: ChildSlot): boolean {
    if (tasks === 0) return false;
    const { maxMemoryPerChildMb, maxChildAgeMs } = this.#options.recycling;
    if (maxMemoryPerChildMb !== null && memoryBytes > maxMemoryPerChildMb * 1_048_576) return true;
    return maxChildAgeMs !== null && performance.now() - startedMs > maxChildAgeMs;
  }

  #retire(slot: ChildSlot): void {
    slot.isRetiring = true;
    this.#fill();
  }

  /** Whether an idle slot is one too many: of those that are to be replaced, only as many as have a replacement that is ready. */
  #isSpare({ isRetiring }: ChildSlot): boolean {
    let working = 0;
    let staying = 0;
    for (const slot of this.#slots) {
      if (slot.state !== 'idle' && slot.state !== 'busy') continue;
      working++;
      if (!slot.isRetiring) staying++;
    }
    return working > this.#size && (isRetiring || staying > this.#size);
  }

  /** Idle children that are too many end, those first that are to be replaced. */
  #thin(): void {
    for (const slot of this.#idle.toSorted((a, b) => Number(b.isRetiring) - Number(a.isRetiring))) {
      if (!this.#isSpare(slot)) continue;
      this.#idle.splice(this.#idle.indexOf(slot), 1);
      slot.stop();
    }
  }

  #ended(slot: ChildSlot, job: Job | null, how: string, wasWanted: boolean): void {
    this.#slots.delete(slot);
    const at = this.#idle.indexOf(slot);
    if (at >= 0) this.#idle.splice(at, 1);
    if (job !== null) void this.#crashed(job, how).finally(job.resolve);
    if (this.#slots.size === 0) this.#whenEmpty?.();
    if (slot.wasReady || wasWanted) this.#fill();
    else this.#diedYoung(how);
  }

  /** A child that dies while it loads would die again at once. */
  #diedYoung(how: string): void {
    const error = new LovageError('MODULE_FAILED', `A child has ended while it was loading the tasks: ${how}`);
    if (this.#started === null) this.#options.onError(error);
    this.#started?.reject(error);
    this.#retry();
  }

  #retry(): void {
    if (this.#isStopped || this.#restartTimer !== null) return;
    const delayMs = Math.min(RESTART_MS_MAX, RESTART_MS_MIN * 2 ** this.#failures++);
    this.#restartTimer = setTimeout(() => {
      this.#restartTimer = null;
      this.#fill();
    }, delayMs);
  }

  /** The child died while it ran this task: an attempt, up to as many as the task allows. */
  async #crashed({ delivery, facts }: Job, how: string): Promise<void> {
    const message = `Task "${facts.name}" has ended its child: ${how}`;
    const error = new LovageError('TASK_CRASHED', message, { details: { id: delivery.id } });
    this.#options.onError(error);
    const nack = { reason: message, cause: 'crashed' } as const;
    const crashesMax = facts.ack === 'early' ? 1 : facts.maxCrashes;
    if (delivery.attemptLog.crashes + 1 < crashesMax) return say(delivery.nack(nack));
    if (await this.#options.hasDeadLetters(delivery.queue)) return say(delivery.nack({ requeue: false, ...nack }));
    // Nobody would ever hear of it.
    if (facts.result === 'none') giveUp(delivery, facts, 'TASK_CRASHED', error);
    else keepFailure(delivery, facts, 'TASK_CRASHED', error);
  }
}
