/**
 * Journal records as bytes: a type, a small head in MessagePack, and for the records that carry payloads a body as it is.
 *
 *     type  record        head                                                       body
 *      1    publish       [timeMs, baseId, namespace, producer|nil, exceptions, lists?, listOf?]      the PUBLISH frame as it came
 *      2    settle        [reason, [first id, count, ...]]
 *      3    start         [session, [id, tag, consumer, ...]]
 *      4    session       [session, key, namespace, producer|nil]
 *      5    session-end   [session]
 *      6    return        [[id, attempts, dueMs, ...]]
 *      7    queue         [timeMs, index, namespace, name, settings, era?]
 *      8    queue-delete  [index]
 *      9    queue-pause   [index, isPaused]
 *     10    ids           [below]
 *     11    move          [[id, queue, priority, attempts, dueMs, expiryMs, session, tag, consumer, offset, length, history?, attemptLog?, rate?], ...]   payloads
 *     12    checkpoint    [timeMs, nextId, nextSession, [bytes of each part]]        parts, see `checkpoint-codec.ts`
 *     13    queue-settings  [timeMs, index, version, settings]
 *     14    transfer      [timeMs, reason, [id, queue, expiryMs, ...]]
 *     15    exchange         [namespace, name, type, alternate|nil]
 *     16    exchange-delete  [namespace, name]
 *     17    bind             [namespace, exchange, to, name, key, match|nil, headers|nil]      to: 0 a queue, 1 an exchange
 *     18    unbind           as bind
 *     19    message-priority   [[id, priority, ...]]
 *     20    token         [id, name, role, namespace|nil, configure, write, read, expiresAt|nil, connectionsMax|nil, publishRateMax|nil, createdAt, hash]
 *     21    token-revoke  [id]
 *     22    namespace     [name, settings]
 *     23    namespace-delete  [name]
 *     25    rate-limit    [namespace, name, rate|nil, override|nil]      a rate: [count, perMs, burst]
 *     40    failure       [timeMs, cause, reason, [id, attempt, ...]]
 *     41    results-era   [queue, era]
 *     24    complete      [timeMs, queue, [index, id, priority, attempts, expiryMs, ...], [baseId, namespace, exceptions, settled]?]      the COMPLETE frame as it came
 *
 * `history` of a moved message is there if it was a dead letter: [[queue's name, reason, timeMs, count], ...]; `attemptLog` if attempts have failed:
 * [crashes, [[attempt, cause, timeMs, reason], ...]], behind an empty `history` if it has none; `rate` if it is under a rate limit:
 * [limit, key|nil], behind both.
 *
 * How to change this: add fields to the end of a head, or a new type. A type's number is never used again, and journals of older versions
 * must stay readable.
 */
import {
  attemptLogOf,
  attemptLogRow,
  CompleteBatch,
  DEAD_LETTER_REASONS,
  type DeadLetter,
  decodeValue,
  encodeValue,
  FAILURE_CAUSES,
  FrameReader,
  FrameWriter,
  type NamespaceSettings,
  PublishBatch,
  type QueueSettings,
  type RateTag,
  withDefaults,
  withNamespaceDefaults,
} from '@lovage/protocol';
import {
  type CompleteRecord,
  type FailureRecord,
  type JournalRecord,
  type MovedMessage,
  type MoveRecord,
  type PublishRecord,
  type QueueRecord,
  SETTLE_REASONS,
  type SettleRecord,
  TRANSFER_REASONS,
} from '../engine/record.js';
import type { ReplayedRecord } from '../journal/journal.js';
import {
  bindingOf,
  bindingRow,
  decodeCheckpoint,
  encodeCheckpoint,
  exchangeOf,
  exchangeRow,
  rateLimitOf,
  rateLimitRow,
} from './checkpoint-codec.js';
import { tokenOf, tokenRow } from './token-codec.js';

export const RECORD_TYPES = {
  publish: 1,
  settle: 2,
  start: 3,
  session: 4,
  'session-end': 5,
  return: 6,
  queue: 7,
  'queue-delete': 8,
  'queue-pause': 9,
  ids: 10,
  move: 11,
  checkpoint: 12,
  'queue-settings': 13,
  transfer: 14,
  exchange: 15,
  'exchange-delete': 16,
  bind: 17,
  unbind: 18,
  'message-priority': 19,
  token: 20,
  'token-revoke': 21,
  namespace: 22,
  'namespace-delete': 23,
  complete: 24,
  'rate-limit': 25,
  failure: 40,
  'results-era': 41,
} as const satisfies Record<JournalRecord['type'], number>;

