// hot path
/**
 * The one timer structure: due times and expiries of messages, earliest first. A message has at most one of each, so they are known by slot,
 * and cancelling is O(log n).
 */
import { IndexedHeap } from '../collections/indexed-heap.js';

export class Timers {
  readonly #heap: IndexedHeap;

  constructor(capacity: number) {
    this.#heap = new IndexedHeap(new Int32Array(capacity * 2));
  }

  get size(): number {
    return this.#heap.size;
  }

  /** ms of the earliest timer, Infinity if there is none. */
  next(): number {
    return this.#heap.topKey();
  }

  setDue(slot: number, dueMs: number): void {
    this.#heap.push(slot * 2, dueMs);
  }

  /** Sets an expiry unless it is set already. */
  setExpiry(slot: number, expiryMs: number): void {
    if (!this.#heap.has(slot * 2 + 1)) this.#heap.push(slot * 2 + 1, expiryMs);
  }

  clearDue(slot: number): void {
    if (this.#heap.has(slot * 2)) this.#heap.remove(slot * 2);
  }

  clearExpiry(slot: number): void {
    if (this.#heap.has(slot * 2 + 1)) this.#heap.remove(slot * 2 + 1);
  }

  hasDue(slot: number): boolean {
    return this.#heap.has(slot * 2);
  }

  hasExpiry(slot: number): boolean {
    return this.#heap.has(slot * 2 + 1);
  }

  /** Takes out the earliest timer: slot * 2 for a due time, slot * 2 + 1 for an expiry. */
  pop(): number {
    return this.#heap.pop();
  }
}
