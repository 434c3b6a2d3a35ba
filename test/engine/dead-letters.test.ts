/** What queues give up, and where it goes: each reason, circles, bounds, settings that change, and restarts in between. */
import type { QueueInfo } from '@lovage/protocol';
import { describe, expect, test } from 'vitest';
import { EngineDriver, idsOf, of } from './driver.js';

function bench(settings: Parameters<EngineDriver['declare']>[2] = {}): { driver: EngineDriver; session: number } {
  const driver = new EngineDriver();
  const session = driver.open();
  driver.declare(session, 'q', settings);
  return { driver, session };
}

function totals(driver: EngineDriver, queue: string): QueueInfo['totals'] {
  return driver.engine.queueInfo('default', queue)!.totals;
}

function ready(driver: EngineDriver, queue: string): number {
  return driver.engine.queueInfo('default', queue)?.ready ?? -1;
}

/** Reasons and queues of what a consumer gets of a queue. */
function stories(driver: EngineDriver, queue: string): unknown[] {
  const effects = driver.consume(driver.open(), [queue], { prefetch: 0 });
  return of(effects, 'deliver').map(({ id, history }) => [
    id,
    ...history.map((entry) => `${entry.queue} ${entry.reason} ${entry.count}`),
  ]);
}

describe('a message that is given up', () => {
  test('when a consumer rejects it, goes to the dead letter queue, which is made for it', () => {
    const { driver, session } = bench({ deadLetterQueue: 'dead' });
    driver.publish(session, { queue: 'q' }, { queue: 'q' });
    driver.consume(session, ['q'], { prefetch: 2 });
    driver.answer('start', session, [1, 1]);
    driver.nack(session, [1, 2], false);
    expect(driver.engine.queueInfo('default', 'dead')!.settings).toMatchObject({
      deadLetterQueue: null,
      attemptsMax: 20,
    });
    expect(totals(driver, 'q')).toMatchObject({ deadLettered: 2, dropped: 0 });
    driver.restart();
    expect(stories(driver, 'dead')).toEqual([
      [1, 'q rejected 1'],
      [2, 'q rejected 1'],
    ]);
    expect(ready(driver, 'q')).toBe(0);
  });

  test('when it has expired goes there at that time, wherever in the queue it stands', () => {
    const { driver, session } = bench({ deadLetterQueue: 'dead' });
    driver.publish(
      session,
      { queue: 'q', priority: 9 },
      { queue: 'q', expiresInMs: 50 },
      { queue: 'q', delayMs: 90, expiresInMs: 60 },
    );
    driver.tick(49);
    expect(ready(driver, 'dead')).toBe(-1);
    driver.tick(1);
    expect(ready(driver, 'dead')).toBe(1);
    driver.tick(10);
    expect(ready(driver, 'dead')).toBe(2);
    driver.restart();
    expect(stories(driver, 'dead')).toEqual([
      [2, 'q expired 1'],
      [3, 'q expired 1'],
    ]);
  });

  test('while it was with a consumer that has not started it goes there when it comes back', () => {
    const { driver, session } = bench({ deadLetterQueue: 'dead' });
    driver.publish(session, { queue: 'q', expiresInMs: 50 });
    driver.consume(session, ['q']);
    driver.tick(60);
    expect(ready(driver, 'dead')).toBe(-1);
    driver.answer('release', session, [1, 1]);
    expect(ready(driver, 'dead')).toBe(1);
  });

  test('after as many attempts as the queue allows: by nack, by a session that ends, and over restarts', () => {
    const { driver, session } = bench({ deadLetterQueue: 'dead', attemptsMax: 3, backoffMsMin: 0, backoffMsMax: 0 });
    driver.publish(session, { queue: 'q' });
    driver.consume(session, ['q']);
    driver.answer('start', session, [1, 1]);
    driver.nack(session, [1, 1], true);
    driver.answer('start', session, [2, 1]);
    driver.apply({ type: 'close', session });
    driver.restart();
    const second = driver.open();
    expect(of(driver.consume(second, ['q']), 'deliver')).toMatchObject([{ attempt: 3 }]);
    // Deliveries that nobody starts cost nothing.
    driver.answer('release', second, [1, 1]);
    driver.answer('start', second, [2, 1]);
    driver.restart();
    expect(ready(driver, 'dead')).toBe(-1);
    driver.tick(1_000);
    expect(ready(driver, 'dead')).toBe(1);
    expect(stories(driver, 'dead')).toEqual([[1, 'q attempts 1']]);
  });

  test('without a dead letter queue is dropped and counted by its reason', () => {
    const { driver, session } = bench({ attemptsMax: 1 });
    driver.publish(session, { queue: 'q' }, { queue: 'q' }, { queue: 'q', delayMs: 100, expiresInMs: 10 });
    driver.consume(session, ['q'], { prefetch: 2 });
    driver.nack(session, [1, 1], true);
    driver.nack(session, [2, 1], false);
    driver.tick(10);
    expect(totals(driver, 'q')).toMatchObject({ dropped: 1, expired: 1, exhausted: 1, deadLettered: 0, returned: 1 });
    expect(driver.engine.state.table.size).toBe(0);
    driver.restart();
    expect(driver.engine.state.table.size).toBe(0);
  });

  test('in a queue that is being deleted does not go on to another one', () => {
    const { driver, session } = bench({ deadLetterQueue: 'dead' });
    driver.publish(session, { queue: 'q', expiresInMs: 5 });
    driver.engine.apply(
      { type: 'delete', session, request: 1, name: 'q', ifEmpty: false, ifUnused: false },
      driver.nowMs,
      driver.sink,
    );
    driver.tick(10);
    expect(ready(driver, 'dead')).toBe(-1);
    driver.restart();
    expect(driver.engine.state.table.size).toBe(0);
  });

  test('is dropped when there is no room for one more queue', () => {
    const driver = new EngineDriver({ queuesMax: 1 });
    const session = driver.open();
    driver.declare(session, 'q', { deadLetterQueue: 'dead' });
    driver.publish(session, { queue: 'q', expiresInMs: 5 });
    driver.tick(5);
    expect(totals(driver, 'q')).toMatchObject({ expired: 1, deadLettered: 0 });
  });

  test('leaves no earlier than its transfer, so the delivery comes after the record', () => {
    const { driver, session } = bench({ deadLetterQueue: 'dead' });
    driver.declare(session, 'dead');
    driver.consume(session, ['q', 'dead'], { prefetch: 1 });
    driver.publish(session, { queue: 'q' });
    const before = driver.log.records.length;
    const effects = driver.nack(session, [1, 1], false);
    expect(idsOf(effects)).toEqual([1]);
    expect(driver.log.records.slice(before).map(({ type }) => type)).toEqual([14]);
  });
});