const NAMES = new Map<number, JournalRecord['type']>(
  Object.entries(RECORD_TYPES).map(([name, number]) => [number, name as JournalRecord['type']]),
);

const NO_BODY = new Uint8Array(0);
/** The broker took a frame under the limits of its time, so none are applied when it is read again. */
const NO_LIMITS = { bodyBytesMax: Number.MAX_SAFE_INTEGER, headerBytesMax: Number.MAX_SAFE_INTEGER };

/** Of settle records, the frequent ones. */
const settleWriter = new FrameWriter();

/** Fields of the other records that have no body, as the head's array. */
const HEADS: {
  readonly [T in Exclude<JournalRecord['type'], 'publish' | 'move' | 'complete' | 'settle' | 'checkpoint'>]: (
    record: Extract<JournalRecord, { type: T }>,
  ) => unknown[];
} = {
  start: (record) => [record.session, record.entries],
  session: (record) => [record.session, record.key, record.namespace, record.producer],
  'session-end': (record) => [record.session],
  return: (record) => [record.entries],
  queue: queueFields,
  'queue-delete': (record) => [record.index],
  'queue-settings': (record) => [record.timeMs, record.index, record.version, record.settings],
  'queue-pause': (record) => [record.index, record.isPaused],
  ids: (record) => [record.below],
  'results-era': (record) => [record.index, record.era],
  transfer: (record) => [record.timeMs, TRANSFER_REASONS.indexOf(record.reason), record.entries],
  token: (record) => tokenRow(record.token),
  'token-revoke': (record) => [record.id],
  exchange: exchangeRow,
  'exchange-delete': (record) => [record.namespace, record.name],
  bind: bindingRow,
  unbind: bindingRow,
  namespace: (record) => [record.name, record.settings],
  'namespace-delete': (record) => [record.name],
  'rate-limit': rateLimitRow,
  failure: (record) => [record.timeMs, FAILURE_CAUSES.indexOf(record.cause), record.reason, record.entries],
  'message-priority': (record) => [record.entries],
};

function queueFields({ timeMs, index, namespace, name, settings, era }: QueueRecord): unknown[] {
  const fields = [timeMs, index, namespace, name, settings];
  return era === 0 ? fields : [...fields, era];
}

export interface EncodedRecord {
  readonly type: number;
  readonly head: Uint8Array;
  readonly body: Uint8Array;
}

/** The head is valid until the next call. */
export function encodeRecord(
  record: Exclude<JournalRecord, PublishRecord | MoveRecord | CompleteRecord>,
): EncodedRecord {
  const type = RECORD_TYPES[record.type];
  if (record.type === 'checkpoint') return { type, ...encodeCheckpoint(record) };
  if (record.type === 'settle') return { type, head: encodeSettleHead(record), body: NO_BODY };
  const fields = (HEADS[record.type] as (record: JournalRecord) => unknown[])(record);
  return { type, head: encodeValue(fields), body: NO_BODY };
}

/** As `encodeValue` would write it, which asks of each number what it is. */
function encodeSettleHead({ reason, ids }: SettleRecord): Uint8Array {
  settleWriter.reset();
  settleWriter.arrayHeader(2);
  settleWriter.uint(SETTLE_REASONS.indexOf(reason));
  settleWriter.arrayHeader(ids.length);
  for (let i = 0; i < ids.length; i++) settleWriter.uint(ids[i]!);
  return settleWriter.bytes.subarray(0, settleWriter.length);
}

export function encodePublishHead(record: PublishRecord): Uint8Array {
  const { timeMs, baseId, namespace, producer, exceptions, routes } = record;
  const head: unknown[] = [timeMs, baseId, namespace, producer, exceptions];
  // One list for each target, and then the lists that only messages have.
  if (routes !== null) head.push(routes.lists, routes.listOf);
  return encodeValue(head);
}

export function encodeCompleteHead({ timeMs, queue, entries, settled, follow }: CompleteRecord): Uint8Array {
  if (follow === null) return encodeValue([timeMs, queue, entries]);
  const { baseId, namespace, exceptions } = follow;
  return encodeValue([timeMs, queue, entries, [baseId, namespace, exceptions, settled]]);
}

export function encodeMoveHead(record: MoveRecord): Uint8Array {
  return encodeValue(
    record.messages.map((message) => [
      message.id,
      message.queue,
      message.priority,
      message.attempts,
      message.dueMs,
      message.expiryMs,
      message.session,
      message.tag,
      message.consumerId,
      message.offset,
      message.length,
      ...trailerOf(message),
    ]),
  );
}

