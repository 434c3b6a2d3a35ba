/** A broker that is killed in the middle of publishes that go to several queues: each copy of what was confirmed is there, once (promises P1, P2). */
import { expect, test } from 'vitest';
import type { BindingInfo, Client } from '../../client-sdk/index.js';
import { BrokerProcess, runCommand } from '../support/broker-process.js';
import { eventually, within } from '../support/deadline.js';
import { freePort } from '../support/free-port.js';
import { Random, seedOf } from '../support/random.js';
import { tempDirectory } from '../support/temp-directory.js';
import { client, drain } from './backlog.js';

const KILLS = 8;
/** Confirms between two kills, at most. */
const PROGRESS_MAX = 400;
const OPEN_MAX = 200;
/** Bodies long enough for segments of 256 KiB to be filled, copied forward and deleted meanwhile. */
const BODY_BYTES_MAX = 2_000;

const seed = seedOf('kill -9 while routing');

/** Publishes without waiting, each body once, and notes what was confirmed with how many copies. */
class Publisher {
  /** Bodies that were confirmed, by the queues that they are for. */
  readonly confirmed = { fanned: new Map<number, string>(), lost: new Map<number, string>() };
  readonly unrouted: string[] = [];
  readonly failures: unknown[] = [];
  readonly #client: Client;
  readonly #random: Random;
  #open = 0;
  #number = 0;
  #isStopped = false;

  constructor(client: Client, random: Random) {
    this.#client = client;
    this.#random = random;
  }

  get progress(): number {
    return this.confirmed.fanned.size + this.confirmed.lost.size + this.unrouted.length;
  }

  async run(): Promise<void> {
    while (!this.#isStopped) {
      if (this.#open < OPEN_MAX) this.#publish();
      if (this.#open >= OPEN_MAX || this.#random.whole(0, 9) === 0)
        await new Promise((resolve) => setTimeout(resolve, 1));
    }
    while (this.#open > 0) await new Promise((resolve) => setTimeout(resolve, 1));
  }

  stop(): void {
    this.#isStopped = true;
  }

  #publish(): void {
    const body = `${this.#number++}`.padEnd(this.#random.whole(8, BODY_BYTES_MAX), '.');
    const dice = this.#random.whole(0, 9);
    const target =
      dice < 8
        ? { exchange: 'events', key: `order.${this.#random.pick(['paid', 'sent'])}.eu` }
        : dice < 9
          ? { exchange: 'events', key: 'else' }
          : { exchange: 'deaf', key: 'k' };
    this.#open++;
    this.#client
      .publish(target, body)
      .then(({ id }) => {
        if (target.exchange === 'deaf') this.unrouted.push(`${id} ${body}`);
        else if (target.key === 'else') this.confirmed.lost.set(id, body);
        else this.confirmed.fanned.set(id, body);
      })
      .catch((error: unknown) => this.failures.push(error))
      .finally(() => {
        this.#open--;
      });
  }
}

test(`a broker that is killed ${KILLS} times while it routes loses no copy of what was confirmed, and makes none`, async () => {
  const random = new Random(seed);
  const dataDir = tempDirectory();
  const flags = ['--port', `${await freePort()}`, '--segment-bytes', '256KiB'];
  const start = (): Promise<BrokerProcess> => BrokerProcess.start({ dataDir, flags });
  let broker = await start();
  const { url } = broker;
  const options = { publishTimeoutMs: 120_000 };
  const [one, worker] = [await client(url, options), await client(url, options)];
  for (const queue of ['kept', 'worked', 'lost']) await one.queues.declare(queue);
  await one.exchanges.declare('rest', { type: 'fanout' });
  await one.exchanges.declare('deaf', { type: 'direct' });
  await one.exchanges.declare('events', { type: 'topic', alternate: 'rest' });
  await one.exchanges.declare('worked', { type: 'fanout' });
  await one.exchanges.bind({ exchange: 'rest', queue: 'lost' });
  await one.exchanges.bind({ exchange: 'worked', queue: 'worked' });
  // Two ways to each queue: one copy all the same.
  for (const key of ['order.#', '#.eu']) {
    await one.exchanges.bind({ exchange: 'events', queue: 'kept', key });
    await one.exchanges.bind({ exchange: 'events', toExchange: 'worked', key });
  }
  const before = await bindings(one);

  const publisher = new Publisher(one, random);
  const publishing = publisher.run();
  const acked = new Set<string>();
  const seen: string[] = [];
  await worker.consume(
    'worked',
    async (delivery) => {
      const body = String(delivery.value());
      seen.push(body);
      if (acked.has(body)) publisher.failures.push(`${body.slice(0, 10)} came again after its ack`);
      await delivery.ack().then(
        () => acked.add(body),
        () => undefined,
      );
    },
    { prefetch: 50 },
  );
  for (let kill = 1; kill <= KILLS; kill++) {
    const goal = publisher.progress + random.whole(1, PROGRESS_MAX);
    await eventually(
      () => publisher.progress,
      (progress) => progress >= goal || publisher.failures.length > 0,
      `progress after kill ${kill - 1}`,
    );
    await broker.kill();
    broker = await start();
  }
  publisher.stop();
  await within(publishing, 'every confirm');
  await worker.close();
  expect(publisher.failures).toEqual([]);
  expect(await bindings(one)).toEqual(before);
  await one.close();

  await broker.kill();
  broker = await start();
  const { fanned, lost } = publisher.confirmed;
  const texts = (found: readonly { readonly text: string }[]): string[] => found.map(({ text }) => text).sort();
  // Nothing was taken from these, so each body is there exactly once.
  expect(texts(await drain(broker, 'kept'))).toEqual([...fanned.values()].sort());
  expect(texts(await drain(broker, 'lost'))).toEqual([...lost.values()].sort());
  const rest = texts(await drain(broker, 'worked'));
  expect(new Set(rest).size).toBe(rest.length);
  expect(rest.filter((body) => acked.has(body))).toEqual([]);
  expect([...new Set([...rest, ...seen])].sort()).toEqual([...fanned.values()].sort());
  expect(publisher.unrouted.every((told) => told.startsWith('0 '))).toBe(true);
  expect(await broker.stop()).toEqual({ code: 0, signal: null });
  expect(await runCommand(['journal', 'verify', dataDir])).toMatchObject({ exit: { code: 0 } });
  console.info(
    `kill -9 while routing: ${fanned.size} to two queues, ${lost.size} to one, ${publisher.unrouted.length} to none`,
  );
}, 60_000);

/** Bindings of all exchanges, without the ids that a restart gives anew. */
async function bindings(of: Client): Promise<Omit<BindingInfo, 'id'>[]> {
  const exchanges = await of.exchanges.list();
  const found = await Promise.all(exchanges.map(({ name }) => of.exchanges.bindings(name)));
  return found.flat().map(({ id: _, ...facts }) => facts);
}
