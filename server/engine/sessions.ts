/** Sessions open, lose their connection, come back or end; consumers come and go with them. */
import type { ErrorCode } from '@lovage/protocol';
import type { Command, ConsumeCommand, OpenCommand } from './command.js';
import { Attachment, Consumer } from './consumer.js';
import type { Deliveries } from './deliveries.js';
import type { EffectSink } from './effects.js';
import { IdRuns } from './id-runs.js';
import type { QueueExpiry } from './queue-expiry.js';
import { Session } from './session.js';
import type { SingleActive } from './single-active.js';
import { CONSUMERS_MAX, type EngineState } from './state.js';

type CancelCommand = Extract<Command, { type: 'cancel' }>;
type PrefetchCommand = Extract<Command, { type: 'prefetch' }>;

const NOTHING_HELD = { held: [], calledOff: [], terminated: [] } as const;

export class Sessions {
  readonly #state: EngineState;
  readonly #deliveries: Deliveries;
  readonly #single: SingleActive;
  readonly #expiry: QueueExpiry;
  /** Sessions without a connection -> ms at which their grace is over, in that order (the grace is the same for all). */
  readonly #detached = new Map<Session, number>();

  constructor(state: EngineState, deliveries: Deliveries, single: SingleActive, expiry: QueueExpiry) {
    this.#state = state;
    this.#deliveries = deliveries;
    this.#single = single;
    this.#expiry = expiry;
  }

