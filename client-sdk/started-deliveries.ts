// hot path
/**
 * Deliveries of one consumer that a handler has begun and that are not settled: what their handlers do with them is said to the broker here.
 *
 *     begin --> STARTED --done, failed, ack, nack, complete--> SETTLED
 *                  +--the broker has taken it back--> LOST: its signal aborts
 *                  +--settled at the broker already--> DETACHED: nothing is left to say
 */
import { type ErrorCode, LovageError, type Note, type ResultFields } from '@lovage/protocol';
import { ignore } from './captured-promise.js';
import { type ActiveDelivery, DELIVERY_STATE, type DeliveryOwner, nackOfFailure, type ParsedNack } from './delivery.js';
import { invalidArgument, textOf } from './errors.js';
import type { FollowUp } from './follow-ups.js';
import type { NoteSender } from './notes.js';
import type { ConsumerOptions } from './options.js';
import { type Gather, SETTLED_BEFORE, type Settlements } from './settlements.js';
import type { TagSet } from './tag-set.js';

/** What is needed of the client to say what became of a delivery. */
export interface SettlingContext {
  readonly settlements: Settlements;
  readonly notes: NoteSender;
  /** Bytes of a body that the broker takes. */
  bodyBytesMax(): number;
  /** What is published with a settlement, as a frame; null for nothing. Throws what `publish` rejects. */
  followFrame(followUps: readonly FollowUp[], resultBytes: number): Uint8Array | null;
}

/** What is needed of the consumer. */
export interface StartedWatcher {
  /** True while so many deliveries wait that the end of one handler may be told together with that of others. */
  mayGather(): boolean;
  /** One of them is settled, lost or detached. */
  removed(): void;
}

export class StartedDeliveries implements DeliveryOwner {
  readonly #options: ConsumerOptions;
  readonly #context: SettlingContext;
  readonly #settlements: Settlements;
  readonly #watcher: StartedWatcher;
  /** A list through the deliveries themselves: nothing is allocated for each. */
  #first: ActiveDelivery | null = null;
  #size = 0;

  constructor(options: ConsumerOptions, context: SettlingContext, watcher: StartedWatcher) {
    this.#options = options;
    this.#context = context;
    this.#settlements = context.settlements;
    this.#watcher = watcher;
  }

  get size(): number {
    return this.#size;
  }

  get queues(): readonly string[] {
    return this.#options.fields.queues;
  }

  get bodyBytesMax(): number {
    return this.#context.bodyBytesMax();
  }

  /** The broker settles a delivery when it sends it, so that nobody else will get it. */
  get isSettledWhenSent(): boolean {
    return this.#options.fields.ack === 'none';
  }

  /** Calls back for each, which may be lost or settled by that. */
  each(visit: (delivery: ActiveDelivery) => void): void {
    for (let delivery = this.#first; delivery !== null; ) {
      const { next } = delivery;
      visit(delivery);
      delivery = next;
    }
  }

  /** Its handler begins. */
  begin(delivery: ActiveDelivery): void {
    if (delivery.state === DELIVERY_STATE.DETACHED) return;
    delivery.state = DELIVERY_STATE.STARTED;
    this.#add(delivery);
    if (this.isSettledWhenSent) return;
    const { fields, gatherMs } = this.#options;
    if (gatherMs === 0 || fields.ack !== 'late') this.#settlements.start(delivery);
    else this.#settlements.startWithin(delivery, gatherMs);
  }

  /** Its handler has returned. */
  done(delivery: ActiveDelivery): void {
    if (delivery.state !== DELIVERY_STATE.STARTED) return;
    this.#settled(delivery);
    this.#settlements.ack(delivery.wire.tag, this.#gatherMs);
  }

