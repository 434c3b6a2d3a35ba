import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { PriorityBitmap } from '../../server/collections/priority-bitmap.js';

describe('PriorityBitmap', () => {
  test('an empty one has no highest and no lowest priority', () => {
    const bitmap = new PriorityBitmap();
    expect(bitmap.isEmpty).toBe(true);
    expect(bitmap.highest()).toBe(-1);
    expect(bitmap.lowest()).toBe(-1);
    bitmap.delete(7);
    expect(bitmap.isEmpty).toBe(true);
  });

  test('every priority alone is the highest and the lowest, at the borders of words, too', () => {
    for (let priority = 0; priority <= 255; priority++) {
      const bitmap = new PriorityBitmap();
      bitmap.add(priority);
      expect(bitmap.highest()).toBe(priority);
      expect(bitmap.lowest()).toBe(priority);
      expect(bitmap.has(priority)).toBe(true);
      bitmap.delete(priority);
      expect(bitmap.highest()).toBe(-1);
      expect(bitmap.isEmpty).toBe(true);
    }
  });

  test('does what a set does', () => {
    const step = fc.record({
      add: fc.boolean(),
      priority: fc.oneof(fc.nat(255), fc.constantFrom(0, 31, 32, 63, 224, 255)),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
        const bitmap = new PriorityBitmap();
        const set = new Set<number>();
        for (const { add, priority } of steps) {
          if (add) {
            bitmap.add(priority);
            set.add(priority);
          } else {
            bitmap.delete(priority);
            set.delete(priority);
          }
          expect(bitmap.highest()).toBe(Math.max(-1, ...set));
          expect(bitmap.lowest()).toBe(set.size === 0 ? -1 : Math.min(...set));
          expect(bitmap.isEmpty).toBe(set.size === 0);
          expect(bitmap.has(priority)).toBe(set.has(priority));
        }
      }),
    );
  });
});
