import { describe, expect, test } from 'vitest';
import { Rates } from '../../server/broker/rates.js';

const NONE = { published: 0, delivered: 0, acked: 0 };

function totals(published: number, delivered = 0, acked = 0) {
  return { published, delivered, acked };
}

describe('rates', () => {
  test('are 0 without a sample, and at the moment of the first', () => {
    const rates = new Rates();
    expect(rates.read(5_000, totals(10))).toEqual(NONE);
    rates.sample(5_000, totals(10));
    expect(rates.read(5_000, totals(10))).toEqual(NONE);
  });

  test('are per second, from the oldest sample of the last ten seconds to now', () => {
    const rates = new Rates();
    for (let second = 0; second <= 30; second++)
      rates.sample(second * 1_000, totals(second * second, second * 3, second));
    // From second 20 to second 30.
    expect(rates.read(30_000, totals(900, 90, 30))).toEqual({ published: 50, delivered: 3, acked: 1 });
  });

  test('count what came since the last sample', () => {
    const rates = new Rates();
    rates.sample(0, totals(0));
    expect(rates.read(250, totals(100))).toEqual({ published: 400, delivered: 0, acked: 0 });
  });

  test('fall to 0 when nothing happens for as long as they look back', () => {
    const rates = new Rates();
    rates.sample(0, totals(0));
    for (let second = 1; second <= 12; second++) rates.sample(second * 1_000, totals(100));
    expect(rates.read(12_000, totals(100))).toEqual(NONE);
  });

  test('know an old sample when nobody has asked for long', () => {
    const rates = new Rates();
    rates.sample(0, totals(0));
    expect(rates.read(60_000, totals(600)).published).toBe(10);
  });

  test('keep a sample each half second at most', () => {
    const rates = new Rates();
    expect(rates.isDue(0)).toBe(true);
    rates.sample(0, totals(0));
    expect(rates.isDue(499)).toBe(false);
    rates.sample(499, totals(1_000_000));
    expect(rates.isDue(500)).toBe(true);
    // The sample that came too soon was not kept.
    expect(rates.read(1_000, totals(1_000)).published).toBe(1_000);
  });
});
