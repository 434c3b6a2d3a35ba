/** What is published with the settlement of a delivery: all of it and the settlement in one record, or nothing. */
import {
  CompleteBatch,
  FrameReader,
  FrameWriter,
  PUBLISH_FLAGS,
  RESULTS_QUEUE,
  TagRanges,
  writeComplete,
} from '@lovage/protocol';
import { describe, expect, test } from 'vitest';
import { EngineDriver, idsOf, of } from './driver.js';
import { publishBatch, type TestMessage } from './publish-batch.js';

const { AUTO_DECLARE, MEMORY, MANDATORY } = PUBLISH_FLAGS;

function frame(messages: readonly TestMessage[], flags = 0): Uint8Array {
  return publishBatch({ firstSeq: 1, flags, messages }).bytes;
}

/** Two messages of `work` that one consumer has begun, and a queue `next`. */
function working(flags = 0): { driver: EngineDriver; session: number } {
  const driver = new EngineDriver();
  const session = driver.open();
  driver.declare(session, 'work');
  driver.declare(session, 'next', { messagesMax: 2 });
  driver.consume(session, ['work'], { prefetch: 2 });
  driver.frame(session, { firstSeq: 1, flags, messages: [{ queue: 'work' }, { queue: 'work' }] });
  driver.answer('start', session, [1, 2]);
  return { driver, session };
}