describe('a circle of queues', () => {
  test('ends with a message that only time moves', () => {
    const { driver, session } = bench({ deadLetterQueue: 'r', messageTtlMs: 10 });
    driver.declare(session, 'r', { deadLetterQueue: 's', messageTtlMs: 10 });
    driver.declare(session, 's', { deadLetterQueue: 'q', messageTtlMs: 10 });
    driver.publish(session, { queue: 'q' });
    for (let i = 0; i < 10; i++) driver.tick(10);
    expect(driver.engine.state.table.size).toBe(0);
    expect(totals(driver, 's')).toMatchObject({ arrived: 1, expired: 1, deadLettered: 0 });
  });

  test('is gone through again when a consumer rejects each time', () => {
    const { driver, session } = bench({ deadLetterQueue: 'r' });
    driver.declare(session, 'r', { deadLetterQueue: 'q' });
    driver.consume(session, ['q', 'r'], { prefetch: 1 });
    driver.publish(session, { queue: 'q' });
    for (let tag = 1; tag <= 5; tag++) driver.nack(session, [tag, 1], false);
    const { table } = driver.engine.state;
    expect(table.historyOf(table.find(1)).map(({ queue, count }) => [queue, count])).toEqual([
      ['r', 2],
      ['q', 3],
    ]);
  });

  test('longer than a history ends, too', () => {
    const driver = new EngineDriver();
    const session = driver.open();
    for (let i = 0; i < 40; i++)
      driver.declare(session, `q${i}`, { deadLetterQueue: `q${(i + 1) % 40}`, messageTtlMs: 10 });
    driver.publish(session, { queue: 'q0' });
    for (let i = 0; i < 100; i++) driver.tick(10);
    expect(driver.engine.state.table.size).toBe(0);
    expect(totals(driver, 'q16')).toMatchObject({ arrived: 1, expired: 1 });
  });

  test('of full queues settles in one command', () => {
    const settings = { messagesMax: 3, overflow: 'dead-letter-head' } as const;
    const { driver, session } = bench({ ...settings, deadLetterQueue: 'r' });
    driver.declare(session, 'r', { ...settings, deadLetterQueue: 'q' });
    for (let i = 0; i < 20; i++) driver.publish(session, { queue: i % 2 === 0 ? 'q' : 'r', priority: i % 5 });
    expect([ready(driver, 'q'), ready(driver, 'r')]).toEqual([3, 3]);
    const [q, r] = [totals(driver, 'q'), totals(driver, 'r')];
    expect(q.published + q.arrived - q.deadLettered - q.evicted).toBe(3);
    expect(r.published + r.arrived - r.deadLettered - r.evicted).toBe(3);
    driver.restart();
    expect([ready(driver, 'q'), ready(driver, 'r')]).toEqual([3, 3]);
  });
});

