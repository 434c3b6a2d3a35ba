/** Each setting of a queue, over the wire, with a broker that is killed in the middle: what was in force before is in force after. */
import { CLIENT_OPS } from '@lovage/protocol';
import { expect, test } from 'vitest';
import type { Client } from '../../client-sdk/index.js';
import { segmentPaths } from '../support/data-directory.js';
import { eventually, within } from '../support/deadline.js';
import { client, drain } from './backlog.js';
import { Killed } from './killed.js';

const ALL = {
  defaultPriority: 7,
  messageTtlMs: 3_600_000,
  backoffMsMin: 10,
  backoffMsMax: 20,
  dedupWindowMs: 1_000,
  dedupKeysMax: 5,
  deadLetterQueue: 'dead',
  attemptsMax: 3,
  messagesMax: 100,
  bytesMax: 10_000,
  overflow: 'dead-letter-head',
  expiresAfterUnusedMs: 3_600_000,
  singleActiveConsumer: true,
} as const;

test('settings, their version and a pause are there after a kill, and are checked as before', async () => {
  const killed = await Killed.start();
  const first = await client(killed.broker.url);
  expect(await first.queues.declare('a', { attemptsMax: 9 })).toMatchObject({ created: true, version: 1 });
  expect(await first.queues.declare('a', ALL, { merge: true })).toMatchObject({ version: 2, settings: ALL });
  await first.queues.pause('a');
  await killed.kill();
  expect(await killed.broker.queue('a')).toMatchObject({ version: 2, settings: ALL, isPaused: true });
  const next = await client(killed.broker.url);
  await expect(next.queues.declare('a', { ...ALL, bytesMax: 1 })).rejects.toMatchObject({
    code: 'QUEUE_MISMATCH',
    details: { fields: ['bytesMax'] },
  });
  await expect(next.queues.declare('a', { deadLetterQueue: null }, { merge: true })).rejects.toMatchObject({
    code: 'INVALID_ARGUMENT',
    details: { field: 'overflow' },
  });
  expect(await next.queues.declare('a', { attemptsMax: 4 }, { merge: true })).toMatchObject({ version: 3 });
  await killed.kill();
  expect(await killed.broker.queue('a')).toMatchObject({ version: 3, settings: { ...ALL, attemptsMax: 4 } });
  await next.publish('a', 'x');
  const worker = await killed.raw();
  await worker.consume(1, ['a']);
  await worker.barrier();
  expect(worker.deliveries).toEqual([]);
  await next.queues.resume('a');
  expect(await worker.delivered(1)).toMatchObject([{ text: 'x', priority: 7 }]);
});

test('every message expires at its own time, also behind the head and while the broker is down', async () => {
  const killed = await Killed.start();
  const producer = await killed.raw();
  await producer.declare('a', { messageTtlMs: 3_600_000, deadLetterQueue: 'dead' });
  await producer.publishTexts('a', ['head', 'middle', 'later']);
  const soon = await producer.publish([
    { queue: 'a', body: 'soon', priority: 0, expiresInMs: 1 },
    { queue: 'a', body: 'between', priority: 9, expiresInMs: 2_500 },
  ]);
  expect(soon.map(({ type }) => type)).toEqual(['confirm', 'confirm']);
  await killed.kill();
  await eventually(
    () => killed.broker.queue('dead'),
    ({ ready }) => ready === 2,
    'both short lives to end',
  );
  const dead = await killed.raw();
  await dead.consume(1, ['dead']);
  const deliveries = await dead.delivered(2);
  expect(deliveries.map(({ text }) => text)).toEqual(expect.arrayContaining(['soon', 'between']));
  for (const { deadLetters } of deliveries) expect(deadLetters).toMatchObject([{ queue: 'a', reason: 'expired' }]);
  expect(await killed.broker.queue('a')).toMatchObject({ ready: 3 });
});

