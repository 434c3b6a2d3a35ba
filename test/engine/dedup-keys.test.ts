/** Dedup keys: the window against the plainest one that does the same, and what has run out going by itself, a little at a time. */
import { expect, test } from 'vitest';
import { type DedupUsage, DedupWindow } from '../../server/engine/dedup-window.js';
import { Random, seedOf } from '../support/random.js';
import { EngineDriver } from './driver.js';

const KEYS = Array.from({ length: 12 }, (_, i) => `key${i}`);

/** Knows each key's id and time and nothing else, and looks at all of them each time. */
class PlainWindow {
  windowMs: number;
  keysMax: number;
  known: { key: string; id: number; timeMs: number }[] = [];

  constructor(windowMs: number, keysMax: number) {
    this.windowMs = windowMs;
    this.keysMax = keysMax;
  }

  forget(nowMs: number): void {
    this.known = this.known.filter(({ timeMs }) => timeMs + this.windowMs > nowMs).slice(-this.keysMax);
  }

  find(wanted: string): number {
    return this.known.find(({ key }) => key === wanted)?.id ?? 0;
  }
}

test('a window knows what a plain one knows, whatever its bounds become', () => {
  const random = new Random(seedOf('dedup window'));
  for (let run = 0; run < 300; run++) {
    const usage: DedupUsage = { keys: 0, bytes: 0 };
    const bounds = (): [number, number] => [random.whole(0, 4) * 10, random.whole(1, 6)];
    const first = bounds();
    const window = new DedupWindow(...first, usage);
    const plain = new PlainWindow(...first);
    let nowMs = 1_000;
    for (let id = 1; id < 120; id++) {
      nowMs += random.pick([0, 0, 1, 5, 20]);
      plain.forget(nowMs);
      const act = random.next();
      if (act < 0.1) {
        const [windowMs, keysMax] = bounds();
        window.resize(windowMs, keysMax, nowMs);
        Object.assign(plain, { windowMs, keysMax });
      } else if (act < 0.2) {
        window.prune(nowMs, random.whole(1, 3));
      } else {
        const key = random.pick(KEYS);
        if (plain.find(key) === 0) {
          window.add(key, id, nowMs, false);
          plain.known.push({ key, id, timeMs: nowMs });
        }
      }
      plain.forget(nowMs);
      expect(KEYS.map((key) => window.find(key, nowMs))).toEqual(KEYS.map((key) => plain.find(key)));
      expect(window.entries(nowMs)).toEqual(plain.known.map(({ key, id, timeMs }) => [key, id, timeMs]));
      expect(usage.keys).toBe(window.size);
      expect(window.size).toBeGreaterThanOrEqual(plain.known.length);
    }
    window.prune(nowMs, Number.POSITIVE_INFINITY);
    expect(window.size).toBe(plain.known.length);
    window.drop();
    expect(usage).toEqual({ keys: 0, bytes: 0 });
  }
});

test('keys go by themselves when they have run out, ten thousand at a look at most', () => {
  const driver = new EngineDriver({ messagesMax: 50_000 });
  const session = driver.open();
  driver.declare(session, 'q', { dedupWindowMs: 60_000 });
  const messages = Array.from({ length: 25_000 }, (_, i) => ({ queue: 'q', dedupKey: `key${i}` }));
  driver.publish(session, ...messages);
  const { dedupUsage } = driver.engine.state;
  expect(dedupUsage.keys).toBe(25_000);
  driver.nowMs = driver.engine.nextDeadline();
  const counts: number[] = [];
  while (dedupUsage.keys > 0) {
    driver.engine.tick(driver.nowMs, driver.sink);
    counts.push(dedupUsage.keys);
  }
  expect(counts).toEqual([15_000, 5_000, 0]);
  expect(driver.engine.nextDeadline()).toBe(Number.POSITIVE_INFINITY);
});

test('of many queues go by themselves as well, after a restart too, and with their queue', () => {
  const driver = new EngineDriver();
  const session = driver.open();
  for (let i = 0; i < 100; i++) {
    driver.declare(session, `q${i}`, { dedupWindowMs: 10_000 });
    driver.publish(session, { queue: `q${i}`, dedupKey: 'k' });
  }
  driver.restart();
  expect(driver.engine.state.dedupUsage.keys).toBe(100);
  const again = driver.open();
  driver.apply({ type: 'delete', session: again, request: 1, name: 'q0', ifEmpty: false, ifUnused: false });
  expect(driver.engine.state.dedupUsage.keys).toBe(99);
  driver.tick(9_999);
  expect(driver.engine.state.dedupUsage.keys).toBe(99);
  driver.tick(2_000);
  expect(driver.engine.state.dedupUsage.keys).toBe(0);
});