describe('bounds', () => {
  test('reject what is too many, and only that', () => {
    const { driver, session } = bench({ messagesMax: 2 });
    const effects = driver.publish(session, { queue: 'q' }, { queue: 'q' }, { queue: 'q' });
    expect(of(effects, 'confirm').map(({ seq }) => seq)).toEqual([1, 2]);
    expect(of(effects, 'reject')).toEqual([{ type: 'reject', session, seq: 3, code: 'QUEUE_FULL' }]);
    // What is with a consumer counts.
    driver.consume(session, ['q'], { prefetch: 2 });
    expect(of(driver.publish(session, { queue: 'q' }), 'reject')).toHaveLength(1);
    driver.answer('ack', session, [1, 1]);
    expect(of(driver.publish(session, { queue: 'q' }), 'confirm')).toHaveLength(1);
    driver.restart();
    expect(ready(driver, 'q')).toBe(2);
  });

  test('of bytes count payloads', () => {
    const { driver, session } = bench({ bytesMax: 100 });
    const body = 'x'.repeat(40);
    const effects = driver.publish(session, { queue: 'q', body }, { queue: 'q', body }, { queue: 'q', body });
    expect(of(effects, 'confirm')).toHaveLength(2);
    expect(of(effects, 'reject')).toMatchObject([{ seq: 3, code: 'QUEUE_FULL' }]);
    expect(of(driver.publish(session, { queue: 'q', body: '' }), 'confirm')).toHaveLength(1);
  });

  test('do not remember the key of what they have rejected', () => {
    const { driver, session } = bench({ messagesMax: 1 });
    const message = { queue: 'q', dedupKey: 'k' };
    driver.publish(session, { queue: 'q' });
    expect(of(driver.publish(session, message, message), 'reject').map(({ seq }) => seq)).toEqual([2, 3]);
    driver.consume(session, ['q']);
    driver.answer('ack', session, [1, 1]);
    const effects = driver.publish(session, message, message);
    expect(of(effects, 'confirm').map(({ seq }) => seq)).toEqual([4]);
    expect(of(effects, 'duplicate').map(({ seq }) => seq)).toEqual([5]);
  });

  test('push out the oldest of the lowest priority', () => {
    const { driver, session } = bench({ messagesMax: 3, overflow: 'drop-head' });
    for (const priority of [5, 1, 5, 1, 9]) driver.publish(session, { queue: 'q', priority });
    expect(totals(driver, 'q')).toMatchObject({ published: 5, evicted: 2 });
    driver.restart();
    expect(stories(driver, 'q')).toEqual([[5], [1], [3]]);
  });

  test('push out nothing that a consumer has, and a new message before that', () => {
    const { driver, session } = bench({ messagesMax: 2, overflow: 'drop-head' });
    driver.consume(session, ['q'], { prefetch: 2 });
    driver.publish(session, { queue: 'q' }, { queue: 'q' });
    driver.publish(session, { queue: 'q', priority: 255 });
    expect(driver.engine.queueInfo('default', 'q')).toMatchObject({ ready: 0, leased: 2, totals: { evicted: 1 } });
  });

  test('push delayed messages out when nothing is ready', () => {
    const { driver, session } = bench({ messagesMax: 2, overflow: 'drop-head' });
    for (let i = 0; i < 4; i++) driver.publish(session, { queue: 'q', delayMs: 100 });
    expect(driver.engine.queueInfo('default', 'q')).toMatchObject({ delayed: 2, totals: { evicted: 2 } });
  });

  test('that are drawn closer push out more than a slice in steps', () => {
    const driver = new EngineDriver({ messagesMax: 65_536 });
    const session = driver.open();
    driver.declare(session, 'q', { deadLetterQueue: 'dead' });
    for (let i = 0; i < 5; i++) driver.publish(session, ...Array.from({ length: 5_000 }, () => ({ queue: 'q' })));
    driver.merge(session, 'q', { messagesMax: 10, overflow: 'dead-letter-head' });
    expect(ready(driver, 'q')).toBe(15_000);
    driver.tick();
    expect(ready(driver, 'q')).toBe(10);
    expect(ready(driver, 'dead')).toBe(24_990);
    driver.restart();
    expect([ready(driver, 'q'), ready(driver, 'dead')]).toEqual([10, 24_990]);
  });
});

