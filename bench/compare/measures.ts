/** What two builds are compared in. */
import type { Build } from '../broker/build.js';
import { type LovageServer, withLovage } from '../broker/lovage-server.js';
import { fill } from '../load/fill.js';
import { runLatency } from '../load/latency-run.js';
import { consumedRate, runThroughput } from '../load/throughput-run.js';
import type { BenchOptions } from '../scenarios/scenario.js';

export interface Metric {
  /** With its unit. */
  readonly name: string;
  readonly better: 'higher' | 'lower';
}

export interface Measure {
  readonly name: string;
  readonly metrics: readonly Metric[];
  /** One value for each metric, from a new broker of the build. */
  take(server: LovageServer, options: BenchOptions, label: string): Promise<readonly number[]>;
}

const LATENCY_PER_SECOND = 5_000;
const RECOVERED = 1_000_000;

export const MEASURES: readonly Measure[] = [
  throughput(1),
  throughput(4),
  {
    name: 'latency',
    metrics: [
      { name: `p50 at ${LATENCY_PER_SECOND}/s, ms`, better: 'lower' },
      { name: `p99 at ${LATENCY_PER_SECOND}/s, ms`, better: 'lower' },
    ],
    async take(server, { seed, warmUpMs, windowMs }, label) {
      const shape = { perSecond: LATENCY_PER_SECOND, seed, warmUpMs, windowMs };
      const { delivery } = await runLatency(server, shape, label);
      return [delivery.percentileMs(50), delivery.percentileMs(99)];
    },
  },
  {
    name: 'recovery',
    metrics: [{ name: `ready after kill -9 with ${RECOVERED} messages, ms`, better: 'lower' }],
    async take(server, { seed }, label) {
      await fill(server, { queue: 'recovery', messages: RECOVERED, seed }, label);
      return [await server.crash()];
    },
  },
];

/** Takes a measure once, on a broker of its own. */
export function takeOn(
  build: Build,
  { measure, options, label }: { readonly measure: Measure; readonly options: BenchOptions; readonly label: string },
): Promise<readonly number[]> {
  return withLovage({ directory: options.directory, build }, (server) => measure.take(server, options, label));
}

function throughput(pairs: number): Measure {
  return {
    name: `throughput-${pairs}`,
    metrics: [{ name: `consumed /s, ${pairs} x ${pairs}`, better: 'higher' }],
    async take(server, { seed, warmUpMs, windowMs }, label) {
      const shape = { producers: pairs, consumers: pairs, seed, warmUpMs, windowMs };
      return [consumedRate(await runThroughput(server, shape, label))];
    },
  };
}
