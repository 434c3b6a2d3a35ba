/** Records as bytes and back: of every type, from bytes that become something else, and as people read them. */
import { decodeValue, encodeValue, parseNamespaceSettings, parseQueueSettings } from '@lovage/protocol';
import { describe, expect, test } from 'vitest';
import {
  describeRecord,
  encodeCompleteHead,
  encodeMoveHead,
  encodePublishHead,
  encodeRecord,
  RECORD_TYPES,
  RecordReader,
  recordTypeName,
} from '../../server/broker/record-codec.js';
import type { Token } from '../../server/engine/access.js';
import type {
  CheckpointRecord,
  CompleteRecord,
  JournalRecord,
  MoveRecord,
  PublishRecord,
} from '../../server/engine/record.js';
import { SETTLE_REASONS } from '../../server/engine/record.js';
import type { ReplayedRecord } from '../../server/journal/journal.js';
import { bodyOf, completeBatch } from '../engine/complete-batch.js';
import { OneBuffer } from '../engine/one-buffer.js';
import { payloadOf, publishBatch } from '../engine/publish-batch.js';

type Bodiless = Exclude<JournalRecord, PublishRecord | MoveRecord | CompleteRecord>;

const settings = parseQueueSettings({ defaultPriority: 7, messageTtlMs: 60_000 });

const TOKEN: Token = {
  id: '0011223344556677',
  name: 'ops',
  role: 'operator',
  namespace: 'other',
  configure: ['a.*', 'b'],
  write: [],
  read: ['*'],
  expiresAt: 1_795_440_650_333,
  connectionsMax: null,
  publishRateMax: 100,
  createdAt: 1_795_440_650_000,
  hash: '00112233445566778899',
};

const NAMESPACE = {
  type: 'namespace',
  name: 'team',
  settings: parseNamespaceSettings({ queuesMax: 5, bytesMax: 2 ** 40, queueDefaults: { messageTtlMs: 60_000 } }),
} as const;

const RATE_LIMIT = {
  type: 'rate-limit',
  namespace: 'team',
  name: 'sms',
  declared: { count: 100, perMs: 1_000, burst: 1 },
  override: { count: 1, perMs: 2_592_000_000, burst: 1_000_000 },
} as const;

const CHECKPOINT: CheckpointRecord = {
  type: 'checkpoint',
  timeMs: 1_795_440_650_333,
  nextId: 2 ** 40,
  nextSession: 12,
  queues: [
    { index: 0, namespace: 'default', name: 'a', settings, version: 3, isPaused: true, era: 0, dedup: [] },
    {
      index: 4,
      namespace: 'other',
      name: 'a',
      settings,
      version: 1,
      isPaused: false,
      era: 1_795_440_650_000,
      dedup: [
        ['first', 17, 1_000],
        ['second', 18, 1_001],
      ],
    },
  ],
  sessions: [{ type: 'session', session: 3, key: 'key', namespace: 'other', producer: null }],
  producers: [{ namespace: 'default', name: 'p', lastSeq: 9, confirmedSeq: 4, usedMs: 5_000, ranges: [5, 5, 100] }],
  exchanges: [
    { namespace: 'default', name: 'x', kind: 'topic', alternate: 'y' },
    { namespace: 'other', name: 'x', kind: 'headers', alternate: null },
  ],
  bindings: [
    { namespace: 'default', exchange: 'x', to: 'queue', name: 'a', key: 'a.#', headers: null, match: null },
    {
      namespace: 'other',
      exchange: 'x',
      to: 'exchange',
      name: 'z',
      key: '',
      headers: { a: 1.5, b: true, c: 'd' },
      match: 'any',
    },
  ],
  tokens: [TOKEN, { ...TOKEN, id: 'x', namespace: null, expiresAt: null }],
  namespaces: [NAMESPACE],
  rateLimits: [RATE_LIMIT],
};

