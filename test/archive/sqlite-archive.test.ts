/** The archive over a real file: what is stored is found, by whom and how long, through everything that may happen to the file. */
import { cpSync, existsSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { openDatabase } from '../../server/archive/database.js';
import { ARCHIVE_FILE, ArchiveDamagedError, ArchiveTooNewError } from '../../server/archive/index.js';
import { Random, seedOf } from '../support/random.js';
import { tempDirectory } from '../support/temp-directory.js';
import { openedArchive, sliceOf, textOf } from './open-archive.js';

const SHELF = { namespace: 'default', era: 7 };
const PAGE_BYTES = 4_096;
const ALL = Number.MAX_SAFE_INTEGER;

function rowsTo(count: number, text = 'result') {
  return Array.from({ length: count }, (_, i) => ({ id: i + 1, text: `${text} ${i + 1}` }));
}

async function sweepAll(archive: ReturnType<typeof openedArchive>['archive'], nowMs: number): Promise<void> {
  while (await archive.sweep(nowMs));
}

describe('archive', () => {
  test('finds what was stored, with its facts, and nothing under other ids', async () => {
    const { archive } = openedArchive(tempDirectory());
    expect(textOf(archive, SHELF, 1)).toBe(null);
    await archive.store(sliceOf(SHELF, [{ id: 5, text: 'five', priority: 9, attempts: 3, expiryMs: 50, flags: 3 }]));
    expect(textOf(archive, SHELF, 5)).toBe('five');
    expect(archive.describe(SHELF, 5, 0)).toMatchObject({ priority: 9, attempts: 3, expiryMs: 50, flags: 3, bytes: 4 });
    expect(textOf(archive, SHELF, 4)).toBe(null);
    expect(archive.describe(SHELF, 6, 0)).toBe(null);
    expect(archive.lastId()).toBe(5);
  });

  test('keeps namespaces and eras apart', async () => {
    const { archive } = openedArchive(tempDirectory());
    const other = { namespace: 'other', era: 7 };
    await archive.store(sliceOf(SHELF, [{ id: 1, text: 'mine' }]));
    await archive.store(sliceOf(other, [{ id: 2, text: 'theirs' }]));
    expect([textOf(archive, SHELF, 1), textOf(archive, other, 1)]).toEqual(['mine', null]);
    expect([textOf(archive, SHELF, 2), textOf(archive, other, 2)]).toEqual([null, 'theirs']);
    expect(textOf(archive, { ...SHELF, era: 8 }, 1)).toBe(null);
    expect([archive.count(SHELF), archive.count(other), archive.count({ ...SHELF, era: 8 })]).toEqual([1, 1, 0]);
  });

  test('stores the same results twice with no change', async () => {
    const { archive } = openedArchive(tempDirectory());
    for (let time = 0; time < 2; time++) await archive.store(sliceOf(SHELF, rowsTo(100)));
    expect(archive.stats()).toMatchObject({ results: 100, failures: 0 });
    const { resultBytes } = archive.stats();
    expect(resultBytes).toBe(rowsTo(100).reduce((sum, { text }) => sum + text.length, 0));
    expect(textOf(archive, SHELF, 100)).toBe('result 100');
  });

  test('never finds what has expired, and counts it no more once it is swept', async () => {
    const { archive } = openedArchive(tempDirectory());
    const rows = rowsTo(5_000).map((row) => ({ ...row, expiryMs: row.id <= 4_500 ? 1_000 : 0 }));
    await archive.store(sliceOf(SHELF, rows));
    expect(textOf(archive, SHELF, 1, 999)).toBe('result 1');
    expect(textOf(archive, SHELF, 1, 1_000)).toBe(null);
    expect(archive.describe(SHELF, 1, 1_000)).toBe(null);
    expect(await archive.sweep(999)).toBe(false);
    expect(archive.stats().results).toBe(5_000);
    expect(await archive.sweep(1_000)).toBe(true);
    await sweepAll(archive, 1_000);
    expect(archive.stats().results).toBe(500);
    expect(textOf(archive, SHELF, 4_501, 10 ** 15)).toBe('result 4501');
  });

  test('forgets all shelves but those to be kept at once, and sweeps the others by and by', async () => {
    const directory = tempDirectory();
    const { archive } = openedArchive(directory);
    const kept = { namespace: 'kept', era: 1 };
    await archive.store(sliceOf(SHELF, rowsTo(12_000)));
    await archive.store(sliceOf(kept, [{ id: 20_000, text: 'kept' }]));
    const done = archive.keep([kept], ALL);
    expect(textOf(archive, SHELF, 1)).toBe(null);
    await done;
    expect(archive.hasOthers(({ namespace }) => namespace === 'kept')).toBe(false);
    expect(archive.stats().results).toBe(1);
    expect(await archive.sweep(0)).toBe(true);
    await sweepAll(archive, 0);
    expect(textOf(archive, kept, 20_000)).toBe('kept');
    await archive.close();
    const database = openDatabase(join(directory, ARCHIVE_FILE));
    expect(database.prepare('SELECT count(*) AS rows FROM results').get()).toEqual({ rows: 1 });
    expect(database.prepare('SELECT count(*) AS rows FROM shelves').get()).toEqual({ rows: 1 });
    database.close();
  });

  test('forgets a shelf although results were on their way to it, and takes new ones of the same era', async () => {
    const { archive } = openedArchive(tempDirectory());
    const stored = archive.store(sliceOf(SHELF, rowsTo(10)));
    const kept = archive.keep([], ALL);
    await Promise.all([stored, kept]);
    expect(textOf(archive, SHELF, 1)).toBe(null);
    expect(archive.stats().results).toBe(0);
    await archive.store(sliceOf(SHELF, [{ id: 11, text: 'new' }]));
    await sweepAll(archive, 0);
    expect([textOf(archive, SHELF, 1), textOf(archive, SHELF, 11)]).toEqual([null, 'new']);
  });

  test('forgets results from an id on', async () => {
    const { archive } = openedArchive(tempDirectory());
    await archive.store(sliceOf(SHELF, rowsTo(10)));
    await archive.keep([SHELF], 6);
    expect([textOf(archive, SHELF, 5), textOf(archive, SHELF, 6)]).toEqual(['result 5', null]);
    expect([archive.count(SHELF), archive.lastId()]).toEqual([5, 5]);
  });

  test('has everything after it was closed, and after a crash at any moment', async () => {
    const directory = tempDirectory();
    const random = new Random(seedOf('archive crash'));
    const { archive } = openedArchive(directory);
    const stored = new Set<number>();
    for (let slice = 0; slice < 20; slice++) {
      const rows = rowsTo(random.whole(1, 300)).map(({ text }, i) => ({ id: slice * 1_000 + i + 1, text }));
      await archive.store(sliceOf(SHELF, rows));
      for (const { id } of rows) stored.add(id);
      if (slice % 4 !== 3) continue;
      const copy = tempDirectory();
      cpSync(directory, copy, { recursive: true });
      const { archive: found } = openedArchive(copy);
      expect(found.count(SHELF)).toBe(stored.size);
      for (const id of stored) expect(found.find(SHELF, id, 0)).not.toBe(null);
      await found.close();
    }
    await archive.close();
    const { archive: again } = openedArchive(directory);
    expect(again.stats()).toMatchObject({ results: stored.size });
    expect(existsSync(join(directory, `${ARCHIVE_FILE}-wal`))).toBe(true);
    await again.close();
    expect(existsSync(join(directory, `${ARCHIVE_FILE}-wal`))).toBe(false);
  });

  test('uses the room of what is gone again', async () => {
    const { archive } = openedArchive(tempDirectory());
    const text = 'x'.repeat(1_000);
    const fileBytes: number[] = [];
    for (let round = 0; round < 4; round++) {
      for (let from = 0; from < 5_000; from += 1_000)
        await archive.store(
          sliceOf(
            SHELF,
            Array.from({ length: 1_000 }, (_, i) => ({ id: round * 5_000 + from + i + 1, text, expiryMs: 1 })),
          ),
        );
      fileBytes.push(archive.stats().fileBytes);
      await sweepAll(archive, 1);
    }
    expect(fileBytes[0]).toBeGreaterThan(5_000_000);
    expect(Math.max(...fileBytes)).toBeLessThan(fileBytes[0]! * 1.2);
  });
});

describe('a file that cannot be an archive', () => {
  async function file(): Promise<{ readonly directory: string; readonly path: string }> {
    const directory = tempDirectory();
    const { archive } = openedArchive(directory);
    await archive.store(sliceOf(SHELF, rowsTo(1_000)));
    await archive.close();
    return { directory, path: join(directory, ARCHIVE_FILE) };
  }

  test('is refused by its code when a later version has written it', async () => {
    const { directory, path } = await file();
    const database = openDatabase(path);
    database.pragma('user_version = 2');
    database.close();
    expect(() => openedArchive(directory)).toThrow(ArchiveTooNewError);
    expect(() => openedArchive(directory)).toThrow(/version 2, expected at most 1/);
  });

  test('is refused by its code when it is no database, one of something else, or cut off', async () => {
    const noDatabase = await file();
    writeFileSync(noDatabase.path, Buffer.alloc(8_192, 'no database '));
    const other = await file();
    const database = openDatabase(other.path);
    database.pragma('application_id = 1');
    database.close();
    const cut = await file();
    truncateSync(cut.path, readFileSync(cut.path).length / 2);
    for (const { directory } of [noDatabase, other, cut]) {
      expect(() => openedArchive(directory)).toThrow(ArchiveDamagedError);
      expect(() => openedArchive(directory)).toThrow(/move it away/);
    }
  });

  test('that was never finished is made', async () => {
    const directory = tempDirectory();
    writeFileSync(join(directory, ARCHIVE_FILE), '');
    const { archive } = openedArchive(directory);
    await archive.store(sliceOf(SHELF, rowsTo(1)));
    expect(textOf(archive, SHELF, 1)).toBe('result 1');
  });

  test('is told of when it is damaged where it is read, and what stands there is not found', async () => {
    const { directory, path } = await file();
    const bytes = readFileSync(path);
    const page = Math.floor(bytes.indexOf('result 500') / PAGE_BYTES) * PAGE_BYTES;
    bytes.fill(0xa5, page, page + PAGE_BYTES);
    writeFileSync(path, bytes);
    const { archive, failures } = openedArchive(directory);
    const found = rowsTo(1_000).filter(({ id }) => textOf(archive, SHELF, id) !== null);
    expect(found.map(({ id }) => id)).not.toContain(500);
    expect(found.length).toBeGreaterThan(800);
    expect(failures.length).toBeGreaterThan(0);
    expect(archive.stats().failures).toBe(failures.length);
  });
});

describe('a store that fails', () => {
  test('rejects with what the disk said, stores nothing of its slice, and the next one is stored', async () => {
    const directory = tempDirectory();
    const { archive } = openedArchive(directory);
    await archive.store(sliceOf(SHELF, rowsTo(3)));
    const database = openDatabase(join(directory, ARCHIVE_FILE));
    database.exec(
      "CREATE TRIGGER refuse BEFORE INSERT ON results WHEN NEW.id = 12 BEGIN SELECT RAISE(ABORT, 'no'); END",
    );
    const refused = archive.store(
      sliceOf(
        SHELF,
        [10, 11, 12].map((id) => ({ id, text: 'x' })),
      ),
    );
    await expect(refused).rejects.toMatchObject({ code: 'SQLITE_CONSTRAINT_TRIGGER' });
    expect([textOf(archive, SHELF, 10), archive.count(SHELF), archive.stats().failures]).toEqual([null, 3, 1]);
    database.exec('DROP TRIGGER refuse');
    database.close();
    await archive.store(sliceOf(SHELF, [{ id: 12, text: 'x' }]));
    expect(archive.count(SHELF)).toBe(4);
  });
});