describe('settings that change', () => {
  test('count up, outlive a restart, and let a declaration of the old ones fail', () => {
    const { driver, session } = bench({ attemptsMax: 3 });
    expect(of(driver.merge(session, 'q', { messagesMax: 5 }), 'reply')[0]!.result).toMatchObject({
      created: false,
      version: 2,
      settings: { attemptsMax: 3, messagesMax: 5 },
    });
    expect(of(driver.merge(session, 'q', { messagesMax: 5 }), 'reply')[0]!.result).toMatchObject({ version: 2 });
    driver.restart();
    const again = driver.open();
    expect(driver.engine.queueInfo('default', 'q')).toMatchObject({ version: 2, settings: { messagesMax: 5 } });
    driver.roll();
    driver.reclaim(2);
    driver.restart();
    expect(driver.engine.queueInfo('default', 'q')).toMatchObject({ version: 2, settings: { messagesMax: 5 } });
    const other = driver.open();
    expect(again).not.toBe(0);
    const command = { type: 'declare', session: other, request: 1, name: 'q', settings: { attemptsMax: 3 } } as const;
    expect(of(driver.apply({ ...command, mode: 'check' }), 'fail')).toMatchObject([{ code: 'QUEUE_MISMATCH' }]);
  });

  test('that do not go together are refused, and nothing changes', () => {
    const { driver, session } = bench();
    for (const settings of [{ overflow: 'dead-letter-head' } as const, { deadLetterQueue: 'q' }, { backoffMsMax: 1 }])
      expect(of(driver.merge(session, 'q', settings), 'fail')).toMatchObject([{ code: 'INVALID_ARGUMENT' }]);
    expect(driver.engine.queueInfo('default', 'q')!.version).toBe(1);
  });

  test('bound attempts at the next return', () => {
    const { driver, session } = bench({ backoffMsMin: 0, backoffMsMax: 0 });
    driver.consume(session, ['q']);
    driver.publish(session, { queue: 'q' });
    for (let tag = 1; tag <= 4; tag++) driver.nack(session, [tag, 1], true);
    driver.merge(session, 'q', { attemptsMax: 2 });
    expect(driver.engine.queueInfo('default', 'q')!.leased).toBe(1);
    driver.nack(session, [5, 1], true);
    expect(totals(driver, 'q')).toMatchObject({ exhausted: 1, returned: 5 });
  });

  test('draw the window of keys closer or wider, without bringing back what it has let go', () => {
    const { driver, session } = bench({ dedupWindowMs: 100 });
    driver.publish(session, { queue: 'q', dedupKey: 'a' });
    driver.tick(60);
    driver.publish(session, { queue: 'q', dedupKey: 'b' });
    driver.tick(50);
    driver.merge(session, 'q', { dedupWindowMs: 1_000 });
    const again = [
      { queue: 'q', dedupKey: 'a' },
      { queue: 'q', dedupKey: 'b' },
    ];
    const effects = driver.publish(session, ...again);
    expect([of(effects, 'confirm').length, of(effects, 'duplicate').length]).toEqual([1, 1]);
    driver.merge(session, 'q', { dedupWindowMs: 10 });
    driver.tick(10);
    expect(of(driver.publish(session, ...again), 'confirm')).toHaveLength(2);
  });
});

