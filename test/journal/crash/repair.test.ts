/** A damaged log is never opened, always repaired, and what is left is a beginning of what was written. */
import { crc32 } from 'node:zlib';
import { beforeAll, describe, expect, test } from 'vitest';
import {
  dumpJournal,
  JournalDamagedError,
  JournalMissingError,
  type Repair,
  repairJournal,
  verifyJournal,
} from '../../../server/journal/index.js';
import { FILE_HEADER_BYTES } from '../../../server/journal/segment-format.js';
import { Random, seedOf } from '../../support/random.js';
import { ManualClock } from './manual-clock.js';
import { SimulatedCrash, SimulatedDisk } from './simulated-disk.js';
import { DIRECTORY, openOn, textOf } from './workload.js';

const random = new Random(seedOf('repair'));
let whole: SimulatedDisk;
let records: string[];

/** Five segments of a few batches, left as by a process that died. */
beforeAll(async () => {
  const disk = new SimulatedDisk();
  const journal = await openOn(disk, new ManualClock(), 'always', fail);
  await journal.replay(() => undefined);
  while (journal.stats().segments < 5) {
    for (let count = random.whole(1, 3); count > 0; count -= 1) {
      journal.prepare();
      journal.stage(random.whole(0, 255), random.bytes(random.whole(0, 40)), random.bytes(random.whole(0, 700)));
    }
    await journal.commit();
  }
  disk.crash();
  whole = disk.image(random, 'kept');
  records = recordsOf(whole);
});

function fail(error: Error): never {
  throw error;
}

function recordsOf(disk: SimulatedDisk): string[] {
  return Array.from(dumpJournal(DIRECTORY, 1, disk), ({ type, head, body }) => textOf(type, head, body));
}

function pathOf(segment: number): string {
  return `${DIRECTORY}/journal/${String(segment).padStart(10, '0')}.segment`;
}

function flipped(disk: SimulatedDisk, path: string, at: number): SimulatedDisk {
  return disk.edited(path, (bytes) => bytes.writeUInt8(bytes[at]! ^ random.whole(1, 255), at));
}

/** As `toEqual` of two maps, a thousand times as fast. */
function isSame(a: Map<string, Buffer>, b: Map<string, Buffer>): boolean {
  return a.size === b.size && [...a].every(([path, bytes]) => b.get(path)?.equals(bytes));
}

function isWhole(disk: SimulatedDisk): boolean {
  try {
    verifyJournal(DIRECTORY, disk);
    return true;
  } catch (error) {
    if (error instanceof JournalDamagedError) return false;
    throw error;
  }
}

function repaired(disk: SimulatedDisk, apply = true): Promise<Repair | null> {
  return repairJournal(DIRECTORY, { apply }, disk);
}

/** Checks all that a repair promises, and returns how many records are left. */
async function checkRepair(disk: SimulatedDisk): Promise<number> {
  const wasWhole = isWhole(disk);
  const before = disk.contents();
  const planned = await repaired(disk, false);
  expect(planned === null).toBe(wasWhole);
  expect(isSame(disk.contents(), before)).toBe(true);
  const repair = await repaired(disk);
  expect(repair?.plan).toEqual(planned?.plan);
  for (const path of repair?.copies ?? [])
    expect([...before.values()].some((bytes) => bytes.includes(disk.contents().get(path)!))).toBe(true);
  // What is taken out goes nowhere else, and nothing is taken out without a copy.
  const bytesOf = (files: Map<string, Buffer>): number =>
    [...files.values()].reduce((sum, { length }) => sum + length, 0);
  expect(bytesOf(disk.contents())).toBe(bytesOf(before));
  return checkRepaired(disk);
}

async function checkRepaired(disk: SimulatedDisk): Promise<number> {
  // When nothing can be believed, the next start makes a new log.
  if (![...disk.contents().keys()].some((path) => path.endsWith('.segment'))) return 0;
  expect(isWhole(disk)).toBe(true);
  const left = recordsOf(disk);
  expect(left).toEqual(records.slice(0, left.length));
  expect(await repaired(disk)).toBe(null);
  return left.length;
}

/** Records in the segments before one. */
function recordsBefore(segment: number): number {
  return Array.from(dumpJournal(DIRECTORY, 1, whole), (record) => record.segment).filter((number) => number < segment)
    .length;
}

