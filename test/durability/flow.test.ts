/** A broker that is killed while it holds publishers back for want of memory: they wait on, and what they have sent is there once and in order. */
import { expect, test } from 'vitest';
import { eventually } from '../support/deadline.js';
import { client } from './backlog.js';
import { Killed } from './killed.js';

/** 64 bytes of memory each: more than the 16 MiB that the broker is given for messages. */
const COUNT = 300_000;

test('publishers that are held back are held back again after kill -9, and lose and repeat nothing', async () => {
  const killed = await Killed.start(['--memory-max', '64MiB', '--cache-bytes', '1MiB']);
  const producer = await client(killed.broker.url, {
    producer: 'held',
    publishBufferMessages: COUNT,
    publishTimeoutMs: 120_000,
  });
  await producer.queues.declare('q');
  let confirmed = 0;
  const publishing = Promise.all(
    Array.from({ length: COUNT }, async (_, i) => {
      await producer.publish('q', `${i}`);
      confirmed++;
    }),
  );
  publishing.catch(() => undefined);
  const blocked = () =>
    eventually(
      async () => producer.status.current.blocked?.reason,
      (reason) => reason === 'memory',
      'FLOW',
    );
  await blocked();
  expect(confirmed).toBeGreaterThan(100_000);
  expect(confirmed).toBeLessThan(COUNT);
  await killed.kill();
  await blocked();
  expect(confirmed).toBeLessThan(COUNT);
  const consumer = await client(killed.broker.url);
  const numbers: number[] = [];
  const consuming = await consumer.consume('q', (delivery) => {
    numbers.push(Number(delivery.value()));
  });
  await publishing;
  await eventually(
    () => killed.broker.queue('q'),
    ({ ready, leased, started }) => ready + leased + started === 0,
    'the end of the queue',
  );
  const wrong = numbers.findIndex((number, i) => number !== i);
  expect({ wrong, around: numbers.slice(Math.max(0, wrong - 3), wrong + 3) }).toEqual({ wrong: -1, around: [0, 1] });
  expect(numbers).toHaveLength(COUNT);
  await consuming.cancel();
}, 120_000);