describe('a queue that nobody uses', () => {
  test('goes with its messages when its time is over, and not before', () => {
    const { driver, session } = bench({ expiresAfterUnusedMs: 100 });
    driver.tick(90);
    driver.publish(session, { queue: 'q' });
    driver.tick(90);
    expect(ready(driver, 'q')).toBe(1);
    driver.declare(session, 'q', { expiresAfterUnusedMs: 100 });
    driver.tick(99);
    expect(ready(driver, 'q')).toBe(1);
    driver.tick(1);
    expect(ready(driver, 'q')).toBe(-1);
    expect(driver.engine.state.table.size).toBe(0);
    driver.restart();
    expect(ready(driver, 'q')).toBe(-1);
  });

  test('stays while it has a consumer, and for the whole time after the last one', () => {
    const { driver, session } = bench({ expiresAfterUnusedMs: 100 });
    driver.consume(session, ['q']);
    driver.tick(1_000);
    expect(ready(driver, 'q')).toBe(0);
    driver.apply({ type: 'cancel', session, request: 1, consumerId: 1 });
    driver.tick(99);
    expect(ready(driver, 'q')).toBe(0);
    driver.tick(1);
    expect(ready(driver, 'q')).toBe(-1);
  });

  test('has its whole time again after a restart', () => {
    const { driver } = bench({ expiresAfterUnusedMs: 100 });
    driver.tick(90);
    driver.restart();
    driver.tick(99);
    expect(ready(driver, 'q')).toBe(0);
    driver.tick(1);
    expect(ready(driver, 'q')).toBe(-1);
  });
});

