/**
 * A disk that fails under a real process, at any of its calls. After the first error the broker confirms nothing, refuses nothing and ends with exit
 * code 74 (rule W1); everything that it had confirmed is there at the next start, even if the kernel has dropped what the failed sync was to
 * write (promise P2).
 */
import { cpSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect } from 'vitest';
import type { Client } from '../../client-sdk/index.js';
import { BrokerProcess, type Exit, startExpectingFailure } from '../support/broker-process.js';
import { within } from '../support/deadline.js';
import { Random, seedOf } from '../support/random.js';
import { CALLS, type Injection, strace, testWithStrace } from '../support/strace.js';
import { tempDirectory } from '../support/temp-directory.js';
import { lose, type TracedWrites, tracedWrites } from '../support/unsynced-writes.js';
import { assertHolds, client, drain, publishAll, QUEUE, texts } from './backlog.js';

/** Small, so that new files are made, sealed and deleted while the faults come. */
const FLAGS = ['--segment-bytes', '64KiB'];
const ROUNDS = 2;
/** Publishes under way at a time. */
const WINDOW = 10;

const random = new Random(seedOf('disk errors'));

/** What clients of a broker knew when its disk failed. */
interface Known {
  readonly dataDir: string;
  readonly confirmed: Map<number, string>;
  /** Texts of publishes without an answer. */
  readonly unknown: Set<string>;
  /** Ids whose ack was confirmed, and those whose ack was sent. */
  readonly settled: Set<number>;
  readonly acked: Set<number>;
  readonly exit: Exit;
  readonly log: string;
  readonly writes: TracedWrites;
}

/** Publishes and settles until the disk fails. */
async function untilFailure(injection: Injection, flags: readonly string[] = []): Promise<Known> {
  const tracePath = join(tempDirectory(), 'trace');
  // The archive is there already: making it takes dozens of calls, and those that fail are to be the journal's.
  const first = await BrokerProcess.start({ flags: FLAGS });
  await first.stop();
  const broker = await BrokerProcess.start({
    dataDir: first.dataDir,
    flags: [...FLAGS, ...flags],
    wrapper: strace(tracePath, injection),
  });
  const known = { confirmed: new Map<number, string>(), unknown: new Set<string>() };
  const answers = { settled: new Set<number>(), acked: new Set<number>() };
  const side = await client(broker.url, { reconnect: false });
  await side.queues.declare(QUEUE);
  await consumeSome(side, answers);
  await within(publishOn(side, known), () => `the failure of the disk; ${known.confirmed.size} are confirmed`);
  const exit = await within(broker.exit, 'the end of the broker');
  const { log, dataDir } = broker;
  return { dataDir, ...known, ...answers, exit, log, writes: tracedWrites(tracePath) };
}

/** Publishes until that fails, `WINDOW` at a time, with bodies of any size. */
async function publishOn(side: Client, known: Pick<Known, 'confirmed' | 'unknown'>): Promise<void> {
  const codes = new Set<string>();
  for (let first = 0; codes.size === 0; first += WINDOW) {
    const bodies = texts(WINDOW, { first, bytes: random.whole(1, 6_000) });
    for (const body of bodies) known.unknown.add(body);
    const publish = async (body: string): Promise<void> => {
      try {
        known.confirmed.set((await side.publish(QUEUE, body)).id, body);
        known.unknown.delete(body);
      } catch (error) {
        codes.add((error as { code: string }).code);
      }
    };
    await Promise.all(bodies.map(publish));
  }
  // Not one was refused: the outcome of all of them is unknown.
  expect([...codes].filter((code) => code !== 'CONNECTION_LOST' && code !== 'CLIENT_CLOSED')).toEqual([]);
}

/** Settles what it gets, except for every fifth, which stays unsettled. */
async function consumeSome(side: Client, { settled, acked }: Pick<Known, 'settled' | 'acked'>): Promise<void> {
  const handle = async (delivery: { id: number; ack(): Promise<void> }): Promise<void> => {
    if (delivery.id % 5 === 0) return new Promise(() => undefined);
    acked.add(delivery.id);
    await delivery.ack().then(
      () => settled.add(delivery.id),
      () => undefined,
    );
  };
  await side.consume(QUEUE, handle, { prefetch: 1_000 });
}

/** Starts a broker over a data directory and finds what was promised, and nothing that nobody has published. */
async function assertKept({ confirmed, unknown, settled, acked }: Known, dataDir: string): Promise<void> {
  const broker = await BrokerProcess.start({ dataDir, flags: [...FLAGS, '--grace-ms', '0'] });
  const found = await drain(broker);
  await broker.kill();
  const unsettled = new Map([...confirmed].filter(([id]) => !acked.has(id)));
  assertHolds(found, unsettled);
  expect(found.filter(({ id }) => settled.has(id))).toEqual([]);
  const invented = found.filter(({ id, text }) => confirmed.get(id) !== text && !unknown.has(text));
  expect(invented).toEqual([]);
}

