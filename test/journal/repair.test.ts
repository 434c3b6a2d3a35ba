/** A damaged log is never opened, always repaired, and what is left is a beginning of what was written. */
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import {
  dumpJournal,
  JournalDamagedError,
  JournalMissingError,
  nodeStorage,
  openFileJournal,
  repairJournal,
  type Storage,
  verifyJournal,
} from '../../server/journal/index.js';
import { FILE_HEADER_BYTES } from '../../server/journal/segment-format.js';
import { flip, overwrite, segmentPaths } from '../support/data-directory.js';
import { Random, seedOf } from '../support/random.js';
import { tempDirectory } from '../support/temp-directory.js';

const SEGMENT_BYTES = 4096;
const random = new Random(seedOf('repair'));
const whole = tempDirectory();
const work = tempDirectory();
let records: string[];

/** Five segments of a few batches, left as by a process that died. */
beforeAll(async () => {
  const journal = await openFileJournal({ directory: whole, segmentBytes: SEGMENT_BYTES, onFatal: fail });
  await journal.replay(() => undefined);
  while (journal.stats().segments < 5) {
    for (let count = random.whole(1, 3); count > 0; count -= 1) {
      journal.prepare();
      journal.stage(random.whole(0, 255), random.bytes(random.whole(0, 40)), random.bytes(random.whole(0, 700)));
    }
    await journal.commit();
  }
  // What a crash leaves is what lies there before the end is marked.
  cpSync(join(whole, 'journal'), join(work, 'journal'), { recursive: true });
  await journal.close();
  rmSync(join(whole, 'journal'), { recursive: true });
  cpSync(join(work, 'journal'), join(whole, 'journal'), { recursive: true });
  records = recordsOf(whole);
});

/** Nothing crashes in most of these tests, so the disk need not be waited for. */
const unsynced: Storage = {
  ...nodeStorage,
  syncDirectory: async () => undefined,
  open: (path, mode) => Object.assign(nodeStorage.open(path, mode), { datasync: async () => undefined }),
};

function fail(error: Error): never {
  throw error;
}

function recordsOf(directory: string): string[] {
  return Array.from(
    dumpJournal(directory),
    ({ type, head, body }) => `${type} ${Buffer.from(head).toString('hex')} ${Buffer.from(body).toString('hex')}`,
  );
}

/** A fresh copy of the whole log. */
function copy(): string {
  for (const name of ['journal', 'torn']) rmSync(join(work, name), { recursive: true, force: true });
  mkdirSync(join(work, 'journal'));
  for (const path of segmentPaths(whole)) cpSync(path, join(work, 'journal', path.slice(-18)));
  return work;
}

function isWhole(directory: string): boolean {
  try {
    verifyJournal(directory);
    return true;
  } catch (error) {
    if (error instanceof JournalDamagedError) return false;
    throw error;
  }
}

/** Checks all that a repair promises, and returns how many records are left. */
async function checkRepair(directory: string): Promise<number> {
  const wasWhole = isWhole(directory);
  const before = bytesOf(directory);
  const planned = await repairJournal(directory, { apply: false }, unsynced);
  expect(planned === null).toBe(wasWhole);
  expect(bytesOf(directory)).toEqual(before);
  const repair = await repairJournal(directory, { apply: true }, unsynced);
  expect(repair?.plan).toEqual(planned?.plan);
  for (const path of repair?.copies ?? []) expect(isIn(readFileSync(path), before)).toBe(true);
  // When nothing can be believed, the next start makes a new log.
  if (segmentPaths(directory).length === 0) return 0;
  expect(isWhole(directory)).toBe(true);
  const left = recordsOf(directory);
  expect(left).toEqual(records.slice(0, left.length));
  expect(await repairJournal(directory, { apply: true }, unsynced)).toBe(null);
  return left.length;
}

function bytesOf(directory: string): Buffer[] {
  return segmentPaths(directory).map((path) => readFileSync(path));
}

function isIn(bytes: Buffer, files: readonly Buffer[]): boolean {
  return files.some((file) => file.includes(bytes));
}

