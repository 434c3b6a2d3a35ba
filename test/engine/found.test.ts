/** What the engine did wrong once. */
import { PUBLISH_FLAGS, RESULTS_QUEUE } from '@lovage/protocol';
import { describe, expect, test } from 'vitest';
import { EngineDriver, idsOf, of } from './driver.js';

const { MEMORY, AUTO_DECLARE } = PUBLISH_FLAGS;

describe('a publish that was taken before', () => {
  const frame = { firstSeq: 1, messages: [{ queue: 'q' }, { queue: 'q' }] };

  test('is confirmed while the disk is full, and what is new in its frame is refused', () => {
    const driver = new EngineDriver();
    const session = driver.open({ producer: 'p' });
    driver.declare(session, 'q');
    driver.frame(session, { firstSeq: 2, messages: [{ queue: 'q' }] });
    driver.engine.refusePublishes('DISK_FULL', false);
    expect(driver.frame(session, { firstSeq: 1, messages: [{ queue: 'q' }, { queue: 'q' }, { queue: 'q' }] })).toEqual([
      { type: 'reject', session, seq: 1, code: 'DISK_FULL' },
      { type: 'confirm', session, seq: 2, id: 1, isMemory: false },
      { type: 'reject', session, seq: 3, code: 'DISK_FULL' },
    ]);
  });

  test('is confirmed while the disk is full for now, and what is new behind it waits for what was refused', () => {
    const driver = new EngineDriver();
    const session = driver.open({ producer: 'p' });
    driver.declare(session, 'q');
    driver.frame(session, { firstSeq: 2, messages: [{ queue: 'q' }] });
    driver.engine.refusePublishes('DISK_FULL', true);
    const messages = [{ queue: 'q' }, { queue: 'q' }, { queue: 'q' }];
    expect(of(driver.frame(session, { firstSeq: 1, messages }), 'reject')).toMatchObject([{ seq: 1 }, { seq: 3 }]);
    driver.engine.refusePublishes(null, false);
    const behind = { firstSeq: 4, messages: [{ queue: 'q' }] };
    expect(driver.frame(session, behind)).toEqual([{ type: 'reject', session, seq: 4, code: 'FLOW_BLOCKED' }]);
    expect(of(driver.frame(session, { firstSeq: 1, messages }), 'confirm')).toMatchObject([
      { seq: 1, id: 2 },
      { seq: 3, id: 4 },
      { seq: 2, id: 1 },
    ]);
    expect(of(driver.frame(session, behind), 'confirm')).toMatchObject([{ seq: 4 }]);
  });

  test('is confirmed while the broker holds as many messages as it may', () => {
    const driver = new EngineDriver({ messagesMax: 2 });
    const session = driver.open({ producer: 'p' });
    driver.declare(session, 'q');
    const first = driver.frame(session, frame);
    expect(of(first, 'confirm')).toHaveLength(2);
    expect(driver.frame(session, frame)).toEqual(first);
    expect(of(driver.frame(session, { firstSeq: 3, messages: [{ queue: 'q' }] }), 'reject')).toMatchObject([
      { seq: 3, code: 'TOO_MANY_MESSAGES' },
    ]);
  });
});

describe('after a restart from a checkpoint', () => {
  test('a message that was in memory only is not confirmed again, but taken', () => {
    const driver = new EngineDriver();
    const session = driver.open({ producer: 'p' });
    driver.declare(session, 'q');
    driver.frame(session, { firstSeq: 1, messages: [{ queue: 'q' }] });
    driver.frame(session, { firstSeq: 2, flags: MEMORY, messages: [{ queue: 'q', dedupKey: 'k' }] });
    driver.roll();
    driver.answer('ack', session, [1, 1]);
    driver.log.records = driver.log.of(2);
    driver.restart();
    const again = driver.open({ producer: 'p' });
    const effects = driver.frame(again, { firstSeq: 2, messages: [{ queue: 'q', dedupKey: 'k' }] });
    expect(of(effects, 'confirm')).toHaveLength(1);
    expect(of(effects, 'confirm')[0]!.id).toBeGreaterThan(2);
    expect(of(effects, 'duplicate')).toEqual([]);
    expect(of(driver.frame(again, { firstSeq: 1, messages: [{ queue: 'q' }] }), 'confirm')).toMatchObject([{ id: 1 }]);
  });

  test('ids of messages in memory are not given again when their reservation is gone with its segment', () => {
    const driver = new EngineDriver();
    const session = driver.open();
    driver.frame(session, { firstSeq: 1, flags: MEMORY | AUTO_DECLARE, messages: [{ queue: 'q' }] });
    driver.roll();
    const [last] = of(driver.frame(session, { firstSeq: 2, flags: MEMORY, messages: [{ queue: 'q' }] }), 'confirm');
    driver.reclaim(2);
    driver.restart();
    const [next] = of(driver.publish(driver.open(), { queue: 'q' }), 'confirm');
    expect(next!.id).toBeGreaterThan(last!.id);
  });

  test('totals begin at 0', () => {
    const driver = new EngineDriver();
    const session = driver.open();
    driver.declare(session, 'q');
    driver.publish(session, { queue: 'q' });
    driver.restart();
    expect(driver.engine.queueInfo('default', 'q')).toMatchObject({ ready: 1, totals: { published: 0 } });
  });

  test('a producer is known however long the broker was down', () => {
    const driver = new EngineDriver({ producerTtlMs: 60_000 });
    driver.declare(driver.open(), 'q');
    driver.publish(driver.open({ producer: 'p' }), { queue: 'q' });
    driver.nowMs += 3_600_000;
    driver.restart();
    const effects = driver.frame(driver.open({ producer: 'p' }), { firstSeq: 1, messages: [{ queue: 'q' }] });
    expect(of(effects, 'confirm')).toMatchObject([{ seq: 1, id: 1 }]);
  });
});

