/** Producers and consumers at full speed on one broker: the measurement that most scenarios vary. */
import { BusyLoad, type LoadRates, type LoadShape, type LoadTimes, type LoadTotals } from './busy-load.js';
import type { Server } from './server.js';
import { STANDARD } from './standard.js';

export type ThroughputResult = LoadRates & LoadTotals;

/** One producer and one consumer at the standard set-up. */
export const ONE_PAIR = {
  ...STANDARD,
  producers: 1,
  consumers: 1,
  queues: ['bench'],
  connections: 1,
  consumersPerQueue: 1,
} as const;

/** What a run needs to be told; the rest is one pair. */
export type ThroughputOptions = Partial<LoadShape> & Pick<LoadShape, 'seed'> & LoadTimes;

/** Warms up, measures, lets the queue run empty, and compares what was confirmed with what was consumed. Throws when they differ. */
export async function runThroughput(
  server: Pick<Server, 'target' | 'pids'>,
  { warmUpMs, windowMs, ...shape }: ThroughputOptions,
  label: string,
): Promise<ThroughputResult> {
  const load = await BusyLoad.open(server, { ...ONE_PAIR, ...shape }, label);
  const rates = await load.run({ warmUpMs, windowMs }, label);
  return { ...rates, ...(await load.close(label)) };
}

export function confirmedRate({ groups }: LoadRates): number {
  return groups.producers.messagesPerSecond;
}

export function consumedRate({ groups }: LoadRates): number {
  return groups.consumers.messagesPerSecond;
}

/** CPU time of the broker for the whole way of a message, in microseconds; NaN where the system does not tell. */
export function brokerMicros(rates: LoadRates): number {
  return ((rates.broker.cores ?? Number.NaN) * 1e6) / consumedRate(rates);
}
