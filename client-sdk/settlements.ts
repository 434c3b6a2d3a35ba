// hot path
/**
 * The answers to deliveries on their way to the broker's disk. What handlers say in one turn gathers in batches; a flush turns each into a
 * numbered frame, and the frame is kept until a SETTLED covers it, to be sent again after a lost connection.
 *
 *     ack() -> gathering ACK batch --flush--> unanswered [7][8][9] --SETTLED 8--> [9]
 */
import {
  CLIENT_OPS,
  FrameWriter,
  LIMITS,
  LovageError,
  type ResultFields,
  type Welcome,
  writeComplete,
  writeNack,
  writeSettle,
} from '@lovage/protocol';
import type { Channel, SenderContext } from './channel.js';
import { type ActiveDelivery, DELIVERY_STATE, type ParsedNack } from './delivery.js';
import { Deque } from './deque.js';
import { SettleBatch } from './settle-batch.js';
import { TagSet } from './tag-set.js';

/** Gathering NACK batches that a new NACK is compared with before it opens one of its own. */
const NACKS_COMPARED = 8;

/** Bytes of results after which another COMPLETE begins. */
const COMPLETE_BYTES = 128 * 1024;

/** How long an answer may wait to be told together with others. */
export interface Gather {
  /** ms that it may wait here; 0: until the end of the turn. */
  readonly withinMs: number;
  /** Nobody waits for the answer to it, so it may wait in the broker as well. */
  readonly mayWait: boolean;
}

const AT_ONCE: Gather = { withinMs: 0, mayWait: false };

/** In place of the number of a START: the broker has settled the delivery already, and its answer only frees the credit. */
export const SETTLED_BEFORE = -1;

/** Numbers, sends, keeps and resolves settlements of one session after the other. */
export class Settlements {
  readonly #timeoutMs: number;
  readonly #context: SenderContext;
  readonly #channel: Channel;
  readonly #writer = new FrameWriter(1_024);
  #starting: ActiveDelivery[] = [];
  /** Those that may be told later, and when at the latest; nearly in that order, because a client's consumers rarely differ. */
  readonly #startingLater = new Deque<{ readonly delivery: ActiveDelivery; readonly dueMs: number }>();
  #acks: SettleBatch | null = null;
  #nacks: SettleBatch[] = [];
  #completes: SettleBatch | null = null;
  /** Those that have frames of their own, because something is published with each. */
  #followed: SettleBatch[] = [];
  #releases: SettleBatch | null = null;
  readonly #unanswered = new Deque<SettleBatch>();
  /** How many of the unanswered the present connection has got. */
  #sent = 0;
  #lastSeq = 0;
  #answeredSeq = 0;
  /** ms at which what may wait is sent, Infinity while nothing waits. */
  #flushDueMs = Number.POSITIVE_INFINITY;
  /** In the order in which they came, which is that of both numbers. */
  #waiters: { readonly settleSeq: number; readonly deadlineMs: number; readonly wake: () => void }[] = [];
  #isEnded = false;

  /** `timeoutMs` bounds `whenAnswered`. */
  constructor(timeoutMs: number, context: SenderContext) {
    this.#timeoutMs = timeoutMs;
    this.#context = context;
    this.#channel = context.channel;
  }

  /** The highest frame number that the broker has answered. */
  get answeredSeq(): number {
    return this.#answeredSeq;
  }

