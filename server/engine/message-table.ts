// hot path
/**
 * Every message in one slot of columns, not an object each: 37 bytes, 8 more for a due time or an expiry, 4 for a rate limit. The columns have their full
 * length from the start; the system gives them memory page by page as slots are first used, so growing neither copies nor pauses.
 *
 *     slot   id  segment offset length  queue priority state flags attempts  next prev   due expiry
 *       0    17     1      64     261     0      9       1     0      0       1   -1      0     0
 *       1    18     1     325     261     0      9       1     0      0      -1    0      0     0
 *
 * `next` and `prev` mean what the state says: neighbours in a list (READY, DELAYED), the place in a heap (RETURNED, in `prev`), the lease
 * (LEASED, STARTED, SENDING, in `prev`), the next free slot (FREE, in `next`).
 */

import { type AttemptLog, attemptLogBytes, type DeadLetter, NO_FAILURES, type RateTag } from '@lovage/protocol';
import { FrameStore } from '../collections/frame-store.js';
import { SegmentUsage } from '../collections/segment-usage.js';
import { SparseIndex } from '../collections/sparse-index.js';
import { RateBuckets } from './rate-buckets.js';

export const STATE = {
  FREE: 0,
  /** In its queue's list of its priority. */
  READY: 1,
  /** Ready again, or ready late: in the heap of its priority, by id. */
  RETURNED: 2,
  /** Waits for its due time. */
  DELAYED: 3,
  /** Given to a consumer, not started. */
  LEASED: 4,
  STARTED: 5,
  /** Settled by the journal already (ack mode none), kept until its bytes are sent. */
  SENDING: 6,
} as const;

export const FLAG = {
  /** It may have been handed out before. */
  REDELIVERED: 1,
  /** Not in the journal. */
  MEMORY: 2,
  /** It came from another queue: its delivery rests on more than its publish. */
  TRANSFERRED: 4,
  /** It has a history as a dead letter. */
  HISTORY: 8,
  /** Attempts of it have failed. */
  FAILED: 16,
  /** It is under a rate limit. */
  RATED: 32,
} as const;

const NO_HISTORY: readonly DeadLetter[] = [];

/** Shared only because V8 does not count shared memory: each column that it counts forces full collections when it is made, 12 of them and 60 ms in all. */
function column({ BYTES_PER_ELEMENT }: { readonly BYTES_PER_ELEMENT: number }, slots: number): SharedArrayBuffer {
  return new SharedArrayBuffer(slots * BYTES_PER_ELEMENT);
}

export class MessageTable {
  readonly capacity: number;
  readonly id: Float64Array;
  readonly segment: Uint32Array;
  readonly offset: Uint32Array;
  readonly length: Uint32Array;
  readonly queue: Int32Array;
  readonly priority: Uint8Array;
  readonly state: Uint8Array;
  readonly flags: Uint8Array;
  readonly attempts: Uint16Array;
  readonly next: Int32Array;
  readonly prev: Int32Array;
  /** ms, 0 for none. */
  readonly dueMs: Float64Array;
  /** ms, 0 for never. */
  readonly expiryMs: Float64Array;
  /** Number in `buckets`, of those that have the flag RATED. */
  readonly bucket: Int32Array;
  readonly buckets = new RateBuckets();
  /** Live messages by segment of the journal. */
  readonly journalUsage = new SegmentUsage();
  /** Frames of the messages that are not in the journal; their `segment` is the frame's number here. */
  readonly memoryFrames = new FrameStore();
  readonly #slots = new SparseIndex(10);
  /** Of the few slots that have the flag HISTORY. */
  readonly #histories = new Map<number, readonly DeadLetter[]>();
  /** Of those that have the flag FAILED, and their bytes. */
  readonly #attemptLogs = new Map<number, AttemptLog>();
  #attemptLogBytes = 0;
  #freeHead = -1;
  #neverUsed = 0;

  constructor(capacity: number) {
    this.capacity = capacity;
    this.id = new Float64Array(column(Float64Array, capacity));
    this.segment = new Uint32Array(column(Uint32Array, capacity));
    this.offset = new Uint32Array(column(Uint32Array, capacity));
    this.length = new Uint32Array(column(Uint32Array, capacity));
    this.queue = new Int32Array(column(Int32Array, capacity));
    this.priority = new Uint8Array(column(Uint8Array, capacity));
    this.state = new Uint8Array(column(Uint8Array, capacity));
    this.flags = new Uint8Array(column(Uint8Array, capacity));
    this.attempts = new Uint16Array(column(Uint16Array, capacity));
    this.next = new Int32Array(column(Int32Array, capacity));
    this.prev = new Int32Array(column(Int32Array, capacity));
    this.dueMs = new Float64Array(column(Float64Array, capacity));
    this.expiryMs = new Float64Array(column(Float64Array, capacity));
    this.bucket = new Int32Array(column(Int32Array, capacity));
  }

  /** Live messages. */
  get size(): number {
    return this.#slots.size;
  }

  /** Slots that were in use at some time: the part of the columns that may hold something. */
  get slotsUsed(): number {
    return this.#neverUsed;
  }

  /** Slot of a live message, -1 if the id is not alive. */
  find(id: number): number {
    return this.#slots.get(id);
  }

  /** Whether there may be messages among the 64 ids of a block, which begins at a multiple of 64. */
  hasBlock(id: number): boolean {
    return this.#slots.hasBlock(id);
  }

