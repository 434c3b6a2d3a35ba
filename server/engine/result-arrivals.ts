// hot path
/**
 * In which order results came, and when: what the archive is filled by. A queue keeps its messages by priority and id, which says nothing of their age. Kept only where there is an archive, in memory only:
 * after a restart all results that are there have just come.
 *
 *     lovage.results of "default" ──► ring: (id 17, 12:00:01) (id 9, 12:00:01) (id 18, 12:00:02)      the first is the oldest
 *
 * A result that goes otherwise (it expires, is dropped, pushed out, purged) stays in its ring until somebody comes upon it. When a ring is full those are taken out before it grows, so it is at most
 * twice as long as what is alive.
 */
import type { MessageTable } from './message-table.js';
import type { Queue } from './queue.js';

/** Results that a ring holds at first. A power of two, as it stays. */
const CAPACITY = 256;

class Ring {
  readonly queue: Queue;
  #ids = new Float64Array(CAPACITY);
  #times = new Float64Array(CAPACITY);
  #head = 0;
  length = 0;

  constructor(queue: Queue) {
    this.queue = queue;
  }

  /** ms at which the first one came. */
  get firstMs(): number {
    return this.#times[this.#head]!;
  }

  get firstId(): number {
    return this.#ids[this.#head]!;
  }

  add(id: number, nowMs: number, table: MessageTable): void {
    if (this.length === this.#ids.length) this.#makeRoom(table);
    const at = (this.#head + this.length++) & (this.#ids.length - 1);
    this.#ids[at] = id;
    this.#times[at] = nowMs;
  }

  /** Takes the first one out. */
  drop(): void {
    this.#head = (this.#head + 1) & (this.#ids.length - 1);
    this.length--;
  }

  /** Leaves out what is gone, and takes twice the room if that is less than half. */
  #makeRoom(table: MessageTable): void {
    const ids = this.#ids;
    const times = this.#times;
    const live: number[] = [];
    for (let i = 0; i < this.length; i++) {
      const at = (this.#head + i) & (ids.length - 1);
      if (isIn(table, ids[at]!, this.queue)) live.push(at);
    }
    const capacity = live.length * 2 > ids.length ? ids.length * 2 : ids.length;
    this.#ids = new Float64Array(capacity);
    this.#times = new Float64Array(capacity);
    for (let i = 0; i < live.length; i++) {
      this.#ids[i] = ids[live[i]!]!;
      this.#times[i] = times[live[i]!]!;
    }
    this.#head = 0;
    this.length = live.length;
  }
}

export class ResultArrivals {
  readonly #table: MessageTable;
  /** Of the queues that have some. */
  readonly #rings = new Map<Queue, Ring>();
  /** There is an archive. */
  isOn = false;
  /** Queues that have become so long that the archive is not to wait until what is in them is old. */
  readonly #crowded = new Set<Queue>();

  constructor(table: MessageTable) {
    this.#table = table;
  }

  get isEmpty(): boolean {
    return this.#rings.size === 0;
  }

  add(queue: Queue, id: number, nowMs: number): void {
    if (!this.isOn) return;
    let ring = this.#rings.get(queue);
    if (ring === undefined) {
      ring = new Ring(queue);
      this.#rings.set(queue, ring);
    }
    ring.add(id, nowMs, this.#table);
    if (queue.isCrowded) this.#crowded.add(queue);
  }

  get hasCrowded(): boolean {
    return this.#crowded.size > 0;
  }

  /** The queue that has been crowded for the longest time, if any is; `look` says later whether it is still. */
  takeCrowded(): Queue | null {
    for (const queue of this.#crowded) {
      this.#crowded.delete(queue);
      return queue;
    }
    return null;
  }

  /** Something was taken from a queue. */
  look(queue: Queue): void {
    if (queue.isCrowded && this.#rings.has(queue)) this.#crowded.add(queue);
  }

  /** The queue is the last of `queues`. */
  toEnd(queue: Queue): void {
    const ring = this.#rings.get(queue);
    if (ring === undefined) return;
    this.#rings.delete(queue);
    this.#rings.set(queue, ring);
  }

  /** The queues that have some. */
  queues(): IterableIterator<Queue> {
    return this.#rings.keys();
  }

  /** ms at which the first of a queue came; Infinity if there is none. */
  firstMs(queue: Queue): number {
    return this.#rings.get(queue)?.firstMs ?? Number.POSITIVE_INFINITY;
  }

  /** Takes out those of a queue that are gone and stand before one that is not, at most so many. */
  passGone(queue: Queue, most: number): void {
    const ring = this.#rings.get(queue);
    if (ring === undefined) return;
    for (let passed = 0; passed < most && ring.length > 0; passed++) {
      if (isIn(this.#table, ring.firstId, queue)) return;
      ring.drop();
    }
    if (ring.length === 0) this.#rings.delete(queue);
  }

  /** Id of the first of a queue, which may be gone. `firstMs` has said that there is one. */
  first(queue: Queue): number {
    return this.#rings.get(queue)!.firstId;
  }

  /** Takes that one out. */
  drop(queue: Queue): void {
    const ring = this.#rings.get(queue)!;
    ring.drop();
    if (ring.length === 0) this.#rings.delete(queue);
  }
}

function isIn(table: MessageTable, id: number, queue: Queue): boolean {
  const slot = table.find(id);
  return slot >= 0 && table.queue[slot] === queue.index && !queue.isDeleted;
}
