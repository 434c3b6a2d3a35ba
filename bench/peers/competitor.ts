/** One system of the comparison, Lovage among them. */
import { LovageServer, type Sync } from '../broker/lovage-server.js';
import type { LatencyResult } from '../load/latency-run.js';
import type { Server } from '../load/server.js';
import type { ThroughputResult } from '../load/throughput-run.js';
import type { BenchOptions } from '../scenarios/scenario.js';
import { libraryVersion } from './installed.js';
import type { Peer } from './peer.js';

export interface Competitor {
  readonly title: string;
  /** What a confirm means. */
  readonly durability: string;
  readonly hasPriorities: boolean;
  /** Client library and its version. */
  readonly client: string;
  readonly settings: string;
  start(): Promise<Server>;
}

/** What all rounds of a system have given. */
export interface Measured {
  readonly competitor: Competitor;
  readonly versions: Set<string>;
  readonly throughput: ThroughputResult[];
  readonly latency: LatencyResult[];
}

/** Lovage that syncs before it confirms, and one that does not, to be compared with those that do not either. */
export function lovageCompetitor({ directory, build }: BenchOptions, sync: Sync): Competitor {
  return {
    title: sync === 'always' ? 'Lovage' : `Lovage, --sync ${sync}`,
    durability: sync === 'always' ? 'sync before confirm' : 'confirm before sync (every 50 ms)',
    hasPriorities: true,
    client: `@lovage/client ${libraryVersion('@lovage/client')}`,
    settings: `--sync ${sync}, priorities 0-9.`,
    start: () => LovageServer.start({ directory, build, sync }),
  };
}

export function competitorOf(peer: Peer, { directory }: BenchOptions): Competitor {
  const client = peer.client === null ? 'of our own' : `${peer.client} ${libraryVersion(peer.client)}`;
  return { ...peer, client, start: () => peer.start(directory) };
}
