/** Rate limits: what may go when, in which order, and what does not count. */
import { LIMITS, type PublishBatch, type Rate } from '@lovage/protocol';
import { describe, expect, test } from 'vitest';
import { RateBuckets } from '../../server/engine/rate-buckets.js';
import { EngineDriver, idsOf, of } from './driver.js';
import { publishBatch } from './publish-batch.js';

const SMS = { limit: 'sms', key: null } as const;

function declare(driver: EngineDriver, session: number, rate: Partial<Rate> = {}, name = 'sms'): void {
  driver.apply({
    type: 'rate-limit-declare',
    session,
    request: 1,
    name,
    rate: { count: 1, perMs: 100, burst: 1, ...rate },
  });
}

function override(driver: EngineDriver, session: number, rate: Rate | null): ReturnType<EngineDriver['apply']> {
  return driver.apply({ type: 'rate-limit-override', session, request: 1, name: 'sms', rate });
}

/** A consumer of unlimited prefetch on `q`, and the limit. */
function consuming(rate: Partial<Rate> = {}): { driver: EngineDriver; session: number } {
  const driver = new EngineDriver();
  const session = driver.open();
  driver.declare(session, 'q');
  declare(driver, session, rate);
  driver.consume(session, ['q'], { prefetch: 0 });
  return { driver, session };
}