describe('a queue that stops having a single active consumer', () => {
  test('serves who stood by, and who was served alone and was idle', () => {
    const driver = new EngineDriver();
    const session = driver.open();
    driver.declare(session, 'q');
    driver.consume(session, ['q'], {}, 1);
    driver.publish(session, { queue: 'q' });
    driver.consume(session, ['q'], {}, 2);
    driver.publish(session, { queue: 'q' });
    driver.answer('ack', session, [1, 1]);
    // The second consumer has something of the queue, so it is the one to go on, though it came later.
    driver.merge(session, 'q', { singleActiveConsumer: true });
    driver.answer('ack', session, [2, 1]);
    driver.merge(session, 'q', { singleActiveConsumer: false });
    const delivered = of(driver.publish(session, { queue: 'q' }, { queue: 'q' }), 'deliver');
    expect(delivered.map(({ consumerId }) => consumerId).sort()).toEqual([1, 2]);
  });
});

describe('a settlement', () => {
  test('NACK of an unsent delivery in ack mode none, whose queue is deleted, does nothing', () => {
    const driver = new EngineDriver();
    const session = driver.open();
    driver.declare(session, 'q');
    driver.consume(session, ['q'], { ack: 'none', prefetch: 0 });
    driver.publish(session, { queue: 'q' });
    driver.apply({ type: 'delete', session, request: 2, name: 'q', ifEmpty: false, ifUnused: false });
    driver.tick();
    const before = driver.log.records.length;
    expect(driver.nack(session, [1, 1], true)).toEqual([{ type: 'settled', session, settleSeq: 1 }]);
    expect(driver.log.records).toHaveLength(before);
    expect(driver.engine.state.table.size).toBe(0);
  });

  test('that names far more stale tags than it may is walked through no further, and is refused in ranges', () => {
    const driver = new EngineDriver();
    driver.declare(driver.open(), 'q');
    const session = driver.open();
    // A session whose client says that it has seen ten million tags.
    driver.consume(session, ['q'], { prefetch: 0 });
    driver.publish(session, { queue: 'q' });
    driver.answer('start', session, [1, 1]);
    const { key } = driver.engine.state.sessions.get(session)!;
    driver.open({ resumeKey: key, lastTag: 10_000_000 });
    const ranges = Array.from({ length: 2_000 }, (_, i) => (i % 2 === 0 ? 2 : 65_536));
    const refused = of(driver.answer('ack', session, [...ranges, 1, 1]), 'refused');
    expect(refused[0]).toMatchObject({ firstTag: 2, count: 65_536, code: 'ALREADY_SETTLED' });
    expect(refused.slice(1).every(({ code }) => code === 'UNKNOWN_TAG')).toBe(true);
    expect(refused).toHaveLength(1_000);
    expect(driver.engine.state.table.size).toBe(0);
  });

  test('of more messages than one record holds is read back from several', () => {
    const driver = new EngineDriver({ messagesMax: 2 ** 19 });
    const session = driver.open();
    driver.declare(session, 'a');
    driver.declare(session, 'b');
    // Every second id, so that no two are a range.
    const messages = Array.from({ length: 60_000 }, (_, i) => ({ queue: i % 2 === 0 ? 'a' : 'b' }));
    for (let frame = 0; frame < 6; frame++) driver.publish(session, ...messages);
    driver.consume(session, ['a'], { prefetch: 0 });
    driver.answer('start', session, [1, 180_000]);
    driver.answer('ack', session, [1, 180_000]);
    driver.restart();
    expect(driver.engine.queueInfo('default', 'a')).toMatchObject({ ready: 0, started: 0 });
    expect(driver.engine.queueInfo('default', 'b')).toMatchObject({ ready: 180_000 });
  });
});

