// hot path
/**
 * What waits in one queue to be given out. Messages under a rate limit stand in lanes beside the others, one for each key of a limit, and only the lanes
 * whose bucket is open are looked at: what its limit holds back stands in nobody's way.
 *
 *     peek ──► the more urgent of   plain: ReadyIndex                       messages without a limit
 *                                   open lanes: heap by their first         sms +43..: ReadyIndex, sms +49..: ReadyIndex, ...
 *     (closed lanes wait for the alarm of their bucket)
 */
import { IndexedHeap } from '../collections/indexed-heap.js';
import { FLAG, type MessageTable } from './message-table.js';
import type { Queue } from './queue.js';
import type { Bucket, Lane } from './rate-buckets.js';
import { ReadyIndex } from './ready-index.js';

/** Ids are below it for 500 years at a million a second, and 256 priorities above it fit into 2^53. */
const IDS = 2 ** 44;
const PRIORITY_MAX = 255;

export class Waiting {
  readonly #table: MessageTable;
  readonly #queue: Queue;
  readonly #plain: ReadyIndex;
  /** Of the few queues that have had messages under a limit. */
  #lanes: Lanes | null = null;

  constructor(table: MessageTable, queue: Queue) {
    this.#table = table;
    this.#queue = queue;
    this.#plain = new ReadyIndex(table);
  }

  get size(): number {
    return this.#lanes === null ? this.#plain.size : this.#plain.size + this.#lanes.size;
  }

  /** Messages whose rate limit holds them back. */
  get limited(): number {
    return this.#lanes === null ? 0 : this.#lanes.limited;
  }

