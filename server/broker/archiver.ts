/**
 * Brings results from the journal to the archive, so that what is kept for days takes no memory and pins no segment. One slice at a time, and nothing at all while there is nothing to do:
 *
 *     look ─► the oldest of a queue, older than 10 s (or of a queue that is crowded, at once)
 *          ─► payloads are read ─► archive.store ··· on its disk ··· ─► results-archived: a settle record
 *     purged, deleted ··· the record is on disk ··· ─► archive.keep: only the shelves that still count
 *     once a minute ─► archive.sweep: what has expired
 *
 * A slice is settled after it is stored and never before, and storing it twice changes nothing: a crash in between repeats, but neither loses nor doubles. What the archive refuses stays where
 * it is, and is tried again after a pause that doubles.
 */
import { RESULTS_QUEUE } from '@lovage/protocol';
import { type Archive, FACTS, RESULT_FLAG, type ResultSlice, type Shelf } from '../archive/archive.js';
import type { ResultsArchivedCommand } from '../engine/command.js';
import type { Engine } from '../engine/engine.js';
import { FLAG } from '../engine/message-table.js';
import type { Queue } from '../engine/queue.js';
import type { Journal } from '../journal/journal.js';
import type { Clock } from './clock.js';
import type { EffectRouter } from './effect-router.js';

/** ms that a result stays in its queue: most are fetched within them. */
const AGE_MS = 10_000;
/** Results of one slice and bytes of their payloads: a bound for what one slice holds the loop up, and one sync of the archive's disk. */
const SLICE_MAX = 1_000;
const SLICE_BYTES = 512 * 1024;
/** ms between two slices, unless a queue is crowded. Measured with a million small results: 12,600 a second then, and 95,000 a second beside the work that makes them while the queue is crowded. */
const PAUSE_MS = 10;
/** Queues that are looked at for one to archive from. */
const QUEUES_MAX = 100;
/** ms between two rounds of sweeping. */
const SWEEP_MS = 60_000;
const RETRY_MS_MIN = 1_000;
const RETRY_MS_MAX = 60_000;
const NEVER = Number.POSITIVE_INFINITY;

export interface ArchiverParts {
  readonly archive: Archive;
  readonly engine: Engine;
  readonly journal: Journal;
  readonly router: EffectRouter;
  readonly clock: Clock;
  /** Whether the disk has too little room for the archive to grow. */
  readonly isDiskScarce: () => boolean;
  readonly submit: (command: ResultsArchivedCommand) => void;
  /** Told when the archive could not be written. */
  readonly onFailure: (error: unknown) => void;
}

export class Archiver {
  readonly #parts: ArchiverParts;
  #work: Promise<void> = Promise.resolve();
  #isBusy = false;
  #isClosed = false;
  #cancelTimer: (() => void) | null = null;
  /** ms of the pause after the last failure, 0 if there was none. */
  #retryMs = 0;
  #sweepAtMs = NEVER;
  /** Shelves were left: in the batch that is being committed, and on disk. */
  #isLeaving = false;
  #hasLeft = false;
  /** Results of ids from here on are not of this journal. */
  #idsBelow = Number.MAX_SAFE_INTEGER;

  constructor(parts: ArchiverParts) {
    this.#parts = parts;
    parts.engine.archiving.begin();
  }

  /** After replay: only what the journal knows counts. A journal that was cut off gives the same ids again, so that what stood under them goes. */
  async recovered(): Promise<void> {
    const { archive, engine } = this.#parts;
    const { nextId } = engine.state;
    const lastId = archive.lastId();
    if (lastId > 0) this.#sweepAtMs = this.#parts.clock.wallMs() + SWEEP_MS;
    const isCurrent = ({ namespace, era }: Shelf): boolean => engine.state.queue(namespace, RESULTS_QUEUE)?.era === era;
    if (lastId < nextId && !archive.hasOthers(isCurrent)) return;
    this.#idsBelow = nextId;
    this.#hasLeft = true;
    await this.#attempt(() => this.#keep());
  }

  /** A batch is being sealed. */
  sealed(): void {
    const { router } = this.#parts;
    this.#isLeaving ||= router.hasLeftArchived;
    router.hasLeftArchived = false;
  }

  /** A batch is on disk. */
  committed(): void {
    this.#hasLeft ||= this.#isLeaving;
    this.#isLeaving = false;
  }