describe('a repair', () => {
  test('of a whole log has nothing to do', async () => {
    expect(records.length).toBeGreaterThan(20);
    expect(await checkRepair(copy())).toBe(records.length);
  });

  test('after a damaged byte anywhere leaves a beginning of the log', async () => {
    const sizes = segmentPaths(whole).map((path) => readFileSync(path).length);
    for (const [index, size] of sizes.entries()) {
      // Other bytes in each run, closer together in the file header and the first batch header.
      for (let at = 0; at < size; at += at < 120 ? random.whole(1, 6) : random.whole(1, 150)) {
        const directory = copy();
        flip(segmentPaths(directory)[index]!, at);
        await checkRepair(directory);
      }
    }
  });

  test('at a batch in the middle keeps every batch before it', async () => {
    const directory = copy();
    const path = segmentPaths(directory)[2]!;
    const before = recordsBefore(3);
    flip(path, FILE_HEADER_BYTES + 4);
    expect(await checkRepair(directory)).toBe(before);
    expect(readdirSync(join(directory, 'torn'))).toHaveLength(segmentPaths(whole).length - 2);
  });

  test('writes a damaged file header again and loses nothing', async () => {
    const directory = copy();
    const [, second, third] = segmentPaths(directory) as [string, string, string];
    overwrite(second, 0, new Uint8Array(FILE_HEADER_BYTES));
    flip(third, 20);
    const repair = await repairJournal(directory, { apply: false }, unsynced);
    expect(repair?.plan).toMatchObject({ headers: [2, 3], cut: null, dropped: [] });
    expect(await checkRepair(directory)).toBe(records.length);
  });

  test('goes on without what lies behind a missing segment', async () => {
    const directory = copy();
    rmSync(segmentPaths(directory)[3]!);
    expect(await checkRepair(directory)).toBe(recordsBefore(4));
  });

  test('after a truncation anywhere leaves a beginning of the log', async () => {
    const paths = segmentPaths(whole);
    for (const [index, path] of paths.entries()) {
      const size = readFileSync(path).length;
      for (let length = 0; length < size; length += random.whole(1, 200)) {
        const directory = copy();
        truncateSync(segmentPaths(directory)[index]!, length);
        await checkRepair(directory);
      }
    }
  });

  test('is followed by a start that takes new records', async () => {
    const directory = copy();
    flip(segmentPaths(directory)[1]!, 3500);
    const repair = await repairJournal(directory, { apply: true });
    expect(repair?.plan.dropped.map(({ segment }) => segment)).toEqual([3, 4, 5]);
    const left = recordsOf(directory).length;
    const journal = await openFileJournal({ directory, segmentBytes: SEGMENT_BYTES, onFatal: fail });
    let replayed = 0;
    await journal.replay(() => {
      replayed += 1;
    });
    expect(replayed).toBe(left);
    journal.prepare();
    journal.stage(1, Buffer.from('new'));
    await journal.commit();
    await journal.close();
    expect(recordsOf(directory).slice(left)).toEqual([`1 ${Buffer.from('new').toString('hex')} `]);
  });

  test('of files without one header that can be read is refused and changes nothing', async () => {
    const directory = copy();
    for (const path of segmentPaths(directory)) flip(path, 3);
    const before = bytesOf(directory);
    await expect(repairJournal(directory, { apply: true }, unsynced)).rejects.toThrow(JournalDamagedError);
    expect(bytesOf(directory)).toEqual(before);
  });

  test('of a directory without a journal is refused and makes nothing', async () => {
    const directory = tempDirectory();
    writeFileSync(join(directory, 'other'), '');
    await expect(repairJournal(directory, { apply: true }, unsynced)).rejects.toThrow(JournalMissingError);
    expect(() => verifyJournal(directory)).toThrow(JournalMissingError);
    expect(readdirSync(directory)).toEqual(['other']);
  });
});

/** Records in the segments before one. */
function recordsBefore(segment: number): number {
  let count = 0;
  for (const record of dumpJournal(whole)) if (record.segment < segment) count += 1;
  return count;
}
