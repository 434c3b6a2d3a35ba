/**
 * A checkpoint as bytes. It may hold millions of dedup keys and publish ranges, more than one MessagePack value is let to have, so its body is cut
 * into parts:
 *
 *     head   [timeMs, nextId, nextSession, [bytes of part 0, bytes of part 1, ...]]
 *     part   [kind, [row...]]
 *     kind   row
 *      0     [index, namespace, name, settings, isPaused, version?, era?]        a queue
 *      1     [index, key, id, timeMs]                                            a dedup key of the queue of that index, oldest first
 *      2     [session, key, namespace, producer|nil]
 *      3     [namespace, name, lastSeq, confirmedSeq, usedMs, [seq, count, id, ...]]      a producer
 *      4     [namespace, name, type, alternate|nil]                              an exchange
 *      5     [namespace, exchange, to, name, key, match|nil, headers|nil]        a binding; to: 0 a queue, 1 an exchange
 *      6     as the head of a token record                                        a token
 *      7     [name, settings]                                                    a namespace that is set
 *      8     as the head of a rate-limit record                                  a rate limit
 *
 * How to change this: add fields to the end of a row or of the head, or a new kind. Journals of older versions must stay readable.
 */
import {
  decodeValue,
  EXCHANGE_TYPES,
  encodeValue,
  LIMITS,
  type NamespaceSettings,
  type QueueSettings,
  type Rate,
  withDefaults,
  withNamespaceDefaults,
} from '@lovage/protocol';
import type { Token } from '../engine/access.js';
import type {
  CheckpointBinding,
  CheckpointExchange,
  CheckpointProducer,
  CheckpointQueue,
  CheckpointRecord,
  NamespaceRecord,
  RateLimitRecord,
  SessionRecord,
} from '../engine/record.js';
import { tokenOf, tokenRow, tokenValues } from './token-codec.js';

const KIND = {
  QUEUE: 0,
  DEDUP: 1,
  SESSION: 2,
  PRODUCER: 3,
  EXCHANGE: 4,
  BINDING: 5,
  TOKEN: 6,
  NAMESPACE: 7,
  RATE_LIMIT: 8,
} as const;
/** What a binding leads to, by the number in its row. */
const TO = ['queue', 'exchange'] as const;
/** Values in one part at most, but for the one row that goes beyond it. */
const PART_VALUES = 100_000;
const ROW_VALUES = 16;

type Row = readonly unknown[];

/** Gathers rows of one kind and encodes them part by part. */
class PartWriter {
  readonly parts: Uint8Array[] = [];
  #kind = 0;
  #rows: Row[] = [];
  #values = 0;

