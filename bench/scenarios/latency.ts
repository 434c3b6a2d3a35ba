import { LovageServer } from '../broker/lovage-server.js';
import { LatencyHistogram } from '../load/latency-histogram.js';
import { LoadProcess } from '../load/load-process.js';
import { STANDARD_SHAPE } from '../load/throughput-run.js';
import { measureWindow } from '../load/window.js';
import { short, whole } from '../report/format.js';
import { percentileSeries } from '../report/percentile-series.js';
import { waitShowing } from '../run/delay.js';
import type { BenchOptions, Scenario } from './scenario.js';

const RATES = [1_000, 5_000, 20_000, 50_000] as const;
const QUEUE = 'latency';
/** Share of the wanted rate below which a rate counts as missed. */
const SUSTAINED = 0.99;

interface LatencyAtRate {
  readonly perSecond: number;
  readonly achieved: number;
  readonly brokerCores: number | null;
  /** From the time at which a publish was due to the begin of its handler. */
  readonly delivery: LatencyHistogram;
  /** ... to its confirm. */
  readonly confirm: LatencyHistogram;
  /** ... to the call of `publish`: how late the producer itself was. */
  readonly lateness: LatencyHistogram;
}

export const latency: Scenario = {
  name: 'latency',
  question: 'How long does a message take from its publish to its handler, at a given rate?',
  isDefault: true,
  async run(options) {
    const found: LatencyAtRate[] = [];
    for (const perSecond of RATES) found.push(await at(perSecond, options));
    return {
      name: this.name,
      question: this.question,
      setUp:
        'One producer publishes at a fixed rate whether or not the broker keeps up, one consumer with prefetch 1,000; 256-byte bodies, --sync always. Times count from the moment at which a publish was due, not from when it was made, so waiting hides nowhere (no coordinated omission). A rate counts as sustained when 99 % of it were consumed.',
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
      data: found.map(({ perSecond, achieved, brokerCores, delivery, confirm, lateness }) => ({
        perSecond,
        achieved,
        brokerCores,
        deliveryMs: delivery.summary(),
        confirmMs: confirm.summary(),
        latenessMs: lateness.summary(),
      })),
    };
  },
};

async function at(
  perSecond: number,
  { directory, build, seed, warmUpMs, windowMs }: BenchOptions,
): Promise<LatencyAtRate> {
  const label = `latency at ${perSecond}/s`;
  const { bytes, prefetch } = STANDARD_SHAPE;
  const server = await LovageServer.start({ directory, build });
  const consumer = await LoadProcess.start('consumer', server.target, {
    queues: [QUEUE],
    consumersPerQueue: 1,
    prefetch,
    concurrency: prefetch,
    handlerMs: 0,
    isStamped: true,
  });
  const producer = await LoadProcess.start('paced', server.target, {
    queue: QUEUE,
    bytes,
    perSecond,
    priority: 0,
    seed,
  });
  await producer.call('start');
  await waitShowing(`${label}: warming up`, warmUpMs);
  await Promise.all([producer.call('clear'), consumer.call('clear')]);
  const groups = { producers: [producer], consumers: [consumer] };
  const rates = await measureWindow(`${label}: measuring`, windowMs, server, groups);
  const [{ latency: delivery }, { confirm, lateness }] = await Promise.all([
    consumer.call('histograms'),
    producer.call('histograms'),
  ]);
  await Promise.all([producer.close(), consumer.close()]);
  await server.close();
  return {
    perSecond,
    achieved: rates.groups.consumers.messagesPerSecond,
    brokerCores: rates.broker.cores,
    delivery: LatencyHistogram.of(delivery!),
    confirm: LatencyHistogram.of(confirm!),
    lateness: LatencyHistogram.of(lateness!),
  };
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
  'producer late p99',
  'broker cores',
];

function row({ perSecond, achieved, delivery, confirm, lateness, brokerCores }: LatencyAtRate): string[] {
  return [
    whole(perSecond),
    whole(achieved),
    achieved >= perSecond * SUSTAINED ? 'yes' : 'NO',
    short(delivery.percentileMs(50)),
    short(delivery.percentileMs(99)),
    short(delivery.percentileMs(99.9)),
    short(delivery.maxMs),
    short(confirm.percentileMs(50)),
    short(confirm.percentileMs(99)),
    short(lateness.percentileMs(99)),
    short(brokerCores),
  ];
}