  /** Its handler has thrown. */
  failed(delivery: ActiveDelivery, error: unknown): void {
    if (delivery.state !== DELIVERY_STATE.STARTED) return;
    this.#settled(delivery);
    if (this.#options.fields.ack === 'late') this.#settlements.nack(delivery.wire.tag, nackOfFailure(textOf(error)));
    else this.#settlements.ack(delivery.wire.tag);
  }

  settleByHand(delivery: ActiveDelivery, nack: ParsedNack | null): Promise<void> {
    if (delivery.state === DELIVERY_STATE.DETACHED) return Promise.resolve();
    if (!isOpen(delivery)) return rejection(refusal(delivery));
    this.#settled(delivery);
    const { tag } = delivery.wire;
    const startSeq = this.#isSettledAtBroker(delivery) ? SETTLED_BEFORE : delivery.startSeq;
    if (nack === null || this.#options.fields.ack !== 'late')
      return this.#settlements.ackAwaited(tag, startSeq, this.#gather);
    return this.#settlements.nackAwaited(tag, startSeq, nack);
  }

  completeByHand(delivery: ActiveDelivery, result: ResultFields): Promise<void> {
    if (delivery.state === DELIVERY_STATE.DETACHED) return Promise.resolve();
    if (!isOpen(delivery)) return rejection(refusal(delivery));
    this.#settled(delivery);
    const { tag } = delivery.wire;
    if (this.#options.fields.ack !== 'late')
      return this.#settlements.ackAwaited(tag, this.#isSettledAtBroker(delivery) ? SETTLED_BEFORE : delivery.startSeq);
    return this.#settlements.completeAwaited(tag, delivery.startSeq, result, this.#gather);
  }

  settleWith(delivery: ActiveDelivery, result: ResultFields | null, publish: readonly FollowUp[]): Promise<void> {
    const pending = this.#settleWith(delivery, result, publish);
    pending.catch(ignore);
    return pending;
  }

  /** The delivery stays as it is until the broker has answered: a refusal of what is published leaves it to its handler. */
  async #settleWith(
    delivery: ActiveDelivery,
    result: ResultFields | null,
    publish: readonly FollowUp[],
  ): Promise<void> {
    const { ack } = this.#options.fields;
    if (ack !== 'late') throw invalidArgument('publish', publish, `nothing, because the ack mode is "${ack}"`);
    if (!isOpen(delivery)) throw refusal(delivery);
    const frame = this.#context.followFrame(publish, result?.body.length ?? 0);
    const { tag } = delivery.wire;
    const settled =
      frame === null
        ? this.#settlements.ackAwaited(tag, delivery.startSeq)
        : this.#settlements.completeWith(tag, delivery.startSeq, result, frame);
    delivery.pending = settled;
    try {
      await settled;
    } catch (error) {
      delivery.pending = null;
      if (isOver(error as LovageError) && delivery.state === DELIVERY_STATE.STARTED) this.#settled(delivery);
      throw error;
    }
    delivery.pending = null;
    if (delivery.state === DELIVERY_STATE.STARTED) this.#settled(delivery);
  }

  async begun(delivery: ActiveDelivery): Promise<boolean> {
    this.#settlements.tellStarts();
    // Others that begin in this turn are told in the same frame.
    await null;
    await this.#settlements.whenAnswered();
    return delivery.state === DELIVERY_STATE.STARTED;
  }

  /** One that is settled, or taken back, has nothing to tell any more. */
  note(delivery: ActiveDelivery, note: Note): void {
    if (delivery.state === DELIVERY_STATE.STARTED) this.#context.notes.add(delivery, note);
  }

  /** The session goes on and holds these tags; all other deliveries were taken back. With null the session is over. */
  resumed(held: TagSet | null, error: LovageError): void {
    this.each((delivery) => {
      // Of one whose settlement is under way the answer to that tells.
      const isTold = delivery.pending !== null;
      if (isTold || held?.has(delivery.wire.tag)) return;
      if (this.#isSettledAtBroker(delivery)) this.#detach(delivery);
      else this.#lose(delivery, error);
    });
  }

  /** Going on with these is in vain. */
  lose(tags: TagSet, error: LovageError): void {
    this.each((delivery) => {
      if (tags.has(delivery.wire.tag)) this.#lose(delivery, error);
    });
  }

  loseAll(error: LovageError): void {
    this.each((delivery) => this.#lose(delivery, error));
  }

  get #gather(): Gather {
    return { withinMs: this.#gatherMs, mayWait: this.#options.gatherMs > 0 };
  }

  /** ms that the end of a handler may wait for that of others: none when there will soon be nothing to begin. */
  get #gatherMs(): number {
    const { gatherMs } = this.#options;
    return gatherMs > 0 && this.#watcher.mayGather() ? gatherMs : 0;
  }

  /** The broker has done with it, so that nobody else will get it. */
  #isSettledAtBroker({ startSeq }: ActiveDelivery): boolean {
    const { ack } = this.#options.fields;
    if (ack === 'early') return startSeq !== 0 && startSeq <= this.#settlements.answeredSeq;
    return ack === 'none';
  }

  #settled(delivery: ActiveDelivery): void {
    delivery.state = DELIVERY_STATE.SETTLED;
    this.#context.notes.settled(delivery);
    this.#remove(delivery);
  }

  /** Its handler goes on and has nothing more to tell the broker. */
  #detach(delivery: ActiveDelivery): void {
    this.#remove(delivery);
    this.#context.notes.lost(delivery);
    delivery.state = DELIVERY_STATE.DETACHED;
  }

  #lose(delivery: ActiveDelivery, error: LovageError): void {
    this.#remove(delivery);
    this.#context.notes.lost(delivery);
    delivery.state = DELIVERY_STATE.LOST;
    delivery.abort(error);
  }

  #add(delivery: ActiveDelivery): void {
    delivery.next = this.#first;
    if (this.#first !== null) this.#first.previous = delivery;
    this.#first = delivery;
    this.#size++;
  }

  #remove(delivery: ActiveDelivery): void {
    const { next, previous } = delivery;
    if (previous === null) this.#first = next;
    else previous.next = next;
    if (next !== null) next.previous = previous;
    delivery.next = null;
    delivery.previous = null;
    this.#size--;
    this.#watcher.removed();
  }
}

/** One that does no harm when nobody awaits it. */
function rejection(error: LovageError): Promise<never> {
  const promise = Promise.reject(error);
  promise.catch(ignore);
  return promise;
}

/** It can be settled. */
function isOpen({ state, pending }: ActiveDelivery): boolean {
  return state === DELIVERY_STATE.STARTED && pending === null;
}

/** Answers after which the delivery is nobody's here: it is settled, taken back, or the session is over. */
const OVER: ReadonlySet<ErrorCode> = new Set([
  'ALREADY_SETTLED',
  'SUPERSEDED',
  'UNKNOWN_TAG',
  'REVOKED',
  'CONNECTION_LOST',
  'CLIENT_CLOSED',
]);

/** Whether a settlement was refused because the delivery is over, and not because of what was to be published with it. */
export function isOver({ code }: LovageError): boolean {
  return OVER.has(code);
}

function refusal(delivery: ActiveDelivery): LovageError {
  if (delivery.state === DELIVERY_STATE.SETTLED || delivery.pending !== null) return new LovageError('ALREADY_SETTLED');
  return delivery.lossError ?? new LovageError('SUPERSEDED');
}
