import { type LovageServer, withLovage } from '../broker/lovage-server.js';
import { fill } from '../load/fill.js';
import { LatencyHistogram, type LatencySummary } from '../load/latency-histogram.js';
import { LoadProcess } from '../load/load-process.js';
import { STANDARD, standardConsumer } from '../load/standard.js';
import { measureWindow } from '../load/window.js';
import { conditions } from '../report/conditions.js';
import { short, whole } from '../report/format.js';
import { percentileSeries } from '../report/percentile-series.js';
import { waitShowing } from '../run/delay.js';
import type { BenchOptions, Scenario } from './scenario.js';

const QUEUE = 'urgent';
const BACKLOG = 1_000_000;
const URGENT_PER_SECOND = 100;
const URGENT_PRIORITY = 255;
/** A worker as many are: some handlers at once that wait for something, and more deliveries at hand than that. */
const WORKER = { prefetch: 100, concurrency: 10, handlerMs: 2 } as const;

interface Wait {
  readonly label: string;
  readonly histogram: LatencyHistogram;
  readonly handledPerSecond: number;
  readonly leftBehind: number;
}

export const priority: Scenario = {
  name: 'priority',
  question: 'How long does an urgent message wait behind a backlog of a million others?',
  async run(options) {
    const empty = await waitBehind(0, options);
    const behind = await waitBehind(BACKLOG, options);
    const waits = [empty, behind];
    return {
      conditions: conditions({
        window: 'open loop',
        prefetch: `${WORKER.prefetch}`,
        priorities: `0 and ${URGENT_PRIORITY}`,
      }),
      setUp: `${URGENT_PER_SECOND} messages a second of priority ${URGENT_PRIORITY} to a worker (${WORKER.concurrency} handlers at once, ${WORKER.handlerMs} ms each), first on an empty queue, then behind ${whole(BACKLOG)} messages of priority 0 that keep the worker busy all the time. Times count from when a publish was due to when its handler begins.`,
      tables: [
        {
          title: 'ms that urgent messages wait',
          head: ['queue', 'urgent messages', 'p50', 'p99', 'p99.9', 'max', 'handled /s', 'left in the queue'],
          rows: waits.map(({ label, histogram, handledPerSecond, leftBehind }) => [
            label,
            whole(histogram.count),
            short(histogram.percentileMs(50)),
            short(histogram.percentileMs(99)),
            short(histogram.percentileMs(99.9)),
            short(histogram.maxMs),
            whole(handledPerSecond),
            whole(leftBehind),
          ]),
        },
      ],
      plots: [
        {
          title: 'Urgent messages: publish to handler',
          xLabel: 'percentile',
          yLabel: 'ms',
          xScale: 'log',
          yScale: 'log',
          series: waits.map(({ label, histogram }) => percentileSeries(label, histogram)),
        },
      ],
      leftOut: [],
      data: waits.map(({ label, histogram, handledPerSecond, leftBehind }) => ({
        label,
        waitMs: histogram.summary() satisfies LatencySummary,
        handledPerSecond,
        leftBehind,
      })),
    };
  },
};

function waitBehind(messages: number, options: BenchOptions): Promise<Wait> {
  return withLovage(options, (server) => waitOn(server, messages, options));
}

async function waitOn(
  server: LovageServer,
  messages: number,
  { seed, warmUpMs, windowMs }: BenchOptions,
): Promise<Wait> {
  const label = messages === 0 ? 'empty' : `${whole(messages)} of priority 0`;
  if (messages > 0) await fill(server, { queue: QUEUE, messages, priorities: 1, seed }, 'priority: filling the queue');
  const worker = standardConsumer([QUEUE], { ...WORKER, isStamped: true });
  const consumer = await LoadProcess.start('consumer', server.target, worker);
  const producer = await LoadProcess.start('paced', server.target, {
    queue: QUEUE,
    bytes: STANDARD.bytes,
    perSecond: URGENT_PER_SECOND,
    priority: URGENT_PRIORITY,
    seed,
  });
  await producer.call('start');
  await waitShowing(`priority, ${label}: warming up`, warmUpMs);
  await consumer.call('clear');
  const groups = { consumers: [consumer] };
  const rates = await measureWindow(`priority, ${label}: measuring`, windowMs, server, groups);
  const { latency } = await consumer.call('histograms');
  const { ready } = (await server.overview()).messages;
  await Promise.all([producer.close(), consumer.close()]);
  return {
    label,
    histogram: LatencyHistogram.of(latency!),
    handledPerSecond: rates.groups.consumers.messagesPerSecond,
    leftBehind: ready,
  };
}
