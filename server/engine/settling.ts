// hot path
/** What clients say of their deliveries: START, ACK, NACK, COMPLETE, RELEASE. One frame names many tags, and its records are written before it is told to be done. */
import type { CompleteBatch, ErrorCode, FailureCause } from '@lovage/protocol';
import { keptReason, withFailure } from './attempt-log.js';
import type { CompleteCommand, NackCommand, SettleCommand } from './command.js';
import type { Consumer } from './consumer.js';
import type { DeadLetters } from './dead-letters.js';
import type { Deliveries } from './deliveries.js';
import type { EffectSink } from './effects.js';
import { STATE } from './message-table.js';
import type { Places } from './places.js';
import type { Publishing } from './publishing.js';
import { recordParts } from './record.js';
import { Refusals } from './refusals.js';
import type { Results } from './results.js';
import type { Session } from './session.js';
import type { SingleActive } from './single-active.js';
import type { EngineState } from './state.js';

/** The ranges of a frame may name so many tags beyond those that are unsettled; one that goes further is refused whole instead of being walked through. */
const STALE_TAGS_MAX = 65_536;

/** The parts of the engine that settling works with. */
export interface SettlingParts {
  readonly places: Places;
  readonly deadLetters: DeadLetters;
  readonly single: SingleActive;
  readonly deliveries: Deliveries;
  readonly results: Results;
  readonly publishing: Publishing;
}

export class Settling {
  readonly #state: EngineState;
  readonly #places: Places;
  readonly #deadLetters: DeadLetters;
  readonly #single: SingleActive;
  readonly #deliveries: Deliveries;
  readonly #results: Results;
  readonly #publishing: Publishing;
  readonly #entries: number[] = [];
  /** Of the frame at hand. */
  readonly #refusals = new Refusals();

  constructor(state: EngineState, parts: SettlingParts) {
    this.#state = state;
    this.#places = parts.places;
    this.#deadLetters = parts.deadLetters;
    this.#single = parts.single;
    this.#deliveries = parts.deliveries;
    this.#results = parts.results;
    this.#publishing = parts.publishing;
  }

  start(command: SettleCommand, out: EffectSink): void {
    const session = this.#state.session(command.session);
    const entries = this.#entries;
    entries.length = 0;
    this.#eachTag(session, command, (lease, tag) => {
      const { table, leases } = this.#state;
      const slot = leases.slot[lease]!;
      if (slot < 0 || table.state[slot] !== STATE.LEASED) return null;
      this.#deliveries.start(lease);
      const consumer = leases.consumer[lease]!;
      if (consumer.ack === 'early') {
        this.#deliveries.finish(slot);
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
    this.#deliveries.flushSettled(out);
    this.#settle(session, command.settleSeq, out, command.mayWait);
    // Ack mode early may have settled what a single active consumer waits for.
    if (this.#single.isWaiting) this.#deliveries.flow(out);
  }

  ack(command: SettleCommand, out: EffectSink): void {
    const session = this.#state.session(command.session);
    this.#eachTag(session, command, (lease, tag) => {
      const slot = this.#state.leases.slot[lease]!;
      if (slot >= 0) this.#deliveries.finish(slot);
      this.#deliveries.freeLease(session, lease, tag);
      return null;
    });
    this.#deliveries.flushSettled(out);
    this.#settle(session, command.settleSeq, out, command.mayWait);
    this.#deliveries.flow(out);
  }

