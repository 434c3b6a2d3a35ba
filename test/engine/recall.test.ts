import { describe, expect, test } from 'vitest';
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
    expect(of(driver.tick(20), 'recall')).toHaveLength(2);
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
    expect(held[0]! + held[1]!).toBe(16);
    // Each delivery is asked for at most once, and a look takes at most half of the larger part.
    expect(recalls).toBeLessThan(16 * 40);
    expect(quietMs).toBeGreaterThan(10_000);
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
