import { describe, expect, test } from 'vitest';
import { peerPlots, peerTables } from '../../bench/peers/comparison-tables.js';
import type { Measured } from '../../bench/peers/competitor.js';
import { latencyResult, throughputResult } from './results.js';

/** A system with these rates, a round each, and latency. */
function measured(title: string, rates: readonly number[], latencyMs: number): Measured {
  return {
    competitor: {
      title,
      durability: 'sync before confirm',
      hasPriorities: false,
      client: 'a-client 1.0',
      settings: '',
      start: () => Promise.reject(new Error('not in this test')),
    },
    versions: new Set(['1.0']),
    throughput: rates.map((messagesPerSecond) =>
      throughputResult({ producers: { messagesPerSecond }, consumers: { messagesPerSecond } }),
    ),
    latency: rates.map(() => latencyResult(latencyMs)),
  };
}

const LIMITS = [500_000, 400_000, 300_000].map((messagesPerSecond) => ({
  messagesPerSecond,
  syncsPerSecond: 1,
  relayCores: 1,
  clientCores: 1,
}));
const ALL = [measured('Lovage', [300_000, 200_000, 100_000], 1), measured('Other', [10_000, 20_000, 40_000], 4)];

describe('the comparison', () => {
  const [throughput, latency, systems] = peerTables(ALL, LIMITS, 3);

  test('shows medians, their spread, and ratios of medians', () => {
    expect(throughput!.rows[1]).toEqual([
      'Other',
      'sync before confirm',
      '20,000',
      '20,000',
      '150 %',
      '10.0',
      '5.00 %',
    ]);
  });

  test('ends with the limit, against which all are shares', () => {
    expect(throughput!.rows[0]!.at(-1)).toBe('50.0 %');
    expect(throughput!.rows.at(-1)!.slice(3)).toEqual(['400,000', '50.0 %', '0.500', '100 %']);
  });

  test('has the latency of Lovage as a share of each', () => {
    expect(latency!.rows.map((row) => row.slice(-2))).toEqual([
      ['1.00', '1.00'],
      ['0.250', '0.250'],
    ]);
  });

  test('every row is as long as its head', () => {
    for (const { head, rows } of [throughput!, latency!, systems!])
      for (const row of rows) expect(row).toHaveLength(head.length);
  });

  test('plots a bar for every system', () => {
    for (const { names, series } of peerPlots(ALL)) {
      expect(names).toEqual(['Lovage', 'Other']);
      for (const { points } of series) expect(points.map(([x]) => x)).toEqual([0, 1]);
    }
  });

  test('a rate that one round did not sustain is not sustained', () => {
    const late = { ...ALL[1]!, latency: [latencyResult(4), latencyResult(4, { achieved: 1 }), latencyResult(4)] };
    expect(peerTables([ALL[0]!, late], LIMITS, 3)[1]!.rows.map((row) => row[1])).toEqual(['yes', 'NO']);
  });
});