  /** With messages that are published along with it, a delivery is settled when they are taken, and by the same record; if they are not, it stays as it is. */
  complete({ session: number, batch, refused = null }: CompleteCommand, out: EffectSink): void {
    const session = this.#state.session(number);
    const { settleSeq, ranges, problem, follow } = batch;
    let isFollowed = false;
    this.#eachTag(session, { settleSeq, ranges: ranges.pairs }, (lease, tag, index) => {
      if (problem !== null) return problem.code;
      const { table, leases } = this.#state;
      const slot = leases.slot[lease]!;
      const isSettled = slot < 0 || table.state[slot] === STATE.SENDING;
      if (follow !== null) {
        // One that was settled when it was sent, or began, can bring nothing with its settlement.
        const code = isSettled
          ? 'INVALID_ARGUMENT'
          : this.#publishing.planFollow(session.namespace, follow, refused, out);
        if (code !== null) return code;
        isFollowed = true;
      }
      if (slot >= 0 && (isSettled || (follow === null && batch.payloadLength[index] === 0))) {
        this.#deliveries.finish(slot);
      } else if (slot >= 0) {
        // A handler that is done at once has not said that it began.
        if (table.state[slot] === STATE.LEASED) this.#deliveries.begin(slot);
        const queue = this.#state.queueOf(slot);
        this.#places.leave(slot, queue);
        queue.totals.acked++;
        this.#results.add(slot, index);
      }
      this.#deliveries.freeLease(session, lease, tag);
      return null;
    });
    if (isFollowed) this.#completeFollowed(session.namespace, batch, out);
    else this.#results.flush(session.namespace, batch, out);
    this.#deliveries.flushSettled(out);
    this.#settle(session, settleSeq, out, batch.mayWait);
    this.#deliveries.flow(out);
  }

  #completeFollowed(namespace: string, batch: CompleteBatch, out: EffectSink): void {
    const follow = this.#publishing.followRecord(namespace, batch.follow!);
    const offset = this.#results.flushFollowed(namespace, batch, follow, out);
    this.#publishing.takeFollow(follow, out.segment, offset + batch.followOffset);
  }

  nack(command: NackCommand, out: EffectSink): void {
    const session = this.#state.session(command.session);
    const entries = this.#entries;
    entries.length = 0;
    const failed: number[] = [];
    const { cause } = command;
    const reason = command.reason === null ? null : keptReason(command.reason);
    this.#eachTag(session, command, (lease, tag) => {
      const slot = this.#state.leases.slot[lease]!;
      if (slot >= 0 && command.requeue) this.#standInLine(lease, slot);
      this.#deliveries.freeLease(session, lease, tag);
      if (slot >= 0 && reason !== null) this.#log(slot, cause, reason, failed);
      if (slot >= 0 && command.requeue) this.#requeue(slot, command.delayMs, entries, out);
      else if (slot >= 0) this.#reject(slot, out);
      return null;
    });
    if (reason !== null && failed.length > 0)
      for (const entries of recordParts(failed))
        out.record({ type: 'failure', timeMs: this.#state.nowMs, cause, reason, entries });
    this.#deliveries.recordReturns(entries, out);
    this.#deadLetters.flush(out);
    this.#settle(session, command.settleSeq, out);
    this.#deliveries.flow(out);
  }

  release(command: SettleCommand, out: EffectSink): void {
    const session = this.#state.session(command.session);
    const yielding = new Set<Consumer>();
    const entries = this.#entries;
    entries.length = 0;
    const { delayMs = 0 } = command;
    const dueMs = delayMs > 0 ? this.#state.nowMs + delayMs : 0;
    this.#eachTag(session, command, (lease, tag) => {
      const slot = this.#state.leases.slot[lease]!;
      if (slot >= 0 && this.#state.table.state[slot] === STATE.STARTED) return 'INVALID_ARGUMENT';
      yielding.add(this.#state.leases.consumer[lease]!);
      this.#deliveries.freeLease(session, lease, tag);
      if (slot >= 0) this.#release(slot, dueMs, entries, out);
      return null;
    });
    this.#deliveries.recordReturns(entries, out);
    this.#deadLetters.flush(out);
    this.#settle(session, command.settleSeq, out);
    for (const consumer of yielding) consumer.isYielding = true;
    this.#deliveries.prepare(out);
    this.#deliveries.dispatchTouched(out);
    for (const consumer of yielding) consumer.isYielding = false;
    this.#deliveries.flow(out);
  }

  /** A delivery that has not started costs no attempt. That it waits again needs no record, that it is delayed does. */
  #release(slot: number, dueMs: number, entries: number[], out: EffectSink): void {
    const { table } = this.#state;
    const id = table.id[slot]!;
    const attempts = table.attempts[slot]!;
    const isWritten = dueMs > 0 && table.state[slot] !== STATE.SENDING && !table.isMemory(slot);
    if (this.#deliveries.giveBack(slot, dueMs, out) && isWritten) entries.push(id, attempts, dueMs);
  }

  #requeue(slot: number, delayMs: number, entries: number[], out: EffectSink): void {
    const { table, nowMs } = this.#state;
    // Ack mode none: the journal has settled it already, there is nothing to return, and its queue may be gone.
    if (table.state[slot] === STATE.SENDING) return table.free(slot);
    if (table.state[slot] === STATE.LEASED) this.#deliveries.begin(slot);
    const { backoffMsMin, backoffMsMax } = this.#state.queueOf(slot).settings;
    const attempts = table.attempts[slot]!;
    const backoffMs = delayMs >= 0 ? delayMs : Math.min(backoffMsMax, backoffMsMin * 2 ** Math.min(attempts - 1, 52));
    const dueMs = backoffMs > 0 ? nowMs + backoffMs : 0;
    const id = table.id[slot]!;
    const isMemory = table.isMemory(slot);
    if (this.#deliveries.giveBack(slot, dueMs, out) && !isMemory) entries.push(id, attempts, dueMs);
  }

  /** One more failed attempt. A handler that fails at once has not said that it began. */
  #log(slot: number, cause: FailureCause, reason: string, failed: number[]): void {
    const { table, nowMs: timeMs } = this.#state;
    if (table.state[slot] === STATE.SENDING) return;
    const attempt = table.attempts[slot]! + (table.state[slot] === STATE.LEASED ? 1 : 0);
    table.setAttemptLog(slot, withFailure(table.attemptLogOf(slot), { attempt, cause, timeMs, reason }));
    if (!table.isMemory(slot)) failed.push(table.id[slot]!, attempt);
  }

  /** A consumer does not want it, and nobody else shall have it. */
  #reject(slot: number, out: EffectSink): void {
    if (this.#state.table.state[slot] === STATE.SENDING) return this.#state.table.free(slot);
    const queue = this.#state.queueOf(slot);
    this.#places.leave(slot, queue);
    this.#deadLetters.giveUp(slot, queue, 'rejected', out);
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
    // Who stands by stays there.
    if (queue.isSingle && queue.active !== attachment) return;
    queue.rotation.remove(attachment);
    consumer.mark(attachment);
  }

  /** Calls `visit` with the lease of each tag and its place among those of the frame; what has none, or what `visit` refuses, is refused to the client by `#settle`. */
  #eachTag(
    session: Session,
    command: Pick<SettleCommand, 'settleSeq' | 'ranges'>,
    visit: (lease: number, tag: number, index: number) => ErrorCode | null,
  ): void {
    const { ranges, settleSeq } = command;
    if (session.settleSeq !== null && settleSeq <= session.settleSeq) return;
    const refusals = this.#refusals;
    let tagsLeft = session.tags.size + STALE_TAGS_MAX;
    let before = 0;
    for (let i = 0, count = 0; i < ranges.length; i += 2, before += count) {
      const first = ranges[i]!;
      count = ranges[i + 1]!;
      if (first + count - 1 > session.lastTag || count > tagsLeft) {
        refusals.add(first, count, 'UNKNOWN_TAG');
        continue;
      }
      tagsLeft -= count;
      for (let tag = first; tag < first + count; tag++) {
        const lease = session.tags.get(tag);
        const code =
          lease >= 0
            ? visit(lease, tag, before + tag - first)
            : session.forgive(tag)
              ? 'SUPERSEDED'
              : 'ALREADY_SETTLED';
        if (code !== null) refusals.add(tag, 1, code);
      }
    }
  }

  /** Ends a settlement frame whose records are written: what it refuses is told before it is told to be done. */
  #settle(session: Session, settleSeq: number, out: EffectSink, mayWait = false): void {
    if (session.settleSeq === null || settleSeq > session.settleSeq) session.settleSeq = settleSeq;
    this.#refusals.flush(session.number, settleSeq, out);
    out.settled(session.number, settleSeq, mayWait);
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
}