/** What few messages have. */
function trailerOf({ history, attemptLog, rate }: MovedMessage): readonly unknown[] {
  if (rate !== null) return [history.map(historyFields), attemptLogRow(attemptLog), [rate.limit, rate.key]];
  if (attemptLog.failures.length > 0) return [history.map(historyFields), attemptLogRow(attemptLog)];
  return history.length === 0 ? [] : [history.map(historyFields)];
}

function historyFields({ queue, reason, timeMs, count }: DeadLetter): readonly unknown[] {
  return [queue, DEAD_LETTER_REASONS.indexOf(reason), timeMs, count];
}

/** Reads records back. One reader decodes one record at a time: the batch of a publish record is used again for the next. */
export class RecordReader {
  readonly #frame = new FrameReader();
  readonly #batch = new PublishBatch();
  readonly #results = new CompleteBatch();

  /** The record, whose arrays and bytes are valid until the next call. Throws BAD_FRAME for bytes that are no record of this version. */
  read(replayed: ReplayedRecord): JournalRecord {
    const type = NAMES.get(replayed.type);
    if (type === undefined)
      throw new Error(
        `Cannot read a record of type ${replayed.type}: expected one of ${[...NAMES.keys()].join(', ')}; a later version wrote it`,
      );
    return this.#decode(type, replayed);
  }

  #decode(type: JournalRecord['type'], replayed: ReplayedRecord): JournalRecord {
    const head = decodeValue(replayed.head) as unknown[];
    switch (type) {
      case 'publish':
        return this.#publish(head, replayed);
      case 'complete':
        return this.#complete(head, replayed);
      case 'settle':
        return { type, reason: SETTLE_REASONS[head[0] as number]!, ids: head[1] as number[] };
      case 'start':
        return { type, session: head[0] as number, entries: head[1] as number[] };
      case 'session':
        return {
          type,
          session: head[0] as number,
          key: head[1] as string,
          namespace: head[2] as string,
          producer: head[3] as string | null,
        };
      case 'session-end':
        return { type, session: head[0] as number };
      case 'return':
        return { type, entries: head[0] as number[] };
      case 'queue':
        return {
          type,
          timeMs: head[0] as number,
          index: head[1] as number,
          namespace: head[2] as string,
          name: head[3] as string,
          settings: withDefaults(head[4] as Partial<QueueSettings>),
          era: (head[5] as number | undefined) ?? 0,
        };
      case 'queue-settings':
        return {
          type,
          timeMs: head[0] as number,
          index: head[1] as number,
          version: head[2] as number,
          settings: withDefaults(head[3] as Partial<QueueSettings>),
        };
      case 'queue-delete':
        return { type, index: head[0] as number };
      case 'queue-pause':
        return { type, index: head[0] as number, isPaused: head[1] as boolean };
      case 'ids':
        return { type, below: head[0] as number };
      case 'results-era':
        return { type, index: head[0] as number, era: head[1] as number };
      case 'failure':
        return failureOf(head);
      case 'message-priority':
        return { type, entries: head[0] as number[] };
      case 'move':
        return {
          type,
          messages: (head as unknown[][]).map(movedMessage),
          body: replayed.body,
          segment: replayed.segment,
          offset: replayed.bodyOffset,
        };
      case 'token':
        return { type, token: tokenOf(head) };
      case 'token-revoke':
        return { type, id: head[0] as string };
      case 'namespace':
        return {
          type,
          name: head[0] as string,
          settings: withNamespaceDefaults(head[1] as Partial<NamespaceSettings>),
        };
      case 'namespace-delete':
        return { type, name: head[0] as string };
      case 'rate-limit':
        return rateLimitOf(head);
      case 'checkpoint':
        return decodeCheckpoint(head, replayed.body);
      case 'transfer':
        return {
          type,
          timeMs: head[0] as number,
          reason: TRANSFER_REASONS[head[1] as number]!,
          entries: head[2] as number[],
        };
      case 'exchange':
        return { type, ...exchangeOf(head) };
      case 'exchange-delete':
        return { type, namespace: head[0] as string, name: head[1] as string };
      case 'bind':
      case 'unbind':
        return { type, ...bindingOf(head) };
      default:
        return type satisfies never;
    }
  }

  #complete(head: unknown[], replayed: ReplayedRecord): CompleteRecord {
    const [timeMs, queue, entries, more] = head as [number, number, number[], FollowHead?];
    const batch = this.#results.scan(this.#frame.open(replayed.body), NO_LIMITS);
    const { segment, bodyOffset: offset } = replayed;
    const follow = more === undefined ? null : followOf(more, timeMs, batch, { segment, offset });
    return { type: 'complete', timeMs, queue, entries, settled: more?.[3] ?? [], follow, batch, segment, offset };
  }

  #publish(head: unknown[], replayed: ReplayedRecord): PublishRecord {
    return {
      type: 'publish',
      timeMs: head[0] as number,
      baseId: head[1] as number,
      namespace: head[2] as string,
      producer: head[3] as string | null,
      exceptions: head[4] as number[],
      batch: this.#batch.scan(this.#frame.open(replayed.body), NO_LIMITS),
      routes: head.length > 5 ? { lists: head[5] as number[][], listOf: head[6] as number[] | null } : null,
      segment: replayed.segment,
      offset: replayed.bodyOffset,
    };
  }
}

