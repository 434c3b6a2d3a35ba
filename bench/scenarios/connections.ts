import { type LovageServer, withLovage } from '../broker/lovage-server.js';
import { BusyLoad, type LoadRates } from '../load/busy-load.js';
import { LoadProcess } from '../load/load-process.js';
import type { Server } from '../load/server.js';
import { consumedRate, ONE_PAIR } from '../load/throughput-run.js';
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
 * what connecting has left.
 */
const SETTLE_MS = 20_000;
/** Parts of a window in which the two brokers take turns: what else happens on the machine meets both. */
const TURNS = 5;
/** ms at the begin of each that do not count. */
const TURN_WARM_UP_MS = 300;
/** ms within which a broker has told of all idle consumers. */
const COUNT_MS = 10_000;
const KIB = 1_024;

/** The pair on the broker with the idle consumers, and then or before on the one without. */
interface Turn {
  readonly beside: LoadRates;
  readonly alone: LoadRates;
}

interface Round {
  /** Of the broker, just started, and with all consumers connected and idle. */
  readonly emptyBytes: number;
  readonly idleBytes: number;
  readonly turns: readonly Turn[];
}

interface Comparison {
  readonly consumers: number;
  readonly rounds: readonly Round[];
}

export const connections: Scenario = {
  name: 'connections',
  question: 'What do thousands of idle consumers cost: in memory, and a busy pair beside them?',
  async run(options) {
    const data: Comparison[] = [];
    for (const consumers of pointsOf(COUNTS, options)) data.push(await compare(consumers, options));
    return {
      conditions: conditions(),
      setUp: `Each idle consumer is a client with a connection of its own, prefetch ${IDLE_PREFETCH}, on a queue where nothing is published. One producer and one consumer run at full speed on another queue of their broker, and another pair on a second broker that has no idle consumers, in turns of ${short(options.windowMs / TURNS / 1_000)} s, ${TURNS} in each of ${options.rounds} rounds with new brokers. The idle clients' processes have the same cores throughout, so that what their heartbeats cost them slows both pairs. Memory is the resident set of the first broker, ${short(SETTLE_MS / 1_000)} s after the last has connected, when each has had its first heartbeat, and before its pair connects.`,
      tables: [
        {
          title: `Median of ${options.rounds} rounds, rates of their turns`,
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
            { label: 'beside them', points: data.map((comparison, i) => [i, besideRate(comparison)] as const) },
            { label: 'alone', points: data.map((comparison, i) => [i, aloneRate(comparison)] as const) },
          ],
        },
      ],
      leftOut: leftOutOf(COUNTS, 'idle consumers', options),
      data,
    };
  },
};

async function compare(consumers: number, options: BenchOptions): Promise<Comparison> {
  const rounds: Round[] = [];
  for (let round = 1; round <= options.rounds; round++) {
    const label = `connections, ${whole(consumers)} idle, round ${round} of ${options.rounds}`;
    rounds.push(
      await withLovage(options, (crowded) =>
        withLovage(options, (quiet) => roundOn({ crowded, quiet }, { consumers, label, options })),
      ),
    );
  }
  return { consumers, rounds };
}

async function roundOn(
  { crowded, quiet }: { readonly crowded: LovageServer; readonly quiet: LovageServer },
  { consumers, label, options }: { readonly consumers: number; readonly label: string; readonly options: BenchOptions },
): Promise<Round> {
  const resident = (): number => sumOf(crowded.pids, residentBytes) ?? Number.NaN;
  const emptyBytes = resident();
  const idlers = await connectIdlers(crowded, consumers);
  await waitShowing(`${label}: until all are idle`, SETTLE_MS);
  const idleBytes = resident();
  const beside = await BusyLoad.open(crowded, { ...ONE_PAIR, seed: options.seed }, `${label}, beside them`);
  const alone = await BusyLoad.open(quiet, { ...ONE_PAIR, seed: options.seed }, `${label}, alone`);
  const turns = await takeTurns({ beside, alone }, options, label);
  await until(`${consumers} idle consumers still there`, COUNT_MS, async () => {
    return (await crowded.overview()).consumers === consumers + 1;
  });
  await beside.close(`${label}, beside them`);
  await alone.close(`${label}, alone`);
  await Promise.all(idlers.map((idle) => idle.close()));
  return { emptyBytes, idleBytes, turns };
}

async function connectIdlers(server: Server, consumers: number): Promise<LoadProcess[]> {
  const idlers: LoadProcess[] = [];
  for (let left = consumers; left > 0; left -= CLIENTS_PER_PROCESS) {
    const connections = Math.min(left, CLIENTS_PER_PROCESS);
    const idle = { connections, queue: IDLE_QUEUE, prefetch: IDLE_PREFETCH };
    idlers.push(await LoadProcess.start('idlers', server.target, idle));
  }
  return idlers;
}

/** A run of each that does not count, then their turns; who is first changes. */
async function takeTurns(
  { beside, alone }: { readonly beside: BusyLoad; readonly alone: BusyLoad },
  { warmUpMs, windowMs }: BenchOptions,
  label: string,
): Promise<Turn[]> {
  const times = { warmUpMs: TURN_WARM_UP_MS, windowMs: windowMs / TURNS };
  for (const load of [beside, alone]) await load.run({ ...times, warmUpMs }, label);
  const turns: Turn[] = [];
  for (let turn = 0; turn < TURNS; turn++) {
    const runBeside = (): Promise<LoadRates> => beside.run(times, `${label}, beside them`);
    const runAlone = (): Promise<LoadRates> => alone.run(times, `${label}, alone`);
    if (turn % 2 === 0) turns.push({ beside: await runBeside(), alone: await runAlone() });
    else {
      const first = await runAlone();
      turns.push({ beside: await runBeside(), alone: first });
    }
  }
  return turns;
}

function turnsOf({ rounds }: Comparison): readonly Turn[] {
  return rounds.flatMap(({ turns }) => turns);
}

function besideRate(comparison: Comparison): number {
  return median(turnsOf(comparison).map(({ beside }) => consumedRate(beside)));
}

function aloneRate(comparison: Comparison): number {
  return median(turnsOf(comparison).map(({ alone }) => consumedRate(alone)));
}

function row(comparison: Comparison): string[] {
  const { consumers, rounds } = comparison;
  const ratios = rounds.map(({ turns }) =>
    median(turns.map(({ beside, alone }) => consumedRate(beside) / consumedRate(alone))),
  );
  return [
    whole(consumers),
    mebibytes(median(rounds.map(({ idleBytes }) => idleBytes))),
    short(median(rounds.map(({ idleBytes, emptyBytes }) => (idleBytes - emptyBytes) / consumers / KIB))),
    whole(besideRate(comparison)),
    whole(aloneRate(comparison)),
    percent(median(ratios)),
    percent(spread(ratios)),
  ];
}
