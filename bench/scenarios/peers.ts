/** Lovage beside other brokers, under the same load from the same processes. */
import { LovageServer } from '../broker/lovage-server.js';
import type { Server } from '../load/server.js';
import { runThroughput, STANDARD_SHAPE, type ThroughputResult } from '../load/throughput-run.js';
import { pathOf } from '../peers/installed.js';
import type { Peer } from '../peers/peer.js';
import { mebibytes, percent, short, whole } from '../report/format.js';
import type { ScenarioResult } from '../report/result.js';
import { note } from '../run/progress.js';
import { median, spread } from '../run/statistics.js';
import type { BenchOptions } from './scenario.js';
import { confirmedRate, consumedRate } from './throughput.js';

/** One column of the comparison. */
interface Competitor {
  readonly title: string;
  readonly durability: string;
  readonly hasPriorities: boolean;
  readonly settings: string;
  start(): Promise<Server>;
}

interface Rounds {
  readonly competitor: Competitor;
  readonly versions: Set<string>;
  readonly results: ThroughputResult[];
}

const QUESTION = 'How does Lovage compare with other brokers on this machine, at the same guarantees?';

export async function comparePeers(peers: readonly Peer[], options: BenchOptions): Promise<ScenarioResult> {
  const here = peers.filter(isHere);
  const competitors = [lovage(options), ...here.map((peer) => competitorOf(peer, options))];
  const all: Rounds[] = competitors.map((competitor) => ({ competitor, versions: new Set(), results: [] }));
  for (let round = 1; round <= options.rounds; round++)
    for (const rounds of all) await addRound(rounds, `round ${round} of ${options.rounds}`, options);
  return resultOf(all, options);
}

function isHere({ title, program, debianPackage }: Peer): boolean {
  if (pathOf(program) !== null) return true;
  note(`${title} is not on this machine and is skipped; to have it: apt-get install ${debianPackage}`);
  return false;
}

function lovage({ directory, build }: BenchOptions): Competitor {
  return {
    title: 'Lovage',
    durability: 'sync before confirm',
    hasPriorities: true,
    settings: '--sync always, priorities 0-9.',
    start: () => LovageServer.start({ directory, build }),
  };
}

function competitorOf(peer: Peer, { directory }: BenchOptions): Competitor {
  return { ...peer, start: () => peer.start(directory) };
}

async function addRound(
  { competitor, versions, results }: Rounds,
  label: string,
  options: BenchOptions,
): Promise<void> {
  const { seed, warmUpMs, windowMs } = options;
  const server = await competitor.start();
  versions.add(server.version);
  const shape = { ...STANDARD_SHAPE, seed, warmUpMs, windowMs };
  const result = await runThroughput(server, shape, `${competitor.title}, ${label}`);
  note(`${competitor.title}, ${label}: ${whole(consumedRate(result))} consumed/s`);
  results.push(result);
  await server.close();
}

function resultOf(all: readonly Rounds[], { rounds }: BenchOptions): ScenarioResult {
  const { bytes, window, prefetch } = STANDARD_SHAPE;
  return {
    name: 'peers',
    question: QUESTION,
    setUp: `One producer process and one consumer process, ${bytes}-byte bodies, at most ${whole(window)} unconfirmed publishes, prefetch ${whole(prefetch)}, a confirm and an explicit acknowledgement for each message. Every system gets a new server and an empty directory for each of ${rounds} rounds; the systems take turns. ${all.map(({ competitor }) => `${competitor.title}: ${competitor.settings}`).join(' ')}`,
    tables: [
      {
        title: `Median of ${rounds} rounds`,
        head: [
          'system',
          'durability',
          'priorities',
          'confirmed /s',
          'consumed /s',
          'spread',
          'server cores',
          'server MiB',
        ],
        rows: all.map(row),
      },
    ],
    plots: [
      {
        title: 'Consumed, by system',
        xLabel: 'system',
        yLabel: 'messages a second',
        xScale: 'names',
        yScale: 'linear',
        names: all.map(({ competitor }) => competitor.title),
        series: [
          { label: 'consumed', points: all.map(({ results }, i) => [i, median(results.map(consumedRate))] as const) },
        ],
      },
    ],
    data: all.map(({ competitor, versions, results }) => ({
      title: competitor.title,
      versions: [...versions],
      durability: competitor.durability,
      settings: competitor.settings,
      rounds: results,
    })),
  };
}

function row({ competitor, versions, results }: Rounds): string[] {
  return [
    `${competitor.title} ${[...versions].join(', ')}`,
    competitor.durability,
    competitor.hasPriorities ? 'yes' : 'no',
    whole(median(results.map(confirmedRate))),
    whole(median(results.map(consumedRate))),
    percent(spread(results.map(consumedRate))),
    short(median(results.map(({ broker }) => broker.cores ?? Number.NaN))),
    mebibytes(median(results.map(({ broker }) => broker.residentBytes ?? Number.NaN))),
  ];
}