type FollowHead = readonly [baseId: number, namespace: string, exceptions: number[], settled: number[]];

/** What was published with a completion, as a record of its own. */
function followOf(
  [baseId, namespace, exceptions]: FollowHead,
  timeMs: number,
  { follow: batch, followOffset }: CompleteBatch,
  { segment, offset }: { readonly segment: number; readonly offset: number },
): PublishRecord {
  const place = { segment, offset: offset + followOffset };
  return {
    type: 'publish',
    timeMs,
    baseId,
    namespace,
    producer: null,
    exceptions,
    batch: batch!,
    routes: null,
    ...place,
  };
}

function movedMessage(fields: readonly unknown[]): MovedMessage {
  const [id, queue, priority, attempts, dueMs, expiryMs, session, tag, consumerId, offset, length] = fields as [
    number,
    number,
    number,
    number,
    number,
    number,
    number,
    number,
    number,
    number,
    number,
  ];
  const attemptLog = attemptLogOf(fields[12]);
  const rate = rateTagOf(fields[13] as [string, string | null] | undefined);
  const history = ((fields[11] ?? []) as [string, number, number, number][]).map(deadLetter);
  return {
    id,
    queue,
    priority,
    attempts,
    dueMs,
    expiryMs,
    session,
    tag,
    consumerId,
    offset,
    length,
    history,
    attemptLog,
    rate,
  };
}

function rateTagOf(row: readonly [string, string | null] | undefined): RateTag | null {
  return row === undefined ? null : { limit: row[0], key: row[1] };
}

function failureOf([timeMs, cause, reason, entries]: readonly unknown[]): FailureRecord {
  return {
    type: 'failure',
    timeMs: timeMs as number,
    cause: FAILURE_CAUSES[cause as number] ?? 'failed',
    reason: reason as string,
    entries: entries as number[],
  };
}

function deadLetter([queue, reason, timeMs, count]: readonly [string, number, number, number]): DeadLetter {
  return { queue, reason: DEAD_LETTER_REASONS[reason]!, timeMs, count };
}

/** The name of a type's number, or the number if it has none. */
export function recordTypeName(type: number): string {
  return NAMES.get(type) ?? String(type);
}

function targetText(name: string, exchange: string | null): string | readonly [string, string] {
  return exchange === null ? name : [exchange, name];
}

/** A record for people and programs to read: `lovage journal dump`. Bodies of messages are not shown. */
export function describeRecord(replayed: ReplayedRecord): Record<string, unknown> {
  const record = new RecordReader().read(replayed);
  const place = { segment: replayed.segment, offset: replayed.bodyOffset };
  if (record.type === 'publish') {
    const { batch, timeMs, baseId, namespace, producer, exceptions, routes } = record;
    return {
      ...place,
      type: 'publish',
      timeMs,
      baseId,
      count: batch.count,
      targets: batch.targets.map((name, i) => targetText(name, batch.exchanges[i] ?? null)),
      ...(routes === null ? {} : { routes }),
      namespace,
      producer,
      exceptions,
      bytes: batch.bytes.length,
    };
  }
  if (record.type === 'complete') {
    const { batch, timeMs, queue, entries, settled, follow } = record;
    const told = { ...place, type: 'complete', timeMs, queue, entries, bytes: batch.bytes.length };
    if (follow === null) return told;
    const { baseId, exceptions } = follow;
    const { count, targets } = follow.batch;
    return {
      ...told,
      settled: [...settled],
      follow: { baseId, count, targets: [...targets], exceptions: [...exceptions] },
    };
  }
  if (record.type === 'move') return { ...place, type: 'move', messages: record.messages, bytes: record.body.length };
  return { ...place, ...record };
}
