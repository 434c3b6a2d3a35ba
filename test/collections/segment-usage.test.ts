import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { SegmentUsage } from '../../server/collections/segment-usage.js';

describe('SegmentUsage', () => {
  test('counts nothing where nothing is', () => {
    const usage = new SegmentUsage();
    for (const segment of [1, 16, 17, 1_000]) {
      expect(usage.countOf(segment)).toBe(0);
      expect(usage.bytesOf(segment)).toBe(0);
    }
    usage.forgetBelow(500);
    expect(usage.countOf(499)).toBe(0);
    usage.add(500, 3);
    expect(usage.countOf(500)).toBe(1);
  });

  test('starts at a high segment after a restart', () => {
    const usage = new SegmentUsage();
    usage.add(40_000, 10);
    usage.forgetBelow(40_000);
    usage.add(40_001, 5);
    expect([usage.countOf(40_000), usage.countOf(40_001), usage.bytes]).toEqual([1, 1, 15]);
  });

  test('does what a recount does', () => {
    const step = fc.record({
      op: fc.constantFrom('add', 'add', 'remove', 'forget'),
      segment: fc.nat(60),
      bytes: fc.nat(99),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 300, size: 'max' }), (steps) => {
        const usage = new SegmentUsage();
        let live: { segment: number; bytes: number }[] = [];
        let first = 1;
        for (const { op, segment: offset, bytes } of steps) {
          if (op === 'add') {
            usage.add(first + offset, bytes);
            live.push({ segment: first + offset, bytes });
          } else if (op === 'remove' && live.length > 0) {
            const gone = live[offset % live.length]!;
            usage.remove(gone.segment, gone.bytes);
            live = live.filter((message) => message !== gone);
          } else if (op === 'forget') {
            while (first < 200 && !live.some(({ segment }) => segment === first)) first++;
            usage.forgetBelow(first);
          }
          const counts = new Map<number, number>();
          const sums = new Map<number, number>();
          for (const message of live) {
            counts.set(message.segment, (counts.get(message.segment) ?? 0) + 1);
            sums.set(message.segment, (sums.get(message.segment) ?? 0) + message.bytes);
          }
          for (let at = 1; at <= first + 61; at++) {
            if (usage.countOf(at) !== (counts.get(at) ?? 0) || usage.bytesOf(at) !== (sums.get(at) ?? 0))
              expect.unreachable(`segment ${at} is counted wrong`);
          }
          expect(usage.count).toBe(live.length);
        }
      }),
      { numRuns: 30 },
    );
  });
});