const RECORDS: readonly Bodiless[] = [
  { type: 'settle', reason: 'acked', ids: [1, 1, 2 ** 40, 3] },
  { type: 'settle', reason: 'dropped', ids: [7, 1] },
  { type: 'settle', reason: 'expired', ids: [8, 1] },
  { type: 'settle', reason: 'purged', ids: [] },
  { type: 'start', session: 3, entries: [17, 1, 1, 18, 2, 1] },
  { type: 'session', session: 3, key: 'secret', namespace: 'default', producer: 'p' },
  { type: 'session', session: 4, key: 'other', namespace: 'default', producer: null },
  { type: 'session-end', session: 3 },
  { type: 'return', entries: [17, 2, 0, 18, 65_535, 1_795_440_650_333] },
  { type: 'queue', timeMs: 1_795_440_650_333, index: 99_999, namespace: 'default', name: 'sms/eu.1', settings, era: 0 },
  { type: 'queue', timeMs: 5, index: 1, namespace: 'default', name: 'lovage.results', settings, era: 2 ** 41 },
  { type: 'results-era', index: 1, era: 2 ** 41 + 1 },
  { type: 'settle', reason: 'archived', ids: [4, 1] },
  { type: 'queue-delete', index: 0 },
  { type: 'queue-settings', timeMs: 1_795_440_650_333, index: 4, version: 2, settings },
  { type: 'queue-pause', index: 5, isPaused: true },
  { type: 'ids', below: 2 ** 50 },
  {
    type: 'transfer',
    timeMs: 1_795_440_650_333,
    reason: 'rejected',
    entries: [17, 4, 0, 2 ** 40, 4, 1_795_440_650_999],
  },
  { type: 'transfer', timeMs: 1_000, reason: 'redriven', entries: [17, 0, 0] },
  { type: 'token', token: TOKEN },
  { type: 'token-revoke', id: TOKEN.id },
  { type: 'exchange', ...CHECKPOINT.exchanges[0]! },
  { type: 'exchange-delete', namespace: 'default', name: 'x' },
  { type: 'bind', ...CHECKPOINT.bindings[0]! },
  { type: 'unbind', ...CHECKPOINT.bindings[1]! },
  NAMESPACE,
  RATE_LIMIT,
  { type: 'namespace-delete', name: 'team' },
  { type: 'message-priority', entries: [17, 0, 2 ** 40, 255] },
  {
    type: 'failure',
    timeMs: 1_795_440_650_333,
    cause: 'crashed',
    reason: 'signal SIGKILL',
    entries: [17, 1, 2 ** 40, 20],
  },
  CHECKPOINT,
];

function replayed(record: Bodiless): ReplayedRecord {
  return { ...encodeRecord(record), segment: 3, bodyOffset: 500 };
}

const batch = publishBatch({
  firstSeq: 4,
  messages: [
    { queue: 'a', body: 'first', priority: 9, dedupKey: 'k' },
    { queue: 'b', body: 'second', delayMs: 50 },
  ],
});
const PUBLISH: PublishRecord = {
  type: 'publish',
  timeMs: 1_000,
  baseId: 17,
  namespace: 'default',
  producer: 'p',
  exceptions: [1, 0],
  batch,
  routes: null,
  segment: 3,
  offset: 500,
};

function replayedPublish(): ReplayedRecord {
  const head = encodePublishHead(PUBLISH);
  return { type: RECORD_TYPES.publish, head, body: batch.bytes.slice(), segment: 3, bodyOffset: 500 };
}

const MOVE: MoveRecord = {
  type: 'move',
  messages: [
    {
      id: 5,
      queue: 0,
      priority: 9,
      attempts: 2,
      dueMs: 0,
      expiryMs: 99,
      session: 3,
      tag: 7,
      consumerId: 1,
      offset: 0,
      length: 3,
      history: [
        { queue: 'sms', reason: 'rejected', timeMs: 1_795_440_650_333, count: 2 },
        { queue: 'sms/eu.1', reason: 'attempts', timeMs: 1_795_440_650_334, count: 1 },
      ],
      attemptLog: { crashes: 0, failures: [] },
      rate: { limit: 'sms', key: '+43' },
    },
    {
      id: 6,
      queue: 4,
      priority: 0,
      attempts: 0,
      dueMs: 88,
      expiryMs: 0,
      session: 0,
      tag: 0,
      consumerId: 0,
      offset: 3,
      length: 2,
      history: [],
      attemptLog: {
        crashes: 1,
        failures: [{ attempt: 2, cause: 'crashed', timeMs: 1_700_000_000_000, reason: 'exit code 3' }],
      },
      rate: null,
    },
  ],
  body: Buffer.from('abcde'),
  segment: 3,
  offset: 500,
};

