/** Lovage beside other brokers, under the same load from the same processes. */
import { frameProfile } from '../limit/frame-profile.js';
import { type LimitResult, runLimit } from '../limit/limit-run.js';
import { runLatency } from '../load/latency-run.js';
import { onServer } from '../load/on-server.js';
import type { Server } from '../load/server.js';
import { STANDARD } from '../load/standard.js';
import { consumedRate, runThroughput } from '../load/throughput-run.js';
import { peerPlots, peerSettings, peerTables } from '../peers/comparison-tables.js';
import { type Competitor, competitorOf, lovageCompetitor, type Measured } from '../peers/competitor.js';
import { pathOf } from '../peers/installed.js';
import type { Peer } from '../peers/peer.js';
import { conditions } from '../report/conditions.js';
import { short, whole } from '../report/format.js';
import type { ScenarioResult } from '../report/result.js';
import { cleanUp } from '../run/cleanup.js';
import { note } from '../run/progress.js';
import type { BenchOptions } from './scenario.js';

/** Messages a second of the latency's open loop. */
const LATENCY_PER_SECOND = 5_000;

export async function comparePeers(peers: readonly Peer[], options: BenchOptions): Promise<ScenarioResult> {
  const missing = peers.filter(({ program }) => pathOf(program) === null).map(howToGet);
  for (const text of missing) note(text);
  const here = peers.filter(({ program }) => pathOf(program) !== null);
  const lovage = measured(lovageCompetitor(options, 'always'));
  const others = [lovageCompetitor(options, '50'), ...here.map((peer) => competitorOf(peer, options))].map(measured);
  const limits: LimitResult[] = [];
  const failures = new Map<Measured, string>();
  for (let round = 1; round <= options.rounds; round++) {
    const label = `round ${round} of ${options.rounds}`;
    await addRound(lovage, label, options);
    limits.push(await limitOf(lovage, label, options));
    for (const other of others) if (!failures.has(other)) await tryRound(other, { label, options, failures });
  }
  const all = [lovage, ...others.filter((other) => !failures.has(other))];
  return {
    name: 'peers',
    question: 'How does Lovage compare with other brokers on this machine, under the same load?',
    conditions: conditions({ sync: 'see durability' }),
    setUp: `One producer process and one consumer process; a confirm and an explicit acknowledgement for each message. Throughput keeps the window full; latency is an open loop of ${whole(LATENCY_PER_SECOND)} messages a second, counted from when each publish was due. Every system gets a new server and an empty directory for each of ${options.rounds} rounds, at its own best documented settings; the systems take turns. The limit is what sockets and disk carry without a broker, in the frames of Lovage. ${peerSettings(all)}`,
    tables: peerTables(all, limits, options.rounds),
    plots: peerPlots(all),
    leftOut: [...missing, ...failures.values()],
    data: { limits, systems: all.map(dataOf) },
  };
}

function measured(competitor: Competitor): Measured {
  return { competitor, versions: new Set(), throughput: [], latency: [] };
}

function howToGet({ title, debianPackage }: Peer): string {
  return `${title}: not on this machine; to have it: apt-get install ${debianPackage}`;
}

/** A peer that fails is told and left out; Lovage may not fail. */
async function tryRound(
  other: Measured,
  {
    label,
    options,
    failures,
  }: { readonly label: string; readonly options: BenchOptions; readonly failures: Map<Measured, string> },
): Promise<void> {
  try {
    await addRound(other, label, options);
  } catch (error) {
    const text = `${other.competitor.title}: failed in ${label}: ${error instanceof Error ? error.message : String(error)}`;
    note(text);
    failures.set(other, text);
    await cleanUp();
  }
}

/** Throughput and latency, a new server each. */
async function addRound(
  { competitor, versions, throughput, latency }: Measured,
  label: string,
  { seed, warmUpMs, windowMs }: BenchOptions,
): Promise<void> {
  const times = { seed, warmUpMs, windowMs };
  const on = <T>(work: (server: Server) => Promise<T>): Promise<T> =>
    onServer(competitor.start, (server) => {
      versions.add(server.version);
      return work(server);
    });
  const name = `${competitor.title}, ${label}`;
  throughput.push(await on((server) => runThroughput(server, times, `${name}, throughput`)));
  const paced = { ...times, perSecond: LATENCY_PER_SECOND };
  latency.push(await on((server) => runLatency(server, paced, `${name}, latency`)));
  const { delivery } = latency.at(-1)!;
  const [rate, p50, p99] = [consumedRate(throughput.at(-1)!), delivery.percentileMs(50), delivery.percentileMs(99)];
  note(`${name}: ${whole(rate)} consumed/s, p50 ${short(p50)} ms, p99 ${short(p99)} ms`);
}

/** The limit in the frames of the round that Lovage has just run. */
function limitOf(lovage: Measured, label: string, options: BenchOptions): Promise<LimitResult> {
  const { directory, warmUpMs, windowMs } = options;
  const profile = frameProfile(lovage.throughput.at(-1)!);
  return runLimit({ profile, window: STANDARD.window, directory, warmUpMs, windowMs }, `limit, ${label}`);
}

function dataOf({ competitor, versions, throughput, latency }: Measured): unknown {
  const { title, durability, client, settings } = competitor;
  return {
    title,
    versions: [...versions],
    client,
    durability,
    settings,
    throughput,
    latency: latency.map(({ delivery, confirm, achieved, failed }) => ({
      achieved,
      failed,
      deliveryMs: delivery.summary(),
      confirmMs: confirm.summary(),
    })),
  };
}