describe('what is published with a settlement', () => {
  test('is taken with it and with its result, in one record, and delivered', () => {
    const { driver, session } = working();
    driver.complete(session, [[2, 'first of all']]);
    const before = driver.log.records.length;
    const other = driver.open();
    driver.consume(other, ['next'], { prefetch: 9 });
    const messages = [
      { queue: 'next', body: 'a' },
      { queue: 'next', body: 'b', priority: 9, delayMs: 50 },
    ];
    const effects = driver.complete(session, [[1, 'done']], frame(messages));
    expect(driver.log.records.slice(before).map(({ type }) => type)).toEqual([24]);
    expect(of(effects, 'refused')).toEqual([]);
    expect(of(effects, 'deliver').map(({ id, session: to }) => [id, to])).toEqual([[3, other]]);
    expect(idsOf(driver.tick(50))).toEqual([4]);
    driver.roll();
    driver.restart();
    expect(driver.engine.queueInfo('default', 'work')).toMatchObject({ ready: 0, started: 0 });
    expect(driver.engine.queueInfo('default', 'next')).toMatchObject({ ready: 2 });
    expect(driver.engine.queueInfo('default', RESULTS_QUEUE)).toMatchObject({ ready: 2 });
    expect(driver.engine.state.nextId).toBe(5);
  });

  test('is one record also without a result, with a message in memory, and with a key that is known', () => {
    for (const flags of [0, MEMORY]) {
      const { driver, session } = working(flags);
      driver.publish(session, { queue: 'next', dedupKey: 'k' });
      const before = driver.log.records.length;
      driver.complete(
        session,
        [[1, null]],
        frame([
          { queue: 'next', dedupKey: 'k' },
          { queue: 'next', body: 'new' },
        ]),
      );
      expect(driver.log.records.slice(before).map(({ type }) => type)).toEqual([24]);
      driver.restart();
      expect(driver.engine.queueInfo('default', 'next')).toMatchObject({ ready: 2 });
      expect(driver.engine.queueInfo('default', RESULTS_QUEUE)).toBe(null);
      expect(driver.engine.state.table.find(1)).toBe(-1);
    }
  });

  test('is refused as a whole, and leaves the delivery and everything else as it was', () => {
    const { driver, session } = working();
    const refused = (...messages: TestMessage[]): unknown =>
      of(driver.complete(session, [[1, 'done']], frame(messages)), 'refused').map(({ firstTag, count, code }) => [
        firstTag,
        count,
        code,
      ]);
    const before = driver.log.records.length;
    expect(refused({ queue: 'next' }, { queue: 'nowhere' })).toEqual([[1, 1, 'QUEUE_NOT_FOUND']]);
    expect(refused({ queue: 'next' }, { queue: 'next' }, { queue: 'next' })).toEqual([[1, 1, 'QUEUE_FULL']]);
    driver.engine.refusePublishes('FLOW_BLOCKED', true);
    expect(refused({ queue: 'next' })).toEqual([[1, 1, 'FLOW_BLOCKED']]);
    driver.engine.refusePublishes(null, false);
    expect(driver.log.records.length).toBe(before);
    expect(driver.engine.queueInfo('default', 'next')).toMatchObject({ ready: 0 });
    expect(driver.engine.queueInfo('default', 'work')).toMatchObject({ started: 2 });
    expect(refused({ queue: 'next' })).toEqual([]);
    expect(refused({ queue: 'next' })).toEqual([[1, 1, 'ALREADY_SETTLED']]);
    expect(driver.engine.queueInfo('default', 'next')).toMatchObject({ ready: 1 });
  });

  test('is what the door lets through', () => {
    const { driver, session } = working();
    const batch = completeOf([[1, 1]], 5, frame([{ queue: 'next' }]));
    const refusal = { code: 'FORBIDDEN', message: 'no', targets: new Set([0]) } as const;
    const effects = driver.apply({ type: 'complete', session, batch, refused: refusal });
    expect(of(effects, 'refused')).toMatchObject([{ code: 'FORBIDDEN', firstTag: 1 }]);
    expect(driver.engine.queueInfo('default', 'next')).toMatchObject({ ready: 0 });
  });

  test('makes queues if it says so, and only then', () => {
    const { driver, session } = working();
    const messages = [{ queue: 'new' }];
    expect(of(driver.complete(session, [[1, 'x']], frame(messages)), 'refused')).toHaveLength(1);
    expect(of(driver.complete(session, [[1, 'x']], frame(messages, AUTO_DECLARE)), 'refused')).toEqual([]);
    expect(driver.engine.queueInfo('default', 'new')).toMatchObject({ ready: 1 });
  });

  test('is not taken again when the frame comes again', () => {
    const { driver, session } = working();
    const batch = completeOf([[1, 1]], 7, frame([{ queue: 'next' }]));
    for (let i = 0; i < 2; i++) driver.apply({ type: 'complete', session, batch });
    expect(driver.engine.queueInfo('default', 'next')).toMatchObject({ ready: 1 });
  });

  test.each([
    ['two deliveries', [[1, 2]], frame([{ queue: 'next' }])],
    ['an exchange', [[1, 1]], frame([{ exchange: '', queue: 'next' }])],
    ['messages in memory', [[1, 1]], frame([{ queue: 'next' }], MEMORY)],
    ['the flag MANDATORY', [[1, 1]], frame([{ queue: 'next' }], MANDATORY)],
  ] as const)('is nothing for %s', (_, ranges, follow) => {
    const { driver, session } = working();
    const effects = driver.apply({ type: 'complete', session, batch: completeOf(ranges, 5, follow) });
    expect(of(effects, 'refused').every(({ code }) => code === 'INVALID_ARGUMENT')).toBe(true);
    expect(of(effects, 'refused').reduce((sum, { count }) => sum + count, 0)).toBe(ranges[0][1]);
    expect(driver.engine.queueInfo('default', 'work')).toMatchObject({ started: 2 });
  });

  test('is BAD_FRAME if it is no PUBLISH', () => {
    const good = frame([{ queue: 'next' }]);
    for (const bad of [
      good.subarray(0, good.length - 1),
      new Uint8Array([...good, 0]),
      new Uint8Array([0x92, 0x02, 0x90]),
      new Uint8Array(),
    ])
      expect(() => completeOf([[1, 1]], 5, bad)).toThrow(expect.objectContaining({ code: 'BAD_FRAME' }));
  });

  test('is refused for a delivery that was settled when it was sent or begun', () => {
    for (const ack of ['early', 'none'] as const) {
      const driver = new EngineDriver();
      const session = driver.open();
      driver.declare(session, 'work');
      driver.declare(session, 'next');
      driver.consume(session, ['work'], { prefetch: 2, ack });
      driver.publish(session, { queue: 'work' });
      driver.answer('start', session, [1, 1]);
      const effects = driver.complete(session, [[1, 'x']], frame([{ queue: 'next' }]));
      expect(of(effects, 'refused')).toMatchObject([{ code: 'INVALID_ARGUMENT' }]);
      expect(driver.engine.queueInfo('default', 'next')).toMatchObject({ ready: 0 });
    }
  });
});

/** A COMPLETE of these ranges, each tag with a result. */
function completeOf(
  pairs: readonly (readonly [number, number])[],
  settleSeq: number,
  follow: Uint8Array,
): CompleteBatch {
  const ranges = new TagRanges();
  let count = 0;
  for (const [first, tags] of pairs) for (let tag = first; tag < first + tags; tag++, count++) ranges.add(tag);
  const writer = new FrameWriter(64);
  const results = Array.from({ length: count }, () => ({ ttlMs: 0, contentType: null, body: new Uint8Array(1) }));
  writeComplete(writer, settleSeq, ranges, results, { follow });
  const limits = { bodyBytesMax: 1_000, headerBytesMax: 1_000 };
  return new CompleteBatch().scan(new FrameReader().open(writer.copy()), limits);
}
