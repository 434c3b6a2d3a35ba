/** One system of the comparison, Lovage among them. */
import { LovageServer } from '../broker/lovage-server.js';
import type { LatencyResult } from '../load/latency-run.js';
import type { Server } from '../load/server.js';
import type { ThroughputResult } from '../load/throughput-run.js';
import type { BenchOptions } from '../scenarios/scenario.js';
import type { Peer } from './peer.js';

export interface Competitor {
  readonly title: string;
  /** What a confirm means. */
  readonly durability: string;
  readonly hasPriorities: boolean;
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

export function lovageCompetitor({ directory, build }: BenchOptions): Competitor {
  return {
    title: 'Lovage',
    durability: 'sync before confirm',
    hasPriorities: true,
    settings: '--sync always, priorities 0-9.',
    start: () => LovageServer.start({ directory, build }),
  };
}

export function competitorOf(peer: Peer, { directory }: BenchOptions): Competitor {
  return { ...peer, start: () => peer.start(directory) };
}
