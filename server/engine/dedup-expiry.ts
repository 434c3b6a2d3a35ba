/** Dedup keys that have run out are let go even if no other comes to their queue: they count as memory, for which publishers may be held back. */
import type { Queue } from './queue.js';
import { QueueAlarms } from './queue-alarms.js';
import type { EngineState } from './state.js';

/** Keys at a time: some 2 ms of work. */
const SLICE = 10_000;
/** A look at a queue takes as long as this many keys. */
const QUEUE_COST = 10;
/** ms between two looks at a queue, at least; and this share of its window: so much later than due its keys go. */
const LOOK_MS_MIN = 1_000;
const LOOK_SHARE = 1 / 8;

export class DedupExpiry {
  readonly #state: EngineState;
  readonly #alarms: QueueAlarms;

  constructor(state: EngineState) {
    this.#state = state;
    this.#alarms = new QueueAlarms(state);
  }

  /** ms of the next look, Infinity if there is none. */
  next(): number {
    return this.#alarms.next();
  }

  /** Keys have come to a queue. */
  watch(queue: Queue): void {
    const { dedup } = queue;
    if (dedup.isWatched || dedup.size === 0) return;
    dedup.isWatched = true;
    this.#set(queue);
  }

  /** Lets go of a slice of what has run out. */
  look(): void {
    const { nowMs } = this.#state;
    for (let left = SLICE; left > 0; left -= QUEUE_COST) {
      const queue = this.#alarms.take();
      if (queue === null) return;
      const { dedup } = queue;
      left -= dedup.prune(nowMs, left);
      if (left <= 0) this.#alarms.set(queue, nowMs);
      else if (dedup.size > 0) this.#set(queue);
      else dedup.isWatched = false;
    }
  }

  #set(queue: Queue): void {
    const { oldestExpiryMs, windowMs } = queue.dedup;
    const laterMs = this.#state.nowMs + Math.max(LOOK_MS_MIN, windowMs * LOOK_SHARE);
    this.#alarms.set(queue, Math.max(oldestExpiryMs, laterMs));
  }
}