test.each([
  ['drop-head', 0, 'evicted'],
  ['dead-letter-head', 3, 'deadLettered'],
] as const)(
  '%s pushes out the lowest priority first, by messages that were there before a kill',
  async (overflow, gone, total) => {
    const killed = await Killed.start();
    const producer = await killed.raw();
    await producer.declare('a', { messagesMax: 4, overflow, deadLetterQueue: 'dead' });
    await producer.publish([9, 0, 5, 0].map((priority, i) => ({ queue: 'a', body: `old ${i}`, priority })));
    await killed.kill();
    const next = await killed.raw();
    await next.publish([1, 2, 3].map((i) => ({ queue: 'a', body: `new ${i}`, priority: 7 })));
    expect(await killed.broker.queue('a')).toMatchObject({ totals: { [total]: 3 } });
    await killed.kill();
    expect((await drain(killed.broker, 'a')).map(({ text }) => text)).toEqual(['old 0', 'new 1', 'new 2', 'new 3']);
    if (gone === 0) return;
    expect((await drain(killed.broker, 'dead')).map(({ text }) => text)).toEqual(['old 2', 'old 1', 'old 3']);
  },
);

test('a full queue refuses after a kill what it refused before, by messages and by bytes', async () => {
  const killed = await Killed.start();
  const producer = await killed.raw();
  await producer.declare('count', { messagesMax: 2 });
  await producer.declare('bytes', { bytesMax: 150 });
  const body = 'x'.repeat(100);
  const messages = ['count', 'bytes', 'count', 'bytes', 'count'].map((queue) => ({ queue, body }));
  expect((await producer.publish(messages)).map(({ type }) => type)).toEqual([
    'confirm',
    'confirm',
    'confirm',
    'reject',
    'reject',
  ]);
  await killed.kill();
  const next = await killed.raw();
  const answers = await next.publish(['count', 'bytes'].map((queue) => ({ queue, body })));
  expect(answers).toMatchObject([
    { type: 'reject', code: 'QUEUE_FULL' },
    { type: 'reject', code: 'QUEUE_FULL' },
  ]);
  await next.consume(1, ['count', 'bytes']);
  await next.ack((await next.delivered(3)).map(({ tag }) => tag));
  const again = await next.publish(['count', 'bytes'].map((queue) => ({ queue, body })));
  expect(again.map(({ type }) => type)).toEqual(['confirm', 'confirm']);
});

test('attempts and the wait before the next one go on after a kill, until the message is given up', async () => {
  const killed = await Killed.start();
  const producer = await killed.raw();
  await producer.declare('a', { backoffMsMin: 50, attemptsMax: 2, deadLetterQueue: 'dead' });
  await producer.declare('long', { backoffMsMin: 3_600_000, backoffMsMax: 3_600_000 });
  const [id] = await producer.publishTexts('a', ['x']);
  await producer.publishTexts('long', ['y']);
  await fail(killed, 'long', 1);
  for (const attempt of [1, 2]) {
    await fail(killed, 'a', attempt);
    await killed.kill();
    expect(await killed.broker.queue('long')).toMatchObject({ ready: 0, delayed: 1 });
  }
  expect(await killed.broker.queue('a')).toMatchObject({ ready: 0, delayed: 0, totals: { arrived: 0 } });
  expect(await drain(killed.broker, 'dead')).toMatchObject([{ id, attempt: 1 }]);
});

/** One attempt at the queue's message, which fails: it waits as long as the queue says. */
async function fail(killed: Killed, queue: string, attempt: number): Promise<void> {
  const worker = await killed.raw();
  await worker.consume(1, [queue], { prefetch: 1 });
  const [delivery] = await worker.delivered(1);
  expect(delivery).toMatchObject({ attempt });
  await worker.start([delivery!.tag]);
  await worker.settled(worker.nack([delivery!.tag], { requeue: true, delayMs: -1 }));
  await worker.goodbye();
}

test('a queue that nobody uses goes after a kill, and one that is consumed from stays', async () => {
  const killed = await Killed.start();
  const producer = await killed.raw();
  for (const queue of ['unused', 'used']) await producer.declare(queue, { expiresAfterUnusedMs: 1_500 });
  await producer.publishTexts('unused', ['x']);
  await producer.publishTexts('used', ['x']);
  await killed.kill();
  const worker = await killed.raw();
  await worker.consume(1, ['used'], { prefetch: 1 });
  // Over the wire, where an answer waits for what it rests on: what HTTP shows may be ahead of the disk.
  await eventually(
    () => worker.request<{ queues: unknown[] }>(CLIENT_OPS.QUEUE_LIST, null, 10),
    ({ queues }) => queues.length === 1,
    'the end of the queue',
  );
  await killed.kill();
  expect((await killed.broker.queues()).map(({ name }) => name)).toEqual(['used']);
});

