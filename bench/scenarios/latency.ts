import { withLovage } from '../broker/lovage-server.js';
import { isSustained, type LatencyResult, latencyNumbers, runLatency } from '../load/latency-run.js';
import { conditions } from '../report/conditions.js';
import { short, whole } from '../report/format.js';
import { percentileSeries } from '../report/percentile-series.js';
import type { BenchOptions, Scenario } from './scenario.js';

const RATES = [1_000, 5_000, 20_000, 50_000] as const;

export const latency: Scenario = {
  name: 'latency',
  question: 'How long does a message take from its publish to its handler, at a given rate?',
  async run(options) {
    const found: LatencyResult[] = [];
    for (const perSecond of RATES) found.push(await at(perSecond, options));
    return {
      conditions: conditions({ window: 'open loop', priorities: 'all 0' }),
      setUp:
        'One producer publishes at a fixed rate whether or not the broker keeps up, to one consumer. Times count from the moment at which a publish was due, not from when it was made, so waiting hides nowhere (no coordinated omission). A rate counts as sustained when 99 % of it were consumed and no publish failed.',
      tables: [{ title: 'ms from due publish to handler, and to confirm', head: HEAD, rows: found.map(row) }],
      plots: [
        {
          title: 'Publish to handler',
          xLabel: 'percentile',
          yLabel: 'ms',
          xScale: 'log',
          yScale: 'log',
          series: found.map(({ perSecond, delivery }) => percentileSeries(`${whole(perSecond)}/s`, delivery)),
        },
      ],
      leftOut: [],
      data: found.map(latencyNumbers),
    };
  },
};

function at(perSecond: number, options: BenchOptions): Promise<LatencyResult> {
  const { seed, warmUpMs, windowMs } = options;
  const shape = { perSecond, seed, warmUpMs, windowMs };
  return withLovage(options, (server) => runLatency(server, shape, `latency at ${whole(perSecond)}/s`));
}

const HEAD = [
  'rate /s',
  'consumed /s',
  'sustained',
  'p50',
  'p99',
  'p99.9',
  'max',
  'confirm p50',
  'confirm p99',
  'confirm p99.9',
  'producer late p99',
  'broker cores',
];

function row(result: LatencyResult): string[] {
  const { perSecond, achieved, delivery, confirm, lateness, brokerCores } = result;
  return [
    whole(perSecond),
    whole(achieved),
    isSustained(result) ? 'yes' : 'NO',
    short(delivery.percentileMs(50)),
    short(delivery.percentileMs(99)),
    short(delivery.percentileMs(99.9)),
    short(delivery.maxMs),
    short(confirm.percentileMs(50)),
    short(confirm.percentileMs(99)),
    short(confirm.percentileMs(99.9)),
    short(lateness.percentileMs(99)),
    short(brokerCores),
  ];
}
