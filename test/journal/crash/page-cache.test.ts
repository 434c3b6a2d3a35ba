/**
 * The process dies and the machine does not, so that the next process reads from the page cache what may not be on the disk (rules W1, W2). What it
 * has served from there must outlive the machine's death all the same.
 */
import { describe, expect, test } from 'vitest';
import { Random, seedOf } from '../../support/random.js';
import { checkLive, checkRecords, differenceOf, openAndReplay } from './after-crash.js';
import { type History, Lifetimes } from './lifetimes.js';
import { ManualClock } from './manual-clock.js';
import { MessageStore, type StoredRecord } from './message-store.js';
import { SimulatedDisk } from './simulated-disk.js';
import { openOn, textOf, Workload } from './workload.js';

const seed = seedOf('journal page cache');

/** A whole run, to know how many calls there are. */
async function wholeRun(): Promise<SimulatedDisk> {
  const disk = new SimulatedDisk();
  expect(await new Lifetimes(disk, seed).run()).toMatchObject({ fatals: [], errors: [], closes: 3 });
  return disk;
}

/** The next process opens, serves what it finds, and with `batches` works on; then the machine dies, and what was served is still there. */
async function checkServed(dead: SimulatedDisk, history: History, batches: number): Promise<void> {
  const disk = dead.restarted();
  const opened = await openAndReplay(disk);
  const reached = checkRecords(opened, history);
  const served = [...opened.records];
  const store = new MessageStore(opened.journal, (record) => served.push(record));
  for (const [id, place] of opened.live.places) store.live.places.set(id, place);
  store.live.nextId = opened.live.nextId;
  for (let batch = 0; batch < batches; batch += 1) {
    store.begin();
    store.put();
    await opened.journal.commit();
  }
  expect(opened.fatals).toEqual([]);
  disk.crash();
  const after = await openAndReplay(disk.image(new Random(seed), 'lost'));
  expect(differenceOf(after.records, served)).toBeNull();
  checkLive(after, [...history.staged.slice(0, reached), ...added(served, opened.records)]);
  await after.journal.close();
}

function added(served: readonly StoredRecord[], replayed: readonly StoredRecord[]): readonly StoredRecord[] {
  return served.slice(replayed.length);
}

/** Says where it was when a check fails. */
async function told(where: string, check: () => Promise<void>): Promise<void> {
  try {
    await check();
  } catch (error) {
    throw new Error(`${where}, seed ${seed}`, { cause: error });
  }
}

describe('what the next process serves is on the disk', () => {
  test.each([0, 3])(
    'after the process was killed at any operation, and %d batches later',
    async (batches) => {
      const { operations } = await wholeRun();
      for (let crashAt = 1; crashAt <= operations; crashAt += 1) {
        const disk = new SimulatedDisk();
        disk.crashAt = crashAt;
        const history = await new Lifetimes(disk, seed).run();
        await told(`killed at ${crashAt} of ${operations}`, () => checkServed(disk, history, batches));
      }
    },
    120_000,
  );

  test.each([0, 3])(
    'after any sync failed and the kernel forgot what it could not write, and %d batches later',
    async (batches) => {
      const calls = (await wholeRun()).count('datasync');
      for (let nth = 1; nth <= calls; nth += 1) {
        const disk = new SimulatedDisk();
        disk.failure = { call: 'datasync', nth, code: 'EIO', forgets: true };
        const history = await new Lifetimes(disk, seed).run();
        await told(`sync ${nth} of ${calls}`, () => checkServed(disk, history, batches));
      }
    },
    120_000,
  );

  describe.each(['interval', 'never'] as const)('with sync class %s', (syncClass) => {
    test('after the process was killed at any operation', async () => {
      const { operations } = await work(new SimulatedDisk(), syncClass);
      let served = 0;
      for (let crashAt = 1; crashAt <= operations; crashAt += 1) {
        const disk = new SimulatedDisk();
        disk.crashAt = crashAt;
        served += await servedAfter(disk, syncClass, `killed at ${crashAt} of ${operations}`);
      }
      expect(served).toBeGreaterThan(1_000);
    }, 120_000);

    test('after any sync failed, of several batches, and the kernel forgot what it could not write', async () => {
      const calls = (await work(new SimulatedDisk(), syncClass)).count('datasync');
      let served = 0;
      for (let nth = 1; nth <= calls; nth += 1) {
        const disk = new SimulatedDisk();
        disk.failure = { call: 'datasync', nth, code: 'EIO', forgets: true };
        served += await servedAfter(disk, syncClass, `sync ${nth} of ${calls}`);
      }
      expect(served).toBeGreaterThan(calls);
    }, 120_000);
  });
});

async function work(disk: SimulatedDisk, syncClass: 'interval' | 'never'): Promise<SimulatedDisk> {
  await new Workload(disk, seed, syncClass).run();
  return disk;
}

/** Works until the disk fails, lets the next process serve, and the machine die: what was served is still there. Returns how many records. */
async function servedAfter(dead: SimulatedDisk, syncClass: 'interval' | 'never', where: string): Promise<number> {
  const { durable, reclaiming } = await new Workload(dead, seed, syncClass).run();
  let count = 0;
  await told(where, async () => {
    const disk = dead.restarted();
    const served = await textsIn(disk);
    count = served.length;
    // A confirm of these classes outlives the process.
    if (reclaiming === 1) expect(count).toBeGreaterThanOrEqual(durable);
    disk.crash();
    expect(await textsIn(disk.image(new Random(seed), 'lost'))).toEqual(served);
  });
  return count;
}

/** All that is replayed; the journal is left open, as a process leaves it that is killed. */
async function textsIn(disk: SimulatedDisk): Promise<string[]> {
  const texts: string[] = [];
  const fatals: Error[] = [];
  const journal = await openOn(disk, new ManualClock(), 'always', (error) => fatals.push(error));
  await journal.replay(({ type, head, body }) => texts.push(textOf(type, head, body)));
  expect(fatals).toEqual([]);
  return texts;
}
