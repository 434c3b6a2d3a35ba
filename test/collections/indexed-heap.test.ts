import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { IndexedHeap } from '../../server/collections/indexed-heap.js';

describe('IndexedHeap', () => {
  test('an empty one has no top', () => {
    const heap = new IndexedHeap(new Int32Array(4));
    expect(heap.top()).toBe(-1);
    expect(heap.pop()).toBe(-1);
    expect(heap.topKey()).toBe(Number.POSITIVE_INFINITY);
    expect(heap.has(0)).toBe(false);
  });

  test('gives items back in the order of their keys, beyond its first capacity', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: -50, max: 50 }), { maxLength: 200 }), (keys) => {
        const heap = new IndexedHeap(new Int32Array(keys.length), 1);
        keys.forEach((key, item) => {
          heap.push(item, key);
        });
        const popped: number[] = [];
        while (heap.size > 0) popped.push(keys[heap.pop()]!);
        expect(popped).toEqual([...keys].sort((a, b) => a - b));
      }),
    );
  });

  test('does what a list of pairs does, with removal from the middle', () => {
    const step = fc.record({ op: fc.constantFrom('push', 'push', 'remove', 'pop'), item: fc.nat(30), key: fc.nat(20) });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 300 }), (steps) => {
        const positions = new Int32Array(31);
        const heap = new IndexedHeap(positions, 2);
        const model = new Map<number, number>();
        for (const { op, item, key } of steps) {
          if (op === 'push' && !model.has(item)) {
            heap.push(item, key);
            model.set(item, key);
          } else if (op === 'remove' && model.has(item)) {
            heap.remove(item);
            model.delete(item);
          } else if (op === 'pop') {
            model.delete(heap.pop());
          }
          expect(heap.size).toBe(model.size);
          expect(heap.topKey()).toBe(Math.min(Number.POSITIVE_INFINITY, ...model.values()));
          if (model.size > 0) expect(model.get(heap.top())).toBe(heap.topKey());
          const seen = new Map<number, number>();
          heap.forEach((at, atKey) => {
            seen.set(at, atKey);
          });
          expect(seen).toEqual(model);
          for (let at = 0; at < positions.length; at++) expect(heap.has(at)).toBe(model.has(at));
        }
      }),
    );
  });

  test('two heaps share positions as long as an item is in one of them', () => {
    const positions = new Int32Array(3);
    const even = new IndexedHeap(positions);
    const odd = new IndexedHeap(positions);
    even.push(0, 5);
    odd.push(1, 3);
    even.push(2, 1);
    even.remove(0);
    odd.push(0, 2);
    expect(even.pop()).toBe(2);
    expect(odd.pop()).toBe(0);
    expect(odd.pop()).toBe(1);
  });
});
