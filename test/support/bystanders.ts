/** A producer and a consumer that go on with their work while others misbehave; what they see tells whether anybody else was harmed (promise P11). */
import { strict as assert } from 'node:assert';
import type { BrokerProcess } from './broker-process.js';
import { RawClient } from './raw-client.js';

const QUEUE = 'bystanders';
const NAMESPACE = 'bystanders';
const ROUND = 3;

export class Bystanders {
  readonly #broker: BrokerProcess;
  readonly #producer: RawClient;
  readonly #consumer: RawClient;
  #published = 0;

  private constructor(broker: BrokerProcess, producer: RawClient, consumer: RawClient) {
    this.#broker = broker;
    this.#producer = producer;
    this.#consumer = consumer;
  }

  static async join(broker: BrokerProcess): Promise<Bystanders> {
    const hello = { namespace: NAMESPACE, heartbeatMs: 600_000 };
    const producer = await RawClient.connect(broker.url, { hello });
    const consumer = await RawClient.connect(broker.url, { hello });
    await producer.declare(QUEUE);
    await consumer.consume(1, [QUEUE], { prefetch: 100 });
    return new Bystanders(broker, producer, consumer);
  }

  /** Publishes and consumes another round and throws unless everything went as if they were alone. */
  async assertUnharmed(): Promise<void> {
    const texts = Array.from({ length: ROUND }, (_, i) => `${this.#published + i}`);
    await this.#producer.publishTexts(QUEUE, texts);
    const deliveries = await this.#consumer.delivered(this.#published + ROUND, this.#published);
    this.#published += ROUND;
    assert.deepEqual(
      deliveries.map(({ text, attempt, redelivered }) => ({ text, attempt, redelivered })),
      texts.map((text) => ({ text, attempt: 1, redelivered: false })),
    );
    const tags = deliveries.map(({ tag }) => tag);
    await this.#consumer.start(tags);
    await this.#consumer.ack(tags);
    assert.deepEqual([this.#producer.errors, this.#consumer.errors, this.#consumer.refusals], [[], [], []]);
    assert.ok(this.#broker.isRunning, 'the broker runs');
  }

  /** Nothing of theirs is left. */
  async assertDrained(): Promise<void> {
    const { ready, delayed, leased, started, bytes, totals } = await this.#broker.queue(QUEUE, NAMESPACE);
    assert.deepEqual(
      { ready, delayed, leased, started, bytes },
      { ready: 0, delayed: 0, leased: 0, started: 0, bytes: 0 },
    );
    assert.equal(totals.acked, this.#published);
  }
}