describe('credit', () => {
  test('that a deleted queue gives back is used at once', () => {
    const driver = new EngineDriver();
    const session = driver.open();
    driver.declare(session, 'a');
    driver.declare(session, 'b');
    driver.publish(session, { queue: 'a' }, { queue: 'b' });
    expect(idsOf(driver.consume(session, ['a', 'b']))).toEqual([1]);
    const effects = driver.apply({ type: 'delete', session, request: 2, name: 'a', ifEmpty: false, ifUnused: false });
    expect(idsOf(effects)).toEqual([2]);
  });

  test('that two consumers gain in one frame is used by the one of the higher priority first', () => {
    const driver = new EngineDriver();
    const session = driver.open();
    driver.declare(session, 'q');
    driver.consume(session, ['q'], { prefetch: 1, priority: 1 }, 1);
    driver.consume(session, ['q'], { prefetch: 1, priority: 9 }, 2);
    driver.publish(session, { queue: 'q' }, { queue: 'q' }, { queue: 'q' });
    // Tag 1 is the ninth's, tag 2 the first's; settled in the other order.
    const effects = driver.answer('ack', session, [2, 1, 1, 1]);
    expect(of(effects, 'deliver')).toMatchObject([{ id: 3, consumerId: 2 }]);
  });

  test('that a NACK gives back is used in strict order: the queue that comes first before what has just come back', () => {
    const driver = new EngineDriver();
    const session = driver.open();
    driver.declare(session, 'first');
    driver.declare(session, 'second');
    driver.consume(session, ['first', 'second'], { prefetch: 1, queueOrder: 'strict' });
    driver.publish(session, { queue: 'second' });
    driver.publish(session, { queue: 'first' });
    expect(idsOf(driver.nack(session, [1, 1], true, 0))).toEqual([2]);
    expect(idsOf(driver.answer('ack', session, [2, 1]))).toEqual([1]);
  });

  test('that a NACK gives back takes the message again that came back to the first queue', () => {
    const driver = new EngineDriver();
    const session = driver.open();
    driver.declare(session, 'first');
    driver.declare(session, 'second');
    driver.consume(session, ['first', 'second'], { prefetch: 1, queueOrder: 'strict' });
    driver.publish(session, { queue: 'first' });
    driver.publish(session, { queue: 'second' });
    expect(idsOf(driver.nack(session, [1, 1], true, 0))).toEqual([1]);
  });

  test('of a consumer that stands idle is used before the credit of the one that gave a message back', () => {
    const driver = new EngineDriver();
    const failing = driver.open();
    const idle = driver.open();
    driver.declare(failing, 'q');
    driver.consume(failing, ['q'], { prefetch: 1 });
    driver.publish(failing, { queue: 'q' });
    driver.consume(idle, ['q'], { prefetch: 1 });
    const effects = driver.nack(failing, [1, 1], true, 0);
    expect(of(effects, 'deliver')).toMatchObject([{ session: idle, id: 1 }]);
  });
});

describe('results that are to go', () => {
  for (const type of ['purge', 'delete'] as const)
    test(`by a ${type} are not archived before it has come to them: in the archive they would be there again`, () => {
      const driver = new EngineDriver();
      const { engine } = driver;
      engine.archiving.begin();
      const session = driver.open();
      driver.declare(session, 'q');
      driver.consume(session, ['q'], { prefetch: 0 });
      driver.publish(session, { queue: 'q' });
      driver.complete(session, [[1, 'before']]);
      const queue = engine.state.queue('default', RESULTS_QUEUE)!;
      const asked = { session, request: 1, name: RESULTS_QUEUE };
      driver.apply(type === 'purge' ? { type, ...asked } : { type, ...asked, ifEmpty: false, ifUnused: false });
      driver.publish(session, { queue: 'q' });
      driver.complete(session, [[2, 'after']]);
      const room = { most: 10, untilMs: driver.nowMs, bytesMax: 1_000 };
      const take = (from: typeof queue): number[] =>
        engine.archiving.take(from, room, () => true).map((slot) => engine.state.table.id[slot]!);
      expect(take(queue)).toEqual(type === 'purge' ? [2] : []);
      driver.tick();
      if (type === 'delete') expect(take(engine.state.queue('default', RESULTS_QUEUE)!)).toEqual([2]);
    });
});
