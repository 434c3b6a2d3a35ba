/**
 * Queues that hold more than they may push messages out: the oldest of the lowest priority that is ready, or if none is, a delayed one. Unsettled messages
 * count, but stay. One eviction may fill another queue, so those that have grown wait in a list until none of them is too full; a message takes a
 * bounded number of such steps (see `dead-letters.ts`), and what is beyond a slice goes on with the next tick.
 */
import type { DeadLetters } from './dead-letters.js';
import type { EffectSink } from './effects.js';
import type { Places } from './places.js';
import type { Queue } from './queue.js';
import type { EngineState } from './state.js';

/** Evictions at a time: some 5 ms of work. */
const SLICE = 10_000;

export class Limits {
  readonly #state: EngineState;
  readonly #places: Places;
  readonly #deadLetters: DeadLetters;

  constructor(state: EngineState, places: Places, deadLetters: DeadLetters) {
    this.#state = state;
    this.#places = places;
    this.#deadLetters = deadLetters;
  }

  /** True while queues are to be looked at that have grown. */
  get isBusy(): boolean {
    return this.#places.grown.size > 0;
  }

  /** Evicts what is too many in the queues that have grown. The dead letters' `flush` must follow. */
  enforce(out: EffectSink): void {
    const { grown } = this.#places;
    for (let left = SLICE; left > 0 && grown.size > 0; ) {
      const queue = lowest(grown);
      left -= this.#shrink(queue, left, out);
      if (left > 0) grown.delete(queue);
    }
  }

  /** Evicts up to `most` messages; returns how many. */
  #shrink(queue: Queue, most: number, out: EffectSink): number {
    let evicted = 0;
    while (evicted < most && queue.isTooFull && !queue.isDeleted) {
      const slot = queue.ready.size > 0 ? queue.ready.peekLowest() : queue.delayedHead;
      if (slot < 0) break;
      this.#evict(slot, queue, out);
      evicted++;
    }
    return evicted;
  }

  #evict(slot: number, queue: Queue, out: EffectSink): void {
    const { table, nowMs } = this.#state;
    this.#places.unlink(slot, queue);
    const expiryMs = table.expiryMs[slot]!;
    if (expiryMs !== 0 && expiryMs <= nowMs) this.#deadLetters.giveUp(slot, queue, 'expired', out);
    else if (queue.settings.overflow === 'drop-head') this.#deadLetters.drop(slot, queue, 'limit', out);
    else this.#deadLetters.giveUp(slot, queue, 'limit', out);
  }
}

/** The queue of the lowest index, so that the outcome does not hang on the order in which the queues have grown. */
function lowest(queues: ReadonlySet<Queue>): Queue {
  let found: Queue | null = null;
  for (const queue of queues) if (found === null || queue.index < found.index) found = queue;
  return found!;
}
