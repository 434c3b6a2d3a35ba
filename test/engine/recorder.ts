/**
 * The engine's sink for tests: effects as plain objects in their order, and records as bytes, through the real codec, in a journal of arrays
 * that is cut into segments and can be read back from its first segment on.
 */
import { type DeadLetter, type ErrorCode, type MessageInfo, type Note, RESULT_STATUS } from '@lovage/protocol';
import { headersIn } from '../../server/broker/peeked-contents.js';
import {
  encodeCompleteHead,
  encodeMoveHead,
  encodePublishHead,
  encodeRecord,
  RECORD_TYPES,
  RecordReader,
} from '../../server/broker/record-codec.js';
import type { EffectSink, Opened } from '../../server/engine/effects.js';
import { Engine } from '../../server/engine/engine.js';
import { FLAG } from '../../server/engine/message-table.js';
import type { CompleteRecord, JournalRecord, MoveRecord, PublishRecord } from '../../server/engine/record.js';
import type { EngineOptions } from '../../server/engine/state.js';
import type { ReplayedRecord } from '../../server/journal/journal.js';

export interface Delivered {
  readonly type: 'deliver';
  readonly session: number;
  readonly lease: number;
  readonly consumerId: number;
  readonly tag: number;
  readonly id: number;
  readonly queueIndex: number;
  readonly priority: number;
  readonly attempt: number;
  readonly redelivered: boolean;
  readonly payload: Uint8Array;
  readonly history: readonly DeadLetter[];
}

export type Effect =
  | Delivered
  | { readonly type: 'recall'; readonly session: number; readonly tag: number }
  | { readonly type: 'callOff'; readonly session: number; readonly tag: number; readonly terminate: boolean }
  | ({ readonly type: 'opened' } & Opened)
  | { readonly type: 'confirm'; readonly session: number; readonly seq: number; readonly id: number; isMemory: boolean }
  | {
      readonly type: 'duplicate';
      readonly session: number;
      readonly seq: number;
      readonly id: number;
      isMemory: boolean;
    }
  | { readonly type: 'reject'; readonly session: number; readonly seq: number; readonly code: ErrorCode }
  | { readonly type: 'settled'; readonly session: number; readonly settleSeq: number }
  | {
      readonly type: 'refused';
      readonly session: number;
      readonly settleSeq: number;
      readonly firstTag: number;
      readonly count: number;
      readonly code: ErrorCode;
    }
  | { readonly type: 'reply'; readonly session: number; readonly request: number; readonly result: unknown }
  | { readonly type: 'fail'; readonly session: number; readonly request: number; readonly code: ErrorCode }
  | {
      readonly type: 'result';
      readonly session: number;
      readonly id: number;
      readonly status: number;
      readonly payload?: Uint8Array;
      readonly reason?: string | null;
    }
  | { readonly type: 'noted'; readonly session: number; readonly id: number; readonly note: Note; bytes: number }
  | { readonly type: 'revoked'; readonly id: string }
  | { readonly type: 'peeked'; readonly session: number; readonly request: number; readonly result: unknown }
  | { readonly type: 'accessClosed'; readonly session: number }
  | { readonly type: 'cancelled'; readonly session: number; readonly consumerId: number; readonly code: ErrorCode }
  | {
      readonly type: 'queueGone';
      readonly session: number;
      readonly consumerId: number;
      readonly queue: string;
      readonly code: ErrorCode;
    };

/** Where records lie. */
export class TestLog {
  records: ReplayedRecord[] = [];
  /** Records that nobody has followed yet. */
  fresh: ReplayedRecord[] = [];
  firstSegment = 1;
  segment = 1;
  #offset = 0;

  stage(type: number, head: Uint8Array, body: Uint8Array): number {
    const bodyOffset = this.#offset + head.length;
    const record = { type, head: head.slice(), body: body.slice(), segment: this.segment, bodyOffset };
    this.records.push(record);
    this.fresh.push(record);
    this.#offset = bodyOffset + body.length;
    return bodyOffset;
  }

  /** What is staged from now on goes to a new segment, which has to begin with a checkpoint. */
  roll(): void {
    this.segment++;
    this.#offset = 0;
  }

  /** Forgets the segments below. */
  reclaim(below: number): void {
    this.firstSegment = below;
    this.records = this.records.filter((record) => record.segment >= below);
  }

  of(segment: number): ReplayedRecord[] {
    return this.records.filter((record) => record.segment === segment);
  }

  read(segment: number, offset: number, length: number): Uint8Array {
    const record = this.records.find(
      ({ segment: at, bodyOffset, body }) =>
        at === segment && bodyOffset <= offset && offset + length <= bodyOffset + body.length,
    );
    if (record === undefined)
      throw new Error(`Cannot read ${length} bytes at ${segment}:${offset}: no record has them`);
    return record.body.subarray(offset - record.bodyOffset, offset - record.bodyOffset + length);
  }
}

export class Recorder implements EffectSink {
  readonly log: TestLog;
  effects: Effect[] = [];
  /** Queues that were made since this was last cleared: namespace and name. */
  readonly made = new Set<string>();
  segment = 0;
  readonly #engine: () => Engine;

  constructor(log: TestLog, engine: () => Engine) {
    this.log = log;
    this.#engine = engine;
  }

  /** The effects since the last call. */
  take(): Effect[] {
    const taken = this.effects;
    this.effects = [];
    return taken;
  }

  record(record: Exclude<JournalRecord, PublishRecord | MoveRecord | CompleteRecord>): void {
    const { type, head, body } = encodeRecord(record);
    this.log.stage(type, head, body);
    if (record.type === 'queue') this.made.add(`${record.namespace} ${record.name}`);
  }