  open(command: OpenCommand, out: EffectSink): void {
    const resumed = command.resumeKey === null ? undefined : this.#state.sessionsByKey.get(command.resumeKey);
    if (
      resumed !== undefined &&
      resumed.namespace === command.namespace &&
      resumed.producer?.name === (command.producer ?? undefined)
    ) {
      return this.#resume(resumed, command.lastTag, out);
    }
    const producer =
      command.producer === null
        ? null
        : this.#state.producers.use(command.namespace, command.producer, this.#state.nowMs);
    if (producer === null && command.producer !== null) {
      return out.opened({ session: 0, key: '', resumed: false, ...NOTHING_HELD, settleSeq: null });
    }
    const session = this.add(this.#state.nextSession++, command.key, command.namespace, producer);
    out.opened({ session: session.number, key: session.key, resumed: false, ...NOTHING_HELD, settleSeq: 0 });
  }

  /** Makes a session, live or on replay. */
  add(number: number, key: string, namespace: string, producer: Session['producer']): Session {
    const session = new Session(number, key, namespace, producer, this.#state.options.unsentBytesMax);
    if (producer !== null) producer.sessions++;
    this.#state.sessions.set(number, session);
    this.#state.sessionsByKey.set(key, session);
    return session;
  }

  /** The connection is lost: what has not started returns at once, what has started waits for a resume. */
  detach(session: Session, out: EffectSink): void {
    this.#state.watches.forget(session);
    for (const consumer of session.consumers.values()) {
      this.#deactivate(consumer);
      this.#deliveries.takeBack(consumer, false, out);
    }
    for (const consumer of session.consumers.values())
      if (consumer.unsettled === 0) session.consumers.delete(consumer.id);
    session.isAttached = false;
    session.unsentBytes = 0;
    this.#detached.set(session, this.#state.nowMs + this.#state.options.graceMs);
    this.#deliveries.flow(out);
  }

  /** The session is over: everything it holds returns. */
  close(session: Session, out: EffectSink): void {
    for (const consumer of session.consumers.values()) {
      this.#deactivate(consumer);
      this.#deliveries.takeBack(consumer, true, out);
    }
    this.remove(session);
    if (session.isRecorded) out.record({ type: 'session-end', session: session.number });
    this.#deliveries.flow(out);
  }

  remove(session: Session): void {
    this.#state.watches.forget(session);
    this.#detached.delete(session);
    this.#state.sessions.delete(session.number);
    this.#state.sessionsByKey.delete(session.key);
    const { producer } = session;
    if (producer !== null) {
      producer.sessions--;
      producer.usedMs = Math.max(producer.usedMs, this.#state.nowMs);
    }
  }

  /** Ends the sessions whose grace is over. */
  expire(out: EffectSink): void {
    for (const [session, deadlineMs] of this.#detached) {
      if (deadlineMs > this.#state.nowMs) return;
      this.close(session, out);
    }
  }

  /** ms of the next end of a grace, Infinity if none runs. */
  nextDeadline(): number {
    for (const deadlineMs of this.#detached.values()) return deadlineMs;
    return Number.POSITIVE_INFINITY;
  }

  /** After replay: sessions from before the restart wait for their clients. */
  awaitResume(): void {
    for (const session of this.#state.sessions.values()) {
      session.isAttached = false;
      this.#detached.set(session, this.#state.nowMs + this.#state.options.graceMs);
    }
  }

  consume(command: ConsumeCommand, out: EffectSink): void {
    const session = this.#state.session(command.session);
    const problem = this.#consumeProblem(session, command);
    if (problem !== null)
      return out.fail(command.session, command.request, problem.code, problem.message, problem.details);
    const { options, consumerId } = command;
    const consumer =
      session.consumers.get(consumerId) ?? new Consumer(session, consumerId, this.#state.options.consumerBytesMax);
    session.consumers.set(consumerId, consumer);
    consumer.prefetch = options.prefetch;
    consumer.ack = options.ack;
    consumer.order = options.queueOrder;
    consumer.isExclusive = options.exclusive;
    consumer.priority = options.priority;
    consumer.isActive = true;
    consumer.attachments = options.queues.map((name, index) => {
      const queue = this.#state.queue(session.namespace, name)!;
      const attachment = new Attachment(consumer, queue, index, options.weights[index] ?? 1);
      queue.attachments.add(attachment);
      if (consumer.isExclusive) queue.exclusive = consumer;
      return attachment;
    });
    consumer.resetTurns();
    for (const attachment of consumer.attachments) {
      if (attachment.queue.isSingle) this.#single.watch(attachment.queue);
      else consumer.mark(attachment);
    }
    out.reply(command.session, command.request, { consumerId });
    this.#deliveries.touch(consumer);
    this.#deliveries.flow(out);
  }

  cancel(command: CancelCommand, out: EffectSink): void {
    const consumer = this.#consumer(command, 'cancel', out);
    if (consumer === null) return;
    this.#deactivate(consumer);
    this.#deliveries.takeBack(consumer, false, out);
    if (consumer.unsettled === 0) consumer.session.consumers.delete(consumer.id);
    out.reply(command.session, command.request, { unsettled: consumer.unsettled });
    this.#deliveries.flow(out);
  }

  prefetch(command: PrefetchCommand, out: EffectSink): void {
    const consumer = this.#consumer(command, 'change the prefetch of', out);
    if (consumer === null) return;
    consumer.prefetch = command.prefetch;
    out.reply(command.session, command.request, { prefetch: command.prefetch });
    this.#deliveries.touch(consumer);
    this.#deliveries.flow(out);
  }

  /** Bytes have left for the connection; it may have room for more deliveries and results. */
  drained(session: Session, bytes: number, out: EffectSink): void {
    const wasWritable = session.isWritable;
    session.unsentBytes = Math.max(0, session.unsentBytes - bytes);
    if (wasWritable || !session.isWritable) return;
    this.#state.watches.lookups.resume(session);
    for (const consumer of session.consumers.values()) this.#deliveries.touch(consumer);
    this.#deliveries.flow(out);
  }

  #resume(session: Session, lastTag: number, out: EffectSink): void {
    if (session.isAttached) this.detach(session, out);
    this.#detached.delete(session);
    session.isAttached = true;
    session.heldBack = null;
    session.lastTag = Math.max(session.lastTag, lastTag);
    const held = [...session.calledOff].map(([tag]) => tag);
    session.tags.forEach((tag) => {
      held.push(tag);
    });
    const revoked = (byForce: boolean): number[] =>
      [...session.calledOff].filter(([, terminate]) => terminate === byForce).map(([tag]) => tag);
    out.opened({
      session: session.number,
      key: session.key,
      resumed: true,
      held: rangesOf(held),
      calledOff: rangesOf(revoked(false)),
      terminated: rangesOf(revoked(true)),
      settleSeq: session.settleSeq,
    });
  }

  /** Takes a consumer out of its queues; its deliveries stay as they are. */
  #deactivate(consumer: Consumer): void {
    consumer.isActive = false;
    for (const attachment of consumer.attachments) {
      const { queue } = attachment;
      queue.attachments.delete(attachment);
      queue.rotation.remove(attachment);
      if (attachment.isMarked) consumer.unmark(attachment);
      if (queue.exclusive === consumer) queue.exclusive = null;
      this.#single.leave(attachment);
      if (queue.attachments.size === 0) this.#expiry.watch(queue);
    }
    consumer.attachments = [];
  }

  #consumer(command: CancelCommand | PrefetchCommand, verb: string, out: EffectSink): Consumer | null {
    const consumer = this.#state.session(command.session).consumers.get(command.consumerId);
    if (consumer?.isActive) return consumer;
    const message = `Cannot ${verb} consumer ${command.consumerId}: the session has none of this number`;
    out.fail(command.session, command.request, 'CONSUMER_NOT_FOUND', message, { consumerId: command.consumerId });
    return null;
  }

  #consumeProblem(
    session: Session,
    { consumerId, options }: ConsumeCommand,
  ): { code: ErrorCode; message: string; details: Record<string, unknown> } | null {
    if (session.consumers.get(consumerId)?.isActive) {
      return {
        code: 'CONSUMER_EXISTS',
        message: `Cannot start consumer ${consumerId}: the session has one of this number`,
        details: { consumerId },
      };
    }
    if (session.consumers.size >= CONSUMERS_MAX && !session.consumers.has(consumerId)) {
      return {
        code: 'TOO_MANY_CONSUMERS',
        message: `Cannot start consumer ${consumerId}: the session has ${CONSUMERS_MAX}`,
        details: { limit: CONSUMERS_MAX },
      };
    }
    for (const name of options.queues) {
      const queue = this.#state.queue(session.namespace, name);
      if (queue === null)
        return {
          code: 'QUEUE_NOT_FOUND',
          message: `Cannot consume queue "${name}": it does not exist`,
          details: { queue: name },
        };
      if (queue.exclusive !== null) {
        return {
          code: 'QUEUE_EXCLUSIVE',
          message: `Cannot consume queue "${name}": an exclusive consumer holds it`,
          details: { queue: name },
        };
      }
      if (options.exclusive && queue.attachments.size > 0) {
        const message = `Cannot consume queue "${name}" exclusively: it has ${queue.attachments.size} consumers, expected none`;
        return { code: 'QUEUE_EXCLUSIVE', message, details: { queue: name } };
      }
    }
    return null;
  }
}

function rangesOf(tags: number[]): readonly number[] {
  const ranges = new IdRuns();
  for (const tag of tags.sort((a, b) => a - b)) ranges.add(tag);
  return ranges.pairs;
}
