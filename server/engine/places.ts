// hot path
/**
 * Where a message stands in its queue while it is with nobody: ready, or delayed. These are the steps from one place to another, with the queue's counts
 * and the message's timers; who may take them is decided elsewhere.
 *
 *     (in no list) --put--> READY/RETURNED or DELAYED --unlink--> (in no list) --forget--> gone
 */
import { STATE } from './message-table.js';
import { linkDelayed, type Queue, unlinkDelayed } from './queue.js';
import type { EngineState } from './state.js';

export class Places {
  readonly #state: EngineState;
  /** Queues that have something to deliver since they were served last. */
  readonly touched = new Set<Queue>();
  /** Queues that push out what is too many, and have grown since `Limits` looked at them. */
  readonly grown = new Set<Queue>();

  constructor(state: EngineState) {
    this.#state = state;
  }

  /** Puts a message that is in no list among the ready ones, or among the delayed ones until `dueMs` (0: ready). */
  put(slot: number, queue: Queue, dueMs: number): void {
    if (dueMs > 0) return this.delay(slot, queue, dueMs);
    this.#state.table.dueMs[slot] = 0;
    queue.ready.add(slot);
  }

  /** Puts a message that is in no list among the delayed. */
  delay(slot: number, queue: Queue, dueMs: number): void {
    const { table, timers } = this.#state;
    table.state[slot] = STATE.DELAYED;
    table.dueMs[slot] = dueMs;
    linkDelayed(table, queue, slot);
    timers.setDue(slot, dueMs);
  }

  /** Takes a waiting message out of its list. */
  unlink(slot: number, queue: Queue): void {
    const { table, timers } = this.#state;
    if (table.state[slot] === STATE.DELAYED) {
      unlinkDelayed(table, queue, slot);
      timers.clearDue(slot);
    } else {
      queue.ready.remove(slot);
    }
  }

  /** An unsettled message is in no list from now on; the caller ends its lease. */
  leave(slot: number, queue: Queue): void {
    const { table, notes } = this.#state;
    if (table.state[slot] === STATE.STARTED) queue.started--;
    else queue.leased--;
    if (!notes.isEmpty) notes.forget(table.id[slot]!);
  }

  /** Frees a message that is in no list, with its timers. */
  forget(slot: number, queue: Queue): void {
    const { table, timers, watches } = this.#state;
    queue.bytes -= table.length[slot]!;
    if (!watches.isIdle) watches.gone(table.id[slot]!);
    if (table.expiryMs[slot] !== 0) timers.clearExpiry(slot);
    table.free(slot);
  }
}
