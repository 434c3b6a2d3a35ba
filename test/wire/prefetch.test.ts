/** Promise P5: never more unsettled deliveries at a consumer than its prefetch, which may change while it works; 0 is no bound. */
import { CLIENT_OPS, LIMITS } from '@lovage/protocol';
import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { BrokerProcess } from '../support/broker-process.js';
import { Random, seedOf } from '../support/random.js';
import { RawClient } from '../support/raw-client.js';

let broker: BrokerProcess;
let queue: string;
let count = 0;

beforeAll(async () => {
  broker = await BrokerProcess.start();
});

beforeEach(() => {
  queue = `queue-${++count}`;
});

async function withMessages(total: number): Promise<RawClient> {
  const client = await RawClient.connect(broker.url);
  await client.declare(queue);
  await client.publishTexts(
    queue,
    Array.from({ length: total }, (_, i) => `${i}`),
  );
  return client;
}

describe('prefetch', () => {
  test.each([1, 2, 10, 99])('of %i is how many are out, and each settlement makes room for one', async (prefetch) => {
    const client = await withMessages(100);
    await client.consume(1, [queue], { prefetch });
    await client.barrier();
    expect(client.deliveries).toHaveLength(prefetch);
    await client.start([1]);
    await client.barrier();
    expect(client.deliveries).toHaveLength(prefetch);
    await client.ack([1]);
    await client.barrier();
    expect(client.deliveries).toHaveLength(prefetch + 1);
  });

  test.each([0, LIMITS.prefetchMax])('of %i gives everything', async (prefetch) => {
    const client = await withMessages(1_000);
    await client.consume(1, [queue], { prefetch });
    await client.delivered(1_000);
    expect(await broker.queue(queue)).toMatchObject({ ready: 0, leased: 1_000 });
  });

  test('that grows gives more at once; one that shrinks waits until enough is settled', async () => {
    const client = await withMessages(100);
    await client.consume(1, [queue], { prefetch: 5 });
    await client.delivered(5);
    expect(await client.request(CLIENT_OPS.PREFETCH, 1, 8)).toEqual({ prefetch: 8 });
    await client.delivered(8);
    await client.barrier();
    expect(client.deliveries).toHaveLength(8);
    await client.request(CLIENT_OPS.PREFETCH, 1, 2);
    for (let tag = 1; tag <= 6; tag++) {
      await client.ack([tag]);
      await client.barrier();
      expect(client.deliveries, `after ${tag} of 8 are settled`).toHaveLength(8);
    }
    await client.ack([7]);
    await client.delivered(9);
    await client.request(CLIENT_OPS.PREFETCH, 1, 0);
    await client.delivered(100);
  });

  test("is each consumer's own, on one connection and on several", async () => {
    const client = await withMessages(100);
    await client.consume(1, [queue], { prefetch: 3 });
    await client.consume(2, [queue], { prefetch: 4 });
    const other = await RawClient.connect(broker.url);
    await other.consume(1, [queue], { prefetch: 5 });
    await Promise.all([client.barrier(), other.barrier()]);
    expect([1, 2].map((id) => client.deliveries.filter(({ consumerId }) => consumerId === id).length)).toEqual([3, 4]);
    expect(other.deliveries).toHaveLength(5);
  });

  test('of consumers whose connection comes back counts what they still hold', async () => {
    const client = await withMessages(10);
    await client.consume(1, [queue], { prefetch: 3 });
    await client.delivered(3);
    await client.start([1, 2]);
    client.terminate();
    const resumed = await RawClient.connect(broker.url, {
      hello: { resume: { session: client.welcome!.session, lastTag: 3 } },
    });
    expect(resumed.welcome!.held).toEqual([1, 2]);
    await resumed.consume(1, [queue], { prefetch: 3 });
    await resumed.barrier();
    expect(resumed.deliveries.map(({ tag, text }) => [tag, text])).toEqual([[4, '2']]);
  });

  test('holds at every moment of a busy day', async () => {
    const random = new Random(seedOf('prefetch'));
    const client = await RawClient.connect(broker.url);
    await client.declare(queue);
    let bound = 4;
    await client.consume(1, [queue], { prefetch: bound });
    const open = new Set<number>();
    let seen = 0;
    /** The most that may be out: a bound that was lowered binds what is delivered after it. */
    const look = (): void => {
      for (; seen < client.deliveries.length; seen++) {
        open.add(client.deliveries[seen]!.tag);
        expect(open.size).toBeLessThanOrEqual(bound);
      }
    };
    const settle = async (): Promise<void> => {
      const tags = [...open].filter(() => random.next() < 0.6).sort((a, b) => a - b);
      if (tags.length === 0) return;
      for (const tag of tags) open.delete(tag);
      if (random.next() < 0.7) await client.ack(tags);
      else await client.settled(client.nack(tags));
    };
    for (let step = 0; step < 200; step++) {
      await client.publishTexts(queue, Array.from({ length: random.whole(0, 5) }, () => 'x').concat('y'));
      await client.barrier();
      look();
      await settle();
      await client.barrier();
      look();
      if (random.next() < 0.2) {
        // A live change; what is out already stays out.
        const next = random.whole(1, 12);
        await client.request(CLIENT_OPS.PREFETCH, 1, next);
        await client.barrier();
        bound = Math.max(next, bound);
        look();
        bound = Math.max(next, open.size);
      }
    }
  });
});
