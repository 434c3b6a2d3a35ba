// hot path
/**
 * A message's way out and back: waiting -> leased -> started -> settled, or back to its old place.
 *
 *     READY/RETURNED --lease--> LEASED --start--> STARTED --ack--> gone
 *          ^                      |  |               |
 *          |<---- release, lost --+  +---- ack ----> gone
 *          |<---- nack, grace over (DELAYED first if there is a backoff) ---+
 *
 * What does not come back, because it is rejected, has expired or was attempted too often, is given up by its queue: see `dead-letters.ts`.
 */
import type { Attachment, Consumer } from './consumer.js';
import type { DeadLetters } from './dead-letters.js';
import type { EffectSink } from './effects.js';
import { IdRuns } from './id-runs.js';
import type { Limits } from './limits.js';
import { FLAG, STATE } from './message-table.js';
import type { Places } from './places.js';
import { type Queue, unlinkDelayed } from './queue.js';
import type { Recall } from './recall.js';
import { recordParts, type TransferReason } from './record.js';
import type { Session } from './session.js';
import type { SingleActive } from './single-active.js';
import type { EngineState } from './state.js';
import type { Transfers } from './transfers.js';

const ATTEMPTS_MAX = 65_535;

/** The parts of the engine that deliveries work with. */
export interface DeliveryParts {
  readonly places: Places;
  readonly transfers: Transfers;
  readonly deadLetters: DeadLetters;
  readonly limits: Limits;
  readonly single: SingleActive;
  readonly recall: Recall;
}

export class Deliveries {
  readonly #state: EngineState;
  readonly #places: Places;
  readonly #transfers: Transfers;
  readonly #deadLetters: DeadLetters;
  readonly #limits: Limits;
  readonly #single: SingleActive;
  readonly #recall: Recall;
  readonly #settledIds = new IdRuns();
  readonly #touchedConsumers = new Set<Consumer>();

  constructor(state: EngineState, parts: DeliveryParts) {
    this.#state = state;
    this.#places = parts.places;
    this.#transfers = parts.transfers;
    this.#deadLetters = parts.deadLetters;
    this.#limits = parts.limits;
    this.#single = parts.single;
    this.#recall = parts.recall;
  }

  /** Hands out what waits in a queue until nothing waits or nobody has credit. */
  dispatch(queue: Queue, out: EffectSink): void {
    if (!queue.isDeliverable) return;
    for (;;) {
      const slot = this.#next(queue, out);
      if (slot < 0) break;
      const attachment = queue.rotation.next();
      if (attachment === null) {
        this.#recall.waits(queue, this.#state.table.priority[slot]!);
        break;
      }
      this.#lease(slot, queue, attachment, out);
    }
    this.flushSettled(out);
  }

  /**
   * Gives a consumer that has credit what waits in its marked queues. What has come back to a queue in this command goes to those first that were
   * idle there, by their priority.
   */
  pull(consumer: Consumer, out: EffectSink): void {
    while (consumer.hasCredit()) {
      const attachment = consumer.nextMarked();
      if (attachment === null) {
        if (consumer.unsettled === consumer.started) this.#recall.idles(consumer);
        break;
      }
      const { queue } = attachment;
      const slot = queue.isDeliverable ? this.#next(queue, out) : -1;
      if (slot < 0) {
        consumer.unmark(attachment);
        queue.rotation.add(attachment);
        continue;
      }
      const rival = this.#places.touched.has(queue) ? this.#rival(queue, consumer.priority) : null;
      if (rival === null) consumer.served();
      this.#lease(slot, queue, rival ?? attachment, out);
    }
    this.flushSettled(out);
  }

  /**
   * Takes back what a consumer has not started, and with `started` what it has, too. The messages wait again in their old places; `flow` must follow.
   */
  takeBack(consumer: Consumer, started: boolean, out: EffectSink): void {
    const { table, leases } = this.#state;
    const { session } = consumer;
    const entries: number[] = [];
    for (const lease of this.#leasesOf(consumer)) {
      const slot = leases.slot[lease]!;
      const isStarted = slot >= 0 && table.state[slot] === STATE.STARTED;
      if (isStarted && !started) continue;
      if (slot < 0 && !started) continue;
      const tag = leases.tag[lease]!;
      this.freeLease(session, lease, tag);
      session.revoke(tag);
      if (slot < 0) continue;
      const isBack = this.giveBack(slot, 0, out);
      if (isBack && isStarted && !table.isMemory(slot)) entries.push(table.id[slot]!, table.attempts[slot]!, 0);
    }
    this.recordReturns(entries, out);
    this.#deadLetters.flush(out);
  }

