/** A message's way from one queue to another: what it keeps, what begins anew, and what a restart finds. */
import { describe, expect, test } from 'vitest';
import { withDeadLetter, withoutLast } from '../../server/engine/dead-letter-history.js';
import { DeadLetters } from '../../server/engine/dead-letters.js';
import { Deliveries } from '../../server/engine/deliveries.js';
import { Limits } from '../../server/engine/limits.js';
import { Places } from '../../server/engine/places.js';
import { QueueExpiry } from '../../server/engine/queue-expiry.js';
import { QueueRegistry } from '../../server/engine/queue-registry.js';
import { Recall } from '../../server/engine/recall.js';
import type { TransferReason } from '../../server/engine/record.js';
import { SingleActive } from '../../server/engine/single-active.js';
import { Transfers } from '../../server/engine/transfers.js';
import { EngineDriver, idsOf, of } from './driver.js';
import type { Effect } from './recorder.js';
import { recount } from './recount.js';

/** Transfers message `id` as an operator would. */
function transfer(driver: EngineDriver, id: number, to: string, reason: TransferReason): Effect[] {
  const { state } = driver.engine;
  const places = new Places(state);
  const transfers = new Transfers(state, places);
  const deadLetters = new DeadLetters(state, places, transfers, new QueueRegistry(state, new QueueExpiry(state)));
  const limits = new Limits(state, places, deadLetters);
  const single = new SingleActive(state);
  const recall = new Recall(state);
  const deliveries = new Deliveries(state, { places, transfers, deadLetters, limits, single, recall });
  const slot = state.table.find(id);
  deliveries.transfer(slot, state.queueOf(slot), state.queue('default', to)!, reason, driver.sink);
  deliveries.flow(driver.sink);
  recount(driver.engine);
  return driver.sink.take();
}

function historyOf(driver: EngineDriver, id: number): unknown[] {
  const { table } = driver.engine.state;
  return table.historyOf(table.find(id)).map(({ queue, reason, count }) => [queue, reason, count]);
}

function ready(driver: EngineDriver): Record<string, number> {
  return Object.fromEntries([...driver.engine.state.queuesByName.values()].map(({ name, size }) => [name, size]));
}

function withQueues(): { driver: EngineDriver; session: number } {
  const driver = new EngineDriver();
  const session = driver.open();
  driver.declare(session, 'a', { messageTtlMs: 500 });
  driver.declare(session, 'b', { messageTtlMs: 2_000, defaultPriority: 9 });
  driver.declare(session, 'c');
  return { driver, session };
}

