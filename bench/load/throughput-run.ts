/** Producers and consumers at full speed on one broker: the measurement that most scenarios vary. */
import { until, waitShowing } from '../run/delay.js';
import { showProgress } from '../run/progress.js';
import type { ConsumerOptions } from './consumer.js';
import { LoadProcess } from './load-process.js';
import type { ProducerOptions } from './producer.js';
import type { Server } from './server.js';
import { STANDARD, standardConsumer } from './standard.js';
import { measureWindow, type WindowRates } from './window.js';

export interface ThroughputShape {
  /** Processes. */
  readonly producers: number;
  readonly consumers: number;
  /** Every producer publishes to them in turn; every consumer process consumes all of them. */
  readonly queues: readonly string[];
  /** Of each consumer process; default 1. */
  readonly connections: number;
  /** Of each connection; default 1. */
  readonly consumersPerQueue: number;
  readonly bytes: number;
  /** Unconfirmed publishes of a producer at most. */
  readonly window: number;
  readonly prefetch: number;
  readonly priorities: number;
  readonly seed: number;
  readonly warmUpMs: number;
  readonly windowMs: number;
}

export interface ThroughputResult extends WindowRates<'producers' | 'consumers'> {
  /** Messages in the whole run, warm-up included. */
  readonly confirmed: number;
  readonly consumed: number;
}

const ONE_PAIR = {
  ...STANDARD,
  producers: 1,
  consumers: 1,
  queues: ['bench'],
  connections: 1,
  consumersPerQueue: 1,
} as const;

/** What a run needs to be told; the rest is one producer and one consumer at the standard set-up. */
export type ThroughputOptions = Partial<ThroughputShape> & Pick<ThroughputShape, 'seed' | 'warmUpMs' | 'windowMs'>;

/** ms without a message after which what is missing is called missing. */
const SILENCE_MS = 20_000;

/** Warms up, measures, lets the queue run empty, and compares what was confirmed with what was consumed. Throws when they differ. */
export async function runThroughput(
  server: Pick<Server, 'target' | 'pids'>,
  options: ThroughputOptions,
  label: string,
): Promise<ThroughputResult> {
  const shape: ThroughputShape = { ...ONE_PAIR, ...options };
  showProgress(`${label}: connecting`);
  const consumers = await LoadProcess.startAll(
    'consumer',
    server.target,
    Array.from({ length: shape.consumers }, () => consumerOf(shape)),
  );
  const producers = await LoadProcess.startAll(
    'producer',
    server.target,
    Array.from({ length: shape.producers }, (_, i) => producerOf(shape, i)),
  );
  await Promise.all(producers.map((producer) => producer.call('start')));
  await waitShowing(`${label}: warming up`, shape.warmUpMs);
  const rates = await measureWindow(`${label}: measuring`, shape.windowMs, server, { producers, consumers });
  await Promise.all(producers.map((producer) => producer.call('stop')));
  const confirmed = await total(producers);
  const consumed = await drained(consumers, confirmed, label);
  await Promise.all([...producers, ...consumers].map((load) => load.close()));
  if (consumed !== confirmed) throw new Error(`Cannot trust "${label}": ${confirmed} confirmed, ${consumed} consumed`);
  return { ...rates, confirmed, consumed };
}

export function confirmedRate({ groups }: ThroughputResult): number {
  return groups.producers.messagesPerSecond;
}

export function consumedRate({ groups }: ThroughputResult): number {
  return groups.consumers.messagesPerSecond;
}

/** CPU time of the broker for the whole way of a message, in microseconds; NaN where the system does not tell. */
export function brokerMicros(result: ThroughputResult): number {
  return ((result.broker.cores ?? Number.NaN) * 1e6) / consumedRate(result);
}

function producerOf({ queues, bytes, window, priorities, seed }: ThroughputShape, index: number): ProducerOptions {
  return { queues, bytes, window, priorities, seed: seed + index, limit: null };
}

function consumerOf({ queues, connections, consumersPerQueue, prefetch }: ThroughputShape): ConsumerOptions {
  return standardConsumer(queues, { connections, consumersPerQueue, prefetch });
}

/** Waits until as many are consumed as were confirmed, or nothing comes any more; answers how many were. */
async function drained(consumers: readonly LoadProcess[], confirmed: number, label: string): Promise<number> {
  let consumed = 0;
  let lastMs = performance.now();
  await until('the end of the queue', Number.POSITIVE_INFINITY, async () => {
    const now = await total(consumers);
    if (now > consumed) lastMs = performance.now();
    consumed = now;
    showProgress(`${label}: ${confirmed - consumed} left in the queue`);
    return consumed >= confirmed || performance.now() - lastMs > SILENCE_MS;
  });
  return consumed;
}

async function total(processes: readonly LoadProcess[]): Promise<number> {
  const samples = await Promise.all(processes.map((load) => load.call('sample')));
  return samples.reduce((sum, { count }) => sum + count, 0);
}
