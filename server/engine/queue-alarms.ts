/** A time for each queue that waits for one, the earliest first: O(log n) in the queues that do. */
import { IndexedHeap } from '../collections/indexed-heap.js';
import type { Queue } from './queue.js';
import type { EngineState } from './state.js';

export class QueueAlarms {
  readonly #state: EngineState;
  #capacity = 64;
  #heap = new IndexedHeap(new Int32Array(this.#capacity));

  constructor(state: EngineState) {
    this.#state = state;
  }

  /** ms of the earliest, Infinity if none waits. */
  next(): number {
    return this.#heap.topKey();
  }

  /** The queue waits for that time, and for no other. */
  set(queue: Queue, atMs: number): void {
    this.clear(queue);
    if (queue.index >= this.#capacity) this.#grow(queue.index);
    this.#heap.push(queue.index, atMs);
  }

  clear({ index }: Queue): void {
    if (index < this.#capacity && this.#heap.has(index)) this.#heap.remove(index);
  }

  /** Takes out a queue whose time has come; null if there is none. */
  take(): Queue | null {
    while (this.#heap.topKey() <= this.#state.nowMs) {
      const queue = this.#state.queues[this.#heap.pop()];
      if (queue !== undefined && !queue.isDeleted) return queue;
    }
    return null;
  }

  #grow(index: number): void {
    while (index >= this.#capacity) this.#capacity *= 2;
    const grown = new IndexedHeap(new Int32Array(this.#capacity));
    this.#heap.forEach((item, key) => {
      grown.push(item, key);
    });
    this.#heap = grown;
  }
}