  /** To be called at the end of every turn. */
  look(): void {
    if (this.#isBusy || this.#isClosed) return;
    const { arrivals } = this.#parts.engine.state;
    if (this.#cancelTimer !== null) {
      const isUrgent = arrivals.hasCrowded || this.#hasLeft;
      if (this.#retryMs > 0 || !isUrgent) return;
    } else if (arrivals.isEmpty && !this.#hasLeft && this.#sweepAtMs === NEVER) return;
    this.#step();
  }

  /** Waits for what is under way; nothing new starts. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#cancelTimer?.();
    await this.#work;
  }

  /** One thing that is due, or the timer until there is one. */
  #step(): void {
    this.#cancelTimer?.();
    this.#cancelTimer = null;
    if (this.#hasLeft) return this.#run(() => this.#keep());
    const nowMs = this.#nowMs();
    if (this.#sweepAtMs <= nowMs) return this.#run(() => this.#sweep(nowMs));
    if (this.#parts.isDiskScarce()) return this.#wait(RETRY_MS_MIN);
    const { queue, dueMs } = this.#next(nowMs);
    if (queue !== null) return this.#run(() => this.#archive(queue, nowMs));
    const nextMs = Math.min(dueMs, this.#sweepAtMs);
    if (nextMs < NEVER) this.#wait(Math.max(PAUSE_MS, nextMs - nowMs));
  }

  #wait(ms: number): void {
    this.#cancelTimer?.();
    this.#cancelTimer = this.#parts.clock.setTimer(() => {
      this.#cancelTimer = null;
      if (!this.#isBusy && !this.#isClosed) this.#step();
    }, ms);
  }

  #run(work: () => Promise<void>): void {
    this.#work = this.#attempt(work);
  }

  async #attempt(work: () => Promise<void>): Promise<void> {
    this.#isBusy = true;
    try {
      await work();
      this.#retryMs = 0;
    } catch (error) {
      this.#retryMs = Math.min(RETRY_MS_MAX, Math.max(RETRY_MS_MIN, this.#retryMs * 2));
      this.#parts.onFailure(error);
    } finally {
      this.#isBusy = false;
    }
    if (this.#isClosed) return;
    if (this.#parts.engine.state.arrivals.hasCrowded && this.#retryMs === 0) this.#step();
    else this.#wait(this.#retryMs || PAUSE_MS);
  }

  /** The queue to take from; if there is none now, when there will be one. */
  #next(nowMs: number): { readonly queue: Queue | null; readonly dueMs: number } {
    const { archiving, state } = this.#parts.engine;
    const { arrivals } = state;
    const crowded = arrivals.takeCrowded();
    if (crowded !== null && archiving.oldestMs(crowded) < NEVER) return { queue: crowded, dueMs: nowMs };
    let dueMs = NEVER;
    const looked: Queue[] = [];
    for (const queue of arrivals.queues()) {
      if (looked.push(queue) > QUEUES_MAX) {
        dueMs = nowMs;
        break;
      }
      const oldestMs = archiving.oldestMs(queue);
      if (oldestMs + AGE_MS <= nowMs) return { queue, dueMs: nowMs };
      dueMs = Math.min(dueMs, oldestMs + AGE_MS);
    }
    // The next look begins with others.
    if (looked.length > QUEUES_MAX) for (const queue of looked) arrivals.toEnd(queue);
    return { queue: null, dueMs };
  }

  async #archive(queue: Queue, nowMs: number): Promise<void> {
    const { archive, engine, submit } = this.#parts;
    const { table } = engine.state;
    const untilMs = queue.isCrowded ? NEVER : nowMs - AGE_MS;
    const limits = { most: SLICE_MAX, untilMs, bytesMax: SLICE_BYTES };
    const slots = engine.archiving.take(queue, limits, (slot) => this.#isSafe(slot));
    if (slots.length === 0) return;
    const ids = slots.map((slot) => table.id[slot]!);
    const slice = this.#read(queue, slots);
    try {
      await archive.store(slice);
    } catch (error) {
      engine.archiving.giveBack(queue, ids);
      throw error;
    }
    if (this.#sweepAtMs === NEVER) this.#sweepAtMs = nowMs + SWEEP_MS;
    submit({ type: 'results-archived', queue: queue.index, era: slice.era, ids });
    engine.state.arrivals.look(queue);
  }

  /** What the archive has may not be lost by the journal: only what is on the journal's disk is stored. */
  #isSafe(slot: number): boolean {
    const { table } = this.#parts.engine.state;
    return table.isMemory(slot) || this.#parts.journal.isDurable(table.segment[slot]!, table.offset[slot]!);
  }

  #read({ namespace, era }: Queue, slots: readonly number[]): ResultSlice {
    const { engine, router } = this.#parts;
    const { table } = engine.state;
    const facts = new Float64Array(slots.length * FACTS);
    let bytes = 0;
    for (const slot of slots) bytes += table.length[slot]!;
    const payloads = new Uint8Array(bytes);
    let at = 0;
    for (const [i, slot] of slots.entries()) {
      const isRedelivered = (table.flags[slot]! & FLAG.REDELIVERED) !== 0;
      const flags = (isRedelivered ? RESULT_FLAG.REDELIVERED : 0) | (table.isMemory(slot) ? RESULT_FLAG.MEMORY : 0);
      const length = table.length[slot]!;
      facts.set(
        [table.id[slot]!, table.priority[slot]!, table.attempts[slot]!, table.expiryMs[slot]!, flags, length],
        i * FACTS,
      );
      router.copyPayload(slot, payloads, at);
      at += length;
    }
    return { namespace, era, facts, payloads };
  }

  async #keep(): Promise<void> {
    const { archive } = this.#parts;
    this.#hasLeft = false;
    try {
      await archive.keep(this.#shelves(), this.#idsBelow);
    } catch (error) {
      this.#hasLeft = true;
      throw error;
    }
    this.#idsBelow = Number.MAX_SAFE_INTEGER;
    this.#sweepAtMs = this.#nowMs();
  }

  async #sweep(nowMs: number): Promise<void> {
    const { archive } = this.#parts;
    this.#sweepAtMs = nowMs + RETRY_MS_MIN;
    const hasMore = await archive.sweep(nowMs);
    const isEmpty = !hasMore && archive.lastId() === 0;
    this.#sweepAtMs = hasMore ? nowMs : isEmpty ? NEVER : nowMs + SWEEP_MS;
  }

  /** Those that count: of each namespace that has a queue of results the one of its era. */
  #shelves(): Shelf[] {
    const shelves: Shelf[] = [];
    for (const queue of this.#parts.engine.state.queuesByName.values()) if (queue.isResults) shelves.push(queue);
    return shelves;
  }

  #nowMs(): number {
    return Math.max(this.#parts.engine.state.nowMs, this.#parts.clock.wallMs());
  }
}
