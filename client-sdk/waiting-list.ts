// hot path
/** Deliveries that wait un-started, most urgent first, inside a priority in order of arrival. */
import { LIMITS } from '@lovage/protocol';
import type { ActiveDelivery } from './delivery.js';
import { Deque } from './deque.js';

/** One FIFO a priority, made when it is first needed. */
export class WaitingList {
  readonly #byPriority: (Deque<ActiveDelivery> | undefined)[] = new Array(LIMITS.priorityMax + 1).fill(undefined);
  /** No delivery waits above it. */
  #highest = -1;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  add(delivery: ActiveDelivery): void {
    const { priority } = delivery.wire;
    let deque = this.#byPriority[priority];
    if (deque === undefined) {
      deque = new Deque();
      this.#byPriority[priority] = deque;
    }
    deque.push(delivery);
    if (priority > this.#highest) this.#highest = priority;
    this.#size++;
  }

  /** Takes the next one out. */
  take(): ActiveDelivery | null {
    for (; this.#highest >= 0; this.#highest--) {
      const delivery = this.#byPriority[this.#highest]?.shift();
      if (delivery === undefined) continue;
      this.#size--;
      return delivery;
    }
    return null;
  }

  /** Calls `visit` with each, in no particular order. */
  each(visit: (delivery: ActiveDelivery) => void): void {
    for (const deque of this.#byPriority) for (const delivery of deque?.toArray() ?? []) visit(delivery);
  }

  /** Takes out those that `matches` says true to, in no particular order. O(n). */
  remove(matches: (delivery: ActiveDelivery) => boolean): ActiveDelivery[] {
    const removed: ActiveDelivery[] = [];
    for (const deque of this.#byPriority) {
      if (deque === undefined || deque.length === 0) continue;
      deque.retain((delivery) => {
        if (!matches(delivery)) return true;
        removed.push(delivery);
        return false;
      });
    }
    this.#size -= removed.length;
    return removed;
  }
}
