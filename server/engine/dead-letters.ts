/**
 * What a queue gives up goes to its dead letter queue, or is dropped:
 *
 *     rejected  expired  limit  attempts
 *         |        |       |        |        no dead letter queue, or it has been there (below) ──► dropped: a settle record
 *         +--------+---+---+--------+──────────────────────────────────────────────────────────► transferred: a transfer record
 *
 * So that a circle of queues ends: a message that would come, for another reason than that a consumer has rejected it, to a queue that its history names is
 * dropped, and so is one whose history is full. Each automatic step adds an entry, so no message takes more than `LIMITS.deadLettersMax` of them.
 */
import { type DeadLetterReason, LIMITS } from '@lovage/protocol';
import type { EffectSink } from './effects.js';
import { IdRuns } from './id-runs.js';
import type { Places } from './places.js';
import type { Queue, QueueTotals } from './queue.js';
import type { QueueRegistry } from './queue-registry.js';
import { recordParts, type SettleReason } from './record.js';
import type { EngineState } from './state.js';
import type { Transfers } from './transfers.js';

/** What the settle record of a dropped message says, and the total that counts it. */
const DROPPED_AS = {
  rejected: 'dropped',
  expired: 'expired',
  limit: 'evicted',
  attempts: 'exhausted',
} as const satisfies Record<DeadLetterReason, SettleReason & keyof QueueTotals>;

export class DeadLetters {
  readonly #state: EngineState;
  readonly #places: Places;
  readonly #transfers: Transfers;
  readonly #registry: QueueRegistry;
  /** Of the settle record that is gathered. */
  readonly #ids = new IdRuns();
  #reason: DeadLetterReason = 'rejected';

  constructor(state: EngineState, places: Places, transfers: Transfers, registry: QueueRegistry) {
    this.#state = state;
    this.#places = places;
    this.#transfers = transfers;
    this.#registry = registry;
  }

  /** A queue gives up a message that is in no list and with nobody. `flush` must follow. */
  giveUp(slot: number, queue: Queue, reason: DeadLetterReason, out: EffectSink): void {
    const to = this.#target(slot, queue, reason, out);
    if (to === null) this.drop(slot, queue, reason, out);
    else this.#transfers.transfer(slot, queue, to, reason, out);
  }

  /** Drops such a message whatever the queue's settings say. */
  drop(slot: number, queue: Queue, reason: DeadLetterReason, out: EffectSink): void {
    const { table } = this.#state;
    queue.totals[DROPPED_AS[reason]]++;
    if (!table.isMemory(slot)) {
      if (reason !== this.#reason) this.#flushDropped(out);
      this.#reason = reason;
      this.#ids.add(table.id[slot]!);
    }
    this.#places.forget(slot, queue);
  }

  /** Writes the records of what was given up. */
  flush(out: EffectSink): void {
    this.#transfers.flush(out);
    this.#flushDropped(out);
  }

  #flushDropped(out: EffectSink): void {
    if (this.#ids.isEmpty) return;
    const reason = DROPPED_AS[this.#reason];
    for (const ids of recordParts(this.#ids.pairs)) out.record({ type: 'settle', reason, ids });
    this.#ids.clear();
  }

  /** Where the message goes, null for nowhere. A queue that is being deleted gives nothing on: its own record says that all of it is gone. */
  #target(slot: number, queue: Queue, reason: DeadLetterReason, out: EffectSink): Queue | null {
    const name = queue.settings.deadLetterQueue;
    if (name === null || queue.isDeleted) return null;
    if (reason !== 'rejected') {
      const history = this.#state.table.historyOf(slot);
      if (history.length >= LIMITS.deadLettersMax || history.some((entry) => entry.queue === name)) return null;
    }
    const found = this.#state.queue(queue.namespace, name);
    return (
      found ?? this.#registry.create(queue.namespace, name, this.#state.defaultSettings(queue.namespace, name), out)
    );
  }
}
