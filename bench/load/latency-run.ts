/** One producer at a fixed rate, one consumer, and how long each message took: from the time at which its publish was due. */
import { waitShowing } from '../run/delay.js';
import { LatencyHistogram } from './latency-histogram.js';
import { LoadProcess } from './load-process.js';
import type { Server } from './server.js';
import { STANDARD, standardConsumer } from './standard.js';
import { measureWindow } from './window.js';

export interface LatencyShape {
  readonly perSecond: number;
  readonly seed: number;
  readonly warmUpMs: number;
  readonly windowMs: number;
}

export interface LatencyResult {
  readonly perSecond: number;
  /** Messages a second whose handler began. */
  readonly achieved: number;
  readonly failed: number;
  readonly brokerCores: number | null;
  /** From the time at which a publish was due to the begin of its handler. */
  readonly delivery: LatencyHistogram;
  /** ... to its confirm. */
  readonly confirm: LatencyHistogram;
  /** ... to the call of `publish`: how late the producer itself was. */
  readonly lateness: LatencyHistogram;
}

/**
 * Warm-ups before the window. At a low rate V8 takes longer to compile what runs often, in the broker as in the clients: at 5,000 /s a new broker and new clients had a
 * p50 of 1.93 and a p99 of 11.0 ms in the third and fourth second, and of 1.0 and some 4 from the fifth on (two processor cores for all of them).
 */
const WARM_UPS = 3;
/** Share of the wanted rate below which a rate counts as missed. */
const SUSTAINED = 0.99;
const QUEUE = 'latency';

export async function runLatency(server: Server, shape: LatencyShape, label: string): Promise<LatencyResult> {
  const { perSecond, seed } = shape;
  const consumer = await LoadProcess.start('consumer', server.target, standardConsumer([QUEUE], { isStamped: true }));
  const options = { queue: QUEUE, bytes: STANDARD.bytes, perSecond, priority: 0, seed };
  const producer = await LoadProcess.start('paced', server.target, options);
  await producer.call('start');
  await waitShowing(`${label}: warming up`, WARM_UPS * shape.warmUpMs);
  await Promise.all([producer.call('clear'), consumer.call('clear')]);
  const groups = { producers: [producer], consumers: [consumer] };
  const rates = await measureWindow(`${label}: measuring`, shape.windowMs, server, groups);
  const [{ latency }, { confirm, lateness }] = await Promise.all([
    consumer.call('histograms'),
    producer.call('histograms'),
  ]);
  await Promise.all([producer.close(), consumer.close()]);
  return {
    perSecond,
    achieved: rates.groups.consumers.messagesPerSecond,
    failed: rates.groups.producers.failed,
    brokerCores: rates.broker.cores,
    delivery: LatencyHistogram.of(latency!),
    confirm: LatencyHistogram.of(confirm!),
    lateness: LatencyHistogram.of(lateness!),
  };
}

/** Whether as many came through as were to be published. */
export function isSustained({ achieved, perSecond, failed }: LatencyResult): boolean {
  return failed === 0 && achieved >= perSecond * SUSTAINED;
}

/** The numbers of a result as JSON has them. */
export function latencyNumbers(result: LatencyResult): Record<string, unknown> {
  const { delivery, confirm, lateness, ...rates } = result;
  return {
    ...rates,
    deliveryMs: delivery.summary(),
    confirmMs: confirm.summary(),
    latenessMs: lateness.summary(),
  };
}
