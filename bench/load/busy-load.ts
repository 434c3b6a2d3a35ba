/** Producers and consumers that are connected to one broker and run at full speed when they are told, once or in turns with those of another broker. */
import { until, waitShowing } from '../run/delay.js';
import { showProgress } from '../run/progress.js';
import type { ConsumerOptions } from './consumer.js';
import { LoadProcess } from './load-process.js';
import type { ProducerOptions } from './producer.js';
import type { Server } from './server.js';
import { standardConsumer } from './standard.js';
import { measureWindow, type WindowRates } from './window.js';

export interface LoadShape {
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
}

export interface LoadTimes {
  readonly warmUpMs: number;
  readonly windowMs: number;
}

export type LoadRates = WindowRates<'producers' | 'consumers'>;

/** What was done from the first start on, warm-up included. */
export interface LoadTotals {
  readonly confirmed: number;
  readonly consumed: number;
}

/** ms without a message after which what is missing is called missing. */
const SILENCE_MS = 20_000;

export class BusyLoad {
  readonly #server: Pick<Server, 'pids'>;
  readonly #producers: readonly LoadProcess[];
  readonly #consumers: readonly LoadProcess[];

  private constructor(
    server: Pick<Server, 'pids'>,
    producers: readonly LoadProcess[],
    consumers: readonly LoadProcess[],
  ) {
    this.#server = server;
    this.#producers = producers;
    this.#consumers = consumers;
  }

  /** Connects them. */
  static async open(server: Pick<Server, 'target' | 'pids'>, shape: LoadShape, label: string): Promise<BusyLoad> {
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
    return new BusyLoad(server, producers, consumers);
  }

  /** Starts the producers, warms up, measures, and stops them when everything is confirmed. */
  async run({ warmUpMs, windowMs }: LoadTimes, label: string): Promise<LoadRates> {
    const groups = { producers: this.#producers, consumers: this.#consumers };
    await Promise.all(this.#producers.map((producer) => producer.call('start')));
    await waitShowing(`${label}: warming up`, warmUpMs);
    const rates = await measureWindow(`${label}: measuring`, windowMs, this.#server, groups);
    await Promise.all(this.#producers.map((producer) => producer.call('stop')));
    return rates;
  }

  /** Lets the queue run empty, compares what was confirmed with what was consumed, and closes all. Throws when they differ. */
  async close(label: string): Promise<LoadTotals> {
    const confirmed = await total(this.#producers);
    const consumed = await drained(this.#consumers, confirmed, label);
    await Promise.all([...this.#producers, ...this.#consumers].map((load) => load.close()));
    if (consumed !== confirmed)
      throw new Error(`Cannot trust "${label}": ${confirmed} confirmed, ${consumed} consumed`);
    return { confirmed, consumed };
  }
}

function producerOf({ queues, bytes, window, priorities, seed }: LoadShape, index: number): ProducerOptions {
  return { queues, bytes, window, priorities, seed: seed + index, limit: null };
}

function consumerOf({ queues, connections, consumersPerQueue, prefetch }: LoadShape): ConsumerOptions {
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
