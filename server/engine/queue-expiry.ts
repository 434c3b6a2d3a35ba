/**
 * Queues that go when nobody has used them for so long: no consumers, no declaration, no publish, nothing that came from another queue. Each use only
 * notes the time; the deadline that stands in the heap may be too early, and is looked at again when it comes.
 */
import { IndexedHeap } from '../collections/indexed-heap.js';
import type { Queue } from './queue.js';
import type { EngineState } from './state.js';

export class QueueExpiry {
  readonly #state: EngineState;
  #capacity = 64;
  #heap = new IndexedHeap(new Int32Array(this.#capacity));

  constructor(state: EngineState) {
    this.#state = state;
  }

  /** ms of the next look, Infinity if there is none. */
  next(): number {
    return this.#heap.topKey();
  }

  /** The queue is there, its settings have changed, or its last consumer has gone: it is unused from now on. */
  watch(queue: Queue): void {
    if (queue.isDeleted) return;
    this.forget(queue);
    const { expiresAfterUnusedMs } = queue.settings;
    if (expiresAfterUnusedMs === 0) return;
    queue.usedMs = this.#state.nowMs;
    if (queue.index >= this.#capacity) this.#grow(queue.index);
    this.#heap.push(queue.index, queue.usedMs + expiresAfterUnusedMs);
  }

  forget({ index }: Queue): void {
    if (index < this.#capacity && this.#heap.has(index)) this.#heap.remove(index);
  }

  /** A queue whose time has come; null if there is none. */
  due(): Queue | null {
    const { nowMs } = this.#state;
    while (this.#heap.topKey() <= nowMs) {
      const queue = this.#state.queues[this.#heap.pop()];
      // Its last consumer's end is told to `watch`.
      if (queue === undefined || queue.isDeleted || queue.attachments.size > 0) continue;
      const deadlineMs = queue.usedMs + queue.settings.expiresAfterUnusedMs;
      if (deadlineMs <= nowMs) return queue;
      this.#heap.push(queue.index, deadlineMs);
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