  /** First id of the first block that holds messages from that of `id` on, Infinity if there is none: O(blocks). */
  nextBlock(id: number): number {
    return this.#slots.nextBlock(id);
  }

  /** Takes a slot for a message; the caller has checked that one is free, and sets state and links. */
  add(
    id: number,
    segment: number,
    offset: number,
    length: number,
    queue: number,
    priority: number,
    flags: number,
  ): number {
    let slot = this.#freeHead;
    if (slot >= 0) this.#freeHead = this.next[slot]!;
    else slot = this.#neverUsed++;
    this.id[slot] = id;
    this.segment[slot] = segment;
    this.offset[slot] = offset;
    this.length[slot] = length;
    this.queue[slot] = queue;
    this.priority[slot] = priority;
    this.flags[slot] = flags;
    this.attempts[slot] = 0;
    this.#slots.set(id, slot);
    if ((flags & FLAG.MEMORY) === 0) this.journalUsage.add(segment, length);
    else this.memoryFrames.hold(segment);
    return slot;
  }

  /** Frees a slot; the caller has taken it out of lists, heaps and timers. */
  free(slot: number): void {
    this.#slots.delete(this.id[slot]!);
    if (this.isMemory(slot)) this.memoryFrames.release(this.segment[slot]!);
    else this.journalUsage.remove(this.segment[slot]!, this.length[slot]!);
    if ((this.flags[slot]! & FLAG.HISTORY) !== 0) this.#histories.delete(slot);
    if ((this.flags[slot]! & FLAG.FAILED) !== 0) this.setAttemptLog(slot, NO_FAILURES);
    this.clearRate(slot);
    this.state[slot] = STATE.FREE;
    if (this.dueMs[slot] !== 0) this.dueMs[slot] = 0;
    if (this.expiryMs[slot] !== 0) this.expiryMs[slot] = 0;
    this.next[slot] = this.#freeHead;
    this.prev[slot] = 0;
    this.#freeHead = slot;
  }

  /** The message's bytes were copied to another place in the journal. */
  move(slot: number, segment: number, offset: number): void {
    const length = this.length[slot]!;
    this.journalUsage.remove(this.segment[slot]!, length);
    this.journalUsage.add(segment, length);
    this.segment[slot] = segment;
    this.offset[slot] = offset;
  }

  /** The message has other bytes from now on. */
  replace(slot: number, segment: number, offset: number, length: number): void {
    if (this.isMemory(slot)) {
      this.memoryFrames.release(this.segment[slot]!);
      this.memoryFrames.hold(segment);
    } else {
      this.journalUsage.remove(this.segment[slot]!, this.length[slot]!);
      this.journalUsage.add(segment, length);
    }
    this.segment[slot] = segment;
    this.offset[slot] = offset;
    this.length[slot] = length;
  }

  isMemory(slot: number): boolean {
    return (this.flags[slot]! & FLAG.MEMORY) !== 0;
  }

  /** Which queues have given the message up, oldest first. */
  historyOf(slot: number): readonly DeadLetter[] {
    return (this.flags[slot]! & FLAG.HISTORY) === 0 ? NO_HISTORY : this.#histories.get(slot)!;
  }

  setHistory(slot: number, history: readonly DeadLetter[]): void {
    if (history.length > 0) {
      this.flags[slot]! |= FLAG.HISTORY;
      this.#histories.set(slot, history);
    } else if ((this.flags[slot]! & FLAG.HISTORY) !== 0) {
      this.flags[slot]! &= ~FLAG.HISTORY;
      this.#histories.delete(slot);
    }
  }

  /** Bytes of memory that logs of failed attempts take. */
  get attemptLogBytes(): number {
    return this.#attemptLogBytes;
  }

  attemptLogOf(slot: number): AttemptLog {
    return (this.flags[slot]! & FLAG.FAILED) === 0 ? NO_FAILURES : this.#attemptLogs.get(slot)!;
  }

  setAttemptLog(slot: number, log: AttemptLog): void {
    if ((this.flags[slot]! & FLAG.FAILED) !== 0) this.#attemptLogBytes -= attemptLogBytes(this.#attemptLogs.get(slot)!);
    if (log.failures.length > 0) {
      this.flags[slot]! |= FLAG.FAILED;
      this.#attemptLogs.set(slot, log);
      this.#attemptLogBytes += attemptLogBytes(log);
    } else {
      this.flags[slot]! &= ~FLAG.FAILED;
      this.#attemptLogs.delete(slot);
    }
  }

  /** The rate limit that a message is under, null for none. */
  rateOf(slot: number): RateTag | null {
    return (this.flags[slot]! & FLAG.RATED) === 0 ? null : this.buckets.tagOf(this.bucket[slot]!);
  }

  /** Puts a message that is in no list yet under a rate limit. */
  setRate(slot: number, namespace: string, rate: RateTag, nowMs: number): void {
    this.flags[slot]! |= FLAG.RATED;
    this.bucket[slot] = this.buckets.take(namespace, rate, nowMs);
  }

  /** A message that is in no list is under no rate limit any more. */
  clearRate(slot: number): void {
    if ((this.flags[slot]! & FLAG.RATED) === 0) return;
    this.flags[slot]! &= ~FLAG.RATED;
    this.buckets.release(this.bucket[slot]!);
  }

  /** Calls `visit` with every live slot, in no particular order. */
  forEach(visit: (slot: number) => void): void {
    for (let slot = 0; slot < this.#neverUsed; slot++) if (this.state[slot] !== STATE.FREE) visit(slot);
  }
}
