/** A broker that is killed while results go to its archive: what a client was told is done has its result, the same one wherever it is, and what was purged stays away (promises P2 and P6). */
import { RESULTS_QUEUE } from '@lovage/protocol';
import { expect, test } from 'vitest';
import type { Client } from '../../client-sdk/index.js';
import { TaskApp } from '../../client-sdk/tasks/index.js';
import { BrokerProcess } from '../support/broker-process.js';
import { eventually, within } from '../support/deadline.js';
import { freePort } from '../support/free-port.js';
import { Random, seedOf } from '../support/random.js';
import { tempDirectory } from '../support/temp-directory.js';
import { client, publishAll, QUEUE, texts } from './backlog.js';

const KILLS = 8;
/** The queue of results is archived from when it is half full, whatever the age of what is in it. */
const RESULTS_MAX = 16_000;
/** Messages that fill it to there, and those of each wave beyond: what is not archived yet of one wave and all of the next are within the bound, so that nothing is pushed out. */
const FIRST = 8_000;
const WAVE = 3_000;
/** Results that a kill may keep the worker from hearing of. */
const PREFETCH = 200;

interface Counts {
  readonly archive: { readonly results: number; readonly failures: number };
  readonly totals: { readonly archived: number; readonly evicted: number };
}

const isTrue = (value: boolean): boolean => value;

class Life {
  readonly dataDir = tempDirectory();
  readonly #flags: readonly string[];

  constructor(port: number) {
    this.#flags = ['--port', `${port}`, '--segment-bytes', '256KiB'];
  }

  start(): Promise<BrokerProcess> {
    return BrokerProcess.start({ dataDir: this.dataDir, flags: this.#flags });
  }
}

/** Completes whatever comes with a word on it; remembers what is told to be on disk. */
async function work(worker: Client, done: Map<number, string>): Promise<void> {
  await worker.consume(
    QUEUE,
    async (delivery) => {
      const answer = `done ${delivery.value()}`;
      const { id } = delivery;
      await delivery.complete(answer);
      done.set(id, answer);
    },
    { prefetch: PREFETCH },
  );
}

/** Messages that are not done yet. */
async function left(broker: BrokerProcess): Promise<number> {
  const { ready, delayed, leased, started } = await broker.queue(QUEUE);
  return ready + delayed + leased + started;
}

/** The result of each id as a new client is told it. */
async function resultsOf(url: string, ids: readonly number[]): Promise<Map<number, string>> {
  const asking = await client(url);
  const results = new Map<number, string>();
  const answers = ids.map(async (id) => {
    const { body } = await asking.results.wait(id);
    results.set(id, Buffer.from(body).toString());
  });
  await within(Promise.all(answers), `results of ${ids.length} messages`);
  await asking.close();
  return results;
}

test(`results survive ${KILLS} kills on their way to the archive, each found once and as it was, and a purge takes them for good`, async () => {
  const random = new Random(seedOf('archived results'));
  const life = new Life(await freePort());
  let broker = await life.start();
  const sender = await client(broker.url, { publishTimeoutMs: 120_000 });
  await sender.queues.declare(RESULTS_QUEUE, {
    messagesMax: RESULTS_MAX,
    messageTtlMs: 86_400_000,
    overflow: 'drop-head',
  });
  const sent = await publishAll(sender, texts(FIRST));
  const done = new Map<number, string>();
  const worker = await client(broker.url);
  await work(worker, done);
  const counts = (): Promise<Counts> => broker.get<Counts>('/api/v1/overview');
  const isHalfFull = async (): Promise<boolean> => (await broker.queue(RESULTS_QUEUE)).ready <= FIRST;

  for (let kill = 1; kill <= KILLS; kill++) {
    await eventually(async () => (await left(broker)) === 0 && (await isHalfFull()), isTrue, 'room for a wave');
    const first = FIRST + (kill - 1) * WAVE;
    for (const [id, text] of await publishAll(sender, texts(WAVE, { first }))) sent.set(id, text);
    const before = (await counts()).totals.archived;
    const goal = before + 1 + Math.floor(random.next() * (WAVE / 2));
    await eventually(async () => (await counts()).totals.archived >= goal, isTrue, `${goal} archived results`);
    expect((await counts()).totals.evicted).toBe(0);
    await broker.kill();
    broker = await life.start();
  }
  await eventually(async () => (await left(broker)) === 0, isTrue, 'the last result');

  expect(done.size).toBeGreaterThan(sent.size / 2);
  const expected = new Map([...sent].map(([id, text]) => [id, `done ${text}`]));
  const ids = [...sent.keys()];
  const told = await resultsOf(broker.url, ids);
  expect(told).toEqual(expected);
  for (let from = 0; from < ids.length; from += 1_000)
    for (const found of await sender.results.whereabouts(ids.slice(from, from + 1_000)))
      expect(found).toMatchObject({ queue: RESULTS_QUEUE, state: 'ready' });
  // The first results have been archived long ago, and their states are what they were.
  const app = new TaskApp({ url: broker.url });
  expect(await app.handle(ids[0]!).state()).toMatchObject({ state: 'succeeded', attempts: 1 });
  await app.close();
  const { archive, totals } = await counts();
  expect(archive.failures).toBe(0);
  expect(totals.evicted).toBe(0);
  expect(archive.results).toBeGreaterThanOrEqual(sent.size - RESULTS_MAX);
  expect(archive.results).toBeLessThanOrEqual(sent.size);

  await broker.kill();
  broker = await life.start();
  expect(await resultsOf(broker.url, ids)).toEqual(expected);

  const again = await client(broker.url);
  await again.queues.purge(RESULTS_QUEUE);
  await broker.kill();
  broker = await life.start();
  await publishAll(await client(broker.url), texts(1, { first: sent.size }));
  const nothing = await (await client(broker.url)).results.whereabouts(ids.slice(0, 1_000));
  expect(new Set(nothing)).toEqual(new Set([null]));
  await expect(sender.results.wait(ids[0]!)).rejects.toMatchObject({ code: 'RESULT_NOT_FOUND' });
  await eventually(async () => (await counts()).archive.results <= 1, isTrue, 'the purged results are forgotten');
  for (const side of [worker, sender, again]) await side.close();
}, 120_000);