describe('a single active consumer', () => {
  function three(): { driver: EngineDriver; sessions: number[] } {
    const { driver, session } = bench({ singleActiveConsumer: true });
    const sessions = [session, driver.open(), driver.open()];
    driver.consume(sessions[0]!, ['q'], { prefetch: 2 });
    driver.consume(sessions[1]!, ['q'], { prefetch: 2 });
    driver.consume(sessions[2]!, ['q'], { prefetch: 2, priority: 5 });
    return { driver, sessions };
  }

  test('gets everything, also when others have credit and are more urgent', () => {
    const { driver, sessions } = three();
    const effects = driver.publish(sessions[0]!, { queue: 'q' }, { queue: 'q' }, { queue: 'q' });
    expect(of(effects, 'deliver').map(({ session }) => session)).toEqual([sessions[0], sessions[0]]);
    expect(of(driver.tick(1_000), 'recall')).toEqual([]);
  });

  test('is followed by the highest priority, then the oldest, when what it had is back', () => {
    const { driver, sessions } = three();
    driver.publish(sessions[0]!, { queue: 'q' }, { queue: 'q' }, { queue: 'q' });
    driver.answer('start', sessions[0]!, [1, 1]);
    expect(idsOf(driver.apply({ type: 'detach', session: sessions[0]! }))).toEqual([]);
    const effects = driver.tick(1_000);
    expect(of(effects, 'deliver').map(({ session, id }) => [session, id])).toEqual([
      [sessions[2], 1],
      [sessions[2], 2],
    ]);
    const next = driver.apply({ type: 'close', session: sessions[2]! });
    expect(of(next, 'deliver').map(({ session, id }) => [session, id])).toEqual([
      [sessions[1], 1],
      [sessions[1], 2],
    ]);
  });

  test('goes on when its session is resumed and nobody else has anything', () => {
    const { driver, sessions } = three();
    driver.publish(sessions[0]!, { queue: 'q' }, { queue: 'q' });
    driver.answer('start', sessions[0]!, [1, 1]);
    driver.apply({ type: 'detach', session: sessions[0]! });
    const { key } = driver.engine.state.sessions.get(sessions[0]!)!;
    driver.open({ resumeKey: key, lastTag: 2 });
    expect(of(driver.consume(sessions[0]!, ['q'], { prefetch: 2 }), 'deliver')).toMatchObject([
      { session: sessions[0], id: 2 },
    ]);
  });

  test('is followed at once when ack mode early has settled what it had', () => {
    const { driver, session } = bench({ singleActiveConsumer: true });
    const other = driver.open();
    driver.consume(session, ['q'], { ack: 'early' });
    driver.consume(other, ['q'], {});
    driver.publish(session, { queue: 'q' }, { queue: 'q' });
    driver.answer('start', session, [1, 1]);
    expect(idsOf(driver.apply({ type: 'cancel', session, request: 1, consumerId: 1 }))).toEqual([2]);
  });

  test('is chosen when the setting is turned on, and all are served when it is turned off', () => {
    const { driver, session } = bench();
    const other = driver.open();
    driver.consume(session, ['q']);
    driver.consume(other, ['q']);
    driver.publish(session, { queue: 'q' }, { queue: 'q' });
    driver.merge(session, 'q', { singleActiveConsumer: true });
    driver.publish(session, { queue: 'q' }, { queue: 'q' }, { queue: 'q' });
    expect(idsOf(driver.answer('ack', session, [1, 1]))).toEqual([]);
    // What is unsettled is all with the other one, who goes on.
    expect(of(driver.answer('ack', other, [1, 1]), 'deliver')).toMatchObject([{ session: other, id: 3 }]);
    expect(of(driver.merge(session, 'q', { singleActiveConsumer: false }), 'deliver')).toMatchObject([
      { session, id: 4 },
    ]);
  });
});

test('consumers of a higher priority get everything while they have credit', () => {
  const { driver, session } = bench();
  const urgent = driver.open();
  driver.consume(session, ['q'], { prefetch: 10 });
  driver.consume(urgent, ['q'], { prefetch: 2, priority: 9 });
  const effects = driver.publish(session, { queue: 'q' }, { queue: 'q' }, { queue: 'q' });
  expect(of(effects, 'deliver').map((delivery) => delivery.session)).toEqual([urgent, urgent, session]);
  expect(of(driver.answer('ack', urgent, [1, 1]), 'deliver')).toEqual([]);
  expect(of(driver.publish(session, { queue: 'q' }), 'deliver')).toMatchObject([{ session: urgent }]);
});