describe('record codec', () => {
  for (const [i, record] of RECORDS.entries()) {
    test(`reads back what it wrote: ${record.type} ${i}`, () => {
      const read = new OneBuffer().show(replayed(record), (shown) => new RecordReader().read(shown));
      // The buffer holds something else by now.
      expect(read).toEqual(record);
    });
  }

  test('reads back a publish, with its messages where they lie', () => {
    const reader = new RecordReader();
    const record = reader.read(replayedPublish()) as PublishRecord;
    expect(record).toMatchObject({ ...PUBLISH, batch: { count: 2, firstSeq: 4, targets: ['a', 'b'] } });
    expect([...record.batch.priority.slice(0, 2)]).toEqual([9, -1]);
    expect(payloadOf(record.batch, 1)).toEqual(payloadOf(batch, 1));
  });

  test('reads back a completion, with its results where they lie', () => {
    const results = completeBatch(7, [
      [3, 'one', 50],
      [9, 'two'],
    ]);
    const record: CompleteRecord = {
      type: 'complete',
      timeMs: 1_000,
      queue: 4,
      entries: [0, 17, 9, 1, 1_795_440_650_333, 1, 2 ** 40, 0, 3, 0],
      settled: [],
      follow: null,
      batch: results,
      segment: 3,
      offset: 500,
    };
    const head = encodeCompleteHead(record);
    const written = { type: RECORD_TYPES.complete, head, body: results.bytes.slice(), segment: 3, bodyOffset: 500 };
    const read = new RecordReader().read(written) as CompleteRecord;
    expect(read).toMatchObject({ ...record, batch: { count: 2, settleSeq: 7 } });
    expect([...read.batch.ttlMs.slice(0, 2)]).toEqual([50, 0]);
    expect(bodyOf(payloadOf(read.batch, 1))).toBe('two');
    expect(describeRecord(written)).toMatchObject({ type: 'complete', entries: record.entries });
  });

  test('reads back what is published with a completion, where it lies', () => {
    const published = publishBatch({
      firstSeq: 1,
      messages: [
        { queue: 'a', body: 'x' },
        { queue: 'b', priority: 9 },
      ],
    });
    const completed = completeBatch(7, [[3, null]], published.bytes);
    const follow: PublishRecord = {
      ...{ type: 'publish', timeMs: 1_000, baseId: 2 ** 40, namespace: 'team', producer: null, exceptions: [1, 5] },
      ...{ batch: completed.follow!, routes: null, segment: 3, offset: 500 + completed.followOffset },
    };
    const record: CompleteRecord = {
      ...{ type: 'complete', timeMs: 1_000, queue: 0, entries: [], settled: [17], follow },
      ...{ batch: completed, segment: 3, offset: 500 },
    };
    const head = encodeCompleteHead(record);
    const written = { type: RECORD_TYPES.complete, head, body: completed.bytes.slice(), segment: 3, bodyOffset: 500 };
    const read = new RecordReader().read(written) as CompleteRecord;
    expect(read).toMatchObject({ settled: [17], entries: [], follow: { ...follow, batch: { targets: ['a', 'b'] } } });
    const at = read.follow!.offset - 500 + read.follow!.batch.payloadOffset[0]!;
    expect(bodyOf(written.body.subarray(at, at + read.follow!.batch.payloadLength[0]!))).toBe('x');
    expect(describeRecord(written)).toMatchObject({
      settled: [17],
      follow: { baseId: 2 ** 40, count: 2, targets: ['a', 'b'], exceptions: [1, 5] },
    });
  });

  test('reads back where the messages of a publish went', () => {
    const routed = publishBatch({ firstSeq: 4, messages: [{ exchange: 'x', queue: 'key' }, { queue: 'b' }] });
    for (const listOf of [null, [2, 1]]) {
      const routes = { lists: [[4, 0, 70_000], [1], []], listOf };
      const head = encodePublishHead({ ...PUBLISH, batch: routed, routes });
      const replayedRouted = { ...replayedPublish(), head, body: routed.bytes.slice() };
      const record = new RecordReader().read(replayedRouted) as PublishRecord;
      expect(record.routes).toEqual(routes);
      expect(record.batch).toMatchObject({ targets: ['key', 'b'], exchanges: ['x', null] });
      expect(describeRecord(replayedRouted)).toMatchObject({ targets: [['x', 'key'], 'b'], routes });
    }
  });

  test('reads a checkpoint and a publish of a version that knew no exchanges', () => {
    const before = { ...CHECKPOINT, exchanges: [], bindings: [] };
    expect(new RecordReader().read(replayed(before))).toEqual(before);
    const { routes: _, ...plain } = PUBLISH;
    expect(decodeValue(encodePublishHead(PUBLISH))).toHaveLength(5);
    expect(new RecordReader().read(replayedPublish())).toMatchObject({ ...plain, batch: { count: 2 }, routes: null });
  });

  test('reads a publish that is larger than what clients may send today', () => {
    const large = publishBatch({
      firstSeq: 1,
      bodyBytesMax: 2 ** 30,
      messages: [{ queue: 'a', body: 'x'.repeat(20_000_000) }],
    });
    const record = { ...replayedPublish(), body: large.bytes };
    expect((new RecordReader().read(record) as PublishRecord).batch.problem).toBeNull();
  });

  test('reads back messages that were moved', () => {
    const record = {
      type: RECORD_TYPES.move,
      head: encodeMoveHead(MOVE),
      body: MOVE.body,
      segment: 3,
      bodyOffset: 500,
    };
    expect(new RecordReader().read(record)).toEqual(MOVE);
  });

  test('fills in the settings that an older version did not have', () => {
    const old = {
      defaultPriority: 3,
      messageTtlMs: 0,
      backoffMsMin: 1,
      backoffMsMax: 2,
      dedupWindowMs: 3,
      dedupKeysMax: 4,
    };
    const head = encodeValue([1_000, 0, 'default', 'a', old]);
    expect(new RecordReader().read({ ...replayedPublish(), type: RECORD_TYPES.queue, head })).toMatchObject({
      settings: { ...parseQueueSettings({}), ...old },
    });
    const part = encodeValue([0, [[0, 'default', 'a', old, false]]]);
    const checkpoint = { type: RECORD_TYPES.checkpoint, head: encodeValue([1, 2, 3, [part.length]]), body: part };
    expect(new RecordReader().read({ ...replayedPublish(), ...checkpoint })).toMatchObject({
      queues: [{ settings: { ...parseQueueSettings({}), ...old }, version: 1 }],
    });
  });

  test('reads messages that were moved by a version without dead letters', () => {
    const fields = [5, 0, 9, 2, 0, 99, 3, 7, 1, 0, 3];
    const record = { ...replayedPublish(), type: RECORD_TYPES.move, head: encodeValue([fields]), body: MOVE.body };
    expect((new RecordReader().read(record) as MoveRecord).messages).toEqual([
      { ...MOVE.messages[0], history: [], rate: null },
    ]);
  });

  test('reads back a checkpoint of more keys than one value may hold', () => {
    const dedup = Array.from({ length: 250_000 }, (_, i) => [`key ${i}`, i + 1, 1_000 + i] as const);
    const ranges = Array.from({ length: 65_536 * 3 }, (_, i) => i + 1);
    const record: CheckpointRecord = {
      ...CHECKPOINT,
      queues: [{ ...CHECKPOINT.queues[0]!, dedup }, CHECKPOINT.queues[1]!],
      producers: [{ ...CHECKPOINT.producers[0]!, ranges }, CHECKPOINT.producers[0]!],
    };
    const { head } = encodeRecord(record);
    // The head names its parts: there are many.
    expect(head.length).toBeGreaterThan(100);
    expect(new RecordReader().read(replayed(record))).toEqual(record);
  });

  test('writes settlements as any other value is written', () => {
    const edges = [0, 1, 127, 128, 255, 256, 65_535, 65_536, 2 ** 32 - 1, 2 ** 32, 2 ** 53 - 1];
    const many = Array.from({ length: 70_000 }, (_, i) => i * 1_000);
    for (const ids of [[], edges.slice(0, 2), edges, many, [7, 1]])
      for (const [index, reason] of SETTLE_REASONS.entries())
        expect(Buffer.compare(encodeRecord({ type: 'settle', reason, ids }).head, encodeValue([index, ids]))).toBe(0);
  });

  test('refuses a type that a later version may have written', () => {
    expect(() => new RecordReader().read({ ...replayed(RECORDS[0]!), type: 77 })).toThrow(/type 77.*later version/);
  });

  test('refuses a head that is none', () => {
    const [settle] = RECORDS;
    expect(() => new RecordReader().read({ ...replayed(settle!), head: Buffer.from([0xc1]) })).toThrow();
    expect(() => new RecordReader().read({ ...replayedPublish(), body: Buffer.from([0x93, 3]) })).toThrow();
  });

  test('names its types, and describes a publish without its bodies', () => {
    expect(Object.entries(RECORD_TYPES).every(([name, number]) => recordTypeName(number) === name)).toBe(true);
    expect(recordTypeName(77)).toBe('77');
    expect(describeRecord(replayedPublish())).toEqual({
      segment: 3,
      offset: 500,
      type: 'publish',
      timeMs: 1_000,
      baseId: 17,
      count: 2,
      targets: ['a', 'b'],
      namespace: 'default',
      producer: 'p',
      exceptions: [1, 0],
      bytes: batch.bytes.length,
    });
    expect(describeRecord(replayed({ type: 'session-end', session: 3 }))).toEqual({
      segment: 3,
      offset: 500,
      type: 'session-end',
      session: 3,
    });
  });
});
