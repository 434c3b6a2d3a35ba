/** The autoscaler against its rules, with a clock of the test's. */
import { describe, expect, test } from 'vitest';
import { Autoscaler } from '../../client-sdk/tasks/autoscaler.js';

/** Looks every 250 ms from 0 on; returns the sizes. */
function sizes(
  scaler: Autoscaler,
  looks: number,
  from: number,
  load: (size: number, look: number) => { active: number; waiting: number },
): number[] {
  const seen: number[] = [];
  for (let look = 0, size = from; look < looks; look++) {
    size = scaler.look({ size, ...load(size, look) }, look * 250);
    seen.push(size);
  }
  return seen;
}

describe('an autoscaler', () => {
  test('grows once work has waited for half a second, to the double at most, up to its maximum', () => {
    const scaler = new Autoscaler({ min: 1, max: 6 });
    expect(sizes(scaler, 10, 1, (size) => ({ active: size, waiting: 100 }))).toEqual([1, 1, 2, 2, 2, 4, 4, 4, 6, 6]);
  });

  test('grows by no more than waits', () => {
    const scaler = new Autoscaler({ min: 1, max: 100 });
    expect(sizes(scaler, 3, 8, (size) => ({ active: size, waiting: 3 }))).toEqual([8, 8, 11]);
  });

  test('does not grow for what waits only for a moment, nor while a place is idle', () => {
    const scaler = new Autoscaler({ min: 1, max: 6 });
    const moments = sizes(scaler, 40, 2, (size, look) => ({ active: size, waiting: look % 2 }));
    expect(new Set(moments)).toEqual(new Set([2]));
    const idle = sizes(new Autoscaler({ min: 2, max: 6 }), 40, 2, () => ({ active: 1, waiting: 5 }));
    expect(new Set(idle)).toEqual(new Set([2]));
  });

  test('shrinks by what has idled for ten seconds, down to its minimum', () => {
    const scaler = new Autoscaler({ min: 2, max: 8 });
    const seen = sizes(scaler, 121, 8, (_, look) => ({ active: look === 20 ? 5 : 4, waiting: 0 }));
    // 8 places, once 5 of them busy: 3 have idled all the time.
    expect(seen.slice(0, 40)).toEqual(new Array(40).fill(8));
    expect(seen[40]).toBe(5);
    expect(seen[120]).toBe(4);
    expect(sizes(new Autoscaler({ min: 2, max: 8 }), 41, 8, () => ({ active: 0, waiting: 0 }))[40]).toBe(2);
  });

  test('comes into its bounds at once', () => {
    expect(new Autoscaler({ min: 3, max: 6 }).look({ size: 1, active: 1, waiting: 0 }, 0)).toBe(3);
    expect(new Autoscaler({ min: 3, max: 6 }).look({ size: 9, active: 9, waiting: 0 }, 0)).toBe(6);
  });
});