describe('a rate limit', () => {
  test('spreads deliveries evenly, whatever waits', () => {
    const { driver, session } = consuming();
    const messages = Array.from({ length: 5 }, () => ({ queue: 'q', rate: SMS }));
    expect(idsOf(driver.publish(session, ...messages))).toEqual([1]);
    const times: number[] = [];
    for (let ms = 1; ms <= 500; ms++) for (const _ of idsOf(driver.tick(1))) times.push(ms);
    expect(times).toEqual([100, 200, 300, 400]);
  });

  test('lets a burst through after a rest, and no more than the rate in the long run', () => {
    const { driver, session } = consuming({ count: 10, perMs: 1_000, burst: 3 });
    const messages = Array.from({ length: 40 }, () => ({ queue: 'q', rate: SMS }));
    expect(idsOf(driver.publish(session, ...messages))).toEqual([1, 2, 3]);
    let delivered = 0;
    for (let ms = 0; ms < 1_000; ms++) delivered += idsOf(driver.tick(1)).length;
    expect(delivered).toBe(10);
  });

  test('stands in nobody’s way: what is under no limit, or another key of it, goes past', () => {
    const { driver, session } = consuming();
    const key = (name: string) => ({ limit: 'sms', key: name });
    const effects = driver.publish(
      session,
      { queue: 'q', priority: 9, rate: key('a') },
      { queue: 'q', priority: 9, rate: key('a') },
      { queue: 'q', priority: 1 },
      { queue: 'q', priority: 9, rate: key('b') },
      { queue: 'q', rate: { limit: 'undeclared', key: null } },
    );
    expect(idsOf(effects)).toEqual([1, 4, 3, 5]);
    expect(driver.engine.queueInfo('default', 'q')).toMatchObject({ ready: 1, limited: 1, leased: 4 });
    expect(idsOf(driver.tick(100))).toEqual([2]);
  });

  test('gives the most urgent the next place, though others have waited longer', () => {
    const { driver, session } = consuming();
    for (const priority of [0, 0, 0]) driver.publish(session, { queue: 'q', priority, rate: SMS });
    driver.tick(50);
    expect(idsOf(driver.publish(session, { queue: 'q', priority: 9, rate: SMS }))).toEqual([]);
    expect(idsOf(driver.tick(50))).toEqual([4]);
    expect(idsOf(driver.tick(100))).toEqual([2]);
  });

  test('is one for all queues and consumers', () => {
    const { driver, session } = consuming();
    const other = driver.open();
    driver.declare(other, 'r');
    driver.consume(other, ['r'], { prefetch: 0 });
    expect(idsOf(driver.publish(session, { queue: 'q', rate: SMS }, { queue: 'r', rate: SMS }))).toEqual([1]);
    driver.publish(session, { queue: 'q', rate: SMS });
    expect(idsOf(driver.tick(99))).toEqual([]);
    expect(idsOf(driver.tick(1))).toHaveLength(1);
    expect(idsOf(driver.tick(100))).toHaveLength(1);
  });

  test('holds no credit with what it holds back', () => {
    const driver = new EngineDriver();
    const session = driver.open();
    driver.declare(session, 'q');
    declare(driver, session, { perMs: 60_000 });
    driver.consume(session, ['q'], { prefetch: 2 });
    driver.publish(session, { queue: 'q', rate: SMS }, { queue: 'q', rate: SMS }, { queue: 'q', rate: SMS });
    expect(idsOf(driver.publish(session, { queue: 'q' }))).toEqual([4]);
  });

  test('does not count what came back before it was begun, and counts each attempt', () => {
    const { driver, session } = consuming();
    driver.publish(session, { queue: 'q', rate: SMS }, { queue: 'q', rate: SMS });
    expect(idsOf(driver.answer('release', session, [1, 1]))).toEqual([1]);
    driver.answer('start', session, [2, 1]);
    expect(idsOf(driver.nack(session, [2, 1], true))).toEqual([]);
    expect(idsOf(driver.tick(99))).toEqual([]);
    expect(idsOf(driver.tick(1))).toEqual([1]);
    expect(idsOf(driver.tick(100))).toEqual([2]);
  });

  test('is changed while messages wait, faster, slower and back', () => {
    const { driver, session } = consuming({ perMs: 86_400_000 });
    const messages = Array.from({ length: 30 }, () => ({ queue: 'q', rate: SMS }));
    driver.publish(session, ...messages);
    expect(idsOf(driver.tick(1_000_000))).toEqual([]);
    // What has gone counts as one message of the new rate, not as a day.
    override(driver, session, { count: 1, perMs: 10, burst: 1 });
    expect(idsOf(driver.tick(10))).toHaveLength(1);
    expect(of(override(driver, session, { count: 5, perMs: 10, burst: 5 }), 'reply')[0]?.result).toMatchObject({
      rate: { perMs: 86_400_000 },
      override: { count: 5 },
      waiting: 0,
    });
    expect(driver.engine.queueInfo('default', 'q')).toMatchObject({ limited: 24 });
    // Declared again as it was, as by a worker that starts: the override stays.
    declare(driver, session, { perMs: 86_400_000 });
    expect(idsOf(driver.tick(2))).toHaveLength(1);
    override(driver, session, null);
    expect(idsOf(driver.tick(1_000))).toEqual([]);
    const deleted = driver.apply({ type: 'rate-limit-delete', session, request: 1, name: 'sms' });
    expect(of(deleted, 'reply')[0]?.result).toEqual({ waiting: 23 });
    expect(idsOf(deleted)).toHaveLength(23);
  });

  test('begins with nothing after a restart, so that never more goes than it says', () => {
    const driver = new EngineDriver();
    const session = driver.open();
    driver.declare(session, 'q');
    declare(driver, session, { count: 10, perMs: 1_000, burst: 5 });
    driver.publish(session, ...Array.from({ length: 20 }, () => ({ queue: 'q', rate: SMS })));
    driver.roll();
    driver.restart();
    const consumer = driver.open();
    expect(idsOf(driver.consume(consumer, ['q'], { prefetch: 0 }))).toEqual([]);
    driver.publish(consumer, { queue: 'q', priority: 9, rate: { limit: 'sms', key: 'new' } });
    expect(idsOf(driver.tick(99))).toEqual([]);
    expect(idsOf(driver.tick(1))).toEqual([21, 1]);
    expect(idsOf(driver.tick(100))).toEqual([2]);
  });

  test('is bounded in keys, and forgets those that have rested', () => {
    const { driver, session } = consuming({ count: 1, perMs: 1_000, burst: 1 });
    const { buckets } = driver.engine.state.table;
    const key = (i: number) => ({ queue: 'q', rate: { limit: 'sms', key: `${i}` } });
    for (let i = 0; i < 500; i++) driver.publish(session, key(i));
    expect(buckets.inUse).toBe(500);
    driver.answer('ack', session, [1, 500]);
    expect(buckets.inUse).toBe(0);
    expect(idsOf(driver.publish(session, key(7)))).toEqual([]);
    driver.tick(1_000);
    expect(buckets.limits.get('default sms')!.buckets.size).toBe(1);
  });

  test('has room for so many keys, and in place of those that rest', () => {
    const buckets = new RateBuckets();
    const batchOf = (...keys: string[]): PublishBatch =>
      publishBatch({
        firstSeq: 1,
        messages: keys.map((key) => ({ queue: 'q', rate: { limit: 'sms', key } })),
      });
    buckets.set(buckets.limit('default', 'sms'), { count: 1, perMs: 1_000, burst: 1 }, null, 0, new Set());
    const taken = Array.from({ length: LIMITS.rateKeysMax }, (_, i) =>
      buckets.take('default', { limit: 'sms', key: `${i}` }, 0),
    );
    expect(buckets.fit('default', batchOf('7', '7'))).toBe(true);
    expect(buckets.fit('default', batchOf('new'))).toBe(false);
    expect(buckets.fit('other', batchOf('7'))).toBe(false);
    buckets.spend(taken[1]!, 0);
    buckets.release(taken[1]!);
    buckets.release(taken[2]!);
    expect(buckets.fit('default', batchOf('a', 'b'))).toBe(true);
    // The one that has nothing to remember goes first.
    expect(buckets.take('default', { limit: 'sms', key: 'a' }, 0)).toBe(taken[2]);
    expect(buckets.next()).toBe(Number.POSITIVE_INFINITY);
    expect(buckets.take('default', { limit: 'sms', key: '1' }, 0)).toBe(taken[1]);
    expect(buckets.next()).toBe(1_000);
  });

  test('is no reason to recall what others could not have either', () => {
    const driver = new EngineDriver();
    const session = driver.open();
    driver.declare(session, 'q');
    declare(driver, session, { perMs: 60_000 });
    driver.consume(session, ['q'], { prefetch: 3 });
    driver.publish(session, ...Array.from({ length: 4 }, () => ({ queue: 'q', priority: 1 })));
    driver.publish(session, { queue: 'q', priority: 9, rate: SMS });
    expect(of(driver.tick(1_000), 'recall')).toHaveLength(1);
    driver.publish(session, { queue: 'q', priority: 9, rate: SMS });
    driver.answer('release', session, [3, 1]);
    expect(of(driver.tick(1_000), 'recall')).toEqual([]);
  });
});

