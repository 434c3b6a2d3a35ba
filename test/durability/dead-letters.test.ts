/** Dead letters of a broker that is killed again and again: none is lost, none is there twice, each knows where it comes from. */
import { expect, test } from 'vitest';
import type { Client } from '../../client-sdk/index.js';
import { BrokerProcess } from '../support/broker-process.js';
import { eventually, within } from '../support/deadline.js';
import { freePort } from '../support/free-port.js';
import { Random, seedOf } from '../support/random.js';
import { tempDirectory } from '../support/temp-directory.js';
import { assertEmpty, client } from './backlog.js';

const KILLS = 8;
const DEAD = 'dead';
/** What becomes of the messages of each queue. */
const REASONS = { rejected: 'rejected', failing: 'attempts', short: 'expired', narrow: 'limit' } as const;
const QUEUES = Object.keys(REASONS) as (keyof typeof REASONS)[];
/** Messages that the narrow queue keeps, because it is not full with them. */
const NARROW_MAX = 5;

interface Found {
  readonly id: number;
  readonly text: string;
  readonly deaths: readonly { queue: string; reason: string; count: number }[];
}

test(`of ${KILLS} kills no dead letter is lost or there twice`, async () => {
  const random = new Random(seedOf('kills and dead letters'));
  const dataDir = tempDirectory();
  const flags = ['--port', `${await freePort()}`, '--segment-bytes', '64KiB'];
  let broker = await BrokerProcess.start({ dataDir, flags });
  const producer = await client(broker.url, { publishTimeoutMs: 120_000 });
  await declareAll(producer);
  const worker = await client(broker.url);
  // The answer may be lost with the broker: then the message comes again.
  await worker.consume('rejected', (delivery) => delivery.nack({ requeue: false }).catch(() => undefined));
  await worker.consume('failing', () => Promise.reject(new Error('it fails')), { onError: () => undefined });

  const confirmed = new Map<number, string>();
  for (let kill = 0; kill < KILLS; kill++) {
    const published = publish(producer, confirmed, kill);
    await new Promise((resolve) => setTimeout(resolve, random.whole(0, 150)));
    await broker.kill();
    broker = await BrokerProcess.start({ dataDir, flags });
    await within(published, 'the confirms');
  }
  const emptied = ['rejected', 'failing', 'short'];
  await eventually(
    async () => Promise.all(emptied.map(async (queue) => sizeOf(broker, queue))),
    (sizes) => sizes.every((size) => size === 0),
    'the end of everything but dead letters',
  );
  worker.terminate();
  producer.terminate();
  await broker.kill();
  broker = await BrokerProcess.start({ dataDir, flags });

  expect(await sizeOf(broker, 'narrow')).toBe(NARROW_MAX);
  const found = await takeAll(broker, confirmed.size - NARROW_MAX);
  expect(new Set(found.map(({ id }) => id)).size).toBe(found.length);
  expect(found.filter(({ id, text }) => confirmed.get(id) !== text)).toEqual([]);
  for (const { text, deaths } of found) {
    const queue = text.split(' ')[0] as keyof typeof REASONS;
    expect(deaths).toMatchObject([{ queue, reason: REASONS[queue], count: 1 }]);
  }
  await broker.kill();
  broker = await BrokerProcess.start({ dataDir, flags });
  assertEmpty(await broker.queue(DEAD));
}, 60_000);

async function declareAll(to: Client): Promise<void> {
  const settings = { deadLetterQueue: DEAD, backoffMsMin: 0, backoffMsMax: 0 };
  await to.queues.declare('rejected', settings);
  await to.queues.declare('failing', { ...settings, attemptsMax: 3 });
  await to.queues.declare('short', { ...settings, messageTtlMs: 30 });
  await to.queues.declare('narrow', { ...settings, messagesMax: NARROW_MAX, overflow: 'dead-letter-head' });
}

/** Some messages to each queue, in several frames. */
async function publish(from: Client, confirmed: Map<number, string>, round: number): Promise<void> {
  const publishes: Promise<void>[] = [];
  for (let i = 0; i < 100; i++) {
    for (const queue of QUEUES) {
      const text = `${queue} ${round} ${i}`.padEnd(80, '.');
      publishes.push(from.publish(queue, text).then(({ id }) => void confirmed.set(id, text)));
    }
    if (i % 10 === 9) await new Promise((resolve) => setImmediate(resolve));
  }
  await Promise.all(publishes);
}

async function sizeOf(broker: BrokerProcess, queue: string): Promise<number> {
  const { ready, delayed, leased, started } = await broker.queue(queue);
  return ready + delayed + leased + started;
}

async function takeAll(broker: BrokerProcess, count: number): Promise<Found[]> {
  expect(await sizeOf(broker, DEAD)).toBe(count);
  const consumer = await client(broker.url);
  const found: Found[] = [];
  const settled: Promise<void>[] = [];
  const take = async (): Promise<void> => {
    for await (const delivery of consumer.deliveries(DEAD, { prefetch: 1_000 })) {
      const deaths = delivery.headers['x-death'] as Found['deaths'];
      found.push({ id: delivery.id, text: String(delivery.value()), deaths });
      settled.push(delivery.ack());
      if (found.length === count) break;
    }
    await Promise.all(settled);
  };
  await within(take(), () => `${count} dead letters; ${found.length} came`);
  await consumer.close();
  return found;
}