function copyOf(dataDir: string): string {
  const copy = tempDirectory();
  cpSync(dataDir, copy, { recursive: true });
  return copy;
}

/** What was promised is there, whatever the kernel has made of the writes that were not synced. */
async function assertKeptWhateverWasLost(known: Known): Promise<void> {
  // The trace could be read.
  expect(known.writes.count).toBeGreaterThan(known.confirmed.size / WINDOW);
  for (const isLost of [() => true, () => random.whole(0, 1) === 0]) {
    const dataDir = copyOf(known.dataDir);
    const moved = known.writes.unsynced.map((write) => ({
      ...write,
      path: write.path.replace(known.dataDir, dataDir),
    }));
    lose(moved, isLost);
    await assertKept(known, dataDir);
  }
  await assertKept(known, known.dataDir);
}

function assertStopped({ exit, log, confirmed }: Known, call: RegExp): void {
  expect(exit).toEqual({ code: 74, signal: null });
  const fatal = log.split('\n').filter((line) => line.includes('"level":60'));
  expect(fatal.map((line) => JSON.parse(line))).toMatchObject([
    { msg: expect.stringContaining('could not be synced'), err: { message: expect.stringMatching(call) } },
  ]);
  expect(confirmed.size).toBeGreaterThan(0);
}

describe('a broker ends with 74 and keeps what it has confirmed', () => {
  for (let round = 1; round <= ROUNDS; round++) {
    testWithStrace(`when a sync of the journal fails (${round} of ${ROUNDS})`, async () => {
      const when = `${random.whole(10, 60)}`;
      const known = await untilFailure({ calls: CALLS.datasync, fault: 'error=EIO', when });
      assertStopped(known, /EIO: i\/o error, fdatasync/);
      await assertKeptWhateverWasLost(known);
    });
  }

  testWithStrace('when a sync of the directory fails', async () => {
    const when = `${random.whole(5, 12)}`;
    const known = await untilFailure({ calls: CALLS.sync, fault: 'error=EIO', when });
    assertStopped(known, /EIO: i\/o error, fsync/);
    await assertKeptWhateverWasLost(known);
  });

  testWithStrace('when a write fails', async () => {
    const when = `${random.whole(30, 200)}`;
    const known = await untilFailure({ calls: CALLS.write, fault: 'error=EIO', when });
    assertStopped(known, /EIO: i\/o error, write/);
    await assertKeptWhateverWasLost(known);
  });

  testWithStrace('when a segment cannot be renamed or deleted', async () => {
    // Counted for each thread: names are changed on the main one, which also deletes two files of SQLite; segments are deleted on those of the pool in turn.
    const { calls, when } = random.pick([
      { calls: CALLS.rename, when: random.whole(6, 12) },
      { calls: CALLS.unlink, when: 3 },
    ]);
    const known = await untilFailure({ calls, fault: 'error=EIO', when: `${when}` });
    assertStopped(known, /EIO: i\/o error, (rename|unlink)/);
    await assertKeptWhateverWasLost(known);
  });

  testWithStrace('when a sync fails that comes every so many ms only', async () => {
    const injection = { calls: CALLS.datasync, fault: 'error=EIO', when: `${random.whole(10, 30)}` };
    const known = await untilFailure(injection, ['--sync', '5']);
    assertStopped(known, /EIO: i\/o error, fdatasync/);
    // What was confirmed since the last sync is lost if the kernel has dropped it, and only then.
    await assertKept(known, known.dataDir);
  });
});

describe('a cut of the power', () => {
  for (let round = 1; round <= ROUNDS; round++) {
    testWithStrace(`in the middle of a sync takes nothing that was confirmed (${round} of ${ROUNDS})`, async () => {
      const when = `${random.whole(10, 60)}`;
      const known = await untilFailure({ calls: CALLS.datasync, fault: 'signal=SIGKILL', when });
      expect(known.exit).toEqual({ code: null, signal: 'SIGKILL' });
      expect(known.confirmed.size).toBeGreaterThan(0);
      await assertKeptWhateverWasLost(known);
    });
  }
});

describe('a start', () => {
  testWithStrace('over a disk that fails is refused, and harms nothing', async () => {
    const first = await BrokerProcess.start({ flags: FLAGS });
    const confirmed = await publishAll(await client(first.url), texts(50, { bytes: 3_000 }));
    const { dataDir } = first;
    await first.kill();
    for (const calls of [CALLS.datasync, CALLS.sync, CALLS.write]) {
      const wrapper = strace(join(tempDirectory(), 'trace'), { calls, fault: 'error=EIO', when: '1+' });
      const { exit, stderr } = await startExpectingFailure({ dataDir, flags: FLAGS, wrapper });
      expect(exit.code).toBe(1);
      expect(stderr).toContain('"code":"EIO"');
    }
    const found = await drain(await BrokerProcess.start({ dataDir, flags: FLAGS }));
    assertHolds(found, confirmed);
    expect(found).toHaveLength(confirmed.size);
  });
});
