/** The SDK against a broker in a process of its own: over cut connections, `kill -9` and restarts. */
import { describe, expect, test } from 'vitest';
import { type Client, type ConnectOptions, connect, type Delivery, type Receipt } from '../../client-sdk/index.js';
import { BrokerProcess } from '../support/broker-process.js';
import { atEnd } from '../support/cleanup.js';
import { eventually, within } from '../support/deadline.js';
import { Random, seedOf } from '../support/random.js';
import { CuttingProxy } from './cutting-proxy.js';
import { type Deferred, deferred } from './deferred.js';

interface Setting {
  readonly broker: BrokerProcess;
  readonly proxy: CuttingProxy;
  readonly client: Client;
}

async function client(url: string, options: ConnectOptions = {}): Promise<Client> {
  const connected = await connect(url, { reconnect: { delayMsMin: 5, delayMsMax: 100 }, ...options });
  atEnd(() => connected.terminate());
  return connected;
}

/** A broker, a proxy before it, and a client of that proxy. */
async function setting(options: ConnectOptions = {}): Promise<Setting> {
  const broker = await BrokerProcess.start();
  const proxy = await CuttingProxy.start(broker.url);
  return { broker, proxy, client: await client(proxy.url, options) };
}

/** Resolves when the client has been in `state` after this call. */
async function until(client: Client, state: string): Promise<void> {
  for await (const status of client.status) if (status.state === state) return;
}

/** The connection is lost and made again. */
async function blip({ client, proxy }: Setting): Promise<void> {
  const lost = until(client, 'reconnecting');
  proxy.cut();
  await within(lost, 'the loss of the connection');
  await within(until(client, 'connected'), 'the new connection');
}

/** The broker is killed and started again over the same data. */
async function crash({ client, proxy, broker }: Setting): Promise<BrokerProcess> {
  const lost = until(client, 'reconnecting');
  await broker.kill();
  await within(lost, 'the loss of the connection');
  const again = await BrokerProcess.start({ dataDir: broker.dataDir });
  proxy.target = again.url;
  await within(until(client, 'connected'), 'the connection to the restarted broker');
  return again;
}

function texts(count: number): string[] {
  return Array.from({ length: count }, (_, i) => `${i}`);
}

/** Consumes until so many have come; each is acked by its handler's return. */
async function drain(client: Client, queue: string, count: number): Promise<string[]> {
  const seen: string[] = [];
  const all = deferred();
  const consumer = await client.consume(
    queue,
    (delivery) => {
      seen.push(delivery.value() as string);
      if (seen.length === count) all.resolve();
    },
    { prefetch: 1_000 },
  );
  await within(all.promise, () => `${count} deliveries; ${seen.length} came`);
  await consumer.cancel();
  return seen;
}

/** Handlers that note what they get and wait to be told that they are done. */
class Gate {
  readonly seen: Delivery[] = [];
  readonly #ends: Deferred[] = [];
  #arrived = deferred();

  readonly handler = (delivery: Delivery): Promise<void> => {
    this.seen.push(delivery);
    const end = deferred();
    this.#ends.push(end);
    this.#arrived.resolve();
    return end.promise;
  };