describe('a message that is transferred', () => {
  test('keeps its id, its bytes and its priority, and gets the life that the new queue gives', () => {
    const { driver, session } = withQueues();
    driver.publish(session, { queue: 'a', body: 'hello', priority: 3, expiresInMs: 100 });
    transfer(driver, 1, 'b', 'rejected');
    const { table } = driver.engine.state;
    expect(table.expiryMs[table.find(1)]).toBe(driver.nowMs + 2_000);
    driver.tick(1_000);
    const [delivered] = of(driver.consume(session, ['b']), 'deliver');
    expect(delivered).toMatchObject({ id: 1, priority: 3, attempt: 1, redelivered: false });
    expect(Buffer.from(delivered!.payload).toString()).toContain('hello');
    expect(ready(driver)).toEqual({ a: 0, b: 1, c: 0 });
  });

  test('takes its place by age', () => {
    const { driver, session } = withQueues();
    for (const queue of ['a', 'c', 'a', 'c']) driver.publish(session, { queue });
    transfer(driver, 3, 'c', 'moved');
    transfer(driver, 1, 'c', 'moved');
    expect(idsOf(driver.consume(session, ['c'], { prefetch: 10 }))).toEqual([1, 2, 3, 4]);
  });

  test('is taken from a handler, who gets the credit back and is superseded', () => {
    const { driver, session } = withQueues();
    driver.publish(session, { queue: 'a' }, { queue: 'a' });
    driver.consume(session, ['a'], { prefetch: 1 });
    driver.answer('start', session, [1, 1]);
    expect(idsOf(transfer(driver, 1, 'b', 'moved'))).toEqual([2]);
    expect(of(driver.answer('ack', session, [1, 1]), 'refused')).toMatchObject([{ code: 'SUPERSEDED' }]);
    const other = driver.open();
    expect(of(driver.consume(other, ['b']), 'deliver')).toMatchObject([{ id: 1, attempt: 1, redelivered: false }]);
  });

  test('is due at once when it was delayed, and goes to who waits for it', () => {
    const { driver, session } = withQueues();
    driver.consume(session, ['b']);
    driver.publish(session, { queue: 'c', delayMs: 5_000 });
    expect(idsOf(transfer(driver, 1, 'b', 'moved'))).toEqual([1]);
    expect(driver.engine.nextDeadline()).toBeLessThan(driver.nowMs + 2_001);
  });

  test('is found in the one queue after a restart, with its history, also when it was copied forward', () => {
    const { driver, session } = withQueues();
    driver.publish(session, { queue: 'a' }, { queue: 'a' });
    transfer(driver, 1, 'b', 'expired');
    transfer(driver, 1, 'c', 'rejected');
    transfer(driver, 2, 'c', 'moved');
    const found = [
      ['a', 'expired', 1],
      ['b', 'rejected', 1],
    ];
    driver.restart();
    expect(ready(driver)).toEqual({ a: 0, b: 0, c: 2 });
    expect(historyOf(driver, 1)).toEqual(found);
    expect(historyOf(driver, 2)).toEqual([]);
    const { table } = driver.engine.state;
    const message = { ...driver.engine.movable(1, 1, table.offset[table.find(1)]!)!, offset: 0 };
    const payload = driver.log.read(1, table.offset[table.find(1)]!, message.length).slice();
    driver.roll();
    driver.engine.move([message], payload, driver.sink);
    driver.reclaim(2);
    driver.restart();
    expect(ready(driver)).toEqual({ a: 0, b: 0, c: 1 });
    expect(historyOf(driver, 1)).toEqual(found);
  });

  test('tells as a dead letter why its attempts have failed, over restarts and copied forward, until it goes back', () => {
    const { driver, session } = withQueues();
    driver.publish(session, { queue: 'c' });
    driver.consume(session, ['c']);
    const fail = (tag: number, reason: string | null, cause: 'failed' | 'crashed', requeue = true): unknown =>
      driver.apply({
        ...{ type: 'nack', session, settleSeq: tag, ranges: [tag, 1] },
        requeue,
        delayMs: 0,
        reason,
        cause,
      });
    fail(1, 'x'.repeat(300), 'crashed');
    for (let tag = 2; tag <= 5; tag++) fail(tag, `reason ${tag}`, 'failed');
    fail(6, null, 'crashed');
    driver.apply({ type: 'close', session });
    const found = {
      crashes: 1,
      failures: ['x'.repeat(200), 'reason 2', 'reason 3', 'reason 4', 'reason 5'].map((reason, i) => ({
        ...{ attempt: i + 1, cause: i === 0 ? 'crashed' : 'failed', timeMs: driver.nowMs, reason },
      })),
    };
    const { table } = driver.engine.state;
    expect(table.attemptLogOf(table.find(1))).toEqual(found);
    transfer(driver, 1, 'b', 'rejected');
    driver.restart();
    const message = { ...driver.engine.movable(1, 1, driver.engine.state.table.offset[0]!)!, offset: 0 };
    const payload = driver.log.read(1, driver.engine.state.table.offset[0]!, message.length).slice();
    driver.roll();
    driver.engine.move([message], payload, driver.sink);
    driver.reclaim(2);
    driver.restart();
    const after = driver.engine.state.table;
    expect(after.attemptLogOf(after.find(1))).toEqual(found);
    expect(after.attemptLogBytes).toBeGreaterThan(200);
    transfer(driver, 1, 'c', 'redriven');
    expect(after.attemptLogOf(after.find(1))).toEqual({ crashes: 0, failures: [] });
    expect(after.attemptLogBytes).toBe(0);
  });

  test('in memory only is transferred without a record', () => {
    const { driver, session } = withQueues();
    driver.frame(session, { firstSeq: 1, flags: 1, messages: [{ queue: 'a' }] });
    const before = driver.log.records.length;
    transfer(driver, 1, 'b', 'limit');
    expect(driver.log.records.length).toBe(before);
    expect(ready(driver)).toEqual({ a: 0, b: 1, c: 0 });
    expect(historyOf(driver, 1)).toEqual([['a', 'limit', 1]]);
  });

  test('and redriven loses the last event of its history', () => {
    const { driver, session } = withQueues();
    driver.publish(session, { queue: 'a' });
    transfer(driver, 1, 'b', 'rejected');
    transfer(driver, 1, 'a', 'redriven');
    expect(historyOf(driver, 1)).toEqual([]);
    driver.restart();
    expect(historyOf(driver, 1)).toEqual([]);
  });

  test('is counted as one that left and one that came', () => {
    const { driver, session } = withQueues();
    driver.publish(session, { queue: 'a' });
    transfer(driver, 1, 'b', 'rejected');
    transfer(driver, 1, 'a', 'redriven');
    const totals = (name: string) => driver.engine.queueInfo('default', name)!.totals;
    expect(totals('a')).toMatchObject({ published: 1, deadLettered: 1, arrived: 1, moved: 0 });
    expect(totals('b')).toMatchObject({ published: 0, deadLettered: 0, arrived: 1, moved: 1 });
  });
});

describe('history', () => {
  test('counts the same queue and reason up, and has them last', () => {
    const first = withDeadLetter([], 'a', 'expired', 1);
    const second = withDeadLetter(first, 'b', 'limit', 2);
    const third = withDeadLetter(second, 'a', 'expired', 3);
    expect(third).toEqual([
      { queue: 'b', reason: 'limit', timeMs: 2, count: 1 },
      { queue: 'a', reason: 'expired', timeMs: 3, count: 2 },
    ]);
    expect(first).toEqual([{ queue: 'a', reason: 'expired', timeMs: 1, count: 1 }]);
    expect(withoutLast(third)).toEqual([third[0]]);
  });

  test('has 16 entries at most: the oldest goes', () => {
    let history = withDeadLetter([], 'q0', 'rejected', 0);
    for (let i = 1; i < 20; i++) history = withDeadLetter(history, `q${i}`, 'rejected', i);
    expect(history.map(({ queue }) => queue)).toEqual(Array.from({ length: 16 }, (_, i) => `q${i + 4}`));
  });
});
