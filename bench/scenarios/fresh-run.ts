import { withLovage } from '../broker/lovage-server.js';
import type { LoadShape } from '../load/busy-load.js';
import { runThroughput, type ThroughputResult } from '../load/throughput-run.js';
import type { BenchOptions } from './scenario.js';

/** A throughput run on a new broker. `shape`: where it departs from one pair at the standard set-up. */
export function freshRun(options: BenchOptions, shape: Partial<LoadShape>, label: string): Promise<ThroughputResult> {
  const { seed, warmUpMs, windowMs } = options;
  return withLovage(options, (server) => runThroughput(server, { seed, warmUpMs, windowMs, ...shape }, label));
}
