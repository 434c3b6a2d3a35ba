import type { LoadShape } from '../load/busy-load.js';
import { brokerMicros, confirmedRate, consumedRate, type ThroughputResult } from '../load/throughput-run.js';
import { conditions } from '../report/conditions.js';
import { short, whole } from '../report/format.js';
import type { ResultPlot, ResultTable } from '../report/result.js';
import { freshRun } from './fresh-run.js';
import type { BenchOptions, Scenario } from './scenario.js';

const COUNTS = [1, 10, 100, 1_000] as const;

interface Width {
  readonly count: number;
  readonly result: ThroughputResult;
}

export const fanout: Scenario = {
  name: 'fanout',
  question: 'What remains of the throughput when messages spread over many queues, or over many consumers of one?',
  async run(options) {
    const overQueues = await widths('queues', options, (count) => ({
      queues: Array.from({ length: count }, (_, i) => `fanout-${i}`),
    }));
    const overConsumers = await widths('consumers', options, (connections) => ({ connections }));
    return {
      conditions: conditions({ prefetch: '1,000 for each consumer' }),
      setUp:
        'Every message goes to one queue, by its name. First, one producer publishes to many queues in turn, and each queue has a consumer, all of them over one connection. Then one queue has many consumers, each a client with a connection of its own, all in one process. One run each.',
      tables: [table('To many queues', 'queues', overQueues), table('To many consumers', 'consumers', overConsumers)],
      plots: [plot('To many queues', 'queues', overQueues), plot('To many consumers', 'consumers', overConsumers)],
      leftOut: ['one message to many queues, by way of an exchange'],
      data: { overQueues, overConsumers },
    };
  },
};

async function widths(
  what: string,
  options: BenchOptions,
  shapeOf: (count: number) => Partial<LoadShape>,
): Promise<Width[]> {
  const found: Width[] = [];
  for (const count of COUNTS) {
    const result = await freshRun(options, shapeOf(count), `fanout, ${what}: ${whole(count)}`);
    found.push({ count, result });
  }
  return found;
}

function table(title: string, what: string, found: readonly Width[]): ResultTable {
  return {
    title,
    head: [what, 'confirmed /s', 'consumed /s', 'broker us a message', 'broker cores', 'consumer cores'],
    rows: found.map(({ count, result }) => [
      whole(count),
      whole(confirmedRate(result)),
      whole(consumedRate(result)),
      short(brokerMicros(result)),
      short(result.broker.cores),
      short(result.groups.consumers.cores),
    ]),
  };
}

function plot(title: string, what: string, found: readonly Width[]): ResultPlot {
  return {
    title,
    xLabel: what,
    yLabel: 'consumed a second',
    xScale: 'log',
    yScale: 'linear',
    series: [{ label: 'consumed', points: found.map(({ count, result }) => [count, consumedRate(result)] as const) }],
  };
}
