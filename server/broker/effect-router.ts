// hot path
/**
 * The engine's sink: stages records in the journal and puts every effect into the bucket that is flushed when what it rests on is safe (promise
 * P1, rule W8).
 *
 *     staged records in the gathering batch   -> gathering: visible when that batch is on disk
 *     none, but a batch is on its way         -> committing: visible when that one is
 *     neither                                 -> now: visible at the end of this turn
 *
 * Two effects rest on less than the whole state: the first delivery of a message that is on disk already, and whatever concerns a message that is
 * kept in memory only. They go to `now` at once.
 */
import {
  DURABILITY,
  type ErrorCode,
  encodeFrame,
  encodeValue,
  LIMITS,
  type MessageInfo,
  type MessageWhereabouts,
  NO_FAILURES,
  type Note,
  type PeekedMessage,
  RESULT_STATUS,
  RESULTS_QUEUE,
  SERVER_OPS,
} from '@lovage/protocol';
import { type Archive, type ArchivedFacts, RESULT_FLAG } from '../archive/archive.js';
import type { EffectSink, Opened } from '../engine/effects.js';
import { FLAG, STATE } from '../engine/message-table.js';
import type { Queue } from '../engine/queue.js';
import type { CompleteRecord, JournalRecord, MoveRecord, PublishRecord } from '../engine/record.js';
import type { EngineState } from '../engine/state.js';
import type { Journal, SyncClass } from '../journal/journal.js';
import type { Bucket } from './bucket.js';
import type { Outlet } from './outlet.js';
import { headersIn, peekedContents } from './peeked-contents.js';
import { encodeCompleteHead, encodeMoveHead, encodePublishHead, encodeRecord, RECORD_TYPES } from './record-codec.js';

const DURABILITY_OF: Record<SyncClass, number> = {
  always: DURABILITY.indexOf('disk'),
  interval: DURABILITY.indexOf('interval'),
  never: DURABILITY.indexOf('never'),
  memory: DURABILITY.indexOf('memory'),
};
/** Bytes of a payload that a peek reads: content type and headers of the usual bound, and the beginning of the body. */
const PEEK_BYTES = 2 * LIMITS.headerBytesMax + LIMITS.peekBodyMax;
/** Bytes of a payload that are read for its headers first. */
const HEADER_BYTES = 512;
const MEMORY = DURABILITY.indexOf('memory');
/** A message with one of these was out before, or in another queue. */
const BEEN_ELSEWHERE = FLAG.REDELIVERED | FLAG.TRANSFERRED;

const NOTHING = new Uint8Array(0);

/** Is told at once, not when it is on the disk: whoever has to go, goes. */
export type AccessWatcher = Pick<EffectSink, 'revoked' | 'accessClosed'>;

export class EffectRouter implements EffectSink {
  readonly #state: EngineState;
  readonly #journal: Journal;
  readonly #archive: Archive | null;
  readonly #durability: number;
  readonly #outlets = new Map<number, Outlet>();
  /** Outlets that have something in the bucket of that name. */
  readonly now: Outlet[] = [];
  gathering: Outlet[] = [];
  committing: Outlet[] = [];
  safe: Outlet[] = [];
  segment = 0;
  accessWatcher: AccessWatcher | null = null;
  /** Where the last reservation of ids for memory messages is: until it is on disk, what concerns such messages waits as if it were in the journal. */
  #ids: 'gathering' | 'committing' | 'safe' = 'safe';
  #isCommitting = false;
  #isFlushing = false;
  /** Records staged since the last `seal`. */
  #staged = 0;
  /** Messages below this number were published before the last `seal`. */
  #sealedBelow = 0;
  /** What the last `open` found. */
  lastOpened: Opened | null = null;
  /** Results were archived that count no more. Set back by the broker. */
  hasLeftArchived = false;
  /** Messages refused since start. */
  refusedMessages = 0;

  constructor(state: EngineState, journal: Journal, archive: Archive | null) {
    this.#state = state;
    this.#journal = journal;
    this.#archive = archive;
    this.#durability = DURABILITY_OF[journal.syncClass];
  }

  attach(session: number, outlet: Outlet): void {
    this.#outlets.set(session, outlet);
  }

  detach(session: number): void {
    this.#outlets.delete(session);
  }

  outlet(session: number): Outlet | undefined {
    return this.#outlets.get(session);
  }

  /** Whether records wait for a commit. */
  get hasStaged(): boolean {
    return this.#staged > 0;
  }

