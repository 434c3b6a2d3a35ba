import { withLovage } from '../broker/lovage-server.js';
import { type BacklogRun, runBacklog } from '../load/backlog-run.js';
import { LoadProcess } from '../load/load-process.js';
import type { Slice } from '../load/slice-meter.js';
import { standardConsumer } from '../load/standard.js';
import {
  brokerMicros,
  consumedRate,
  runThroughput,
  type ThroughputOptions,
  type ThroughputResult,
} from '../load/throughput-run.js';
import { conditions } from '../report/conditions.js';
import { mebibytes, percent, short, whole } from '../report/format.js';
import type { ResultPlot, ResultTable } from '../report/result.js';
import { BACKLOGS, leftOutOf, type Points, pointsOf } from './points.js';
import type { BenchOptions, Scenario } from './scenario.js';

const QUEUES: Points = { always: [10, 10_000], full: [100, 1_000] };
const CONSUMERS: Points = { always: [1, 1_000], full: [10, 100] };
const IDLE_PREFETCH = 10;

interface Grown {
  readonly count: number;
  readonly result: ThroughputResult;
}

export const growth: Scenario = {
  name: 'growth',
  question: 'Does a message cost the broker more when there are more queues, more consumers, or more messages waiting?',
  async run(options) {
    const busy = await grow('busy queues', QUEUES, options, (count) => ({ shape: { queues: names('busy', count) } }));
    const idle = await grow('idle queues', QUEUES, options, (count) => ({ idleQueues: names('idle', count) }));
    const consumers = await grow('consumers on a queue', CONSUMERS, options, (consumersPerQueue) => ({
      shape: { consumersPerQueue },
    }));
    const backlog = await atDepths(options);
    return {
      conditions: conditions(),
      setUp: `One producer, one consumer process with one connection. Busy queues: messages go to all of them in turn, a consumer on each. Idle queues: all messages go to one queue beside them; each of them has a consumer (prefetch ${IDLE_PREFETCH}) and nothing to do. Consumers on a queue: all of them on the one that is busy. Backlog: a queue is filled, then emptied. What counts is the CPU time of the broker for a message on its whole way, or for its publish and for its delivery and settlement; one run each. Work is the same when a message costs the same; many consumers with one message each also make more and smaller frames than one with a thousand.`,
      tables: [
        table('By busy queues', 'queues', busy),
        table('By idle queues', 'queues', idle),
        table('By consumers on a queue', 'consumers', consumers),
        depthTable(backlog),
      ],
      plots: [
        plot('By queues and consumers', [
          ['busy queues', busy],
          ['idle queues', idle],
          ['consumers on a queue', consumers],
        ]),
        depthPlot(backlog),
      ],
      leftOut: [
        ...leftOutOf(QUEUES, 'queues', options),
        ...leftOutOf(CONSUMERS, 'consumers', options),
        ...leftOutOf(BACKLOGS, 'messages', options),
      ],
      data: { busy, idle, consumers, backlog },
    };
  },
};

function names(prefix: string, count: number): string[] {
  return Array.from({ length: count }, (_, i) => `${prefix}-${i}`);
}

interface Growing {
  readonly shape?: Partial<ThroughputOptions>;
  readonly idleQueues?: readonly string[];
}

async function grow(
  what: string,
  points: Points,
  options: BenchOptions,
  growing: (count: number) => Growing,
): Promise<Grown[]> {
  const { seed, warmUpMs, windowMs } = options;
  const found: Grown[] = [];
  for (const count of pointsOf(points, options)) {
    const { shape, idleQueues = [] } = growing(count);
    const result = await withLovage(options, async (server) => {
      const consumer = standardConsumer(idleQueues, { prefetch: IDLE_PREFETCH });
      const idle = await LoadProcess.start('consumer', server.target, consumer);
      const label = `growth, ${what}: ${whole(count)}`;
      const measured = await runThroughput(server, { ...shape, seed, warmUpMs, windowMs }, label);
      await idle.close();
      return measured;
    });
    found.push({ count, result });
  }
  return found;
}

/** The longest backlog of this run. */
function atDepths(options: BenchOptions): Promise<BacklogRun> {
  const messages = pointsOf(BACKLOGS, options).at(-1)!;
  return withLovage(options, (server) => runBacklog(server, { messages, seed: options.seed }));
}

function table(title: string, what: string, found: readonly Grown[]): ResultTable {
  const least = brokerMicros(found[0]!.result);
  return {
    title,
    head: [what, 'broker us a message', `of that with ${whole(found[0]!.count)}`, 'consumed /s', 'broker MiB'],
    rows: found.map(({ count, result }) => [
      whole(count),
      short(brokerMicros(result)),
      percent(brokerMicros(result) / least),
      whole(consumedRate(result)),
      mebibytes(result.broker.residentBytes),
    ]),
  };
}

function depthTable({ messages, publish, drain }: BacklogRun): ResultTable {
  return {
    title: `By messages waiting, up to ${whole(messages)}`,
    head: ['messages waiting', 'broker us', 'messages /s'],
    rows: [
      ...publish.map((slice) => [`${whole(slice.from)} and more: publish`, ...cells(slice)]),
      ...drain.map((slice) => [`${whole(messages - slice.from)} and less: deliver, settle`, ...cells(slice)]),
    ],
  };
}

function cells({ brokerMicros: micros, perSecond }: Slice): string[] {
  return [short(micros), whole(perSecond)];
}

function plot(title: string, series: readonly (readonly [label: string, found: readonly Grown[]])[]): ResultPlot {
  return {
    title,
    xLabel: 'queues, or consumers',
    yLabel: 'broker us a message',
    xScale: 'log',
    yScale: 'linear',
    series: series.map(([label, found]) => ({
      label,
      points: found.map(({ count, result }) => [count, brokerMicros(result)] as const),
    })),
  };
}

function depthPlot({ messages, publish, drain }: BacklogRun): ResultPlot {
  const at = (slice: Slice): number => slice.brokerMicros ?? Number.NaN;
  return {
    title: 'By messages waiting',
    xLabel: 'messages waiting',
    yLabel: 'broker us a message',
    xScale: 'linear',
    yScale: 'linear',
    series: [
      { label: 'publish', points: publish.map((slice) => [slice.from + slice.messages / 2, at(slice)] as const) },
      {
        label: 'deliver and settle',
        points: drain.map((slice) => [messages - slice.from - slice.messages / 2, at(slice)] as const),
      },
    ],
  };
}