describe('messages that a rate limit holds back', () => {
  test('are purged, evicted and expire like others', () => {
    const { driver, session } = consuming({ perMs: 1_000_000 });
    driver.declare(session, 'small', { messagesMax: 2, overflow: 'drop-head' });
    driver.publish(session, { queue: 'q', rate: SMS });
    driver.publish(session, { queue: 'q', rate: SMS, expiresInMs: 50 }, { queue: 'q', rate: SMS });
    driver.tick(50);
    expect(driver.engine.queueInfo('default', 'q')).toMatchObject({ ready: 1, limited: 1, totals: { expired: 1 } });
    for (let i = 0; i < 3; i++) driver.publish(session, { queue: 'small', priority: i, rate: SMS });
    expect(driver.engine.queueInfo('default', 'small')).toMatchObject({ ready: 2, limited: 2, totals: { evicted: 1 } });
    driver.apply({ type: 'purge', session, request: 1, name: 'q' });
    driver.tick();
    expect(driver.engine.queueInfo('default', 'q')).toMatchObject({ ready: 0, limited: 0, totals: { purged: 1 } });
  });

  test('take another priority, and stay under their limit in another queue', () => {
    const { driver, session } = consuming();
    driver.publish(session, ...Array.from({ length: 3 }, () => ({ queue: 'q', rate: SMS })));
    const act = { session, request: 1, queue: 'q', filter: {}, after: 0, dryRun: false } as const;
    driver.apply({ type: 'message-act', ...act, ids: [3], act: 'priority', priority: 7 });
    driver.declare(session, 'r');
    driver.consume(session, ['r'], { prefetch: 0 }, 2);
    driver.apply({ type: 'message-act', ...act, ids: [2], act: 'move', to: 'r', force: false });
    expect(driver.engine.queueInfo('default', 'r')).toMatchObject({ ready: 1, limited: 1 });
    const rest = [...idsOf(driver.tick(100)), ...idsOf(driver.tick(100))];
    expect(rest.sort()).toEqual([2, 3]);
  });
});
