import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { LatencyHistogram } from '../../bench/load/latency-histogram.js';

function histogramOf(values: readonly number[]): LatencyHistogram {
  const histogram = new LatencyHistogram();
  for (const ms of values) histogram.record(ms);
  return histogram;
}

/** The value that so many percent of the values stay within, by sorting them. */
function percentileOf(values: readonly number[], percent: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.max(1, Math.ceil((percent / 100) * sorted.length)) - 1]!;
}

describe('LatencyHistogram', () => {
  test('knows percentiles of any values to three digits and a microsecond', () => {
    const values = fc.array(fc.double({ min: 0, max: 100_000, noNaN: true }), { minLength: 1, maxLength: 300 });
    fc.assert(
      fc.property(values, fc.constantFrom(50, 90, 99, 99.9, 100), (times, percent) => {
        const exact = percentileOf(times, percent);
        expect(Math.abs(histogramOf(times).percentileMs(percent) - exact)).toBeLessThanOrEqual(exact * 0.001 + 0.001);
      }),
    );
  });

  test('sums up the usual percentiles', () => {
    const summary = histogramOf(Array.from({ length: 1_000 }, (_, i) => i + 1)).summary();
    expect(summary.count).toBe(1_000);
    expect(summary.p50).toBeCloseTo(500, -1);
    expect(summary.p90).toBeCloseTo(900, -1);
    expect(summary.p99).toBeCloseTo(990, -1);
    expect(summary.p999).toBeCloseTo(999, -1);
    expect(summary.max).toBeCloseTo(1_000, -1);
  });

  test('travels to another process as text', () => {
    const sent = histogramOf([0.05, 1, 1, 20, 3_000]);
    expect(LatencyHistogram.of(sent.encode()).summary()).toEqual(sent.summary());
  });

  test('an empty one travels, too, and has no percentiles', () => {
    const empty = LatencyHistogram.of(new LatencyHistogram().encode());
    expect(empty.count).toBe(0);
    expect(empty.percentileMs(50)).toBeNaN();
  });

  test('takes times below its range as 0 and above it as its end', () => {
    const histogram = histogramOf([-1, 10_000_000]);
    expect(histogram.count).toBe(2);
    expect(histogram.percentileMs(50)).toBe(0);
    expect(histogram.maxMs).toBeGreaterThan(599_000);
    expect(histogram.maxMs).toBeLessThan(601_000);
  });

  test('forgets what it has', () => {
    const histogram = histogramOf([1, 2]);
    histogram.clear();
    expect(histogram.count).toBe(0);
  });
});
