/** Prefetch without hoarding, as workers see it: real brokers, real handlers. */
import { describe, expect, test } from 'vitest';
import { type Client, type ConnectOptions, connect, type Delivery } from '../../client-sdk/index.js';
import { BrokerProcess } from '../support/broker-process.js';
import { atEnd } from '../support/cleanup.js';
import { eventually } from '../support/deadline.js';
import { type Deferred, deferred } from './deferred.js';

async function client(broker: BrokerProcess, options: ConnectOptions = {}): Promise<Client> {
  const connected = await connect(broker.url, options);
  atEnd(() => connected.terminate());
  return connected;
}

async function publish(to: Client, queue: string, count: number): Promise<void> {
  await to.queues.declare(queue);
  await to.publishMany(
    queue,
    Array.from({ length: count }, (_, i) => ({ body: `${i}` })),
  );
}

/** A handler that runs until it is told to end. */
function slow(): { seen: Delivery[]; ends: Deferred[]; handler: (delivery: Delivery) => Promise<void> } {
  const seen: Delivery[] = [];
  const ends: Deferred[] = [];
  const handler = (delivery: Delivery): Promise<void> => {
    seen.push(delivery);
    const end = deferred();
    ends.push(end);
    return end.promise;
  };
  return { seen, ends, handler };
}

describe('prefetch without hoarding', () => {
  test('a consumer does not idle while another one holds what it has not started', async () => {
    const broker = await BrokerProcess.start();
    const producer = await client(broker);
    await publish(producer, 'work', 100);
    const { seen, ends, handler } = slow();
    await (await client(broker)).consume('work', handler, { prefetch: 100, concurrency: 1 });
    await eventually(
      () => broker.queue('work'),
      ({ leased, started }) => leased === 99 && started === 1,
      'one consumer that holds everything',
    );
    const done: string[] = [];
    await (await client(broker)).consume('work', (delivery) => void done.push(delivery.value() as string), {
      prefetch: 100,
      concurrency: 1,
    });
    await eventually(
      () => done.length,
      (count) => count === 99,
      'all but the running one from the other consumer',
    );
    expect(new Set(done).size).toBe(99);
    expect(seen.map((delivery) => delivery.value())).toEqual(['0']);
    ends[0]!.resolve();
    await eventually(
      () => broker.queue('work'),
      ({ leased, started, totals }) => leased === 0 && started === 0 && totals.acked === 100,
      'an empty queue',
    );
    // What was taken back cost no attempt.
    expect(seen[0]!.attempt).toBe(1);
  });

  test('an urgent message behind 100 prefetched ones is the next that is started', async () => {
    const broker = await BrokerProcess.start();
    const producer = await client(broker);
    await publish(producer, 'work', 150);
    const { seen, ends, handler } = slow();
    const worker = await client(broker);
    await worker.consume('work', handler, { prefetch: 100, concurrency: 1 });
    await eventually(
      () => broker.queue('work'),
      ({ ready, leased, started }) => ready === 50 && leased === 99 && started === 1,
      'a consumer without credit',
    );
    await producer.publish('work', 'urgent', { priority: 9 });
    await eventually(
      () => broker.queue('work'),
      ({ totals }) => totals.returned === 1 && totals.delivered === 101,
      'room for the urgent message',
    );
    // The answer comes behind the delivery.
    await worker.queues.inspect('work');
    ends[0]!.resolve();
    await eventually(
      () => seen.length,
      (count) => count === 2,
      'the next handler',
    );
    expect(seen[1]!.value()).toBe('urgent');
  });

  test('a worker that dies is charged with an attempt for what it had started, and for nothing else, also over kill -9 of the broker', async () => {
    const first = await BrokerProcess.start({ flags: ['--grace-ms', '0'] });
    const producer = await client(first, { reconnect: { delayMsMin: 5, delayMsMax: 100 } });
    await publish(producer, 'work', 10);
    const { seen, handler } = slow();
    const dying = await client(first);
    await dying.consume('work', handler, { prefetch: 10, concurrency: 2 });
    await eventually(
      () => first.queue('work'),
      ({ leased, started }) => leased === 8 && started === 2,
      'two running handlers',
    );
    // Its confirm says that the starts before it are on the disk.
    await producer.publish('work', 'after');
    expect(seen).toHaveLength(2);
    await first.kill();
    dying.terminate();
    const broker = await BrokerProcess.start({ dataDir: first.dataDir, flags: ['--grace-ms', '0'] });
    const attempts: [string, number][] = [];
    await (await client(broker)).consume('work', (delivery) => {
      attempts.push([delivery.value() as string, delivery.attempt]);
    });
    await eventually(
      () => attempts.length,
      (count) => count === 11,
      'all messages again',
    );
    const twice = attempts.filter(([, attempt]) => attempt === 2).map(([text]) => text);
    expect(twice.sort()).toEqual(['0', '1']);
    expect(attempts.filter(([, attempt]) => attempt === 1)).toHaveLength(9);
  });

  test('a worker that drains gives back at once what it has not started', async () => {
    const broker = await BrokerProcess.start();
    const producer = await client(broker);
    await publish(producer, 'work', 10);
    const { seen, ends, handler } = slow();
    const leaving = await (await client(broker)).consume('work', handler, { prefetch: 10, concurrency: 1 });
    await eventually(
      () => broker.queue('work'),
      ({ leased, started }) => leased === 9 && started === 1,
      'a full worker',
    );
    const left = leaving.cancel();
    const done: number[] = [];
    await (await client(broker)).consume('work', (delivery) => void done.push(delivery.attempt));
    await eventually(
      () => done.length,
      (count) => count === 9,
      'what had not started at the other worker',
    );
    expect(done.every((attempt) => attempt === 1)).toBe(true);
    expect(seen).toHaveLength(1);
    ends[0]!.resolve();
    await left;
  });
});
