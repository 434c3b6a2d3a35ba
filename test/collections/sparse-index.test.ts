import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { SparseIndex } from '../../server/collections/sparse-index.js';

function entries(index: SparseIndex): Map<number, number> {
  const found = new Map<number, number>();
  index.forEach((key, value) => {
    found.set(key, value);
  });
  return found;
}

describe('SparseIndex', () => {
  test('what is not there is -1, before and after', () => {
    const index = new SparseIndex(2);
    expect(index.get(0)).toBe(-1);
    expect(index.delete(0)).toBe(false);
    index.set(0, 0);
    expect(index.get(0)).toBe(0);
    expect(index.get(1)).toBe(-1);
    expect(index.delete(1)).toBe(false);
    expect(index.delete(0)).toBe(true);
    expect(index.get(0)).toBe(-1);
    expect(index.size).toBe(0);
  });

  test('keeps the largest keys and values apart', () => {
    const index = new SparseIndex(0);
    const keys = [0, 63, 64, 2 ** 32 - 1, 2 ** 32, 2 ** 40 + 1, Number.MAX_SAFE_INTEGER - 1, Number.MAX_SAFE_INTEGER];
    keys.forEach((key, i) => {
      index.set(key, 2 ** 31 - 2 - i);
    });
    keys.forEach((key, i) => {
      expect(index.get(key)).toBe(2 ** 31 - 2 - i);
    });
    expect(entries(index).size).toBe(keys.length);
  });

  test('tells which blocks of 64 keys are in use, and the next of them from a key on', () => {
    const index = new SparseIndex(1);
    const keys = Array.from({ length: 3_000 }, (_, i) => (i * 7_919) % 3_000).map((i) => i * 130 + 5);
    for (const key of keys) index.set(key, 1);
    const blocks = [...new Set(keys.map((key) => Math.floor(key / 64) * 64))].sort((a, b) => a - b);
    const isUsed = new Set(blocks);
    for (let start = 0; start <= blocks.at(-1)! + 128; start += 64) {
      expect(index.hasBlock(start)).toBe(isUsed.has(start));
      expect(index.nextBlock(start + 63)).toBe(blocks.find((block) => block >= start) ?? Number.POSITIVE_INFINITY);
    }
    for (const key of keys) index.delete(key);
    expect(index.hasBlock(0)).toBe(false);
    expect(index.nextBlock(0)).toBe(Number.POSITIVE_INFINITY);
  });

  test('a value is replaced and counted once', () => {
    const index = new SparseIndex(2);
    index.set(5, 1);
    index.set(5, 2);
    expect(index.get(5)).toBe(2);
    expect(index.size).toBe(1);
  });

  test('does what a map does, with neighbours, gaps and whole blocks that come and go', () => {
    const key = fc.oneof(
      fc.nat(300),
      fc.nat(40).map((n) => n * 64),
      fc.nat(40).map((n) => n * 4_096 * 64 + 7),
    );
    const step = fc.record({ set: fc.boolean(), key, value: fc.nat(1_000) });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 400, size: 'max' }), (steps) => {
        const index = new SparseIndex(1);
        const map = new Map<number, number>();
        for (const { set, key: at, value } of steps) {
          if (set) {
            index.set(at, value);
            map.set(at, value);
          } else {
            expect(index.delete(at)).toBe(map.delete(at));
          }
          expect(index.get(at)).toBe(map.get(at) ?? -1);
          expect(index.size).toBe(map.size);
        }
        expect(entries(index)).toEqual(map);
        for (const [at, value] of map) expect(index.get(at)).toBe(value);
      }),
    );
  });

  test('a window of rising keys that slides a million times stays small', () => {
    const index = new SparseIndex(2);
    for (let key = 1; key <= 1_000_000; key++) {
      index.set(key, key % 1_000);
      if (key > 100) index.delete(key - 100);
    }
    expect(index.size).toBe(100);
    expect(entries(index).size).toBe(100);
    expect(index.get(999_999)).toBe(999);
  });
});
