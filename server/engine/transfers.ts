/**
 * A message goes from one queue to another: one record says that it has left the one and stands in the other, so that no crash loses or doubles it. It keeps
 * its id, its bytes and its priority, takes its place by age, and begins anew otherwise: no attempts, no delay, the life that the new queue gives.
 *
 * REDELIVERED stays as it is: it tells a consumer that somebody may have seen the message, which a change of queues does not undo. TRANSFERRED
 * is set beside it, because a delivery of the message rests on the transfer's record and not on its publish alone (promise P1).
 *
 * Records are gathered and written by `flush`, which must come before anything that rests on them: a delivery, an answer, the end of the command.
 */
import { NO_FAILURES } from '@lovage/protocol';
import { withDeadLetter, withoutLast } from './dead-letter-history.js';
import type { EffectSink } from './effects.js';
import { FLAG } from './message-table.js';
import type { Places } from './places.js';
import type { Queue } from './queue.js';
import { recordParts, type TransferReason } from './record.js';
import type { EngineState } from './state.js';

export class Transfers {
  readonly #state: EngineState;
  readonly #places: Places;
  /** Of the record that is gathered: id, index of the queue, expiry ms, id, ... */
  readonly #entries: number[] = [];
  #reason: TransferReason = 'moved';

  constructor(state: EngineState, places: Places) {
    this.#state = state;
    this.#places = places;
  }

  /** Brings a message that is in no list and with nobody from `from` to `to`, another queue of the same namespace. */
  transfer(slot: number, from: Queue, to: Queue, reason: TransferReason, out: EffectSink): void {
    const { table, nowMs } = this.#state;
    const { messageTtlMs } = to.settings;
    const expiryMs = messageTtlMs === 0 ? 0 : nowMs + messageTtlMs;
    this.place(slot, from, to, reason, nowMs, expiryMs);
    this.#places.touched.add(to);
    if (to.isEvicting) this.#places.grown.add(to);
    to.usedMs = nowMs;
    if (reason === 'moved' || reason === 'redriven') from.totals.moved++;
    else {
      from.totals.deadLettered++;
      if (!this.#state.watches.isIdle) this.#state.watches.dead(table.id[slot]!, reason);
    }
    to.totals.arrived++;
    if (table.isMemory(slot)) return;
    if (reason !== this.#reason) this.flush(out);
    this.#reason = reason;
    this.#entries.push(table.id[slot]!, to.index, expiryMs);
  }

  /** Writes what is gathered. */
  flush(out: EffectSink): void {
    const entries = this.#entries;
    if (entries.length === 0) return;
    for (const part of recordParts(entries))
      out.record({ type: 'transfer', timeMs: this.#state.nowMs, reason: this.#reason, entries: part });
    entries.length = 0;
  }

  /** The change of queues itself, live or on replay. */
  place(slot: number, from: Queue, to: Queue, reason: TransferReason, timeMs: number, expiryMs: number): void {
    const { table, timers } = this.#state;
    const length = table.length[slot]!;
    from.bytes -= length;
    to.bytes += length;
    table.queue[slot] = to.index;
    table.attempts[slot] = 0;
    table.flags[slot]! |= FLAG.TRANSFERRED;
    if (table.expiryMs[slot] !== 0) timers.clearExpiry(slot);
    table.expiryMs[slot] = expiryMs;
    if (expiryMs !== 0) timers.setExpiry(slot, expiryMs);
    // Whoever gets it back or elsewhere begins anew; a dead letter tells why it is one.
    if (reason === 'redriven' || reason === 'moved') table.setAttemptLog(slot, NO_FAILURES);
    if (reason === 'redriven') table.setHistory(slot, withoutLast(table.historyOf(slot)));
    else if (reason !== 'moved')
      table.setHistory(slot, withDeadLetter(table.historyOf(slot), from.name, reason, timeMs));
    this.#places.put(slot, to, 0);
  }
}
