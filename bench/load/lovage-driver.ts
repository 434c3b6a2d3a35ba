// hot path
/** Lovage through its public SDK. */
import type { BodyHandler, ConsumeShape, Driver, DriverSession, Target } from './driver.js';

type Sdk = typeof import('@lovage/client');
type Client = Awaited<ReturnType<Sdk['connect']>>;

/** Open-loop load may run ahead of the broker; it is counted, not refused. */
const PUBLISH_BUFFER = { publishBufferMessages: 4_194_304, publishBufferBytes: 2_147_483_648 } as const;

export const lovageDriver: Driver = {
  async connect({ endpoint, settings }: Target): Promise<DriverSession> {
    const { connect } = (await import(settings.sdk ?? '@lovage/client')) as Sdk;
    return new LovageSession(await connect(endpoint, PUBLISH_BUFFER), settings.exchange ?? null);
  },
};

class LovageSession implements DriverSession {
  readonly #client: Client;
  /** What publishes go to, the queue's name being the routing key; null for the queue itself. */
  readonly #exchange: string | null;

  constructor(client: Client, exchange: string | null) {
    this.#client = client;
    this.#exchange = exchange;
  }

  async declare(queue: string): Promise<void> {
    await this.#client.queues.declare(queue);
  }

  publish(queue: string, body: Uint8Array, priority: number): Promise<unknown> {
    if (this.#exchange === null) return this.#client.publish(queue, body, { priority });
    return this.#client.publish({ exchange: this.#exchange, key: queue }, body, { priority });
  }

  async consume(queue: string, { prefetch, concurrency }: ConsumeShape, handle: BodyHandler): Promise<void> {
    // A handler that returns has acknowledged its delivery: a tag in an ACK, as `delivery.ack()` is.
    await this.#client.consume(queue, (delivery) => handle(delivery.body), { prefetch, concurrency, ack: 'late' });
  }

  close(): Promise<void> {
    return this.#client.close();
  }
}