  /** Adds a message in its place by priority and id, and sets its state. */
  add(slot: number): void {
    if ((this.#table.flags[slot]! & FLAG.RATED) === 0) return this.#plain.add(slot);
    this.#lanes ??= new Lanes(this.#table, this.#queue);
    this.#lanes.add(slot);
  }

  /** Takes a waiting message out. */
  remove(slot: number): void {
    if ((this.#table.flags[slot]! & FLAG.RATED) === 0) this.#plain.remove(slot);
    else this.#lanes!.remove(slot);
  }

  /** The next message to deliver, -1 if none may go. */
  peek(): number {
    const plain = this.#plain.peek();
    return this.#lanes === null ? plain : this.#first(plain, this.#lanes.peek());
  }

  /** The oldest message of the lowest priority, whether it may go or not; -1 if none waits. */
  peekLowest(): number {
    const plain = this.#plain.peekLowest();
    if (this.#lanes === null) return plain;
    const rated = this.#lanes.peekLowest();
    if (plain < 0 || rated < 0) return Math.max(plain, rated);
    return lowKey(this.#table, rated) < lowKey(this.#table, plain) ? rated : plain;
  }

  /** Priorities of the most urgent messages that may go, at most so many, the highest first; of a lane only its first. */
  priorities(limit: number): number[] {
    const plain = this.#plain.priorities(limit);
    if (this.#lanes === null) return plain;
    return [...plain, ...this.#lanes.priorities()].sort((a, b) => b - a).slice(0, limit);
  }

  /** A waiting message with an id below `id`; -1 if there is none. */
  peekBelow(id: number): number {
    const plain = this.#plain.peekBelow(id);
    return plain >= 0 || this.#lanes === null ? plain : this.#lanes.peekBelow(id);
  }

  /** Calls `visit` with every waiting message, in no particular order. */
  forEach(visit: (slot: number) => void): void {
    this.#plain.forEach(visit);
    this.#lanes?.forEach(visit);
  }

  #first(plain: number, rated: number): number {
    if (plain < 0 || rated < 0) return Math.max(plain, rated);
    return highKey(this.#table, rated) < highKey(this.#table, plain) ? rated : plain;
  }
}

/** The lanes of one queue. */
class Lanes {
  size = 0;
  limited = 0;
  readonly #table: MessageTable;
  readonly #queue: Queue;
  readonly #byBucket = new Map<number, QueueLane>();
  /** By their numbers in the heaps. */
  readonly #lanes: (QueueLane | undefined)[] = [];
  readonly #freeNumbers: number[] = [];
  /** Open ones by their first message, and all by their last in rank. */
  readonly #open = new IndexedHeap(new Int32Array(16));
  readonly #lowest = new IndexedHeap(new Int32Array(16));

  constructor(table: MessageTable, queue: Queue) {
    this.#table = table;
    this.#queue = queue;
  }

  add(slot: number): void {
    const bucket = this.#table.buckets.at(this.#table.bucket[slot]!);
    const lane = this.#byBucket.get(bucket.index) ?? this.#addLane(bucket);
    lane.ready.add(slot);
    this.size++;
    if (!bucket.isOpen) this.limited++;
    this.#place(lane);
  }

  remove(slot: number): void {
    const lane = this.#byBucket.get(this.#table.bucket[slot]!)!;
    lane.ready.remove(slot);
    this.size--;
    if (!lane.bucket.isOpen) this.limited--;
    this.#place(lane);
    if (lane.ready.size === 0) this.#removeLane(lane);
  }

  peek(): number {
    const number = this.#open.top();
    return number < 0 ? -1 : this.#lanes[number]!.ready.peek();
  }

  peekLowest(): number {
    const number = this.#lowest.top();
    return number < 0 ? -1 : this.#lanes[number]!.ready.peekLowest();
  }

  peekBelow(id: number): number {
    for (const { ready } of this.#byBucket.values()) {
      const slot = ready.peekBelow(id);
      if (slot >= 0) return slot;
    }
    return -1;
  }

  priorities(): number[] {
    const found: number[] = [];
    this.#open.forEach((number) => {
      found.push(this.#table.priority[this.#lanes[number]!.ready.peek()]!);
    });
    return found;
  }

  forEach(visit: (slot: number) => void): void {
    for (const { ready } of this.#byBucket.values()) ready.forEach(visit);
  }

  /** A lane's bucket has been opened or closed. */
  turned(lane: QueueLane, isOpen: boolean): void {
    this.limited += isOpen ? -lane.size : lane.size;
    this.#place(lane);
  }

  /** Puts a lane where its messages and its bucket want it. */
  #place({ number, ready, bucket }: QueueLane): void {
    const table = this.#table;
    if (this.#open.has(number)) this.#open.remove(number);
    if (this.#lowest.has(number)) this.#lowest.remove(number);
    if (ready.size === 0) return;
    if (bucket.isOpen) this.#open.push(number, highKey(table, ready.peek()));
    this.#lowest.push(number, lowKey(table, ready.peekLowest()));
  }

  #addLane(bucket: Bucket): QueueLane {
    const number = this.#freeNumbers.pop() ?? this.#lanes.length;
    this.#open.reserve(number + 1);
    this.#lowest.reserve(number + 1);
    const lane = new QueueLane(number, this, bucket, { queue: this.#queue, table: this.#table });
    this.#lanes[number] = lane;
    this.#byBucket.set(bucket.index, lane);
    bucket.lanes.add(lane);
    return lane;
  }

  #removeLane(lane: QueueLane): void {
    this.#lanes[lane.number] = undefined;
    this.#freeNumbers.push(lane.number);
    this.#byBucket.delete(lane.bucket.index);
    lane.bucket.lanes.delete(lane);
  }
}

class QueueLane implements Lane {
  readonly number: number;
  readonly bucket: Bucket;
  readonly queue: Queue;
  readonly ready: ReadyIndex;
  readonly #lanes: Lanes;

  constructor(
    number: number,
    lanes: Lanes,
    bucket: Bucket,
    { queue, table }: { readonly queue: Queue; readonly table: MessageTable },
  ) {
    this.number = number;
    this.#lanes = lanes;
    this.bucket = bucket;
    this.queue = queue;
    this.ready = new ReadyIndex(table);
  }

  get size(): number {
    return this.ready.size;
  }

  turned(isOpen: boolean): void {
    this.#lanes.turned(this, isOpen);
  }
}

/** The highest priority first, then the smallest id. */
function highKey(table: MessageTable, slot: number): number {
  return (PRIORITY_MAX - table.priority[slot]!) * IDS + table.id[slot]!;
}

/** The lowest priority first, then the smallest id. */
function lowKey(table: MessageTable, slot: number): number {
  return table.priority[slot]! * IDS + table.id[slot]!;
}
