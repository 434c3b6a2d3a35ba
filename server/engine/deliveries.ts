// hot path
/**
 * A message's way out and back: waiting -> leased -> started -> settled, or back to its old place.
 *
 *     READY/RETURNED --lease--> LEASED --start--> STARTED --ack--> gone
 *          ^                      |  |               |
 *          |<---- release, lost --+  +---- ack ----> gone
 *          |<---- nack, grace over (DELAYED first if there is a backoff) ---+
 */
import type { ErrorCode } from '@lovage/protocol';
import type { NackCommand, SettleCommand } from './command.js';
import type { Attachment, Consumer } from './consumer.js';
import type { EffectSink } from './effects.js';
import { IdRuns } from './id-runs.js';
import { FLAG, STATE } from './message-table.js';
import { linkDelayed, type Queue, unlinkDelayed } from './queue.js';
import type { Recall } from './recall.js';
import { recordParts, type SettleReason } from './record.js';
import { Refusals } from './refusals.js';
import type { Session } from './session.js';
import type { EngineState } from './state.js';

/** The ranges of a frame may name so many tags beyond those that are unsettled; one that goes further is refused whole instead of being walked through. */
const STALE_TAGS_MAX = 65_536;
const ATTEMPTS_MAX = 65_535;

export class Deliveries {
  readonly #state: EngineState;
  readonly #recall: Recall;
  readonly #settledIds = new IdRuns();
  readonly #entries: number[] = [];
  /** Of the settlement frame at hand. */
  readonly #refusals = new Refusals();
  readonly #touchedQueues = new Set<Queue>();
  readonly #touchedConsumers = new Set<Consumer>();

  constructor(state: EngineState, recall: Recall) {
    this.#state = state;
    this.#recall = recall;
  }

  /** Hands out what waits in a queue until nothing waits or nobody has credit. */
  dispatch(queue: Queue, out: EffectSink): void {
    if (!queue.isDeliverable) return;
    for (;;) {
      const slot = this.#next(queue, out);
      if (slot < 0) break;
      const attachment = queue.rotation.next();
      if (attachment === null) break;
      this.#lease(slot, queue, attachment, out);
    }
    this.#flushSettled('acked', out);
  }

  /**
   * Gives a consumer that has credit what waits in its marked queues. What has come back to a queue in this command goes to those first that were
   * idle there, by their priority.
   */
  pull(consumer: Consumer, out: EffectSink): void {
    while (consumer.hasCredit()) {
      const attachment = consumer.nextMarked();
      if (attachment === null) break;
      const { queue } = attachment;
      const slot = queue.isDeliverable ? this.#next(queue, out) : -1;
      if (slot < 0) {
        consumer.unmark(attachment);
        queue.rotation.add(attachment);
        continue;
      }
      const rival = this.#touchedQueues.has(queue) ? this.#rival(queue, consumer.priority) : null;
      if (rival === null) consumer.served();
      this.#lease(slot, queue, rival ?? attachment, out);
    }
    this.#flushSettled('acked', out);
  }

