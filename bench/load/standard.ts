/** The set-up that every comparison is made with; scenarios say where they depart from it. */
import type { ConsumerOptions } from './consumer.js';

export const STANDARD = {
  /** Of a body. */
  bytes: 256,
  /** Unconfirmed publishes of a producer at most. */
  window: 1_000,
  /** Of a consumer, and its handlers at once. */
  prefetch: 1_000,
  /** Random ones, from 0 on. */
  priorities: 10,
} as const;

/** One consumer on each queue, over one connection, whose handler returns at once. */
export function standardConsumer(
  queues: readonly string[],
  changes: Partial<Omit<ConsumerOptions, 'queues'>> = {},
): ConsumerOptions {
  const { prefetch } = STANDARD;
  return {
    connections: 1,
    queues,
    consumersPerQueue: 1,
    prefetch,
    concurrency: changes.prefetch ?? prefetch,
    handlerMs: 0,
    isStamped: false,
    ...changes,
  };
}