  publish(record: PublishRecord): number {
    this.segment = this.log.segment;
    return this.log.stage(RECORD_TYPES.publish, encodePublishHead(record), record.batch.bytes);
  }

  complete(record: CompleteRecord): number {
    this.segment = this.log.segment;
    return this.log.stage(RECORD_TYPES.complete, encodeCompleteHead(record), record.batch.bytes);
  }

  result(session: number, id: number, payload: Uint8Array): void {
    this.effects.push({ type: 'result', session, id, status: RESULT_STATUS.DONE, payload: Uint8Array.from(payload) });
  }

  storedResult(session: number, id: number, slot: number): void {
    this.result(session, id, this.#payload(slot));
  }

  resultEnded(session: number, id: number, status: number, reason: string | null): void {
    this.effects.push({ type: 'result', session, id, status, reason });
  }

  /** Tests of the engine have no archive. */
  archivedResult(session: number, id: number): number {
    this.resultEnded(session, id, RESULT_STATUS.NOT_THERE, null);
    return 0;
  }

  whereabouts(session: number, request: number, _ids: readonly number[], messages: unknown[]): void {
    this.reply(session, request, { messages });
  }

  archiveLeft(): number {
    return 0;
  }

  noted(session: number, id: number, note: Note, bytes: number): void {
    this.effects.push({ type: 'noted', session, id, note, bytes });
  }

  move(record: MoveRecord): number {
    this.segment = this.log.segment;
    return this.log.stage(RECORD_TYPES.move, encodeMoveHead(record), record.body);
  }

  opened(opened: Opened): void {
    this.effects.push({ type: 'opened', ...opened });
  }

  confirm(session: number, firstSeq: number, count: number, firstId: number, isMemory: boolean): void {
    for (let i = 0; i < count; i++)
      this.effects.push({ type: 'confirm', session, seq: firstSeq + i, id: firstId === 0 ? 0 : firstId + i, isMemory });
  }

  duplicate(session: number, seq: number, id: number, isMemory: boolean): void {
    this.effects.push({ type: 'duplicate', session, seq, id, isMemory });
  }

  reject(session: number, firstSeq: number, count: number, code: ErrorCode): void {
    for (let i = 0; i < count; i++) this.effects.push({ type: 'reject', session, seq: firstSeq + i, code });
  }

  peeked(
    session: number,
    request: number,
    messages: readonly MessageInfo[],
    slots: readonly number[],
    next: number | null,
  ): void {
    const { table } = this.#engine().state;
    const ids = slots.map((slot) => table.id[slot]!);
    this.effects.push({ type: 'peeked', session, request, result: { messages, ids, next } });
  }

  deliver(session: number, lease: number): void {
    const { table, leases } = this.#engine().state;
    const slot = leases.slot[lease]!;
    this.effects.push({
      type: 'deliver',
      session,
      lease,
      consumerId: leases.consumer[lease]!.id,
      tag: leases.tag[lease]!,
      id: table.id[slot]!,
      queueIndex: leases.queueIndex[lease]!,
      priority: table.priority[slot]!,
      attempt: table.attempts[slot]! + 1,
      redelivered: (table.flags[slot]! & FLAG.REDELIVERED) !== 0,
      payload: Uint8Array.from(this.#payload(slot)),
      history: table.historyOf(slot),
    });
  }

  #payload(slot: number): Uint8Array {
    const { table } = this.#engine().state;
    const segment = table.segment[slot]!;
    const offset = table.offset[slot]!;
    const length = table.length[slot]!;
    return table.isMemory(slot)
      ? table.memoryFrames.get(segment).subarray(offset, offset + length)
      : this.log.read(segment, offset, length);
  }

  settled(session: number, settleSeq: number): void {
    this.effects.push({ type: 'settled', session, settleSeq });
  }

  refused(session: number, settleSeq: number, firstTag: number, count: number, code: ErrorCode): void {
    this.effects.push({ type: 'refused', session, settleSeq, firstTag, count, code });
  }

  recall(session: number, tag: number): void {
    this.effects.push({ type: 'recall', session, tag });
  }

  callOff(session: number, tag: number, terminate: boolean): void {
    this.effects.push({ type: 'callOff', session, tag, terminate });
  }

  headersOf(slot: number): Uint8Array | null {
    return headersIn(this.#payload(slot), this.#engine().state.table.length[slot]!) ?? null;
  }

  reply(session: number, request: number, result: unknown): void {
    this.effects.push({ type: 'reply', session, request, result });
  }

  fail(session: number, request: number, code: ErrorCode): void {
    this.effects.push({ type: 'fail', session, request, code });
  }

  revoked(id: string): void {
    this.effects.push({ type: 'revoked', id });
  }

  accessClosed(session: number): void {
    this.effects.push({ type: 'accessClosed', session });
  }

  cancelled(session: number, consumerId: number, code: ErrorCode): void {
    this.effects.push({ type: 'cancelled', session, consumerId, code });
  }

  queueGone(session: number, consumerId: number, queue: string, code: ErrorCode): void {
    this.effects.push({ type: 'queueGone', session, consumerId, queue, code });
  }
}

/** An engine made from what stands in a journal. `recovered` has not been called. */
export function replayed(log: TestLog, options: Partial<EngineOptions>): Engine {
  const engine = new Engine(options);
  const reader = new RecordReader();
  for (const record of log.records) engine.restore(reader.read(record));
  return engine;
}