  async running(count: number): Promise<void> {
    while (this.seen.length < count) {
      this.#arrived = deferred();
      await within(this.#arrived.promise, () => `${count} handlers; ${this.seen.length} run`);
    }
  }

  open(): void {
    for (const end of this.#ends) end.resolve();
  }
}

const empty = ({ ready, delayed, leased, started }: Record<string, unknown>): boolean =>
  ready === 0 && delayed === 0 && leased === 0 && started === 0;

/** Waits for an empty queue, because a handler's return is settled a little later. */
async function assertDrained(broker: BrokerProcess, queue: string, acked?: number): Promise<void> {
  const info = await eventually(
    () => broker.queue(queue),
    (answer) => empty({ ...answer }),
    `an empty queue "${queue}"`,
  );
  if (acked !== undefined) expect(info.totals.acked).toBe(acked);
}

describe('publishes', () => {
  test('are stored once each and none is lost when the connection is cut again and again', async () => {
    const all = await setting();
    await all.client.queues.declare('sms');
    const published: Promise<Receipt>[] = [];
    for (const [i, body] of texts(2_000).entries()) {
      published.push(all.client.publish('sms', body));
      if (i % 200 === 199) {
        await published.at(-100);
        await blip(all);
      }
    }
    const receipts = await within(Promise.all(published), 'every confirm');
    expect(new Set(receipts.map(({ id }) => id)).size).toBe(2_000);
    expect(receipts.every(({ duplicate }) => !duplicate)).toBe(true);
    expect((await all.broker.queue('sms')).ready).toBe(2_000);
    expect(await drain(all.client, 'sms', 2_000)).toEqual(texts(2_000));
    await assertDrained(all.broker, 'sms', 2_000);
  });

  test('are stored once each and none is lost when the broker is killed among them', async () => {
    let all = await setting();
    await all.client.queues.declare('sms');
    const published: Promise<Receipt>[] = [];
    for (let round = 0; round < 3; round++) {
      for (let i = 0; i < 300; i++) {
        published.push(all.client.publish('sms', `${round * 300 + i}`));
        if (i % 10 === 0) await new Promise((resolve) => setImmediate(resolve));
      }
      // Some are confirmed, some are with the broker, some were not sent.
      await published.at(-300);
      all = { ...all, broker: await crash(all) };
    }
    const receipts = await within(Promise.all(published), 'every confirm');
    expect(new Set(receipts.map(({ id }) => id)).size).toBe(900);
    expect((await all.broker.queue('sms')).ready).toBe(900);
    expect(await drain(all.client, 'sms', 900)).toEqual(texts(900));
  });

  test('have priorities, delays, deadlines, headers and keys', async () => {
    const { client, broker } = await setting();
    await client.queues.declare('sms', { defaultPriority: 5 });
    const low = await client.publish('sms', 'low', { priority: 0 });
    await client.publish('sms', { a: 1 }, { headers: { trace: 'ab' }, dedupKey: 'k' });
    const again = await client.publish('sms', 'again', { dedupKey: 'k' });
    await client.publish('sms', 'late', { delayMs: 3_600_000, durability: 'memory' });
    await client.publish('sms', 'urgent', { priority: 255 });
    expect(again.duplicate).toBe(true);
    expect(low).toEqual({ id: low.id, duplicate: false, durability: 'disk' });
    const seen: unknown[] = [];
    for await (const delivery of client.deliveries('sms', { prefetch: 1 })) {
      seen.push([delivery.value(), delivery.priority, delivery.headers]);
      await delivery.ack();
      if (seen.length === 3) break;
    }
    expect(seen).toEqual([
      ['urgent', 255, {}],
      [{ a: 1 }, 5, { trace: 'ab' }],
      ['low', 0, {}],
    ]);
    expect(await broker.queue('sms')).toMatchObject({ ready: 0, delayed: 1 });
    await expect(client.publish('nowhere', 'x')).rejects.toMatchObject({ code: 'QUEUE_NOT_FOUND' });
  });

  test('declare their queue if the client was told so', async () => {
    const { broker } = await setting();
    const mine = await client(broker.url, { autoDeclare: true });
    await mine.publishMany('new', [{ body: 'a' }, { body: 'b' }]);
    expect(await mine.queues.inspect('new')).toMatchObject({ ready: 2 });
    expect((await mine.queues.list()).map(({ name }) => name)).toEqual(['new']);
    expect(await mine.queues.purge('new')).toEqual({ purged: 2 });
    expect(await mine.queues.delete('new', { ifEmpty: true })).toEqual({ messages: 0 });
  });
});

describe('running handlers', () => {
  test('go on over a cut connection and are not run twice', async () => {
    const all = await setting();
    const { client, broker } = all;
    await client.queues.declare('sms');
    await client.publishMany(
      'sms',
      texts(20).map((body) => ({ body })),
    );
    const gate = new Gate();
    await client.consume('sms', gate.handler, { prefetch: 10, concurrency: 5 });
    await gate.running(5);
    await eventually(
      () => broker.queue('sms'),
      ({ started }) => started === 5,
      'five started handlers',
    );
    for (let i = 0; i < 3; i++) await blip(all);
    await eventually(
      () => broker.queue('sms'),
      ({ started, leased }) => started === 5 && leased === 5,
      'what has not started to be delivered again',
    );
    expect(gate.seen.some(({ signal }) => signal.aborted)).toBe(false);
    for (let count = 5; count <= 20; count += 5) {
      await gate.running(count);
      gate.open();
    }
    await assertDrained(broker, 'sms', 20);
    expect(gate.seen.map((delivery) => delivery.value())).toEqual(texts(20));
    expect(gate.seen.every(({ attempt }) => attempt === 1)).toBe(true);
  });

  test('go on over a restart of the broker and are not run twice', async () => {
    const all = await setting();
    const { client } = all;
    await client.queues.declare('sms');
    await client.publishMany(
      'sms',
      texts(5).map((body) => ({ body })),
    );
    const gate = new Gate();
    const consumer = await client.consume('sms', gate.handler, { prefetch: 3 });
    await gate.running(3);
    await eventually(
      () => all.broker.queue('sms'),
      ({ started }) => started === 3,
      'three started handlers',
    );
    // What is confirmed later than the starts says that those are in the journal.
    await client.queues.declare('barrier');
    const broker = await crash(all);
    expect(gate.seen.some(({ signal }) => signal.aborted)).toBe(false);
    gate.open();
    await gate.running(5);
    gate.open();
    await assertDrained(broker, 'sms');
    await consumer.cancel();
    expect(gate.seen.map((delivery) => delivery.value())).toEqual(texts(5));
    expect(gate.seen.every(({ attempt }) => attempt === 1)).toBe(true);
  });

  test('that stay away for longer than the grace are told, and the message goes to another', async () => {
    const broker = await BrokerProcess.start({ flags: ['--grace-ms', '100'] });
    const proxy = await CuttingProxy.start(broker.url);
    const one = await client(proxy.url);
    const other = await client(broker.url);
    await one.queues.declare('sms');
    await one.publish('sms', 'x');
    const gate = new Gate();
    await one.consume('sms', gate.handler);
    await gate.running(1);
    await eventually(
      () => broker.queue('sms'),
      ({ started }) => started === 1,
      'a started handler',
    );
    proxy.target = 'ws://127.0.0.1:9';
    proxy.cut();
    const second = new Gate();
    await other.consume('sms', second.handler);
    await second.running(1);
    expect(second.seen[0]).toMatchObject({ attempt: 2, redelivered: true });
    const aborted = new Promise((resolve) => gate.seen[0]!.signal.addEventListener('abort', resolve));
    proxy.target = broker.url;
    await within(aborted, 'the abort of the first handler');
    expect(gate.seen[0]!.signal.reason).toMatchObject({ code: 'SUPERSEDED' });
    second.open();
    await assertDrained(broker, 'sms', 1);
  });

  test('that fail get their message again after its backoff, others drop it', async () => {
    const { client, broker } = await setting();
    await client.queues.declare('sms', { backoffMsMin: 1, backoffMsMax: 4 });
    await client.publish('sms', 'x');
    await client.publish('sms', 'bad');
    const attempts: number[] = [];
    const done = deferred();
    await client.consume('sms', async (delivery) => {
      if (delivery.value() === 'bad') return delivery.nack({ requeue: false, reason: 'bad' });
      attempts.push(delivery.attempt);
      if (attempts.length < 4) throw new Error('again');
      done.resolve();
    });
    await within(done.promise, 'the fourth attempt');
    expect(attempts).toEqual([1, 2, 3, 4]);
    await assertDrained(broker, 'sms', 1);
    expect((await broker.queue('sms')).totals.dropped).toBe(1);
  });
});

describe('consumers', () => {
  test('get the most urgent first and in order inside a priority, whatever happens to the connection', async () => {
    const all = await setting();
    const random = new Random(7);
    await all.client.queues.declare('sms');
    const messages = texts(300).map((body) => ({ body, priority: random.pick([0, 1, 9, 255]) }));
    await all.client.publishMany('sms', messages);
    const seen: string[] = [];
    const finished = deferred();
    await all.client.consume(
      'sms',
      async (delivery) => {
        seen.push(delivery.value() as string);
        if (new Set(seen).size === 300) finished.resolve();
        await delivery.ack();
      },
      { prefetch: 1 },
    );
    for (let i = 0; i < 3; i++) {
      const { length } = seen;
      await eventually(
        () => seen.length,
        (count) => count > Math.min(299, length + 20),
        'progress',
      );
      await blip(all);
    }
    await within(finished.promise, 'the last message');
    // A message may come twice when its ack was lost with the connection; its place stays.
    const unique = [...new Set(seen)];
    const expected = [...messages].sort((a, b) => b.priority - a.priority).map(({ body }) => body);
    expect(unique).toEqual(expected);
    await assertDrained(all.broker, 'sms', 300);
  });

  test('subscribe again after a cut and after a restart', async () => {
    let all = await setting();
    await all.client.queues.declare('a');
    await all.client.queues.declare('b');
    const seen: unknown[] = [];
    const loop = (async () => {
      for await (const delivery of all.client.deliveries('b')) {
        seen.push(delivery.value());
        await delivery.ack();
      }
    })();
    await all.client.consume('a', (delivery) => seen.push(delivery.value()));
    for (let round = 0; round < 4; round++) {
      await all.client.publish('a', `a${round}`);
      await all.client.publish('b', `b${round}`);
      await eventually(
        () => seen.length,
        (count) => count === 2 * round + 2,
        'both messages',
      );
      // An ack on its way when the broker is killed would have an unknown outcome. Asked over the wire, where answers wait for the disk.
      for (const queue of ['a', 'b'])
        await eventually(
          () => all.client.queues.inspect(queue),
          (answer) => empty({ ...answer }),
          `an empty queue "${queue}"`,
        );
      if (round === 1) all = { ...all, broker: await crash(all) };
      else await blip(all);
    }
    expect(new Set(seen).size).toBe(8);
    await all.client.close();
    await loop;
  });

  test('are told that their queue was deleted, and that another is exclusive', async () => {
    const { client } = await setting();
    await client.queues.declare('sms');
    const consumer = await client.consume('sms', () => undefined, { exclusive: true });
    await expect(client.consume('sms', () => undefined)).rejects.toMatchObject({ code: 'QUEUE_EXCLUSIVE' });
    await client.queues.delete('sms');
    expect(await within(consumer.ended, 'the end of the consumer')).toMatchObject({ code: 'QUEUE_DELETED' });
    await expect(client.consume('sms', () => undefined)).rejects.toMatchObject({ code: 'QUEUE_NOT_FOUND' });
  });

  test('are told that one of their queues was deleted, and go on with the others', async () => {
    const { client } = await setting();
    for (const queue of ['a', 'b']) await client.queues.declare(queue);
    const told: unknown[] = [];
    const seen: string[] = [];
    await client.consume(['a', 'b'], ({ queue }) => seen.push(queue), { onError: (error) => told.push(error) });
    await client.queues.delete('a');
    expect(told).toMatchObject([{ code: 'QUEUE_DELETED', details: { queue: 'a' } }]);
    await client.queues.declare('a');
    for (const queue of ['a', 'b']) await client.publish(queue, 'x');
    await eventually(
      () => seen.length,
      (count) => count > 0,
      'the message of the other queue',
    );
    expect(seen).toEqual(['b']);
    expect(await client.queues.inspect('a')).toMatchObject({ ready: 1, consumers: 0 });
  });

  test('never hold more than their prefetch, changed live, and give what they have not started to those who idle', async () => {
    const { client: busy, broker } = await setting();
    await busy.queues.declare('sms');
    await busy.publishMany(
      'sms',
      texts(50).map((body) => ({ body })),
    );
    const gate = new Gate();
    const consumer = await busy.consume('sms', gate.handler, { prefetch: 5, concurrency: 1 });
    await gate.running(1);
    const out = async (): Promise<number> => {
      const { leased, started } = await broker.queue('sms');
      return leased + started;
    };
    await eventually(out, (count) => count === 5, 'five deliveries');
    await consumer.setPrefetch(9);
    await eventually(out, (count) => count === 9, 'nine deliveries');
    const idle = await client(broker.url);
    const taken = await drain(idle, 'sms', 49);
    expect(new Set([...taken, gate.seen[0]!.value()]).size).toBe(50);
    expect(gate.seen).toHaveLength(1);
    gate.open();
    await assertDrained(broker, 'sms', 50);
  });
});

describe('close', () => {
  test('finishes what runs, gives back what does not, and waits for publishes', async () => {
    const { client, broker } = await setting();
    await client.queues.declare('sms');
    await client.queues.declare('done');
    await client.publishMany(
      'sms',
      texts(10).map((body) => ({ body })),
    );
    const gate = new Gate();
    await client.consume(
      'sms',
      async (delivery) => {
        await gate.handler(delivery);
        await client.publish('done', delivery.body);
      },
      { prefetch: 10, concurrency: 3 },
    );
    await gate.running(3);
    const published = texts(100).map((body) => client.publish('done', body));
    const closed = client.close();
    gate.open();
    await within(closed, 'the end of close');
    await Promise.all(published);
    expect(await broker.queue('sms')).toMatchObject({ ready: 7, leased: 0, started: 0, totals: { acked: 3 } });
    expect(await broker.queue('done')).toMatchObject({ ready: 103 });
    await broker.stop();
  });

  test('is not needed to end: terminate gives everything back after the grace', async () => {
    const broker = await BrokerProcess.start({ flags: ['--grace-ms', '100'] });
    const mine = await client(broker.url);
    await mine.queues.declare('sms');
    await mine.publish('sms', 'x');
    const gate = new Gate();
    await mine.consume('sms', gate.handler);
    await gate.running(1);
    mine.terminate();
    expect(gate.seen[0]!.signal.aborted).toBe(true);
    await eventually(
      () => broker.queue('sms'),
      ({ ready }) => ready === 1,
      'the return of the message',
    );
  });
});

describe('a broker', () => {
  test('with a token lets in nobody else', async () => {
    const broker = await BrokerProcess.start({ variables: { LOVAGE_TOKEN: 's3cret-s3cret' } });
    await expect(connect(broker.url)).rejects.toMatchObject({ code: 'UNAUTHORIZED' });
    await expect(connect(broker.url, { token: 'wrong' })).rejects.toMatchObject({ code: 'UNAUTHORIZED' });
    const mine = await client(broker.url, { token: 's3cret-s3cret' });
    await mine.close();
  });

  test('that is not there is CONNECT_FAILED', async () => {
    await expect(connect('ws://127.0.0.1:9')).rejects.toMatchObject({ code: 'CONNECT_FAILED' });
  });

  test('that stops and comes back is reconnected to', async () => {
    const { client, broker, proxy } = await setting();
    await client.queues.declare('sms');
    const lost = until(client, 'reconnecting');
    await broker.stop();
    await within(lost, 'the loss of the connection');
    const published = client.publish('sms', 'while it was away');
    proxy.target = (await BrokerProcess.start({ dataDir: broker.dataDir })).url;
    expect(await within(published, 'the confirm')).toMatchObject({ duplicate: false });
  });
});

describe('at random', () => {
  test('cuts lose nothing, and what was acked never comes again', async () => {
    const random = new Random(seedOf('client over a cut connection'));
    const all = await setting();
    const { client: producer, proxy, broker } = all;
    const consumer = await client(proxy.url);
    await producer.queues.declare('sms', { backoffMsMin: 0, backoffMsMax: 0 });
    const acked = new Set<number>();
    const faults: string[] = [];
    const work = async (delivery: Delivery): Promise<void> => {
      if (acked.has(delivery.id)) faults.push(`${delivery.id} was acked and came again`);
      if (!delivery.redelivered && delivery.attempt > 1) faults.push(`${delivery.id} has attempts it has not had`);
      for (let i = random.whole(0, 5); i > 0; i--) await new Promise((resolve) => setImmediate(resolve));
      if (random.whole(0, 9) === 0) throw new Error('again');
      try {
        await delivery.ack();
      } catch (error) {
        const { code } = error as { code: string };
        if (!['SUPERSEDED', 'CONNECTION_LOST', 'ALREADY_SETTLED'].includes(code)) faults.push(`ack: ${String(error)}`);
        return;
      }
      if (acked.has(delivery.id)) faults.push(`${delivery.id} was acked twice`);
      acked.add(delivery.id);
    };
    await consumer.consume('sms', work, { prefetch: 20, concurrency: 10 });
    const published: Promise<Receipt>[] = [];
    let cuts = 0;
    for (let i = 0; i < 3_000; i++) {
      published.push(producer.publish('sms', `${i}`, { priority: random.whole(0, 3) }));
      if (random.whole(0, 9) === 0) await new Promise((resolve) => setImmediate(resolve));
      if (random.whole(0, 59) === 0) {
        cuts++;
        proxy.cut();
      }
      if (random.whole(0, 99) === 0) await published[random.whole(0, published.length - 1)];
    }
    const receipts = await within(Promise.all(published), 'every confirm');
    expect(new Set(receipts.map(({ id }) => id)).size).toBe(3_000);
    await eventually(
      () => acked.size,
      (count) => count >= 3_000 || faults.length > 0,
      'an ack of every message',
    ).catch((error: unknown) => faults.push(String(error)));
    expect(faults).toEqual([]);
    expect([...acked].sort((a, b) => a - b)).toEqual(receipts.map(({ id }) => id).sort((a, b) => a - b));
    await assertDrained(broker, 'sms', 3_000);
    expect(cuts).toBeGreaterThan(10);
    await Promise.all([producer.close(), consumer.close()]);
  });
});

describe('exchanges', () => {
  test('lead publishes to queues, and receipts and errors say where', async () => {
    const { client } = await setting();
    await client.queues.declare('a');
    await client.queues.declare('b');
    expect(await client.exchanges.declare('x', { type: 'topic' })).toEqual({
      created: true,
      type: 'topic',
      alternate: null,
    });
    expect(await client.exchanges.bind({ exchange: 'x', queue: 'a', key: 'k.#' })).toEqual({ created: true });
    expect(await client.exchanges.bind({ exchange: 'x', queue: 'b', key: '*' })).toEqual({ created: true });
    const receipts = await Promise.all([
      client.publish({ exchange: 'x', key: 'k' }, '1'),
      client.publish('a', '2'),
      client.publish({ exchange: 'x' }, '3'),
      client.publish({ exchange: '', key: 'b' }, '4'),
    ]);
    expect(receipts.map(({ id }) => id)).toEqual([1, 3, 0, 4]);
    const [first, second] = await client.publishMany({ exchange: 'x', key: 'k.l' }, [{ body: '5' }, { body: '6' }]);
    expect([first!.id, second!.id]).toEqual([5, 6]);
    const mandatory = client.publish({ exchange: 'x', key: 'no.way' }, '', { mandatory: true });
    await expect(mandatory).rejects.toMatchObject({
      code: 'UNROUTABLE',
      details: { exchange: 'x', key: 'no.way' },
    });
    await expect(client.publish({ exchange: 'y' }, '')).rejects.toMatchObject({ code: 'EXCHANGE_NOT_FOUND' });
    expect(await drain(client, 'a', 4)).toEqual(['1', '2', '5', '6']);
    expect(await drain(client, 'b', 2)).toEqual(['1', '4']);
  });

  test('are told apart, listed page by page, unbound and deleted', async () => {
    const { client } = await setting();
    await client.queues.declare('q');
    for (const name of ['x', 'y', 'z']) await client.exchanges.declare(name, { type: 'headers' });
    await expect(client.exchanges.declare('x', { type: 'direct' })).rejects.toMatchObject({
      code: 'EXCHANGE_MISMATCH',
      details: { fields: ['type'] },
    });
    const page = await client.exchanges.list({ after: 'x', limit: 1 });
    expect(page.map(({ name }) => name)).toEqual(['y']);
    const binding = { exchange: 'x', queue: 'q', headers: { a: 1, b: true, c: 'd' }, match: 'any' } as const;
    await client.exchanges.bind(binding);
    await client.exchanges.bind({ exchange: 'x', toExchange: 'y', headers: {} });
    await expect(client.exchanges.bind({ exchange: 'y', toExchange: 'x', headers: {} })).rejects.toMatchObject({
      code: 'BINDING_CYCLE',
      details: { cycle: ['y', 'x', 'y'] },
    });
    const [one] = await client.exchanges.bindings('x', { limit: 1 });
    expect(one).toMatchObject({ ...binding, toExchange: null, key: '' });
    expect(await client.exchanges.bindings('x', { after: one!.id })).toMatchObject([{ toExchange: 'y', match: 'all' }]);
    expect(await client.exchanges.unbind({ ...binding, headers: { c: 'd', b: true, a: 1 } })).toEqual({
      removed: true,
    });
    await expect(client.exchanges.delete('x', { ifUnused: true })).rejects.toMatchObject({ code: 'EXCHANGE_IN_USE' });
    expect(await client.exchanges.delete('x')).toEqual({ bindings: 1 });
    await expect(client.exchanges.bindings('x')).rejects.toMatchObject({ code: 'EXCHANGE_NOT_FOUND' });
  });

  test('are refused for what is out of range before anything is sent', async () => {
    const { client } = await setting();
    const wrong: readonly (readonly [field: string, attempt: () => Promise<unknown>])[] = [
      ['key', () => client.publish({ exchange: 'x', key: 'k'.repeat(256) }, '')],
      ['key', () => client.publish({ exchange: 'x', key: 5 as never }, '')],
      ['exchange', () => client.publish({} as never, '')],
      ['mandatory', () => client.publish('q', '', { mandatory: 1 as never })],
      ['type', () => client.exchanges.declare('x', { type: 'any' as never })],
      ['queue', () => client.exchanges.bind({ exchange: 'x' })],
      ['match', () => client.exchanges.bind({ exchange: 'x', queue: 'q', match: 'one' as never })],
    ];
    for (const [field, attempt] of wrong)
      await expect(attempt(), field).rejects.toMatchObject({ code: 'INVALID_ARGUMENT', details: { field } });
    await expect(client.publish({ exchange: 'a b' }, '')).rejects.toMatchObject({ code: 'INVALID_NAME' });
  });

  test('and copies outlive a broker that is killed while publishes are under way', async () => {
    const all = await setting();
    const { client } = all;
    for (const queue of ['a', 'b']) await client.queues.declare(queue);
    await client.exchanges.declare('x', { type: 'fanout' });
    for (const queue of ['a', 'b']) await client.exchanges.bind({ exchange: 'x', queue });
    const before = client.publishMany(
      { exchange: 'x' },
      texts(500).map((body) => ({ body })),
    );
    await crash(all);
    const ids = (await before).map(({ id }) => id);
    expect(new Set(ids).size).toBe(500);
    expect((await drain(client, 'a', 500)).sort()).toEqual(texts(500).sort());
    expect((await drain(client, 'b', 500)).sort()).toEqual(texts(500).sort());
  });
});
