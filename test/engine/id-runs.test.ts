import { expect, test } from 'vitest';
import { IdRuns } from '../../server/engine/id-runs.js';

test('runs of ids are pairs, the same after they were cleared, whatever was there before', () => {
  const runs = new IdRuns();
  expect([runs.isEmpty, runs.pairs]).toEqual([true, []]);
  for (const [ids, pairs] of [
    [
      [5, 6, 7, 9, 2, 3],
      [5, 3, 9, 1, 2, 2],
    ],
    [[1], [1, 1]],
    [
      [10, 8, 9, 2 ** 40, 2 ** 40 + 1],
      [10, 1, 8, 2, 2 ** 40, 2],
    ],
    [Array.from({ length: 20_000 }, (_, i) => 2 * i), Array.from({ length: 40_000 }, (_, i) => (i % 2 === 0 ? i : 1))],
    [[3], [3, 1]],
  ] as const) {
    for (const id of ids) runs.add(id);
    expect(runs.isEmpty).toBe(false);
    expect(runs.pairs).toEqual(pairs);
    runs.clear();
    expect([runs.isEmpty, runs.pairs]).toEqual([true, []]);
  }
});
