/** A broker that is killed again and again in the middle of real work, over one data directory and one port (promises P1 to P4). */
import { expect, test } from 'vitest';
import { BrokerProcess, runCommand, StartError } from '../support/broker-process.js';
import { within } from '../support/deadline.js';
import { freePort } from '../support/free-port.js';
import { Random, seedOf } from '../support/random.js';
import { tempDirectory } from '../support/temp-directory.js';
import { assertEmpty, client, drain, publishAll, QUEUE, texts } from './backlog.js';
import { Ledger } from './ledger.js';
import { declareQueues, Producer, takeRest, work } from './workload.js';

const KILLS = 24;
/** Of them, those that hit a broker which is still reading its journal. */
const KILLS_DURING_START = 6;
/** ms after its spawn at which such a broker is killed at the latest; about as long as a start takes. */
const START_MS = 500;
/** Confirms and settlements between the start of a broker and its kill, at most. */
const PROGRESS_MAX = 1_000;

const seed = seedOf('kill -9');
/** Each actor has its own chance, because nobody knows in which order they act. */
const chance = (actor: number): Random => new Random(seed + actor);

class Life {
  readonly dataDir = tempDirectory();
  readonly #flags: readonly string[];

  constructor(port: number) {
    // Small segments, so that sealing, deleting and copying forward happen among the kills.
    this.#flags = ['--port', `${port}`, '--segment-bytes', '256KiB'];
  }

  start(onSpawn: (broker: BrokerProcess) => void = () => undefined): Promise<BrokerProcess> {
    return BrokerProcess.start({ dataDir: this.dataDir, flags: this.#flags, onSpawn });
  }

  /** Starts a broker and kills it so many ms later, ready or not. */
  async startAndKill(ms: number): Promise<void> {
    let ended: Promise<unknown> = Promise.resolve();
    const started = this.start((broker) => {
      ended = new Promise((resolve) => setTimeout(resolve, ms)).then(() => broker.kill());
    });
    await started.catch((error: unknown) => {
      expect(error).toBeInstanceOf(StartError);
      expect((error as StartError).finished.exit).toEqual({ code: null, signal: 'SIGKILL' });
    });
    await ended;
  }
}

test(`a broker that is killed ${KILLS} times loses nothing, invents nothing, and brings nothing back`, async () => {
  const random = chance(0);
  const ledger = new Ledger();
  const life = new Life(await freePort());
  let broker = await life.start();
  const { url } = broker;
  // A producer that gives up soon does not know what became of its publishes, and knows of some that they were never sent.
  const sides = [await client(url, { publishTimeoutMs: 120_000 }), await client(url, { publishTimeoutMs: 300 })];
  await declareQueues(sides[0]!);
  const producers = sides.map((side, i) => new Producer(side, ledger, chance(i + 1), `producer ${i}`));
  const produced = producers.map((producer) => producer.run());
  const workers = [await client(url), await client(url)];
  for (const [i, worker] of workers.entries()) await work(worker, ledger, chance(i + 3), `worker ${i}`, 50 + 150 * i);

  const isDuringStart = (kill: number): boolean => kill % (KILLS / KILLS_DURING_START) === 0;
  for (let kill = 1; kill <= KILLS && ledger.faults.length === 0; kill++) {
    const goal = ledger.progress + random.whole(0, PROGRESS_MAX);
    while (ledger.progress < goal && ledger.faults.length === 0)
      await told(ledger.changed(), `progress after kill ${kill}`, broker, ledger);
    await broker.kill();
    if (isDuringStart(kill)) await life.startAndKill(random.whole(0, START_MS));
    broker = await life.start();
  }
  for (const producer of producers) producer.stop();
  await told(Promise.all(produced), 'every confirm', broker, ledger);
  await Promise.all(workers.map((worker) => worker.close()));

  // What is left waits in its order, after one more kill as well.
  await broker.kill();
  broker = await life.start();
  await told(takeRest(broker, ledger), 'the rest', broker, ledger);
  expect(ledger.close()).toEqual([]);
  expect(ledger.counts.confirmed).toBeGreaterThan(1_000);
  for (const side of sides) await side.close();

  await broker.kill();
  broker = await life.start();
  for (const queue of await broker.queues()) assertEmpty(queue);
  expect(await broker.stop()).toEqual({ code: 0, signal: null });
  expect(await runCommand(['journal', 'verify', life.dataDir])).toMatchObject({ exit: { code: 0 } });
  console.info(`kill -9: ${JSON.stringify(ledger.counts)}`);
}, 100_000);

/** Waits; if that fails the error says how clients and broker see the world. */
async function told<T>(promise: Promise<T>, what: string, broker: BrokerProcess, ledger: Ledger): Promise<T> {
  try {
    return await within(promise, what);
  } catch (cause) {
    const overview: unknown = await broker.get('/api/v1/overview').catch(String);
    const story = { ...ledger.counts, open: ledger.open, backlog: ledger.backlog, faults: ledger.faults, overview };
    throw new Error(`${String(cause)}: ${JSON.stringify(story)}; the broker's log:\n${broker.log}`, { cause });
  }
}

test('of messages in memory and on disk in one queue a killed broker forgets the former and keeps the latter', async () => {
  const first = await BrokerProcess.start();
  const producer = await client(first.url);
  const disk = await publishAll(producer, texts(50));
  const memory = await publishAll(producer, texts(50, { first: 50 }), { durability: 'memory' });
  const more = await publishAll(producer, texts(50, { first: 100 }));
  expect((await first.queue(QUEUE)).ready).toBe(150);
  producer.terminate();
  await first.kill();
  const found = await drain(await BrokerProcess.start({ dataDir: first.dataDir }));
  expect(found.map(({ id, text }) => [id, text])).toEqual([...disk, ...more]);
  // Nobody gets the number of a message that was somebody's.
  expect(new Set([...disk.keys(), ...memory.keys(), ...more.keys()]).size).toBe(150);
});