  start(command: SettleCommand, out: EffectSink): void {
    const session = this.#state.session(command.session);
    const entries = this.#entries;
    entries.length = 0;
    this.#eachTag(session, command, (lease, tag) => {
      const { table, leases } = this.#state;
      const slot = leases.slot[lease]!;
      if (slot < 0 || table.state[slot] !== STATE.LEASED) return null;
      this.#begin(slot);
      const consumer = leases.consumer[lease]!;
      if (consumer.ack === 'early') {
        this.#finish(slot, 'acked');
        leases.slot[lease] = -1;
      } else if (!table.isMemory(slot)) {
        entries.push(table.id[slot]!, tag, consumer.id);
      }
      return null;
    });
    if (entries.length > 0) {
      this.#recordSession(session, out);
      for (const part of recordParts(entries)) out.record({ type: 'start', session: session.number, entries: part });
    }
    this.#flushSettled('acked', out);
    this.#settle(session, command.settleSeq, out);
  }

  ack(command: SettleCommand, out: EffectSink): void {
    const session = this.#state.session(command.session);
    this.#eachTag(session, command, (lease, tag) => {
      const slot = this.#state.leases.slot[lease]!;
      if (slot >= 0) this.#finish(slot, 'acked');
      this.#freeLease(session, lease, tag);
      return null;
    });
    this.#flushSettled('acked', out);
    this.#settle(session, command.settleSeq, out);
    this.#flow(out);
  }

  nack(command: NackCommand, out: EffectSink): void {
    const session = this.#state.session(command.session);
    const entries = this.#entries;
    entries.length = 0;
    this.#eachTag(session, command, (lease, tag) => {
      const slot = this.#state.leases.slot[lease]!;
      if (slot >= 0 && command.requeue) this.#standInLine(lease, slot);
      this.#freeLease(session, lease, tag);
      if (slot >= 0 && command.requeue) this.#requeue(slot, command.delayMs, entries, out);
      else if (slot >= 0) this.#finish(slot, 'dropped');
      return null;
    });
    this.#recordReturns(entries, out);
    this.#flushSettled('dropped', out);
    this.#settle(session, command.settleSeq, out);
    this.#flow(out);
  }

  release(command: SettleCommand, out: EffectSink): void {
    const session = this.#state.session(command.session);
    const yielding = new Set<Consumer>();
    this.#eachTag(session, command, (lease, tag) => {
      const slot = this.#state.leases.slot[lease]!;
      if (slot >= 0 && this.#state.table.state[slot] === STATE.STARTED) return 'INVALID_ARGUMENT';
      yielding.add(this.#state.leases.consumer[lease]!);
      this.#freeLease(session, lease, tag);
      if (slot >= 0) this.giveBack(slot, 0, out);
      return null;
    });
    this.#settle(session, command.settleSeq, out);
    for (const consumer of yielding) consumer.isYielding = true;
    this.#dispatchTouched(out);
    for (const consumer of yielding) consumer.isYielding = false;
    this.#flow(out);
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
      this.#freeLease(session, lease, tag);
      session.revoke(tag);
      if (slot < 0) continue;
      if (isStarted && !table.isMemory(slot)) entries.push(table.id[slot]!, table.attempts[slot]!, 0);
      this.giveBack(slot, 0, out);
    }
    this.#recordReturns(entries, out);
  }

  /** Serves the queues and consumers that the last command has changed. */
  flow(out: EffectSink): void {
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

  /** Puts an unsettled message back: to its old place, or among the delayed until `dueMs` (0: at once). Expired ones go. */
  giveBack(slot: number, dueMs: number, out: EffectSink): void {
    const { table, timers, nowMs } = this.#state;
    if (table.state[slot] === STATE.SENDING) return table.free(slot);
    const queue = this.#state.queueOf(slot);
    this.#leave(slot, queue);
    table.flags[slot]! |= FLAG.REDELIVERED;
    queue.totals.returned++;
    const expiryMs = table.expiryMs[slot]!;
    if (expiryMs !== 0 && expiryMs <= nowMs) return this.#drop(slot, queue, 'expired', out);
    if (expiryMs !== 0) timers.setExpiry(slot, expiryMs);
    if (dueMs > nowMs) {
      this.delay(slot, queue, dueMs);
    } else {
      table.dueMs[slot] = 0;
      queue.ready.add(slot);
      this.#touchedQueues.add(queue);
    }
  }

  /** Puts a message that is in no list among the delayed. */
  delay(slot: number, queue: Queue, dueMs: number): void {
    const { table, timers } = this.#state;
    table.state[slot] = STATE.DELAYED;
    table.dueMs[slot] = dueMs;
    linkDelayed(table, queue, slot);
    timers.setDue(slot, dueMs);
  }

  /** A delayed message's time has come. `flow` must follow. */
  due(slot: number): void {
    const { table } = this.#state;
    const queue = this.#state.queueOf(slot);
    unlinkDelayed(table, queue, slot);
    table.dueMs[slot] = 0;
    queue.ready.add(slot);
    this.#touchedQueues.add(queue);
  }

  /** An expiry has come: drops the message if it waits. One that is with a consumer is looked at again when it comes back. */
  expire(slot: number, out: EffectSink): void {
    const state = this.#state.table.state[slot];
    if (state !== STATE.READY && state !== STATE.RETURNED && state !== STATE.DELAYED) return;
    const queue = this.#state.queueOf(slot);
    this.unlink(slot, queue);
    this.#drop(slot, queue, 'expired', out);
  }

  /** Drops an unsettled message whose queue is deleted. Its consumer gets the credit back; a later answer is SUPERSEDED. */
  dropLeased(lease: number, queue: Queue): void {
    const { leases } = this.#state;
    const slot = leases.slot[lease]!;
    const tag = leases.tag[lease]!;
    const { session } = leases.consumer[lease]!;
    this.#leave(slot, queue);
    this.#freeLease(session, lease, tag);
    session.revoke(tag);
    this.forget(slot, queue);
  }

  /** Replay: a message in no list is with a handler of a session that may come back. */
  restoreStarted(slot: number, queue: Queue, consumer: Consumer, tag: number): void {
    const { table, leases } = this.#state;
    const { session } = consumer;
    const lease = leases.add(slot, tag, consumer, 0, this.#state.nowMs);
    session.tags.set(tag, lease);
    session.lastTag = Math.max(session.lastTag, tag);
    consumer.unsettled++;
    table.state[slot] = STATE.STARTED;
    table.prev[slot] = lease;
    queue.started++;
  }

  /** Replay: the handler of `restoreStarted` is done with the message, which is in no list again. */
  endStarted(slot: number, queue: Queue): void {
    const { table, leases } = this.#state;
    const lease = table.prev[slot]!;
    queue.started--;
    this.#freeLease(leases.consumer[lease]!.session, lease, leases.tag[lease]!);
  }

  /** After a restart nobody knows who had what: each waiting message may have been handed out before. */
  markRedelivered(): void {
    const { table } = this.#state;
    for (let slot = 0; slot < table.slotsUsed; slot++) table.flags[slot]! |= FLAG.REDELIVERED;
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

  /** Frees a message that is in no list, with its timers. */
  forget(slot: number, queue: Queue): void {
    const { table, timers } = this.#state;
    queue.bytes -= table.length[slot]!;
    if (table.expiryMs[slot] !== 0) timers.clearExpiry(slot);
    table.free(slot);
  }

  /** A handler has begun on a leased message: an attempt. */
  #begin(slot: number): void {
    const { table } = this.#state;
    const queue = this.#state.queueOf(slot);
    table.state[slot] = STATE.STARTED;
    if (table.attempts[slot]! < ATTEMPTS_MAX) table.attempts[slot]!++;
    queue.leased--;
    queue.started++;
  }

  #requeue(slot: number, delayMs: number, entries: number[], out: EffectSink): void {
    const { table, nowMs } = this.#state;
    // Ack mode none: the journal has settled it already, there is nothing to return, and its queue may be gone.
    if (table.state[slot] === STATE.SENDING) return table.free(slot);
    if (table.state[slot] === STATE.LEASED) this.#begin(slot);
    const { backoffMsMin, backoffMsMax } = this.#state.queueOf(slot).settings;
    const attempts = table.attempts[slot]!;
    const backoffMs = delayMs >= 0 ? delayMs : Math.min(backoffMsMax, backoffMsMin * 2 ** Math.min(attempts - 1, 52));
    const dueMs = backoffMs > 0 ? nowMs + backoffMs : 0;
    if (!table.isMemory(slot)) entries.push(table.id[slot]!, attempts, dueMs);
    this.giveBack(slot, dueMs, out);
  }

  /** A consumer that gives a message back has its queue among those it asks next: with the credit that it gains the queues are served in its order. */
  #standInLine(lease: number, slot: number): void {
    const { table, leases } = this.#state;
    const consumer = leases.consumer[lease]!;
    if (!consumer.isActive || table.state[slot] === STATE.SENDING) return;
    const queue = this.#state.queueOf(slot);
    // A consumer of this number may have come anew, with other queues, since the lease was given out.
    const likely = consumer.attachments[leases.queueIndex[lease]!];
    const attachment = likely?.queue === queue ? likely : consumer.attachments.find((other) => other.queue === queue);
    if (attachment === undefined || attachment.isMarked) return;
    queue.rotation.remove(attachment);
    consumer.mark(attachment);
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
      this.#drop(slot, queue, 'expired', out);
    }
  }

  #lease(slot: number, queue: Queue, attachment: Attachment, out: EffectSink): void {
    const { table, leases } = this.#state;
    const { consumer } = attachment;
    const { session } = consumer;
    queue.ready.remove(slot);
    const tag = ++session.lastTag;
    const lease = leases.add(slot, tag, consumer, attachment.index, this.#state.nowMs);
    session.tags.set(tag, lease);
    session.unsentBytes += table.length[slot]!;
    consumer.unsettled++;
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
  }

  /** Settles an unsettled message; its id goes into the settle record that `#flushSettled` writes. */
  #finish(slot: number, reason: 'acked' | 'dropped'): void {
    const { table } = this.#state;
    if (table.state[slot] === STATE.SENDING) return table.free(slot);
    const queue = this.#state.queueOf(slot);
    this.#leave(slot, queue);
    queue.totals[reason]++;
    if (!table.isMemory(slot)) this.#settledIds.add(table.id[slot]!);
    this.forget(slot, queue);
  }

  /** Drops a message that is in no list. */
  #drop(slot: number, queue: Queue, reason: 'expired', out: EffectSink): void {
    const { table } = this.#state;
    queue.totals[reason]++;
    if (!table.isMemory(slot)) out.record({ type: 'settle', reason, ids: [table.id[slot]!, 1] });
    this.forget(slot, queue);
  }

  #leave(slot: number, queue: Queue): void {
    if (this.#state.table.state[slot] === STATE.STARTED) queue.started--;
    else queue.leased--;
  }

  /** Gives the credit back. */
  #freeLease(session: Session, lease: number, tag: number): void {
    const { leases } = this.#state;
    const consumer = leases.consumer[lease]!;
    session.tags.delete(tag);
    leases.free(lease);
    consumer.unsettled--;
    if (consumer.isActive) this.#touchedConsumers.add(consumer);
    else if (consumer.unsettled === 0) session.consumers.delete(consumer.id);
  }

  /** Calls `visit` with the lease of each tag; what has none, or what `visit` refuses, is refused to the client by `#settle`. */
  #eachTag(
    session: Session,
    command: SettleCommand | NackCommand,
    visit: (lease: number, tag: number) => ErrorCode | null,
  ): void {
    const { ranges, settleSeq } = command;
    if (session.settleSeq !== null && settleSeq <= session.settleSeq) return;
    const refusals = this.#refusals;
    let tagsLeft = session.tags.size + STALE_TAGS_MAX;
    for (let i = 0; i < ranges.length; i += 2) {
      const first = ranges[i]!;
      const count = ranges[i + 1]!;
      if (first + count - 1 > session.lastTag || count > tagsLeft) {
        refusals.add(first, count, 'UNKNOWN_TAG');
        continue;
      }
      tagsLeft -= count;
      for (let tag = first; tag < first + count; tag++) {
        const lease = session.tags.get(tag);
        const code = lease >= 0 ? visit(lease, tag) : session.forgive(tag) ? 'SUPERSEDED' : 'ALREADY_SETTLED';
        if (code !== null) refusals.add(tag, 1, code);
      }
    }
  }

  /** Ends a settlement frame whose records are written: what it refuses is told before it is told to be done. */
  #settle(session: Session, settleSeq: number, out: EffectSink): void {
    if (session.settleSeq === null || settleSeq > session.settleSeq) session.settleSeq = settleSeq;
    this.#refusals.flush(session.number, settleSeq, out);
    out.settled(session.number, settleSeq);
  }

  #flushSettled(reason: SettleReason, out: EffectSink): void {
    if (this.#settledIds.isEmpty) return;
    for (const ids of recordParts(this.#settledIds.pairs)) out.record({ type: 'settle', reason, ids });
    this.#settledIds.clear();
  }

  #recordReturns(entries: readonly number[], out: EffectSink): void {
    if (entries.length === 0) return;
    for (const part of recordParts(entries)) out.record({ type: 'return', entries: part });
  }

  #recordSession(session: Session, out: EffectSink): void {
    if (session.isRecorded) return;
    session.isRecorded = true;
    out.record({
      type: 'session',
      session: session.number,
      key: session.key,
      namespace: session.namespace,
      producer: session.producer?.name ?? null,
    });
  }

  #leasesOf(consumer: Consumer): number[] {
    const found: number[] = [];
    consumer.session.tags.forEach((_, lease) => {
      if (this.#state.leases.consumer[lease] === consumer) found.push(lease);
    });
    const { tag } = this.#state.leases;
    return found.sort((a, b) => tag[a]! - tag[b]!);
  }

  /** New credit first, in each consumer's own order of queues; what is left of the touched queues goes to those who have stood idle. */
  #flow(out: EffectSink): void {
    const touched = this.#touchedConsumers;
    if (touched.size > 0) {
      const consumers = touched.size === 1 ? touched : [...touched].sort((a, b) => b.priority - a.priority);
      for (const consumer of consumers) {
        touched.delete(consumer);
        this.pull(consumer, out);
      }
    }
    this.#dispatchTouched(out);
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

  #dispatchTouched(out: EffectSink): void {
    for (const queue of this.#touchedQueues) {
      this.#touchedQueues.delete(queue);
      this.dispatch(queue, out);
    }
  }
}