  /** Serves the queues and consumers that the last command has changed. */
  flow(out: EffectSink): void {
    this.#deadLetters.flush(out);
    this.#flow(out);
  }

  touch(consumer: Consumer): void {
    this.#touchedConsumers.add(consumer);
  }

  /** A lease's bytes have been handed to its connection. In ack mode none its message, settled by the journal already, goes now. */
  sent(lease: number): void {
    const { table, leases } = this.#state;
    const slot = leases.slot[lease]!;
    if (slot < 0 || table.state[slot] !== STATE.SENDING) return;
    table.free(slot);
    leases.slot[lease] = -1;
  }

  /** A delayed message's time has come. `flow` must follow. */
  due(slot: number): void {
    const { table } = this.#state;
    const queue = this.#state.queueOf(slot);
    unlinkDelayed(table, queue, slot);
    table.dueMs[slot] = 0;
    queue.ready.add(slot);
    this.#places.touched.add(queue);
  }

  /** An expiry has come: the message goes if it waits. One that is with a consumer is looked at again when it comes back. `flow` must follow. */
  expire(slot: number, out: EffectSink): void {
    const state = this.#state.table.state[slot];
    if (state !== STATE.READY && state !== STATE.RETURNED && state !== STATE.DELAYED) return;
    const queue = this.#state.queueOf(slot);
    this.#places.unlink(slot, queue);
    this.#deadLetters.giveUp(slot, queue, 'expired', out);
  }

  /**
   * Brings a message, waiting or unsettled, to another queue of its namespace. Whoever has it gets the credit back; a later answer is SUPERSEDED. What ack
   * mode none is sending is settled and cannot go. `flow` must follow.
   */
  transfer(slot: number, from: Queue, to: Queue, reason: TransferReason, out: EffectSink): void {
    const { table } = this.#state;
    const state = table.state[slot];
    if (state === STATE.LEASED || state === STATE.STARTED) this.revoke(table.prev[slot]!, from);
    else this.#places.unlink(slot, from);
    this.#transfers.transfer(slot, from, to, reason, out);
  }

  /** Drops an unsettled message, by itself or with its queue. Its consumer gets the credit back; a later answer is SUPERSEDED. */
  dropLeased(lease: number, queue: Queue): void {
    const slot = this.#state.leases.slot[lease]!;
    this.revoke(lease, queue);
    this.#places.forget(slot, queue);
  }