describe('a repair', () => {
  test('of a whole log has nothing to do', async () => {
    expect(records.length).toBeGreaterThan(20);
    expect(await checkRepair(whole.copy())).toBe(records.length);
  });

  test('after a damaged byte anywhere leaves a beginning of the log', async () => {
    for (const [path, { length }] of whole.contents()) {
      // Closer together in the file header and the first batch header; other bytes in each run.
      for (let at = 0; at < length; at += random.whole(1, at < 120 ? 3 : 40))
        await checkRepair(flipped(whole, path, at));
    }
  }, 120_000);

  test('after a truncation anywhere leaves a beginning of the log', async () => {
    for (const [path, { length }] of whole.contents()) {
      for (let to = 0; to < length; to += random.whole(1, 90)) await checkRepair(whole.truncated(path, to));
    }
  }, 120_000);

  test('at a batch in the middle keeps every batch before it', async () => {
    const disk = flipped(whole, pathOf(3), FILE_HEADER_BYTES + 4);
    expect(await checkRepair(disk)).toBe(recordsBefore(3));
  });

  test('writes a damaged file header again and loses nothing', async () => {
    const zeroed = whole.edited(pathOf(2), (bytes) => bytes.fill(0, 0, FILE_HEADER_BYTES));
    const disk = flipped(zeroed, pathOf(3), 20);
    expect((await repaired(disk, false))?.plan).toMatchObject({ headers: [2, 3], cut: null, dropped: [] });
    expect(await checkRepair(disk)).toBe(records.length);
  });

  test('goes on without what lies behind a missing segment', async () => {
    expect(await checkRepair(whole.without(pathOf(4)))).toBe(recordsBefore(4));
  });

  test('that is crashed at any operation can be done again', async () => {
    const damaged = flipped(flipped(whole, pathOf(2), 3), pathOf(4), 3_000);
    const reference = damaged.copy();
    const left = await checkRepair(reference);
    for (let crashAt = 1; ; crashAt += 1) {
      const disk = damaged.copy();
      disk.crashAt = crashAt;
      const isDone = await repaired(disk).then(
        () => true,
        (error: unknown) => {
          expect(error).toBeInstanceOf(SimulatedCrash);
          return false;
        },
      );
      const image = disk.image(random, random.pick(['lost', 'kept', 'torn', 'mixed']));
      await repaired(image);
      expect(await checkRepaired(image)).toBe(left);
      if (isDone) break;
      expect(crashAt).toBeLessThan(1_000);
    }
  });

  test('is followed by a start that takes new records', async () => {
    const disk = flipped(whole, pathOf(2), 3_500);
    await repaired(disk);
    const left = recordsOf(disk);
    const journal = await openOn(disk, new ManualClock(), 'always', fail);
    let replayed = 0;
    await journal.replay(() => {
      replayed += 1;
    });
    expect(replayed).toBe(left.length);
    journal.prepare();
    journal.stage(1, Buffer.from('new'));
    await journal.commit();
    await journal.close();
    expect(recordsOf(disk)).toEqual([...left, textOf(1, Buffer.from('new'), Buffer.alloc(0))]);
  });

  test('of files without one header that can be read is refused and changes nothing', async () => {
    let disk = whole;
    for (const path of whole.contents().keys()) disk = flipped(disk, path, 3);
    const before = disk.contents();
    await expect(repaired(disk)).rejects.toThrow(JournalDamagedError);
    expect(isSame(disk.contents(), before)).toBe(true);
  });

  test('of a log that a later version has written to is refused and changes nothing', async () => {
    const disk = whole.edited(pathOf(3), (bytes) => {
      bytes.writeUInt32LE(2, 8);
      return bytes.writeUInt32LE(crc32(bytes.subarray(0, 60)), 60);
    });
    const before = disk.contents();
    await expect(repaired(disk)).rejects.toThrow(/segment 3 .*the format version is 2/);
    expect(isSame(disk.contents(), before)).toBe(true);
  });

  test('of a directory without a journal is refused and makes nothing', async () => {
    const disk = new SimulatedDisk();
    await expect(repaired(disk)).rejects.toThrow(JournalMissingError);
    expect(() => verifyJournal(DIRECTORY, disk)).toThrow(JournalMissingError);
    expect(disk.contents().size).toBe(0);
  });
});
