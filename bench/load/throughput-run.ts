/** Producers and consumers at full speed on one broker: the measurement that most scenarios vary. */
import { until, waitShowing } from '../run/delay.js';
import { showProgress } from '../run/progress.js';
import { LoadProcess } from './load-process.js';
import type { Server } from './server.js';
import { measureWindow, type WindowRates } from './window.js';

export interface ThroughputShape {
  readonly producers: number;
  readonly consumers: number;
  /** Every producer publishes to them in turn; every consumer process consumes all of them. */
  readonly queues: readonly string[];
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

/** The set-up that every comparison is made with. */
export const STANDARD_SHAPE = {
  producers: 1,
  consumers: 1,
  queues: ['bench'],
  consumersPerQueue: 1,
  bytes: 256,
  window: 1_000,
  prefetch: 1_000,
  priorities: 10,
} as const satisfies Partial<ThroughputShape>;

/** ms without a message after which what is missing is called missing. */
const SILENCE_MS = 20_000;

/** Warms up, measures, lets the queue run empty, and compares what was confirmed with what was consumed. Throws when they differ. */
export async function runThroughput(server: Server, shape: ThroughputShape, label: string): Promise<ThroughputResult> {
  const { queues, bytes, window, priorities, seed, consumersPerQueue, prefetch } = shape;
  showProgress(`${label}: connecting`);
  const consumers = await LoadProcess.startAll(
    'consumer',
    server.target,
    Array.from({ length: shape.consumers }, () => ({
      queues,
      consumersPerQueue,
      prefetch,
      concurrency: prefetch,
      handlerMs: 0,
      isStamped: false,
    })),
  );
  const producers = await LoadProcess.startAll(
    'producer',
    server.target,
    Array.from({ length: shape.producers }, (_, i) => ({
      queues,
      bytes,
      window,
      priorities,
      seed: seed + i,
      limit: null,
    })),
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
