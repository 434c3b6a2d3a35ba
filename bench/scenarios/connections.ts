import { type LovageServer, withLovage } from '../broker/lovage-server.js';
import { LoadProcess } from '../load/load-process.js';
import { consumedRate, runThroughput, type ThroughputResult } from '../load/throughput-run.js';
import { conditions } from '../report/conditions.js';
import { mebibytes, percent, short, whole } from '../report/format.js';
import { until, waitShowing } from '../run/delay.js';
import { residentBytes, sumOf } from '../run/process-usage.js';
import { median, spread } from '../run/statistics.js';
import { leftOutOf, type Points, pointsOf } from './points.js';
import type { BenchOptions, Scenario } from './scenario.js';

const COUNTS: Points = { always: [1_000], full: [10_000] };
/** Idle clients that one process holds. */
const CLIENTS_PER_PROCESS = 2_500;
const IDLE_QUEUE = 'idle';
const IDLE_PREFETCH = 100;
/**
 * ms between the last connection and the look at the memory, a heartbeat: who has just connected is not idle yet. The broker and the clients' processes still collect
 * what connecting has left. The pair alone waits as long: a virtual machine gives memory back to its host that was free for some seconds, and pays when it takes it again.
 */
const SETTLE_MS = 20_000;
/** ms within which the broker knows that the pair is gone. */
const GONE_MS = 10_000;
const KIB = 1_024;

/** One run of the busy pair. */
interface PairRun {
  /** Of the broker, just started, and with all consumers connected and idle. */
  readonly emptyBytes: number;
  readonly idleBytes: number;
  readonly pair: ThroughputResult;
}

interface Comparison {
  readonly consumers: number;
  /** The run beside the idle consumers and the one without them, of each round. */
  readonly beside: readonly PairRun[];
  readonly alone: readonly PairRun[];
}

export const connections: Scenario = {
  name: 'connections',
  question: 'What do thousands of idle consumers cost: in memory, and a busy pair beside them?',
  async run(options) {
    const data: Comparison[] = [];
    for (const consumers of pointsOf(COUNTS, options)) data.push(await compare(consumers, options));
    return {
      conditions: conditions(),
      setUp: `Each idle consumer is a client with a connection of its own, prefetch ${IDLE_PREFETCH}, on a queue where nothing is published. Beside them one producer and one consumer run at full speed on another queue; then the same without them, on a new broker and after the same wait, in turns; which is first changes with every round. Memory is the resident set of the broker process, ${short(SETTLE_MS / 1_000)} s after the last has connected, when each has had its first heartbeat, and before the pair starts.`,
      tables: [
        {
          title: `Median of ${options.rounds} rounds`,
          head: [
            'idle consumers',
            'broker MiB with them',
            'of them, KiB each',
            'pair beside them /s',
            'pair alone /s',
            'beside / alone',
            'spread of that',
          ],
          rows: data.map(row),
        },
      ],
      plots: [
        {
          title: 'One busy pair',
          xLabel: 'idle consumers',
          yLabel: 'consumed a second',
          xScale: 'names',
          yScale: 'linear',
          names: data.map(({ consumers }) => whole(consumers)),
          series: [
            { label: 'beside them', points: data.map(({ beside }, i) => [i, median(beside.map(rate))] as const) },
            { label: 'alone', points: data.map(({ alone }, i) => [i, median(alone.map(rate))] as const) },
          ],
        },
      ],
      leftOut: leftOutOf(COUNTS, 'idle consumers', options),
      data,
    };
  },
};

async function compare(consumers: number, options: BenchOptions): Promise<Comparison> {
  const beside: PairRun[] = [];
  const alone: PairRun[] = [];
  for (let round = 1; round <= options.rounds; round++) {
    const label = `round ${round} of ${options.rounds}`;
    const sides = [
      async () => beside.push(await pairBeside(consumers, `connections, ${whole(consumers)} idle, ${label}`, options)),
      async () => alone.push(await pairBeside(0, `connections, none idle, ${label}`, options)),
    ];
    for (const side of round % 2 === 1 ? sides : sides.reverse()) await side();
  }
  return { consumers, beside, alone };
}

function pairBeside(consumers: number, label: string, options: BenchOptions): Promise<PairRun> {
  return withLovage(options, (server) => pairOn(server, { consumers, label, options }));
}

async function pairOn(
  server: LovageServer,
  { consumers, label, options }: { readonly consumers: number; readonly label: string; readonly options: BenchOptions },
): Promise<PairRun> {
  const { seed, warmUpMs, windowMs } = options;
  const resident = (): number => sumOf(server.pids, residentBytes) ?? Number.NaN;
  const emptyBytes = resident();
  const idlers: LoadProcess[] = [];
  for (let left = consumers; left > 0; left -= CLIENTS_PER_PROCESS) {
    const connections = Math.min(left, CLIENTS_PER_PROCESS);
    const idle = { connections, queue: IDLE_QUEUE, prefetch: IDLE_PREFETCH };
    idlers.push(await LoadProcess.start('idlers', server.target, idle));
  }
  await waitShowing(`${label}: until all are idle`, SETTLE_MS);
  const idleBytes = resident();
  const pair = await runThroughput(server, { seed, warmUpMs, windowMs }, label);
  await until(`${consumers} idle consumers still there`, GONE_MS, async () => {
    return (await server.overview()).consumers === consumers;
  });
  await Promise.all(idlers.map((idle) => idle.close()));
  return { emptyBytes, idleBytes, pair };
}

function rate({ pair }: PairRun): number {
  return consumedRate(pair);
}

function row({ consumers, beside, alone }: Comparison): string[] {
  const ratios = beside.map((run, i) => rate(run) / rate(alone[i]!));
  return [
    whole(consumers),
    mebibytes(median(beside.map(({ idleBytes }) => idleBytes))),
    short(median(beside.map(({ idleBytes, emptyBytes }) => (idleBytes - emptyBytes) / consumers / KIB))),
    whole(median(beside.map(rate))),
    whole(median(alone.map(rate))),
    percent(median(ratios)),
    percent(spread(ratios)),
  ];
}