  /** A handler begins. If it is done in this turn, its ACK says that as well. */
  start(delivery: ActiveDelivery): void {
    if (this.#starting.length === 0) this.#channel.requestFlush();
    this.#starting.push(delivery);
  }

  /** The same, told in so many ms at the latest: a handler that is done before that says both at once. */
  startWithin(delivery: ActiveDelivery, ms: number): void {
    const dueMs = this.#context.nowMs() + ms;
    this.#startingLater.push({ delivery, dueMs });
    if (this.#startingLater.length === 1) this.#context.wakeAt(dueMs);
  }

  /** All that have begun are told with the next frames, because what comes next asks which have. */
  tellStarts(): void {
    this.#startDue(Number.POSITIVE_INFINITY);
  }

  /** Nobody waits for the answer. `withinMs`: see `Gather`. */
  ack(tag: number, withinMs = 0): void {
    this.#ackBatch().add(tag);
    this.#flushWithin(withinMs);
  }

  /** `startSeq`: number of the frame that said that the handler began, 0 if this frame says that as well, or SETTLED_BEFORE. */
  ackAwaited(tag: number, startSeq: number, gather: Gather = AT_ONCE): Promise<void> {
    const batch = this.#ackBatch();
    batch.mayWait &&= gather.mayWait;
    this.#flushWithin(gather.withinMs);
    return batch.addAwaited(tag, startSeq);
  }

  nack(tag: number, nack: ParsedNack): void {
    this.#nackBatch(nack).add(tag);
  }

  nackAwaited(tag: number, startSeq: number, nack: ParsedNack): Promise<void> {
    return this.#nackBatch(nack).addAwaited(tag, startSeq);
  }

  /** As `ackAwaited`, with what came of the delivery. */
  completeAwaited(tag: number, startSeq: number, result: ResultFields, gather: Gather = AT_ONCE): Promise<void> {
    const last = this.#completes;
    if (last !== null && (last.results.length >= LIMITS.resultsMax || last.resultBytes >= COMPLETE_BYTES)) this.#seal();
    this.#completes ??= new SettleBatch(CLIENT_OPS.COMPLETE, null);
    this.#completes.mayWait &&= gather.mayWait;
    this.#flushWithin(gather.withinMs);
    return this.#completes.addResult(tag, startSeq, result);
  }

  /** As `completeAwaited`, with a PUBLISH that is taken with it; `result` null: nothing is kept. */
  completeWith(tag: number, startSeq: number, result: ResultFields | null, follow: Uint8Array): Promise<void> {
    const batch = new SettleBatch(CLIENT_OPS.COMPLETE, null);
    batch.follow = follow;
    batch.mayWait = false;
    this.#followed.push(batch);
    this.#channel.requestFlush();
    return batch.addResult(tag, startSeq, result);
  }

  /** Gives back what has not started, to be delivered again after so many ms. */
  release(tag: number, delayMs = 0): void {
    if (this.#releases !== null && this.#releases.delayMs !== delayMs) this.#seal();
    if (this.#releases === null) {
      this.#releases = new SettleBatch(CLIENT_OPS.RELEASE, null, delayMs);
      this.#channel.requestFlush();
    }
    this.#releases.add(tag);
    if (this.#releases.ranges.rangeCount >= LIMITS.rangesMax) this.#seal();
  }

  #flushWithin(ms: number): void {
    if (ms === 0) return this.#channel.requestFlush();
    if (this.#flushDueMs !== Number.POSITIVE_INFINITY) return;
    this.#flushDueMs = this.#context.nowMs() + ms;
    this.#context.wakeAt(this.#flushDueMs);
  }

  /** Sends what has gathered. Without a connection it gathers on. Answers are small and bounded by the prefetch, so they wait for no room. */
  flush(): void {
    this.#flushDueMs = Number.POSITIVE_INFINITY;
    if (!this.#channel.isOpen) return;
    this.#seal();
    this.#send();
  }

  /** SETTLED: every frame up to this number is on disk. */
  settled(settleSeq: number): void {
    const unanswered = this.#unanswered;
    while (unanswered.length > 0 && unanswered.at(0)!.settleSeq <= settleSeq) {
      const batch = unanswered.shift()!;
      if (this.#sent > 0) this.#sent--;
      this.#answeredSeq = batch.settleSeq;
      batch.resolve();
    }
    this.#wake(settleSeq);
  }

  /** REFUSED: these tags of a frame had no effect. Returns them if a handler may still run for one, because they were in a START. */
  refused(settleSeq: number, tags: TagSet, error: LovageError): TagSet | null {
    const first = this.#unanswered.at(0);
    const batch = first === undefined ? undefined : this.#unanswered.at(settleSeq - first.settleSeq);
    if (batch === undefined || (batch.isUncertain && error.code === 'ALREADY_SETTLED')) return null;
    batch.reject(tags, error);
    return batch.op === CLIENT_OPS.START ? tags : null;
  }

  /** The connection is lost; everything unanswered will have to be sent again. */
  disconnected(): void {
    this.#sent = 0;
  }

  /**
   * The session goes on: what the broker has processed is done, the rest is sent again in order. An answer to that may be lost once more, so
   * what is known already is told now: what was not processed and is not `held` any more was taken back. A broker that was restarted
   * (`settleSeq` null) cannot say what it has processed; see `#doubt`.
   */
  resumed(settleSeq: Welcome['settleSeq'], held: TagSet): void {
    for (const batch of [...this.#unanswered.toArray(), ...this.#gathering()]) {
      const isProcessed = settleSeq !== null && batch.settleSeq !== 0 && batch.settleSeq <= settleSeq;
      if (settleSeq === null) this.#doubt(batch, held);
      else if (!isProcessed) batch.rejectUnless(held, new LovageError('SUPERSEDED'));
      else if (batch.isUncertain) batch.reject(null, new LovageError('CONNECTION_LOST'));
    }
    if (settleSeq !== null) this.settled(settleSeq);
    this.#sent = 0;
    this.#send();
  }

  /** The session is over and another begins: numbers start again, what was not answered never will be. */
  restarted(error: LovageError): void {
    this.#drop(error);
    this.#lastSeq = 0;
    this.#answeredSeq = 0;
  }

  /** The client is closed. */
  ended(error: LovageError): void {
    this.#isEnded = true;
    this.#drop(error);
  }

  /** Every tag that is named in a frame without an answer. */
  *unansweredTags(): IterableIterator<number> {
    for (const batch of this.#unanswered.toArray()) yield* new TagSet(batch.ranges.pairs);
    for (const batch of this.#gathering()) yield* new TagSet(batch.ranges.pairs);
  }

  /** Returns deliveries that the session holds and nobody here knows. */
  giveBack(tags: Iterable<number>): void {
    for (const tag of tags) this.nack(tag, { requeue: true, delayMs: 0, reason: null, cause: 'failed' });
  }

  /** Resolves when everything that was said so far is answered, or never will be, or the time limit of a request is over. */
  whenAnswered(): Promise<void> {
    this.#seal(true);
    this.#send();
    if (this.#unanswered.length === 0) return Promise.resolve();
    const deadlineMs = this.#context.nowMs() + this.#timeoutMs;
    this.#context.wakeAt(deadlineMs);
    return new Promise((wake) => this.#waiters.push({ settleSeq: this.#lastSeq, deadlineMs, wake }));
  }

  /** Wakes those who have waited too long; returns the next deadline. */
  tick(nowMs: number): number {
    const waiters = this.#waiters;
    while (waiters.length > 0 && waiters[0]!.deadlineMs <= nowMs) waiters.shift()!.wake();
    this.#startDue(nowMs);
    if (this.#flushDueMs <= nowMs) {
      this.#flushDueMs = Number.POSITIVE_INFINITY;
      this.#channel.requestFlush();
    }
    const nextMs = Math.min(this.#flushDueMs, this.#startingLater.at(0)?.dueMs ?? Number.POSITIVE_INFINITY);
    return Math.min(nextMs, waiters[0]?.deadlineMs ?? Number.POSITIVE_INFINITY);
  }

  /**
   * A restarted broker holds what had started and was not settled. What it does not hold is settled if its START had been answered and this answer
   * was sent. It waits again if the answer was not sent. Else it is one or the other: the broker answers ALREADY_SETTLED in both cases.
   */
  #doubt(batch: SettleBatch, held: TagSet): void {
    batch.isUncertain = true;
    if (batch.settleSeq === 0)
      return batch.rejectLost(held, (startSeq) => startSeq === SETTLED_BEFORE, new LovageError('SUPERSEDED'));
    const answeredSeq = this.#answeredSeq;
    const message = 'Cannot tell whether the delivery was settled: the broker was restarted before the answer';
    const isSettled = (startSeq: number): boolean => startSeq !== 0 && startSeq <= answeredSeq;
    batch.rejectLost(held, isSettled, new LovageError('CONNECTION_LOST', message));
  }

  *#gathering(): IterableIterator<SettleBatch> {
    if (this.#acks !== null) yield this.#acks;
    yield* this.#nacks;
    if (this.#completes !== null) yield this.#completes;
    yield* this.#followed;
    if (this.#releases !== null) yield this.#releases;
  }

  #ackBatch(): SettleBatch {
    if (this.#acks !== null && this.#acks.ranges.rangeCount >= LIMITS.rangesMax) this.#seal();
    this.#acks ??= new SettleBatch(CLIENT_OPS.ACK, null);
    return this.#acks;
  }

  #nackBatch(nack: ParsedNack): SettleBatch {
    const nacks = this.#nacks;
    for (let i = nacks.length - 1; i >= Math.max(0, nacks.length - NACKS_COMPARED); i--) {
      const batch = nacks[i]!;
      if (isSameNack(batch.nack!, nack) && batch.ranges.rangeCount < LIMITS.rangesMax) return batch;
    }
    const batch = new SettleBatch(CLIENT_OPS.NACK, nack);
    nacks.push(batch);
    this.#channel.requestFlush();
    return batch;
  }

  /** Numbers what has gathered, START first. `isAwaited`: somebody waits for the answer to all of it. */
  #seal(isAwaited = false): void {
    if (this.#isEnded) return;
    this.#sealStarts(isAwaited);
    const acks = this.#acks;
    const nacks = this.#nacks;
    const completes = this.#completes;
    const followed = this.#followed;
    const releases = this.#releases;
    this.#acks = null;
    this.#completes = null;
    this.#releases = null;
    if (acks !== null) this.#number(acks, isAwaited);
    if (nacks.length > 0) {
      this.#nacks = [];
      for (const batch of nacks) this.#number(batch, isAwaited);
    }
    if (completes !== null) this.#number(completes, isAwaited);
    if (followed.length > 0) {
      this.#followed = [];
      for (const batch of followed) this.#number(batch, isAwaited);
    }
    if (releases !== null) this.#number(releases, isAwaited);
  }

  /** Handlers that have gone on for so long that the broker has to be told. */
  #startDue(nowMs: number): void {
    const later = this.#startingLater;
    for (let first = later.at(0); first !== undefined; first = later.at(0)) {
      const isOver = first.delivery.state !== DELIVERY_STATE.STARTED;
      if (!isOver && first.dueMs > nowMs) return;
      later.shift();
      if (!isOver) this.start(first.delivery);
    }
  }

  /** A delivery that is settled or lost already needs no START. */
  #sealStarts(isAwaited: boolean): void {
    const starting = this.#starting;
    if (starting.length === 0) return;
    this.#starting = [];
    let batch = new SettleBatch(CLIENT_OPS.START, null);
    for (const delivery of starting) {
      if (delivery.state !== DELIVERY_STATE.STARTED) continue;
      if (batch.ranges.rangeCount >= LIMITS.rangesMax) {
        this.#number(batch, isAwaited);
        batch = new SettleBatch(CLIENT_OPS.START, null);
      }
      batch.add(delivery.wire.tag);
      delivery.startSeq = this.#lastSeq + 1;
    }
    if (!batch.ranges.isEmpty) this.#number(batch, isAwaited);
  }

  #number(batch: SettleBatch, isAwaited: boolean): void {
    const writer = this.#writer;
    if (isAwaited) batch.mayWait = false;
    batch.settleSeq = ++this.#lastSeq;
    if (batch.op === CLIENT_OPS.COMPLETE) writeComplete(writer, batch.settleSeq, batch.ranges, batch.results, batch);
    else if (batch.nack !== null) writeNack(writer, batch.op, batch.settleSeq, batch.ranges, batch.nack);
    else
      writeSettle(
        writer,
        batch.op,
        batch.settleSeq,
        batch.ranges,
        batch.op === CLIENT_OPS.RELEASE ? batch.delayMs : batch.mayWait,
      );
    batch.bytes = writer.copy();
    this.#unanswered.push(batch);
  }

  #send(): void {
    while (this.#sent < this.#unanswered.length && this.#channel.isOpen)
      this.#channel.send(this.#unanswered.at(this.#sent++)!.bytes!);
  }

  #drop(error: LovageError): void {
    const batches = [...this.#unanswered.toArray(), ...this.#gathering()];
    this.#unanswered.clear();
    this.#starting = [];
    this.#startingLater.clear();
    this.#acks = null;
    this.#nacks = [];
    this.#completes = null;
    this.#followed = [];
    this.#releases = null;
    this.#sent = 0;
    for (const batch of batches) batch.reject(null, error);
    this.#wake(Number.POSITIVE_INFINITY);
  }

  /** `settleSeq` is Infinity when no answer will come any more. */
  #wake(settleSeq: number): void {
    if (this.#waiters.length === 0) return;
    const waiters = this.#waiters;
    this.#waiters = waiters.filter((waiter) => waiter.settleSeq > settleSeq);
    for (const waiter of waiters) if (waiter.settleSeq <= settleSeq) waiter.wake();
  }
}

function isSameNack(a: ParsedNack, b: ParsedNack): boolean {
  return a.requeue === b.requeue && a.delayMs === b.delayMs && a.reason === b.reason && a.cause === b.cause;
}
