/** When connections are looked at, with timers that the test moves. */
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { type Looked, LookTimes } from '../../server/gateway/look-times.js';

const START_MS = 1_000_010;
let nowMs = START_MS;

/** Moves the clock and the timers ms by ms. */
function pass(ms: number): void {
  for (let i = 0; i < ms; i++) {
    nowMs++;
    vi.advanceTimersByTime(1);
  }
}

/** Writes down when it is looked at. */
function looked(then: () => void = () => undefined): Looked & { readonly atMs: number[] } {
  const atMs: number[] = [];
  return {
    atMs,
    look: () => {
      atMs.push(nowMs - START_MS);
      then();
    },
  };
}

beforeEach(() => {
  vi.useFakeTimers();
  nowMs = START_MS;
});

afterEach(() => {
  vi.useRealTimers();
});

describe('look times', () => {
  test('are never early and at most 50 ms late, once each', () => {
    const times = new LookTimes(() => nowMs);
    const wanted = [0, 1, 49, 50, 51, 1_000, 1_039.5, 1_040, 24_999, 25_000];
    const all = wanted.map((ms) => {
      const one = looked();
      times.in(ms, one);
      return one;
    });
    pass(30_000);
    for (const [i, { atMs }] of all.entries()) {
      expect(atMs).toHaveLength(1);
      expect(atMs[0]! - wanted[i]!).toBeGreaterThanOrEqual(0);
      expect(atMs[0]! - wanted[i]!).toBeLessThanOrEqual(51);
    }
  });

  test('of a thousand connections within a second need twenty timers', () => {
    const times = new LookTimes(() => nowMs);
    const all = Array.from({ length: 1_000 }, (_, i) => {
      const one = looked();
      times.in(5_000 + i, one);
      return one;
    });
    expect(vi.getTimerCount()).toBeGreaterThanOrEqual(20);
    expect(vi.getTimerCount()).toBeLessThanOrEqual(21);
    pass(7_000);
    expect(all.every(({ atMs }) => atMs.length === 1)).toBe(true);
    expect(vi.getTimerCount()).toBe(0);
  });

  test('of who is gone do not come, and the last one takes the timer with it', () => {
    const times = new LookTimes(() => nowMs);
    const [stays, goes] = [looked(), looked()];
    times.in(100, stays);
    const moment = times.in(100, goes);
    moment.delete(goes);
    pass(1_000);
    expect([stays.atMs.length, goes.atMs.length]).toEqual([1, 0]);
    const alone = times.in(100, goes);
    expect(vi.getTimerCount()).toBe(1);
    alone.delete(goes);
    expect(vi.getTimerCount()).toBe(0);
    // Another may come to the same moment.
    times.in(100, stays);
    pass(1_000);
    expect([stays.atMs.length, goes.atMs.length]).toEqual([2, 0]);
  });

  test('may be asked for again by who is looked at, and be called off by a neighbour', () => {
    const times = new LookTimes(() => nowMs);
    const victim = looked();
    const again: Looked = looked(() => {
      moment.delete(again);
      moment.delete(victim);
      if (nowMs - START_MS < 500) moment = times.in(0, again);
    });
    let moment = times.in(100, again);
    times.in(100, victim);
    pass(2_000);
    expect(victim.atMs).toEqual([]);
    expect((again as ReturnType<typeof looked>).atMs.length).toBeGreaterThanOrEqual(8);
    expect(vi.getTimerCount()).toBe(0);
  });
});