  /** `values`: how many the row holds beyond the usual. */
  add(kind: number, row: Row, values = 0): void {
    if (kind !== this.#kind || this.#values >= PART_VALUES) this.flush();
    this.#kind = kind;
    this.#rows.push(row);
    this.#values += ROW_VALUES + values;
  }

  flush(): void {
    if (this.#rows.length > 0) this.parts.push(encodeValue([this.#kind, this.#rows]));
    this.#rows = [];
    this.#values = 0;
  }
}

export function encodeCheckpoint(record: CheckpointRecord): { head: Uint8Array; body: Uint8Array } {
  const writer = new PartWriter();
  for (const { index, namespace, name, settings, isPaused, version, era } of record.queues)
    writer.add(
      KIND.QUEUE,
      era === 0
        ? [index, namespace, name, settings, isPaused, version]
        : [index, namespace, name, settings, isPaused, version, era],
    );
  for (const { index, dedup } of record.queues)
    for (const [key, id, timeMs] of dedup) writer.add(KIND.DEDUP, [index, key, id, timeMs]);
  for (const { session, key, namespace, producer } of record.sessions)
    writer.add(KIND.SESSION, [session, key, namespace, producer]);
  for (const { namespace, name, lastSeq, confirmedSeq, usedMs, ranges } of record.producers)
    writer.add(KIND.PRODUCER, [namespace, name, lastSeq, confirmedSeq, usedMs, ranges], ranges.length);
  for (const exchange of record.exchanges) writer.add(KIND.EXCHANGE, exchangeRow(exchange));
  for (const binding of record.bindings) writer.add(KIND.BINDING, bindingRow(binding), LIMITS.bindingHeadersMax);
  for (const token of record.tokens) writer.add(KIND.TOKEN, tokenRow(token), tokenValues(token));
  for (const { name, settings } of record.namespaces) writer.add(KIND.NAMESPACE, [name, settings]);
  for (const limit of record.rateLimits) writer.add(KIND.RATE_LIMIT, rateLimitRow(limit));
  writer.flush();
  const { timeMs, nextId, nextSession } = record;
  const lengths = writer.parts.map((part) => part.length);
  return { head: encodeValue([timeMs, nextId, nextSession, lengths]), body: Buffer.concat(writer.parts) };
}

export function decodeCheckpoint(head: readonly unknown[], body: Uint8Array): CheckpointRecord {
  const [timeMs, nextId, nextSession, lengths] = head as [number, number, number, number[]];
  const queues = new Map<number, CheckpointQueue & { readonly dedup: (readonly [string, number, number])[] }>();
  const sessions: SessionRecord[] = [];
  const producers: CheckpointProducer[] = [];
  const exchanges: CheckpointExchange[] = [];
  const bindings: CheckpointBinding[] = [];
  const tokens: Token[] = [];
  const namespaces: NamespaceRecord[] = [];
  const rateLimits: RateLimitRecord[] = [];
  const take: Record<number, (row: Row) => void> = {
    [KIND.QUEUE]: (row) => {
      const [index, namespace, name, given, isPaused, version = 1, era = 0] = row as [
        number,
        string,
        string,
        Partial<QueueSettings>,
        boolean,
        number?,
        number?,
      ];
      const settings = withDefaults(given);
      queues.set(index, { index, namespace, name, settings, version, isPaused, era, dedup: [] });
    },
    [KIND.DEDUP]: (row) => {
      const [index, key, id, keyMs] = row as [number, string, number, number];
      queues.get(index)!.dedup.push([key, id, keyMs]);
    },
    [KIND.SESSION]: (row) => {
      const [session, key, namespace, producer] = row as [number, string, string, string | null];
      sessions.push({ type: 'session', session, key, namespace, producer });
    },
    [KIND.PRODUCER]: (row) => {
      const [namespace, name, lastSeq, confirmedSeq, usedMs, ranges] = row as [
        string,
        string,
        number,
        number,
        number,
        number[],
      ];
      producers.push({ namespace, name, lastSeq, confirmedSeq, usedMs, ranges });
    },
    [KIND.EXCHANGE]: (row) => exchanges.push(exchangeOf(row)),
    [KIND.BINDING]: (row) => bindings.push(bindingOf(row)),
    [KIND.TOKEN]: (row) => {
      tokens.push(tokenOf(row));
    },
    [KIND.NAMESPACE]: ([name, settings]) => {
      namespaces.push({
        type: 'namespace',
        name: name as string,
        settings: withNamespaceDefaults(settings as Partial<NamespaceSettings>),
      });
    },
    [KIND.RATE_LIMIT]: (row) => rateLimits.push(rateLimitOf(row)),
  };
  let offset = 0;
  for (const length of lengths) {
    const [kind, rows] = decodeValue(body.subarray(offset, offset + length)) as [number, Row[]];
    for (const row of rows) take[kind]!(row);
    offset += length;
  }
  return {
    type: 'checkpoint',
    timeMs,
    nextId,
    nextSession,
    queues: [...queues.values()],
    sessions,
    producers,
    exchanges,
    bindings,
    tokens,
    namespaces,
    rateLimits,
  };
}

/** Rows that stand in records of their own, too. */
export function exchangeRow({ namespace, name, kind, alternate }: CheckpointExchange): unknown[] {
  return [namespace, name, EXCHANGE_TYPES.indexOf(kind), alternate];
}

export function exchangeOf(row: Row): CheckpointExchange {
  const [namespace, name, type, alternate] = row as [string, string, number, string | null];
  return { namespace, name, kind: EXCHANGE_TYPES[type]!, alternate };
}

export function bindingRow({ namespace, exchange, to, name, key, match, headers }: CheckpointBinding): unknown[] {
  return [namespace, exchange, TO.indexOf(to), name, key, match, headers];
}

export function bindingOf(row: Row): CheckpointBinding {
  const [namespace, exchange, to, name, key, match, headers] = row as [
    string,
    string,
    number,
    string,
    string,
    CheckpointBinding['match'],
    CheckpointBinding['headers'],
  ];
  return { namespace, exchange, to: TO[to]!, name, key, match, headers };
}

export function rateLimitRow({ namespace, name, declared, override }: RateLimitRecord): unknown[] {
  return [namespace, name, rateRow(declared), rateRow(override)];
}

export function rateLimitOf(row: Row): RateLimitRecord {
  const [namespace, name, declared, override] = row as [string, string, RateRow | null, RateRow | null];
  return { type: 'rate-limit', namespace, name, declared: rateOf(declared), override: rateOf(override) };
}

type RateRow = readonly [count: number, perMs: number, burst: number];

function rateRow(rate: Rate | null): RateRow | null {
  return rate === null ? null : [rate.count, rate.perMs, rate.burst];
}

function rateOf(row: RateRow | null): Rate | null {
  return row === null ? null : { count: row[0], perMs: row[1], burst: row[2] };
}
