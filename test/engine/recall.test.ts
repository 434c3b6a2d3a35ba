import { describe, expect, test } from 'vitest';
import { Random, seedOf } from '../support/random.js';
import { EngineDriver, idsOf, of } from './driver.js';

/** A queue, a consumer that holds `count` un-started deliveries of it, and no credit left there. */
function hoarder(count: number, priority = 0): { driver: EngineDriver; holder: number } {
  const driver = new EngineDriver();
  const holder = driver.open();
  driver.declare(holder, 'q');
  driver.consume(holder, ['q'], { prefetch: count });
  for (let i = 0; i < count; i++) driver.publish(holder, { queue: 'q', priority });
  return { driver, holder };
}

describe('recall for an idle consumer', () => {
  test('asks for the newer half of what has stood for 20 ms, once', () => {
    const { driver, holder } = hoarder(10);
    const idle = driver.open();
    driver.consume(idle, ['q'], { prefetch: 10 });
    expect(of(driver.tick(19), 'recall')).toEqual([]);
    expect(of(driver.tick(1), 'recall').map(({ session, tag }) => [session, tag])).toEqual([
      [holder, 6],
      [holder, 7],
      [holder, 8],
      [holder, 9],
      [holder, 10],
    ]);
    const later: number[] = [];
    for (let ms = 0; ms < 2_000; ms += 20) later.push(...of(driver.tick(20), 'recall').map(({ tag }) => tag));
    expect(later.length).toBe(new Set(later).size);
    expect(later.every((tag) => tag <= 5)).toBe(true);
  });

  test('gives what is released to the idle one, in the order of the queue', () => {
    const { driver, holder } = hoarder(4);
    const idle = driver.open();
    driver.consume(idle, ['q'], { prefetch: 4 });
    driver.tick(20);
    const effects = driver.answer('release', holder, [4, 1, 3, 1]);
    expect(of(effects, 'deliver').map(({ session, id, attempt }) => [session, id, attempt])).toEqual([
      [idle, 3, 1],
      [idle, 4, 1],
    ]);
  });

  test('finds an idle consumer that stands behind a full one in the rotation', () => {
    const { driver } = hoarder(3);
    const idle = driver.open();
    driver.consume(idle, ['q'], { prefetch: 2 });
    expect(of(driver.tick(20), 'recall')).toHaveLength(1);
  });

  test('leaves what has started, and what nobody could take', () => {
    const { driver, holder } = hoarder(2);
    driver.answer('start', holder, [1, 2]);
    driver.consume(driver.open(), ['q'], { prefetch: 2 });
    expect(of(driver.tick(500), 'recall')).toEqual([]);
    const alone = hoarder(5);
    expect(of(alone.driver.tick(500), 'recall')).toEqual([]);
  });

  test('moves no message for ever: two consumers with credit share and then rest', () => {
    const { driver, holder } = hoarder(16);
    const other = driver.open();
    driver.consume(other, ['q'], { prefetch: 16 });
    let recalls = 0;
    let quietMs = 0;
    for (let ms = 0; ms < 20_000; ms += 20) {
      const asked = of(driver.tick(20), 'recall');
      recalls += asked.length;
      quietMs = asked.length > 0 ? 0 : quietMs + 20;
      for (const { session, tag } of asked) driver.answer('release', session, [tag, 1]);
    }
    const held = [holder, other].map((session) => driver.engine.state.sessions.get(session)!.tags.size);
    expect(held).toEqual([8, 8]);
    expect(recalls).toBe(8);
    expect(quietMs).toBeGreaterThan(19_000);
  });

  test('leaves a delivery between two consumers that run one each where it is', () => {
    const { driver, holder } = hoarder(3);
    const other = driver.open();
    driver.consume(other, ['q'], { prefetch: 3 });
    driver.answer('start', holder, [1, 1]);
    const [asked] = of(driver.tick(20), 'recall');
    driver.answer('release', holder, [asked!.tag, 1]);
    driver.answer('start', other, [1, 1]);
    for (let ms = 0; ms < 5_000; ms += 20) expect(of(driver.tick(20), 'recall')).toEqual([]);
  });

  test('does not ask a consumer again that has not answered', () => {
    const { driver, holder } = hoarder(16);
    driver.consume(driver.open(), ['q'], { prefetch: 16 });
    expect(of(driver.tick(20), 'recall')).toHaveLength(8);
    for (let ms = 0; ms < 2_000; ms += 20) expect(of(driver.tick(20), 'recall')).toEqual([]);
    expect(driver.engine.state.sessions.get(holder)!.tags.size).toBe(16);
  });

  test('takes nobody for idle who has something to start from another queue', () => {
    const { driver, holder } = hoarder(10);
    const other = driver.open();
    driver.declare(other, 'r');
    driver.publish(other, { queue: 'r' });
    driver.consume(other, ['r', 'q'], { prefetch: 10 });
    for (let ms = 0; ms < 1_000; ms += 20) expect(of(driver.tick(20), 'recall')).toEqual([]);
    driver.answer('start', other, [1, 1]);
    expect(of(driver.tick(20), 'recall').map(({ session }) => session)).toEqual(Array(4).fill(holder));
  });

  test('takes nobody for idle because the look has gone through too many deliveries', () => {
    const driver = new EngineDriver({ messagesMax: 65_536 });
    const sessions = [driver.open(), driver.open()];
    driver.declare(sessions[0]!, 'q');
    for (const session of sessions) driver.consume(session, ['q'], { prefetch: 0 });
    const messages = Array.from({ length: 25_000 }, () => ({ queue: 'q' }));
    driver.publish(sessions[0]!, ...messages);
    for (let ms = 0; ms < 100; ms += 20) expect(of(driver.tick(20), 'recall')).toEqual([]);
  });

  test('comes within 20 ms when somebody new comes or runs out of work, however long nothing was found', () => {
    const { driver, holder } = hoarder(9);
    driver.tick(5_000);
    const other = driver.open();
    driver.consume(other, ['q'], { prefetch: 9 });
    expect(of(driver.tick(20), 'recall')).toHaveLength(4);
    driver.answer('release', holder, [6, 4]);
    driver.answer('start', holder, [1, 1]);
    driver.answer('start', other, [1, 4]);
    driver.tick(5_000);
    driver.answer('ack', other, [1, 4]);
    expect(of(driver.tick(20), 'recall')).toHaveLength(2);
  });

  test('moves no more than half of the sum of (unsettled - mean)^2 until something else happens', () => {
    const random = new Random(seedOf('recall settles down'));
    for (let round = 0; round < 25; round++) {
      const driver = new EngineDriver();
      const sessions = Array.from({ length: random.whole(2, 6) }, () => driver.open());
      driver.declare(sessions[0]!, 'q');
      for (const session of sessions) {
        driver.consume(session, ['q'], { prefetch: random.pick([0, 3, 10, 100]) });
        for (let i = random.whole(0, 60); i > 0; i--) driver.publish(session, { queue: 'q' });
      }
      const consumers = sessions.map((session) => driver.engine.state.sessions.get(session)!.consumers.get(1)!);
      for (const [i, session] of sessions.entries())
        driver.answer('start', session, [1, Math.min(random.whole(1, 5), consumers[i]!.unsettled || 1)]);
      const unsettled = consumers.map((consumer) => consumer.unsettled);
      const mean = unsettled.reduce((sum, count) => sum + count, 0) / unsettled.length;
      const bound = unsettled.reduce((sum, count) => sum + (count - mean) ** 2, 0) / 2;
      const waiting = driver.engine.queueInfo('default', 'q')!.ready;
      let moved = 0;
      let lastMs = driver.nowMs;
      for (const end = driver.nowMs + 5_000; driver.nowMs < end; ) {
        const asked = of(driver.tick(20), 'recall');
        if (asked.length > 0) lastMs = driver.nowMs;
        moved += asked.length;
        for (const { session, tag } of asked) if (random.next() < 0.7) driver.answer('release', session, [tag, 1]);
      }
      expect(driver.engine.queueInfo('default', 'q')!.ready).toBe(waiting);
      expect(moved).toBeLessThanOrEqual(bound);
      expect(driver.nowMs - lastMs).toBeGreaterThan(1_000);
    }
  });
});