  /** Whether somebody waits for what rests on the gathering batch. */
  get isAwaited(): boolean {
    for (const outlet of this.gathering) if (outlet.isAwaited) return true;
    return false;
  }

  /** The gathering batch goes to disk. */
  seal(): void {
    for (const outlet of this.gathering) outlet.seal();
    const sealed = this.gathering;
    this.gathering = this.committing;
    this.committing = sealed;
    this.#isCommitting = true;
    this.#staged = 0;
    this.#sealedBelow = this.#state.nextId;
    if (this.#ids === 'gathering') this.#ids = 'committing';
  }

  /** The batch is on disk: what rests on it may be seen, and is with the next `release`. */
  committed(): void {
    this.#isCommitting = false;
    if (this.#ids === 'committing') this.#ids = 'safe';
    for (const outlet of this.committing) outlet.committed();
    const safe = this.committing;
    this.committing = this.safe;
    this.safe = safe;
  }

  /** Sends what rests on the batch that was committed last. What rests on nothing was decided before that and goes first: deliveries keep their order. */
  release(): void {
    const { safe } = this;
    if (safe.length > 0) this.flushNow();
    for (const outlet of safe) outlet.flushSafe();
    safe.length = 0;
  }

  /** What rests on nothing goes out. Sending may cause more of it, which goes out as well. */
  flushNow(): void {
    if (this.#isFlushing) return;
    this.#isFlushing = true;
    const { now } = this;
    for (const outlet of now) outlet.flushNow();
    now.length = 0;
    this.#isFlushing = false;
  }

  record(record: Exclude<JournalRecord, PublishRecord | MoveRecord | CompleteRecord>): void {
    const { type, head, body } = encodeRecord(record);
    this.#journal.stage(type, head, body);
    this.#staged++;
    if (record.type === 'ids') this.#ids = 'gathering';
  }

  publish(record: PublishRecord): number {
    const offset = this.#journal.stage(RECORD_TYPES.publish, encodePublishHead(record), record.batch.bytes);
    this.#staged++;
    this.segment = this.#journal.stagedSegment;
    return offset;
  }

  complete(record: CompleteRecord): number {
    const offset = this.#journal.stage(RECORD_TYPES.complete, encodeCompleteHead(record), record.batch.bytes);
    this.#staged++;
    this.segment = this.#journal.stagedSegment;
    return offset;
  }

  move(record: MoveRecord): number {
    const offset = this.#journal.stage(RECORD_TYPES.move, encodeMoveHead(record), record.body);
    this.#staged++;
    this.segment = this.#journal.stagedSegment;
    return offset;
  }

  opened(opened: Opened): void {
    this.lastOpened = opened;
  }

  confirm(session: number, firstSeq: number, count: number, firstId: number, isMemory: boolean): void {
    const bucket = isMemory && this.#ids === 'safe' ? this.#nowBucket(session) : this.#bucket(session);
    bucket?.confirm(firstSeq, count, firstId, isMemory ? MEMORY : this.#durability);
  }

  duplicate(session: number, seq: number, id: number, isMemory: boolean): void {
    this.#frame(session, [SERVER_OPS.DUPLICATE, seq, id, isMemory ? MEMORY : this.#durability]);
  }

  reject(
    session: number,
    firstSeq: number,
    count: number,
    code: ErrorCode,
    message: string,
    details?: Record<string, unknown>,
  ): void {
    this.refusedMessages += count;
    const fields = [SERVER_OPS.REJECT, firstSeq, count, code, message];
    this.#frame(session, details === undefined ? fields : [...fields, details]);
  }

  deliver(session: number, lease: number): void {
    const { table, leases } = this.#state;
    const slot = leases.slot[lease]!;
    this.#deliveryBucket(session, slot)?.deliver(lease, leases.serial[lease]!, table.length[slot]!);
  }

  settled(session: number, settleSeq: number, mayWait: boolean): void {
    const bucket = this.#bucket(session);
    if (bucket === undefined) return;
    if (settleSeq > bucket.settleSeq) bucket.settleSeq = settleSeq;
    if (!mayWait) bucket.isSettledAwaited = true;
  }

  refused(session: number, settleSeq: number, firstTag: number, count: number, code: ErrorCode): void {
    this.#frame(session, [SERVER_OPS.REFUSED, settleSeq, [firstTag, count], code]);
  }

  recall(session: number, tag: number): void {
    this.#bucket(session)?.recalls.add(tag);
  }

  callOff(session: number, tag: number, terminate: boolean): void {
    const bucket = this.#bucket(session);
    (terminate ? bucket?.terminated : bucket?.calledOff)?.add(tag);
  }

  headersOf(slot: number): Uint8Array | null {
    const length = this.#state.table.length[slot]!;
    for (let bytes = HEADER_BYTES; ; bytes *= 16) {
      const headers = headersIn(this.#payload(slot, Math.min(length, bytes)), length);
      if (headers !== undefined) return headers;
    }
  }

  reply(session: number, request: number, result: unknown): void {
    this.#frame(session, [SERVER_OPS.REPLY, request, result]);
  }

  peeked(
    session: number,
    request: number,
    messages: readonly MessageInfo[],
    slots: readonly number[],
    next: number | null,
  ): void {
    const peeked = messages.map((info, i) => ({ ...info, ...this.#contents(slots[i]!) }));
    this.reply(session, request, { messages: peeked, next });
  }

  /** What is in a message. Of a long body only the beginning is read, so that a page of them takes no longer than one of short ones. */
  #contents(slot: number): Omit<PeekedMessage, keyof MessageInfo> {
    const length = this.#state.table.length[slot]!;
    const prefix = this.#payload(slot, Math.min(length, PEEK_BYTES));
    return peekedContents(prefix, length) ?? peekedContents(this.#payload(slot, length), length)!;
  }

  /** Copies the whole payload of a message to `target`, from `at` on. */
  copyPayload(slot: number, target: Uint8Array, at: number): void {
    const { table } = this.#state;
    const length = table.length[slot]!;
    if (table.isMemory(slot)) target.set(this.#payload(slot, length), at);
    else this.#journal.copyTo(table.segment[slot]!, table.offset[slot]!, length, target, at);
  }

  /** The first bytes of a message's payload. */
  #payload(slot: number, length: number): Uint8Array {
    const { table } = this.#state;
    const segment = table.segment[slot]!;
    const offset = table.offset[slot]!;
    if (table.isMemory(slot)) return table.memoryFrames.get(segment).subarray(offset, offset + length);
    const bytes = new Uint8Array(length);
    this.#journal.copyTo(segment, offset, length, bytes, 0);
    return bytes;
  }

  fail(
    session: number,
    request: number,
    code: ErrorCode,
    message: string,
    details: Record<string, unknown> | null,
  ): void {
    this.#frame(session, [SERVER_OPS.ERROR, request, code, message, details]);
  }

  result(session: number, id: number, payload: Uint8Array): void {
    this.#bucket(session)?.result(id, RESULT_STATUS.DONE, payload);
  }

  storedResult(session: number, id: number, slot: number): void {
    const bucket = this.#bucket(session);
    if (bucket === undefined) return;
    const payload = this.#payload(slot, this.#state.table.length[slot]!);
    bucket.result(id, RESULT_STATUS.DONE, payload);
    bucket.keptBytes += payload.length;
  }

  archivedResult(session: number, id: number, queue: Queue): number {
    const bucket = this.#bucket(session);
    if (bucket === undefined) return 0;
    const payload = this.#archive?.find(queue, id, this.#state.nowMs) ?? null;
    bucket.result(id, payload === null ? RESULT_STATUS.NOT_THERE : RESULT_STATUS.DONE, payload ?? NOTHING);
    if (payload === null) return 0;
    bucket.keptBytes += payload.length;
    return payload.length;
  }

  whereabouts(
    session: number,
    request: number,
    ids: readonly number[],
    messages: (MessageWhereabouts | null)[],
    queue: Queue | null,
  ): void {
    if (this.#archive !== null && queue !== null)
      for (const [i, id] of ids.entries()) {
        const facts = messages[i] === null ? this.#archive.describe(queue, id, this.#state.nowMs) : null;
        if (facts !== null) messages[i] = resultWhereabouts(id, facts);
      }
    this.reply(session, request, { messages });
  }

  archiveLeft({ namespace }: Queue, era: number): number {
    this.hasLeftArchived = true;
    return this.#archive?.count({ namespace, era }) ?? 0;
  }

  noted(session: number, id: number, { progress, log }: Note, bytes: number): void {
    const bucket = this.#bucket(session);
    if (bucket === undefined) return;
    bucket.answer(encodeFrame([SERVER_OPS.NOTED, id, progress, log]));
    bucket.keptBytes += bytes;
  }

  resultEnded(session: number, id: number, status: number, reason: string | null): void {
    this.#bucket(session)?.result(id, status, reason === null ? NOTHING : encodeValue(reason));
  }

  cancelled(session: number, consumerId: number, code: ErrorCode): void {
    this.#frame(session, [SERVER_OPS.CONSUMER_CANCELLED, consumerId, code]);
  }

  queueGone(session: number, consumerId: number, queue: string, code: ErrorCode): void {
    this.#frame(session, [SERVER_OPS.CONSUMER_QUEUE_GONE, consumerId, queue, code]);
  }

  revoked(tokenId: string): void {
    this.accessWatcher?.revoked(tokenId);
  }

  accessClosed(session: number): void {
    this.accessWatcher?.accessClosed(session);
  }

  /** An answer that the session itself has, in its place among the others. */
  frame(session: number, fields: readonly unknown[]): void {
    this.#frame(session, fields);
  }

  #frame(session: number, fields: readonly unknown[]): void {
    this.#bucket(session)?.answer(encodeFrame(fields));
  }

  /**
   * A delivery rests on its publish; one that was out before, or in another queue, rests on how it came back, too; one that is settled by being sent rests on that
   * settlement, whose record follows.
   */
  #deliveryBucket(session: number, slot: number): Bucket | undefined {
    const { table } = this.#state;
    if (table.state[slot] === STATE.SENDING && !table.isMemory(slot)) return this.#gatheringBucket(session);
    if ((table.flags[slot]! & BEEN_ELSEWHERE) === 0) return this.#freshBucket(session, slot);
    const bucket = this.#bucket(session);
    if (bucket !== undefined) bucket.hasReturned = true;
    return bucket;
  }

  /** Not a batch later than that of its publish, or the next of its queue may have gone out by then; and not before one that has come back. */
  #freshBucket(session: number, slot: number): Bucket | undefined {
    const outlet = this.#outlets.get(session);
    if (outlet === undefined) return undefined;
    const { table } = this.#state;
    const isMemory = table.isMemory(slot);
    if (outlet.gathersReturned) return this.#gatheringBucket(session);
    // The id of a message in memory is safe to be seen once it can be given to no other after a restart.
    const isSafe = isMemory ? this.#ids === 'safe' : this.#journal.isDurable(table.segment[slot]!, table.offset[slot]!);
    if (isSafe) return outlet.commitsReturned ? this.#committingBucket(session) : this.#nowBucket(session);
    const isSealed = this.#isCommitting && !isMemory && table.id[slot]! < this.#sealedBelow;
    return isSealed ? this.#committingBucket(session) : this.#bucket(session);
  }

  #bucket(session: number): Bucket | undefined {
    if (this.#staged > 0) return this.#gatheringBucket(session);
    return this.#isCommitting ? this.#committingBucket(session) : this.#nowBucket(session);
  }

  #committingBucket(session: number): Bucket | undefined {
    const outlet = this.#outlets.get(session);
    if (outlet === undefined) return undefined;
    if (!outlet.isListedCommitting) {
      outlet.isListedCommitting = true;
      this.committing.push(outlet);
    }
    return outlet.committing;
  }

  #gatheringBucket(session: number): Bucket | undefined {
    const outlet = this.#outlets.get(session);
    if (outlet === undefined) return undefined;
    if (!outlet.isListedGathering) {
      outlet.isListedGathering = true;
      this.gathering.push(outlet);
    }
    return outlet.gathering;
  }

  #nowBucket(session: number): Bucket | undefined {
    const outlet = this.#outlets.get(session);
    if (outlet === undefined) return undefined;
    if (!outlet.isListedNow) {
      outlet.isListedNow = true;
      this.now.push(outlet);
    }
    return outlet.now;
  }
}

/** A result that is archived, as one that stands in the queue of results. */
function resultWhereabouts(
  id: number,
  { priority, attempts, expiryMs, flags, bytes }: ArchivedFacts,
): MessageWhereabouts {
  return {
    id,
    state: 'ready',
    priority,
    attempts,
    bytes,
    dueAt: null,
    expiresAt: expiryMs === 0 ? null : expiryMs,
    redelivered: (flags & RESULT_FLAG.REDELIVERED) !== 0,
    memory: (flags & RESULT_FLAG.MEMORY) !== 0,
    deadLetters: [],
    attemptLog: NO_FAILURES,
    queue: RESULTS_QUEUE,
  };
}
