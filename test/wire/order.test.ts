/** Promise P3: within a queue the higher priority first, inside a priority first in first out, and what comes back takes its old place. */
import { CLIENT_OPS } from '@lovage/protocol';
import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { BrokerProcess } from '../support/broker-process.js';
import { Random, seedOf } from '../support/random.js';
import { type Message, RawClient } from '../support/raw-client.js';

let broker: BrokerProcess;
let queue: string;
let count = 0;

beforeAll(async () => {
  broker = await BrokerProcess.start();
});

beforeEach(() => {
  queue = `queue-${++count}`;
});

async function producerWith(messages: readonly Omit<Message, 'queue'>[]): Promise<RawClient> {
  const producer = await RawClient.connect(broker.url);
  await producer.declare(queue);
  if (messages.length > 0) await producer.publish(messages.map((message) => ({ ...message, queue })));
  return producer;
}

/** Takes everything that waits, one at a time, and returns the texts in the order of their coming. */
async function drain(total: number): Promise<string[]> {
  const consumer = await RawClient.connect(broker.url);
  await consumer.consume(1, [queue], { prefetch: 1 });
  for (let i = 0; i < total; i++) {
    await consumer.delivered(i + 1);
    await consumer.ack([consumer.deliveries[i]!.tag]);
  }
  await consumer.goodbye();
  return consumer.deliveries.map(({ text }) => text);
}

describe('a queue', () => {
  test('gives the most urgent first, from 255 down to 0, and the default priority its own place', async () => {
    const producer = await RawClient.connect(broker.url);
    await producer.declare(queue, { defaultPriority: 5 });
    const priorities = [0, 255, 5, undefined, 1, 254, 9, 4];
    await producer.publish(
      priorities.map((priority, i) => ({
        queue,
        body: `${priority ?? 'default'}-${i}`,
        ...(priority !== undefined && { priority }),
      })),
    );
    expect(await drain(8)).toEqual(['255-1', '254-5', '9-6', '5-2', 'default-3', '4-7', '1-4', '0-0']);
  });

  test('gives what is equally urgent in the order of the publishes, over frames and connections', async () => {
    const producer = await producerWith([]);
    const other = await RawClient.connect(broker.url);
    const expected: string[] = [];
    for (let frame = 0; frame < 20; frame++) {
      const texts = Array.from({ length: 1 + (frame % 7) }, (_, i) => `${frame}.${i}`);
      await (frame % 2 === 0 ? producer : other).publishTexts(queue, texts);
      expected.push(...texts);
    }
    expect(await drain(expected.length)).toEqual(expected);
  });

  test('gives what was published while a consumer was busy by its priority, not by its coming', async () => {
    const producer = await producerWith([{ body: 'first' }]);
    const consumer = await RawClient.connect(broker.url);
    await consumer.consume(1, [queue], { prefetch: 1 });
    await consumer.delivered(1);
    await consumer.start([1]);
    await producer.publishTexts(queue, ['low-1', 'low-2'], { priority: 1 });
    await producer.publishTexts(queue, ['high'], { priority: 2 });
    for (let tag = 1; tag <= 4; tag++) {
      await consumer.delivered(tag);
      await consumer.ack([tag]);
    }
    expect(consumer.deliveries.map(({ text }) => text)).toEqual(['first', 'high', 'low-1', 'low-2']);
  });
});

describe('a message that comes back', () => {
  const bodies = ['a', 'b', 'c', 'd', 'e', 'f'].map((body) => ({ body }));

  /** A consumer that holds the first three. */
  async function holder(): Promise<RawClient> {
    await producerWith(bodies);
    const consumer = await RawClient.connect(broker.url);
    await consumer.consume(1, [queue], { prefetch: 3 });
    await consumer.delivered(3);
    return consumer;
  }

  test.each<[string, (consumer: RawClient) => Promise<unknown>]>([
    ['because its connection is lost', async (consumer) => consumer.terminate()],
    ['because its client says GOODBYE', (consumer) => consumer.goodbye()],
    ['because its consumer is cancelled', (consumer) => consumer.request(CLIENT_OPS.CANCEL, 1)],
  ])('%s is where it was', async (_, lose) => {
    const consumer = await holder();
    await lose(consumer);
    expect(await drain(6)).toEqual(['a', 'b', 'c', 'd', 'e', 'f']);
  });

  test('in an order of its own is where it was', async () => {
    const consumer = await holder();
    await consumer.request(CLIENT_OPS.QUEUE_PAUSE, queue);
    await consumer.settled(consumer.nack([3]));
    await consumer.settled(consumer.nack([1]));
    await consumer.ack([2]);
    await consumer.request(CLIENT_OPS.CANCEL, 1);
    await consumer.request(CLIENT_OPS.QUEUE_RESUME, queue);
    expect(await drain(5)).toEqual(['a', 'c', 'd', 'e', 'f']);
  });

  test('through RELEASE goes to a consumer that has room, in its old order', async () => {
    await producerWith(bodies.slice(0, 3));
    const consumer = await RawClient.connect(broker.url);
    await consumer.consume(1, [queue], { prefetch: 3 });
    await consumer.delivered(3);
    const other = await RawClient.connect(broker.url);
    await other.consume(1, [queue], { prefetch: 2 });
    await consumer.release([3, 1]);
    await other.delivered(2);
    expect(other.deliveries.map(({ text, attempt }) => [text, attempt])).toEqual([
      ['a', 1],
      ['c', 1],
    ]);
  });

  test('keeps its priority', async () => {
    await producerWith([
      { body: 'low', priority: 1 },
      { body: 'high', priority: 2 },
    ]);
    const consumer = await RawClient.connect(broker.url);
    await consumer.consume(1, [queue], { prefetch: 2 });
    await consumer.delivered(2);
    expect(consumer.deliveries.map(({ text, priority }) => [text, priority])).toEqual([
      ['high', 2],
      ['low', 1],
    ]);
    await consumer.goodbye();
    expect(await drain(2)).toEqual(['high', 'low']);
  });
});

test('any sequence of publishes, returns and settlements is delivered by priority and then by age', async () => {
  const random = new Random(seedOf('order'));
  const producer = await producerWith([]);
  const consumer = await RawClient.connect(broker.url);
  /** What waits, by id. */
  const waiting = new Map<number, number>();
  const publish = async (): Promise<void> => {
    const messages = Array.from({ length: random.whole(1, 8) }, () => ({
      queue,
      body: '',
      priority: random.pick([0, 0, 1, 7, 255]),
    }));
    for (const [i, answer] of (await producer.publish(messages)).entries()) {
      if (answer.type === 'confirm') waiting.set(answer.id, messages[i]!.priority);
    }
  };
  await publish();
  await consumer.consume(1, [queue], { prefetch: 1 });
  for (let step = 0; step < 300; step++) {
    if (waiting.size === 0) await publish();
    const delivery = (await consumer.delivered(step + 1)).at(-1)!;
    // Prefetch is 1 and nothing was published since the last settlement: this one must be the head of what waits.
    const [head] = [...waiting].sort(([idA, a], [idB, b]) => b - a || idA - idB)[0]!;
    expect(delivery.id, `step ${step}`).toBe(head);
    if (random.next() < 0.4) await publish();
    if (random.next() < 0.3) {
      await consumer.settled(consumer.nack([delivery.tag]));
    } else {
      waiting.delete(delivery.id);
      if (waiting.size === 0) await publish();
      await consumer.ack([delivery.tag]);
    }
  }
});
