import { describe, expect, test } from 'vitest';
import { LatencyHistogram } from '../../bench/load/latency-histogram.js';
import { Schedule } from '../../bench/load/schedule.js';
import { stamp, stampOf } from '../../bench/load/stamp.js';

/** Everything that is due by then. */
function due(schedule: Schedule, nowMs: number): number[] {
  const found: number[] = [];
  for (let dueMs = schedule.next(nowMs); dueMs !== null; dueMs = schedule.next(nowMs)) found.push(dueMs);
  return found;
}

describe('Schedule', () => {
  test('gives nothing before the start and the first message at it', () => {
    const schedule = new Schedule(1_000, 50);
    expect(schedule.next(49.9)).toBeNull();
    expect(schedule.next(50)).toBe(50);
    expect(schedule.next(50)).toBeNull();
  });

  test('gives each message its own time after a pause, not the time of the look', () => {
    const schedule = new Schedule(1_000, 0);
    expect(due(schedule, 2.5)).toEqual([0, 1, 2]);
    expect(due(schedule, 7.5)).toEqual([3, 4, 5, 6, 7]);
  });

  test('does not drift: after an hour it has given exactly the rate', () => {
    const schedule = new Schedule(30, 0);
    const times = due(schedule, 3_600_001);
    expect(times).toHaveLength(30 * 3_600 + 1);
    expect(times.at(-1)).toBeCloseTo(3_600_000, 6);
  });

  test('corrects for coordinated omission: a stall is measured by all messages that it held up', () => {
    const stallMs = 100;
    const corrected = new LatencyHistogram();
    const naive = new LatencyHistogram();
    const schedule = new Schedule(1_000, 0);
    // A broker that answers at once, but stands still from 500 to 600 ms; producers look every ms, unless they wait for it.
    for (let nowMs = 0; nowMs < 1_000; nowMs += 1) {
      if (nowMs > 500 && nowMs < 500 + stallMs) continue;
      const waited = due(schedule, nowMs).map((dueMs) => nowMs - dueMs);
      for (const ms of waited) corrected.record(ms);
      naive.record(Math.max(...waited) === 0 ? 0 : stallMs);
    }
    expect(corrected.count).toBe(1_000);
    expect(corrected.percentileMs(99)).toBeGreaterThan(85);
    expect(corrected.percentileMs(91)).toBeGreaterThan(5);
    expect(corrected.percentileMs(89)).toBe(0);
    // The same stall as a closed loop would have seen it: one slow message in nine hundred.
    expect(naive.percentileMs(99)).toBe(0);
  });
});

describe('a stamp', () => {
  test('is read back from the body that carries it, wherever that lies in its buffer', () => {
    const body = new Uint8Array(64).subarray(5, 37);
    stamp(body, 123_456.789);
    expect(stampOf(body)).toBe(123_456.789);
    expect(stampOf(Uint8Array.from(body))).toBe(123_456.789);
  });
});
