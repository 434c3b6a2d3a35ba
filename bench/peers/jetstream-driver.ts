// hot path
/** NATS JetStream through its own client: a stream with work-queue retention for each queue. */
import {
  AckPolicy,
  type ConsumerMessages,
  type JetStreamClient,
  jetstream,
  jetstreamManager,
  RetentionPolicy,
  StorageType,
} from '@nats-io/jetstream';
import { connect, type NatsConnection } from '@nats-io/transport-node';
import type { BodyHandler, ConsumeShape, Driver, DriverSession, Target } from '../load/driver.js';

export const jetstreamDriver: Driver = {
  async connect({ endpoint }: Target): Promise<DriverSession> {
    const connection = await connect({ servers: endpoint });
    return new JetstreamSession(connection, jetstream(connection));
  },
};

const CONSUMER = 'bench';

class JetstreamSession implements DriverSession {
  readonly #connection: NatsConnection;
  readonly #client: JetStreamClient;
  readonly #consuming: ConsumerMessages[] = [];

  constructor(connection: NatsConnection, client: JetStreamClient) {
    this.#connection = connection;
    this.#client = client;
  }

  async declare(queue: string): Promise<void> {
    const manager = await jetstreamManager(this.#connection);
    const stream = { name: queue, subjects: [queue], retention: RetentionPolicy.Workqueue, storage: StorageType.File };
    await manager.streams.add(stream);
  }

  publish(queue: string, body: Uint8Array): Promise<unknown> {
    return this.#client.publish(queue, body);
  }

  async consume(queue: string, { prefetch }: ConsumeShape, handle: BodyHandler): Promise<void> {
    const manager = await jetstreamManager(this.#connection);
    await manager.consumers.add(queue, {
      durable_name: CONSUMER,
      ack_policy: AckPolicy.Explicit,
      max_ack_pending: prefetch,
    });
    const consumer = await this.#client.consumers.get(queue, CONSUMER);
    const messages = await consumer.consume({
      max_messages: prefetch,
      callback: (message) => {
        const working = handle(message.data);
        if (working === undefined) message.ack();
        else void working.then(() => message.ack());
      },
    });
    this.#consuming.push(messages);
  }

  async close(): Promise<void> {
    await Promise.all(this.#consuming.map((messages) => messages.close()));
    await this.#connection.close();
  }
}