test('a single active consumer gets everything in order, also when the broker is killed meanwhile', async () => {
  const killed = await Killed.start();
  const producer = await client(killed.broker.url, { publishTimeoutMs: 60_000 });
  await producer.queues.declare('a', { singleActiveConsumer: true, backoffMsMin: 0, backoffMsMax: 0 });
  const handled: number[] = [];
  let running = 0;
  let most = 0;
  for (let i = 0; i < 3; i++) {
    const worker = await client(killed.broker.url);
    const handle = async (delivery: { value(): unknown }): Promise<void> => {
      most = Math.max(most, ++running);
      handled.push(Number(delivery.value()));
      await new Promise((resolve) => setImmediate(resolve));
      running--;
    };
    await worker.consume('a', handle, { prefetch: 1 });
  }
  const numbers = Array.from({ length: 600 }, (_, i) => i);
  for (const part of [0, 200, 400]) {
    await producer.publishMany(
      'a',
      numbers.slice(part, part + 200).map((n) => ({ body: `${n}` })),
    );
    if (part < 400) await killed.kill();
  }
  await eventually(
    () => killed.broker.queue('a'),
    ({ ready, delayed, leased, started }) => ready + delayed + leased + started === 0,
    'the end of the messages',
  );
  expect(most).toBe(1);
  expect([...new Set(handled)]).toEqual(numbers);
});

test('after a kill the consumer of the highest priority is served first, with messages of the default priority behind urgent ones', async () => {
  const killed = await Killed.start();
  const producer = await client(killed.broker.url, { publishTimeoutMs: 60_000 });
  await producer.queues.declare('a', { defaultPriority: 5 });
  const got: string[] = [];
  const hold = new Promise<void>(() => undefined);
  for (const [name, priority] of [
    ['low', 0],
    ['high', 10],
  ] as const) {
    const worker: Client = await client(killed.broker.url);
    const handle = (delivery: { value(): unknown }): Promise<void> => {
      got.push(`${name} ${String(delivery.value())}`);
      return hold;
    };
    await worker.consume('a', handle, { prefetch: 2, priority });
  }
  await producer.queues.pause('a');
  await producer.publishMany('a', [{ body: 'urgent', priority: 6 }, { body: 'plain' }, { body: 'idle', priority: 4 }]);
  await killed.kill();
  await eventually(
    () => killed.broker.queue('a'),
    ({ consumers }) => consumers === 2,
    'both consumers to come back',
  );
  await producer.queues.resume('a');
  await within(
    (async () => {
      while (got.length < 3) await new Promise((resolve) => setImmediate(resolve));
    })(),
    'three deliveries',
  );
  expect(got.toSorted()).toEqual(['high plain', 'high urgent', 'low idle']);
});

test('a dedup key is known after kills and after its segment is gone, and the oldest goes when there are too many', async () => {
  const killed = await Killed.start(['--segment-bytes', '64KiB']);
  const producer = await client(killed.broker.url, { publishTimeoutMs: 60_000 });
  await producer.queues.declare('a', { dedupWindowMs: 3_600_000, dedupKeysMax: 3 });
  const first = await producer.publish('a', 'first', { dedupKey: 'key' });
  expect(first.duplicate).toBe(false);
  const worker = await client(killed.broker.url);
  await worker.consume('a', () => Promise.resolve());
  const oldest = () => segmentPaths(killed.broker.dataDir).toSorted()[0];
  const before = oldest();
  await within(
    (async () => {
      while (oldest() === before) {
        await producer.publishMany(
          'a',
          Array.from({ length: 100 }, () => ({ body: 'x'.repeat(1_000) })),
        );
      }
    })(),
    'the first segment to be deleted',
  );
  for (let kill = 0; kill < 2; kill++) {
    await killed.kill();
    const again = await producer.publish('a', 'second', { dedupKey: 'key' });
    expect(again).toMatchObject({ duplicate: true, id: first.id });
  }
  for (const dedupKey of ['b', 'c', 'd']) await producer.publish('a', dedupKey, { dedupKey });
  await killed.kill();
  expect(await killed.broker.queue('a')).toMatchObject({ dedupKeys: 3 });
  expect(await producer.publish('a', 'b', { dedupKey: 'b' })).toMatchObject({ duplicate: true });
  expect(await producer.publish('a', 'third', { dedupKey: 'key' })).toMatchObject({ duplicate: false });
});
