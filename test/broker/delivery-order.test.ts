/** What is decided in order leaves in order, although each delivery waits for the batch of its own publish and no longer (promises P1 and P3). */
import { CLIENT_OPS } from '@lovage/protocol';
import { expect, test } from 'vitest';
import { type HandClient, HandHarness } from './hand-harness.js';

async function withQueues(): Promise<{
  readonly harness: HandHarness;
  readonly producer: HandClient;
  readonly consumer: HandClient;
}> {
  const harness = await HandHarness.start();
  const producer = await harness.connect();
  const consumer = await harness.connect();
  producer.declare('q', 'other');
  await harness.turns();
  return { harness, producer, consumer };
}

function texts({ wire }: HandClient): string[] {
  return wire.deliveries.map(({ text }) => text);
}

test('a delivery waits for the batch of its publish, not for the one that gathers when it is decided', async () => {
  const { harness, producer, consumer } = await withQueues();
  harness.journal.isHeld = true;
  producer.publish([
    { queue: 'q', body: 'a' },
    { queue: 'q', body: 'b' },
  ]);
  await harness.turns();
  // The next batch gathers already when the first message finds a consumer.
  producer.publish([{ queue: 'other', body: 'x' }]);
  consumer.consume(['q'], { prefetch: 1 });
  await harness.turns();
  expect(texts(consumer)).toEqual([]);
  await harness.release();
  expect(texts(consumer)).toEqual(['a']);
  // The second is on disk as well: it does not overtake the first.
  consumer.ask(CLIENT_OPS.PREFETCH, 1, 2);
  await harness.turns();
  expect(texts(consumer)).toEqual(['a', 'b']);
  await harness.letGo();
});

test('a delivery of what is on disk is not overtaken by one whose batch gets there before the turn ends', async () => {
  const { harness, producer, consumer } = await withQueues();
  producer.publish([{ queue: 'q', body: 'a' }]);
  await harness.turns();
  harness.journal.isHeld = true;
  producer.publish([{ queue: 'q', body: 'b' }]);
  await harness.turns();
  consumer.consume(['q']);
  await harness.release();
  expect(texts(consumer)).toEqual(['a', 'b']);
  await harness.letGo();
});

test('a delivery of a message that came back is not overtaken by a fresh one behind it', async () => {
  const { harness, producer, consumer } = await withQueues();
  producer.publish([
    { queue: 'q', body: 'a' },
    { queue: 'q', body: 'b' },
  ]);
  consumer.consume(['q'], { prefetch: 1 });
  await harness.turns();
  harness.journal.isHeld = true;
  // What comes back rests on the record that says so.
  consumer.settle(CLIENT_OPS.NACK, [1, 1]);
  consumer.ask(CLIENT_OPS.PREFETCH, 1, 2);
  await harness.turns();
  expect(texts(consumer)).toEqual(['a']);
  await harness.release();
  expect(texts(consumer)).toEqual(['a', 'a', 'b']);
  await harness.letGo();
});

test('nor by one that is decided when the record of its return is on its way', async () => {
  const { harness, producer, consumer } = await withQueues();
  producer.publish([
    { queue: 'q', body: 'a' },
    { queue: 'q', body: 'b' },
  ]);
  consumer.consume(['q'], { prefetch: 1 });
  await harness.turns();
  harness.journal.isHeld = true;
  consumer.settle(CLIENT_OPS.NACK, [1, 1]);
  await harness.turns();
  consumer.ask(CLIENT_OPS.PREFETCH, 1, 2);
  await harness.turns();
  expect(texts(consumer)).toEqual(['a']);
  await harness.release();
  expect(texts(consumer)).toEqual(['a', 'a', 'b']);
  await harness.letGo();
});
