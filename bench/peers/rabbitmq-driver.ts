// hot path
/** RabbitMQ through amqplib: a channel with confirms, and one of its own to consume. */
import { type ChannelModel, type ConfirmChannel, connect } from 'amqplib';
import type { BodyHandler, ConsumeShape, Driver, DriverSession, Target } from '../load/driver.js';

export const rabbitmqDriver: Driver = {
  async connect({ endpoint, settings }: Target): Promise<DriverSession> {
    const connection = await connect(endpoint);
    const channel = await connection.createConfirmChannel();
    return new RabbitmqSession(connection, channel, settings.kind === 'quorum');
  },
};

const PRIORITY_MAX = 10;

class RabbitmqSession implements DriverSession {
  readonly #connection: ChannelModel;
  readonly #channel: ConfirmChannel;
  readonly #isQuorum: boolean;

  constructor(connection: ChannelModel, channel: ConfirmChannel, isQuorum: boolean) {
    this.#connection = connection;
    this.#channel = channel;
    this.#isQuorum = isQuorum;
  }

  async declare(queue: string): Promise<void> {
    const kind = this.#isQuorum ? { arguments: { 'x-queue-type': 'quorum' } } : { maxPriority: PRIORITY_MAX };
    await this.#channel.assertQueue(queue, { durable: true, ...kind });
  }

  publish(queue: string, body: Uint8Array, priority: number): Promise<unknown> {
    const content = Buffer.from(body.buffer, body.byteOffset, body.byteLength);
    return new Promise<void>((resolve, reject) => {
      this.#channel.publish('', queue, content, { persistent: true, priority }, (error: unknown) => {
        if (error) reject(error);
        else resolve();
      });
    });
  }

  async consume(queue: string, { prefetch }: ConsumeShape, handle: BodyHandler): Promise<void> {
    const channel = await this.#connection.createChannel();
    await channel.prefetch(prefetch);
    await channel.consume(queue, (message) => {
      if (message === null) return;
      const working = handle(message.content);
      if (working === undefined) channel.ack(message);
      else void working.then(() => channel.ack(message));
    });
  }

  close(): Promise<void> {
    return this.#connection.close();
  }
}