describe('recall for something more urgent', () => {
  test('makes room by the least urgent delivery, the newest of those', () => {
    const { driver, holder } = hoarder(3, 5);
    driver.publish(holder, { queue: 'q', priority: 9 });
    expect(of(driver.tick(20), 'recall')).toMatchObject([{ session: holder, tag: 3 }]);
    const effects = driver.answer('release', holder, [3, 1]);
    expect(idsOf(effects)).toEqual([4]);
    expect(driver.engine.queueInfo('default', 'q')).toMatchObject({ ready: 1, leased: 3 });
  });

  test('makes room for each message that waits, by the least urgent deliveries of all consumers', () => {
    const driver = new EngineDriver();
    const sessions = [driver.open(), driver.open()];
    driver.declare(sessions[0]!, 'q');
    for (const session of sessions) driver.consume(session, ['q'], { prefetch: 2 });
    for (const priority of [5, 1, 4, 2]) driver.publish(sessions[0]!, { queue: 'q', priority });
    for (const priority of [9, 3, 2, 0]) driver.publish(sessions[0]!, { queue: 'q', priority });
    // 9 goes before 1, 3 before 2, and 2 is no more urgent than 4.
    const asked = of(driver.tick(20), 'recall');
    expect(asked.map(({ session, tag }) => [sessions.indexOf(session), tag])).toEqual([
      [1, 1],
      [1, 2],
    ]);
    expect(of(driver.tick(500), 'recall')).toEqual([]);
    const effects = driver.answer('release', sessions[1]!, [1, 2]);
    expect(of(effects, 'deliver').map(({ priority }) => priority)).toEqual([9, 3]);
  });

  test('makes room in strict order by what came from later queues', () => {
    const driver = new EngineDriver();
    const session = driver.open();
    for (const name of ['first', 'later']) driver.declare(session, name);
    driver.consume(session, ['first', 'later'], { prefetch: 3 });
    for (let i = 0; i < 4; i++) driver.publish(session, { queue: 'later', priority: 9 });
    expect(of(driver.tick(100), 'recall')).toEqual([]);
    driver.publish(session, { queue: 'first' });
    expect(of(driver.tick(20), 'recall').map(({ tag }) => tag)).toEqual([3]);
    expect(of(driver.answer('release', session, [3, 1]), 'deliver')).toMatchObject([{ queueIndex: 0, priority: 0 }]);
    for (let ms = 0; ms < 1_000; ms += 20) expect(of(driver.tick(20), 'recall')).toEqual([]);
  });

  test('looks within 20 ms when something more urgent comes, however long nothing was found', () => {
    const { driver, holder } = hoarder(3, 5);
    driver.publish(holder, { queue: 'q', priority: 5 });
    driver.tick(5_000);
    driver.publish(holder, { queue: 'q', priority: 6 });
    expect(of(driver.tick(20), 'recall')).toHaveLength(1);
  });

  test('asks for nothing when nothing held is less urgent', () => {
    const { driver, holder } = hoarder(3, 5);
    driver.publish(holder, { queue: 'q', priority: 5 });
    expect(of(driver.tick(1_000), 'recall')).toEqual([]);
  });

  test('looks at a queue at most once in 20 ms, and seldom when it finds nothing', () => {
    const { driver } = hoarder(3);
    let looks = 0;
    let lastMs = 0;
    while (driver.nowMs < 1_010_000) {
      const nextMs = driver.engine.nextDeadline();
      expect(nextMs - lastMs).toBeGreaterThanOrEqual(lastMs === 0 ? 0 : 20);
      lastMs = nextMs;
      looks++;
      driver.tick(nextMs - driver.nowMs);
    }
    expect(looks).toBeLessThan(10_000 / 320 + 8);
  });

  test('stops looking when nothing is out', () => {
    const { driver, holder } = hoarder(1);
    driver.answer('ack', holder, [1, 1]);
    driver.tick(20);
    expect(driver.engine.nextDeadline()).toBe(Number.POSITIVE_INFINITY);
  });
});
