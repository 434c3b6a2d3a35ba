// hot path
/**
 * Which messages may go out under their rate limits, as the generic cell rate algorithm has it (GCRA, ITU-T I.371, annex A): each key of a limit is a
 * bucket, and of a bucket one time is remembered, that at which it is full again.
 *
 *     interval = perMs / count       a message takes:  fullMs = max(fullMs, now) + interval
 *     it is open while               now >= fullMs - (burst - 1) * interval
 *
 * A closed bucket has an alarm at the time when it opens. What waits for it stands in lanes (`waiting.ts`), one in each queue.
 */
import { LIMITS, type PublishBatch, type Rate, type RateTag } from '@lovage/protocol';
import { IndexedHeap } from '../collections/indexed-heap.js';
import type { Queue } from './queue.js';
import { RateLimit } from './rate-limit.js';

/** Messages of one queue that wait in one bucket. */
export interface Lane {
  readonly queue: Queue;
  readonly size: number;
  /** Its bucket has been opened or closed. */
  turned(isOpen: boolean): void;
}

export interface Bucket {
  readonly index: number;
  readonly limit: RateLimit;
  readonly key: string | null;
  /** Messages that bear it, wherever they are. */
  messages: number;
  /** ms at which it has its whole burst again. */
  fullMs: number;
  isOpen: boolean;
  readonly lanes: Set<Lane>;
}

/** Buckets that nothing bears any more and that are forgotten in one tick, at most. */
const FORGOTTEN_PER_TICK = 1_000;

export class RateBuckets {
  /** By namespace and name: those that are set, and those that messages bear. */
  readonly limits = new Map<string, RateLimit>();
  /** Of those, how many are set. */
  limitsSet = 0;
  readonly #buckets: (Bucket | undefined)[] = [];
  readonly #freeIndexes: number[] = [];
  /** Closed ones that messages bear, by the ms at which they open. */
  readonly #closed = new IndexedHeap(new Int32Array(16));
  /** Those that no message bears, until they are full. */
  readonly #idle = new IndexedHeap(new Int32Array(16));

  /** Buckets that messages bear. */
  get inUse(): number {
    return this.#buckets.length - this.#freeIndexes.length - this.#idle.size;
  }

  /** ms at which the next bucket opens, Infinity if none is closed. */
  next(): number {
    return this.#closed.topKey();
  }

  at(index: number): Bucket {
    return this.#buckets[index]!;
  }

  /** Whether there is room for the buckets of a frame. */
  fit(namespace: string, { rates }: PublishBatch): boolean {
    const room = LIMITS.rateKeysMax - this.inUse;
    if (rates.size <= room) return true;
    const fresh = new Set<string>();
    for (const { limit, key } of rates.values()) {
      const bucket = this.limits.get(`${namespace} ${limit}`)?.buckets.get(key);
      if (bucket === undefined || bucket.messages === 0) fresh.add(`${limit} ${key === null ? '' : `+${key}`}`);
    }
    return fresh.size <= room;
  }

  /** A message comes that bears a limit. Returns the number of its bucket. */
  take(namespace: string, { limit: name, key }: RateTag, nowMs: number): number {
    const limit = this.limit(namespace, name);
    const bucket = limit.buckets.get(key) ?? this.#add(limit, key);
    if (bucket.messages++ === 0) this.#wake(bucket, nowMs);
    return bucket.index;
  }

  /** A message is gone. */
  release(index: number): void {
    const bucket = this.#buckets[index]!;
    if (--bucket.messages > 0) return;
    if (!bucket.isOpen) this.#closed.remove(index);
    if (bucket.limit.rate === null) this.#forget(bucket);
    else this.#rest(bucket);
  }

  tagOf(index: number): RateTag {
    const { limit, key } = this.#buckets[index]!;
    return { limit: limit.name, key };
  }

  /** A message of it is given out. */
  spend(index: number, nowMs: number): void {
    const bucket = this.#buckets[index]!;
    const { limit } = bucket;
    if (limit.rate === null) return;
    bucket.fullMs = Math.max(bucket.fullMs, nowMs) + limit.intervalMs;
    if (bucket.isOpen && limit.opensAt(bucket.fullMs) > nowMs) this.#close(bucket);
  }

  /** A message of it has come back and was not begun. Queues where something may go now are added to `touched`. */
  refund(index: number, nowMs: number, touched: Set<Queue>): void {
    const bucket = this.#buckets[index]!;
    if (bucket.limit.rate === null) return;
    bucket.fullMs -= bucket.limit.intervalMs;
    if (bucket.isOpen) return;
    this.#closed.remove(index);
    this.#settle(bucket, nowMs, touched);
  }

