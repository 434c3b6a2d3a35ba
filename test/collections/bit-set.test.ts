import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { BitSet } from '../../server/collections/bit-set.js';

function next(set: ReadonlySet<number>, from: number): number {
  const found = [...set].filter((index) => index >= from).sort((a, b) => a - b)[0];
  return found ?? -1;
}

describe('BitSet', () => {
  test('an empty one has no next member, wherever one looks', () => {
    const bits = new BitSet();
    for (const from of [0, 31, 32, 1_000]) {
      expect(bits.next(from)).toBe(-1);
      expect(bits.nextAround(from)).toBe(-1);
      expect(bits.has(from)).toBe(false);
    }
    bits.delete(1_000);
    expect(bits.size).toBe(0);
  });

  test('grows to any member and finds bit 31, where numbers turn negative', () => {
    const bits = new BitSet();
    bits.add(31);
    bits.add(9_999);
    expect(bits.next(0)).toBe(31);
    expect(bits.next(32)).toBe(9_999);
    expect(bits.nextAround(10_000)).toBe(31);
    expect(bits.size).toBe(2);
  });

  test('does what a set does', () => {
    const index = fc.oneof(fc.nat(100), fc.constantFrom(0, 31, 32, 63, 64, 700));
    const step = fc.record({ add: fc.boolean(), index, from: index });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 150 }), (steps) => {
        const bits = new BitSet();
        const set = new Set<number>();
        for (const { add, index: at, from } of steps) {
          if (add) bits.add(at);
          else bits.delete(at);
          if (add) set.add(at);
          else set.delete(at);
          expect(bits.size).toBe(set.size);
          expect(bits.has(from)).toBe(set.has(from));
          expect(bits.next(from)).toBe(next(set, from));
          expect(bits.nextAround(from)).toBe(next(set, from) >= 0 ? next(set, from) : next(set, 0));
        }
      }),
    );
  });
});
