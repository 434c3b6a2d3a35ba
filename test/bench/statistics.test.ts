import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { randomBytes, randomFrom } from '../../bench/run/random.js';
import { median, spread } from '../../bench/run/statistics.js';

describe('median', () => {
  test('is the middle of an odd number of values, whatever their order', () => {
    expect(median([30, 1, 2])).toBe(2);
    expect(median([7])).toBe(7);
  });

  test('is the mean of the two in the middle of an even number', () => {
    expect(median([4, 1, 3, 100])).toBe(3.5);
  });

  test('has as many values below as above', () => {
    fc.assert(
      fc.property(fc.array(fc.integer(), { minLength: 1, maxLength: 50 }), (values) => {
        const middle = median(values);
        const [below, above] = [values.filter((value) => value < middle), values.filter((value) => value > middle)];
        expect(below.length).toBeLessThanOrEqual(values.length / 2);
        expect(above.length).toBeLessThanOrEqual(values.length / 2);
      }),
    );
  });

  test('leaves what it was given as it was', () => {
    const values = [3, 1, 2];
    median(values);
    expect(values).toEqual([3, 1, 2]);
  });
});

describe('spread', () => {
  test('is the distance of the extremes as a share of the median', () => {
    expect(spread([90, 100, 120])).toBeCloseTo(0.3);
    expect(spread([5])).toBe(0);
  });
});

describe('random numbers of the load', () => {
  test('are the same for the same seed and others for another', () => {
    const numbers = (seed: number) => Array.from({ length: 5 }, randomFrom(seed));
    expect(numbers(1)).toEqual(numbers(1));
    expect(numbers(1)).not.toEqual(numbers(2));
    expect(randomBytes(32, 9)).toEqual(randomBytes(32, 9));
  });

  test('lie in [0, 1)', () => {
    const random = randomFrom(7_420);
    for (let i = 0; i < 10_000; i++) {
      const value = random();
      expect(value >= 0 && value < 1).toBe(true);
    }
  });
});