  /** Takes a delivery back from whoever has it: its message is in no list. */
  revoke(lease: number, queue: Queue): void {
    const { leases } = this.#state;
    const tag = leases.tag[lease]!;
    const { session } = leases.consumer[lease]!;
    if (this.#state.table.state[leases.slot[lease]!] === STATE.LEASED) this.#refund(leases.slot[lease]!);
    this.#places.leave(leases.slot[lease]!, queue);
    this.freeLease(session, lease, tag);
    session.revoke(tag);
  }

  /** Replay: a message in no list is with a handler of a session that may come back. */
  restoreStarted(slot: number, queue: Queue, consumer: Consumer, tag: number): void {
    const { table, leases } = this.#state;
    const { session } = consumer;
    const bytes = table.length[slot]!;
    const lease = leases.add(slot, tag, consumer, 0, this.#state.nowMs, bytes);
    consumer.unsettledBytes += bytes;
    session.tags.set(tag, lease);
    session.lastTag = Math.max(session.lastTag, tag);
    consumer.unsettled++;
    this.#markStarted(lease);
    table.state[slot] = STATE.STARTED;
    table.prev[slot] = lease;
    queue.started++;
  }

  /** Replay: the handler of `restoreStarted` is done with the message, which is in no list again. */
  endStarted(slot: number, queue: Queue): void {
    const { table, leases } = this.#state;
    const lease = table.prev[slot]!;
    queue.started--;
    this.freeLease(leases.consumer[lease]!.session, lease, leases.tag[lease]!);
  }

  /** After a restart nobody knows who had what: each waiting message may have been handed out before. */
  markRedelivered(): void {
    const { table } = this.#state;
    for (let slot = 0; slot < table.slotsUsed; slot++) table.flags[slot]! |= FLAG.REDELIVERED;
  }

  /** The consumer says that a handler has begun on its delivery. */
  start(lease: number): void {
    const consumer = this.#state.leases.consumer[lease]!;
    this.begin(this.#state.leases.slot[lease]!);
    this.#markStarted(lease);
    if (consumer.unsettled === consumer.started && consumer.hasCredit()) this.#recall.idles(consumer);
  }

  #markStarted(lease: number): void {
    const { leases } = this.#state;
    const consumer = leases.consumer[lease]!;
    leases.isStarted[lease] = 1;
    consumer.started++;
    if (leases.isRecalled[lease] === 0) return;
    leases.isRecalled[lease] = 0;
    consumer.recalling--;
  }

  /** A handler has begun on a leased message: an attempt. */
  begin(slot: number): void {
    const { table } = this.#state;
    const queue = this.#state.queueOf(slot);
    table.state[slot] = STATE.STARTED;
    if (table.attempts[slot]! < ATTEMPTS_MAX) table.attempts[slot]!++;
    queue.leased--;
    queue.started++;
  }

  /**
   * An unsettled message comes back: to its old place, or among the delayed until `dueMs` (0: at once). False if its queue gives it up instead, because it
   * has expired or a handler has had it as often as the queue allows. The dead letters' `flush` must follow.
   */
  giveBack(slot: number, dueMs: number, out: EffectSink): boolean {
    const { table, timers, nowMs } = this.#state;
    if (table.state[slot] === STATE.SENDING) {
      table.free(slot);
      return false;
    }
    const queue = this.#state.queueOf(slot);
    const isStarted = table.state[slot] === STATE.STARTED;
    if (!isStarted) this.#refund(slot);
    this.#places.leave(slot, queue);
    table.flags[slot]! |= FLAG.REDELIVERED;
    queue.totals.returned++;
    const expiryMs = table.expiryMs[slot]!;
    const { attemptsMax } = queue.settings;
    const hasExpired = expiryMs !== 0 && expiryMs <= nowMs;
    if (hasExpired || (isStarted && attemptsMax !== 0 && table.attempts[slot]! >= attemptsMax)) {
      this.#deadLetters.giveUp(slot, queue, hasExpired ? 'expired' : 'attempts', out);
      return false;
    }
    if (expiryMs !== 0) timers.setExpiry(slot, expiryMs);
    if (queue.isEvicting) this.#places.grown.add(queue);
    if (dueMs > nowMs) {
      this.#places.delay(slot, queue, dueMs);
    } else {
      this.#places.put(slot, queue, 0);
      this.#places.touched.add(queue);
    }
    return true;
  }

  /** Its rate limit does not count a delivery that nobody has begun on. */
  #refund(slot: number): void {
    const { table, nowMs } = this.#state;
    if ((table.flags[slot]! & FLAG.RATED) !== 0) table.buckets.refund(table.bucket[slot]!, nowMs, this.#places.touched);
  }

  /** The next message that may go out, expired ones dropped on the way; -1 if there is none. */
  #next(queue: Queue, out: EffectSink): number {
    const { table, nowMs } = this.#state;
    for (;;) {
      const slot = queue.ready.peek();
      if (slot < 0) return -1;
      const expiryMs = table.expiryMs[slot]!;
      if (expiryMs === 0 || expiryMs > nowMs) return slot;
      queue.ready.remove(slot);
      this.#deadLetters.giveUp(slot, queue, 'expired', out);
      this.#deadLetters.flush(out);
    }
  }

  #lease(slot: number, queue: Queue, attachment: Attachment, out: EffectSink): void {
    const { table, leases } = this.#state;
    const { consumer } = attachment;
    const { session } = consumer;
    queue.ready.remove(slot);
    if ((table.flags[slot]! & FLAG.RATED) !== 0) table.buckets.spend(table.bucket[slot]!, this.#state.nowMs);
    const tag = ++session.lastTag;
    const bytes = table.length[slot]!;
    const lease = leases.add(slot, tag, consumer, attachment.index, this.#state.nowMs, bytes);
    session.tags.set(tag, lease);
    session.unsentBytes += bytes;
    consumer.unsettled++;
    consumer.unsettledBytes += bytes;
    queue.totals.delivered++;
    table.prev[slot] = lease;
    if (consumer.ack === 'none') this.#settleUnsent(slot, queue);
    else {
      table.state[slot] = STATE.LEASED;
      if (queue.leased++ === 0) this.#recall.watch(queue);
    }
    out.deliver(session.number, lease);
  }

  /** Ack mode none: the journal settles it now, the slot goes when the bytes are sent. */
  #settleUnsent(slot: number, queue: Queue): void {
    const { table, timers } = this.#state;
    table.state[slot] = STATE.SENDING;
    queue.bytes -= table.length[slot]!;
    queue.totals.acked++;
    if (table.expiryMs[slot] !== 0) timers.clearExpiry(slot);
    if (!table.isMemory(slot)) this.#settledIds.add(table.id[slot]!);
    if (!this.#state.watches.isIdle) this.#state.watches.gone(table.id[slot]!);
  }

  /** An unsettled message is done; its id goes into the settle record that `#flushSettled` writes. */
  finish(slot: number): void {
    const { table } = this.#state;
    if (table.state[slot] === STATE.SENDING) return table.free(slot);
    const queue = this.#state.queueOf(slot);
    this.#places.leave(slot, queue);
    queue.totals.acked++;
    this.settle(slot);
  }

  /** The same of one that is in no list and counted already. `flushSettled` must follow. */
  settle(slot: number): void {
    const { table } = this.#state;
    if (!table.isMemory(slot)) this.#settledIds.add(table.id[slot]!);
    this.#places.forget(slot, this.#state.queueOf(slot));
  }

  /** Gives the credit back. */
  freeLease(session: Session, lease: number, tag: number): void {
    const { leases } = this.#state;
    const consumer = leases.consumer[lease]!;
    session.tags.delete(tag);
    if (leases.isStarted[lease] === 1) consumer.started--;
    if (leases.isRecalled[lease] === 1) consumer.recalling--;
    consumer.unsettledBytes -= leases.bytes[lease]!;
    leases.free(lease);
    consumer.unsettled--;
    if (consumer.isActive) this.#touchedConsumers.add(consumer);
    else if (consumer.unsettled === 0) session.consumers.delete(consumer.id);
  }

  flushSettled(out: EffectSink): void {
    if (this.#settledIds.isEmpty) return;
    for (const ids of recordParts(this.#settledIds.pairs)) out.record({ type: 'settle', reason: 'acked', ids });
    this.#settledIds.clear();
  }

  recordReturns(entries: readonly number[], out: EffectSink): void {
    if (entries.length === 0) return;
    for (const part of recordParts(entries)) out.record({ type: 'return', entries: part });
  }

  #leasesOf(consumer: Consumer): number[] {
    const found: number[] = [];
    consumer.session.tags.forEach((_, lease) => {
      if (this.#state.leases.consumer[lease] === consumer) found.push(lease);
    });
    const { tag } = this.#state.leases;
    return found.sort((a, b) => tag[a]! - tag[b]!);
  }

  /**
   * First what is too many goes, and who is to be served alone is chosen. New credit comes next, in each consumer's own order of queues; what is
   * left of the touched queues goes to those who have stood idle.
   */
  #flow(out: EffectSink): void {
    this.prepare(out);
    const touched = this.#touchedConsumers;
    if (touched.size > 0) {
      const consumers = touched.size === 1 ? touched : [...touched].sort((a, b) => b.priority - a.priority);
      for (const consumer of consumers) {
        touched.delete(consumer);
        this.pull(consumer, out);
      }
    }
    this.dispatchTouched(out);
  }

  /** Before anything is given out: what is too many goes, and single active consumers are chosen. */
  prepare(out: EffectSink): void {
    if (this.#limits.isBusy) {
      this.#limits.enforce(out);
      this.#deadLetters.flush(out);
    }
    if (this.#single.isWaiting) this.#single.promote((consumer) => this.touch(consumer));
  }

  /** Who stands idle at a touched queue, of this priority or above. One whose new credit is still to be given out will ask in its own order. */
  #rival(queue: Queue, priority: number): Attachment | null {
    for (;;) {
      const attachment = queue.rotation.nextFrom(priority);
      if (attachment === null || !this.#touchedConsumers.has(attachment.consumer)) return attachment;
      queue.rotation.remove(attachment);
      attachment.consumer.mark(attachment);
    }
  }

  dispatchTouched(out: EffectSink): void {
    for (const queue of this.#places.touched) {
      this.#places.touched.delete(queue);
      this.dispatch(queue, out);
    }
  }
}
