/** Results as scenarios get them, with the numbers that a test is about. */
import { LatencyHistogram } from '../../bench/load/latency-histogram.js';
import type { LatencyResult } from '../../bench/load/latency-run.js';
import type { ThroughputResult } from '../../bench/load/throughput-run.js';
import type { GroupRate } from '../../bench/load/window.js';
import type { ScenarioResult } from '../../bench/report/result.js';

export interface ThroughputNumbers {
  readonly producers?: Partial<GroupRate>;
  readonly consumers?: Partial<GroupRate>;
  readonly brokerCores?: number | null;
}

const NOTHING: GroupRate = {
  messagesPerSecond: 0,
  cores: 0,
  failed: 0,
  messages: 0,
  frames: { sent: {}, received: {} },
};

export function throughputResult({ producers, consumers, brokerCores = 1 }: ThroughputNumbers): ThroughputResult {
  return {
    groups: { producers: { ...NOTHING, ...producers }, consumers: { ...NOTHING, ...consumers } },
    broker: { cores: brokerCores, residentBytes: 1_048_576 },
    confirmed: 0,
    consumed: 0,
  };
}

/** All messages took so many ms to their handler and to their confirm. */
export function latencyResult(ms: number, rates: Partial<LatencyResult> = {}): LatencyResult {
  const histogram = new LatencyHistogram();
  for (let i = 0; i < 1_000; i++) histogram.record(ms);
  return {
    perSecond: 5_000,
    achieved: 5_000,
    failed: 0,
    brokerCores: 0.5,
    delivery: histogram,
    confirm: histogram,
    lateness: new LatencyHistogram(),
    ...rates,
  };
}

export function scenarioResult(changes: Partial<ScenarioResult> = {}): ScenarioResult {
  return {
    name: 'example',
    question: 'How fast?',
    conditions: { sync: 'always', window: '1,000', prefetch: '1,000', body: '256 B', priorities: 'random, 0-9' },
    setUp: 'It was measured.',
    tables: [{ title: 'Rates', head: ['what', 'rate /s'], rows: [['one', 1]] }],
    plots: [],
    leftOut: [],
    data: { rate: 1 },
    ...changes,
  };
}
