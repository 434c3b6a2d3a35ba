import { describe, expect, test } from 'vitest';
import { isSustained, latencyNumbers } from '../../bench/load/latency-run.js';
import { brokerMicros } from '../../bench/load/throughput-run.js';
import { latencyResult, throughputResult } from './results.js';

describe('a rate', () => {
  test('is sustained when 99 % of it came through', () => {
    expect(isSustained(latencyResult(1, { perSecond: 1_000, achieved: 990 }))).toBe(true);
    expect(isSustained(latencyResult(1, { perSecond: 1_000, achieved: 989 }))).toBe(false);
  });

  test('is not sustained when a publish failed', () => {
    expect(isSustained(latencyResult(1, { failed: 1 }))).toBe(false);
  });
});

describe('latencyNumbers', () => {
  test('are plain numbers that travel as JSON', () => {
    const numbers = latencyNumbers(latencyResult(2));
    expect(JSON.parse(JSON.stringify(numbers))).toMatchObject({
      perSecond: 5_000,
      deliveryMs: { count: 1_000, p99: 2 },
    });
  });
});

describe('brokerMicros', () => {
  test('is the CPU time of the broker by consumed message', () => {
    const result = throughputResult({ consumers: { messagesPerSecond: 200_000 }, brokerCores: 0.8 });
    expect(brokerMicros(result)).toBeCloseTo(4);
  });

  test('is no number where the system does not tell the CPU time', () => {
    expect(brokerMicros(throughputResult({ consumers: { messagesPerSecond: 1 }, brokerCores: null }))).toBeNaN();
  });
});