  /** Opens up to so many buckets whose time has come. */
  open(most: number, nowMs: number, touched: Set<Queue>): void {
    for (let opened = 0; opened < most && this.#closed.topKey() <= nowMs; opened++)
      this.#turn(this.#buckets[this.#closed.pop()]!, touched);
  }

  /** Lets those go that no message bears and that are full again. */
  forget(nowMs: number): void {
    for (let left = FORGOTTEN_PER_TICK; left > 0 && this.#idle.topKey() <= nowMs; left--)
      this.#forget(this.#buckets[this.#idle.pop()]!);
  }

  /** The limit of a name, made if there is none; `drop` it if it turns out that nobody needs it. */
  limit(namespace: string, name: string): RateLimit {
    const key = `${namespace} ${name}`;
    const found = this.limits.get(key) ?? new RateLimit(namespace, name);
    this.limits.set(key, found);
    return found;
  }

  /** Forgets a limit that is not set and that no message bears. */
  drop(limit: RateLimit): void {
    if (!limit.isSet && limit.buckets.size === 0) this.limits.delete(`${limit.namespace} ${limit.name}`);
  }

  /** Sets what a limit says, live: what its buckets have let through counts at the new rate. */
  set(limit: RateLimit, declared: Rate | null, override: Rate | null, nowMs: number, touched: Set<Queue>): void {
    const buckets = [...limit.buckets.values()];
    const owed = buckets.map((bucket) => limit.owed(bucket.fullMs, nowMs));
    const owedFresh = limit.owed(limit.freshFullMs, nowMs);
    const wasSet = limit.isSet;
    limit.set(declared, override);
    this.limitsSet += Number(limit.isSet) - Number(wasSet);
    limit.freshFullMs = limit.fullAfter(owedFresh, nowMs);
    for (const [i, bucket] of buckets.entries()) this.#reset(bucket, limit.fullAfter(owed[i]!, nowMs), nowMs, touched);
    this.drop(limit);
  }

  /** After a restart nobody knows what has just gone out: each bucket begins empty, so that never more goes out than the limit says. */
  recovered(nowMs: number): void {
    const nothing = new Set<Queue>();
    for (const limit of [...this.limits.values()]) {
      if (limit.rate === null) continue;
      limit.freshFullMs = limit.fullAfter(limit.rate.burst, nowMs);
      for (const bucket of limit.buckets.values()) this.#reset(bucket, limit.freshFullMs, nowMs, nothing);
    }
  }

  #reset(bucket: Bucket, fullMs: number, nowMs: number, touched: Set<Queue>): void {
    const isIdle = bucket.messages === 0;
    if (isIdle) this.#idle.remove(bucket.index);
    else if (!bucket.isOpen) this.#closed.remove(bucket.index);
    bucket.fullMs = fullMs;
    if (!isIdle) this.#settle(bucket, nowMs, touched);
    else if (bucket.limit.rate === null) this.#forget(bucket);
    else this.#rest(bucket);
  }

  /** A bucket in no heap is closed or open, as its time says. */
  #settle(bucket: Bucket, nowMs: number, touched: Set<Queue>): void {
    if (bucket.limit.rate === null || bucket.limit.opensAt(bucket.fullMs) <= nowMs) {
      if (!bucket.isOpen) this.#turn(bucket, touched);
    } else this.#close(bucket);
  }

  #close(bucket: Bucket): void {
    this.#closed.push(bucket.index, bucket.limit.opensAt(bucket.fullMs));
    if (!bucket.isOpen) return;
    bucket.isOpen = false;
    for (const lane of bucket.lanes) lane.turned(false);
  }

  #turn(bucket: Bucket, touched: Set<Queue>): void {
    bucket.isOpen = true;
    for (const lane of bucket.lanes) {
      lane.turned(true);
      touched.add(lane.queue);
    }
  }

  /** Nothing bears it any more: it is remembered until it is as a new one would be. */
  #rest({ index, limit, fullMs }: Bucket): void {
    this.#idle.push(index, Math.max(fullMs, limit.freshFullMs));
  }

  /** The first message after a rest. */
  #wake(bucket: Bucket, nowMs: number): void {
    if (this.#idle.has(bucket.index)) this.#idle.remove(bucket.index);
    bucket.isOpen = bucket.limit.rate === null || bucket.limit.opensAt(bucket.fullMs) <= nowMs;
    if (!bucket.isOpen) this.#close(bucket);
  }

  #add(limit: RateLimit, key: string | null): Bucket {
    // Beyond the bound those are forgotten first that would be full first.
    if (this.#freeIndexes.length === 0 && this.#buckets.length >= LIMITS.rateKeysMax)
      this.#forget(this.#buckets[this.#idle.pop()]!);
    const index = this.#freeIndexes.pop() ?? this.#buckets.length;
    this.#closed.reserve(index + 1);
    this.#idle.reserve(index + 1);
    const { freshFullMs: fullMs } = limit;
    const bucket: Bucket = { index, limit, key, messages: 0, fullMs, isOpen: true, lanes: new Set() };
    this.#buckets[index] = bucket;
    limit.buckets.set(key, bucket);
    return bucket;
  }

  /** Forgets one that is in no heap. */
  #forget({ index, limit, key }: Bucket): void {
    this.#buckets[index] = undefined;
    this.#freeIndexes.push(index);
    limit.buckets.delete(key);
    this.drop(limit);
  }
}
