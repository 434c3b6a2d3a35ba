/** What a journal writes is what the picture in `segment-format.ts` says, byte for byte, and what the picture says is what a journal reads. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { BatchReader } from '../../server/journal/batch-reader.js';
import { type FileJournal, JournalDamagedError, openFileJournal } from '../../server/journal/index.js';
import { logIdentity } from '../../server/journal/segment-format.js';
import { SliceReader } from '../../server/journal/slice-reader.js';
import { segmentPaths } from '../support/data-directory.js';
import { tempDirectory } from '../support/temp-directory.js';
import { ManualClock } from './crash/manual-clock.js';
import { CLEAN_STOP, type HandmadeBatch, HandmadeLog, IDLE, INTERVAL, NEVER, SEAL } from './handmade-log.js';
import { MemoryFile } from './memory-file.js';

const SEGMENT_BYTES = 4_096;

/** Computed by another program (Python's zlib) from the same picture. */
const GOLDEN =
  '4c4f564147454a0a0100000001000000000102030405060708090a0b0c0d0e0f' + // file header: magic, version, segment, log id
  '000000000000000000000000000000000000000000000000000000004ae8e080' + // zeros, crc
  '4c7642310d0000000100000040000000' + // batch: magic, 13 bytes, segment 1, offset 64
  '0100000000000000000000000000000088e2cece' + // batch 1, 0 is on the disk, seed of the log
  '0000000001000000ab82894563524537' + // flags, one record, header crc, body crc
  '0500000005020000616278797a' + // 5 bytes, type 5, 2 of them the head "ab", body "xyz"
  '4c764231000000000100000081000000' + // batch: magic, no bytes, segment 1, offset 129
  '0200000000000000010000000000000063524537' + // batch 2, 1 is on the disk, body crc of batch 1
  '0200000000000000a11957f1a11957f1'; // clean stop, no record, header crc, body crc of nothing

function fail(error: Error): never {
  throw error;
}

function open(directory: string, syncClass: 'always' | 'interval' | 'never' = 'always'): Promise<FileJournal> {
  const clock = new ManualClock();
  return openFileJournal({ directory, segmentBytes: SEGMENT_BYTES, syncClass, clock, onFatal: fail });
}

/** Commits one batch with these bodies. */
async function commit(journal: FileJournal, ...bodies: readonly string[]): Promise<void> {
  journal.prepare();
  for (const body of bodies) journal.stage(body.length, Buffer.from('h'), Buffer.from(body));
  await journal.commit();
}

function recordsOf(...bodies: readonly string[]): NonNullable<HandmadeBatch['records']> {
  return bodies.map((body) => ({ type: body.length, head: 'h', body }));
}

/** A log with the id that the journal has drawn. */
function likeThatIn(directory: string): HandmadeLog {
  return new HandmadeLog(readFileSync(segmentPaths(directory)[0]!).subarray(16, 32));
}

function place(log: HandmadeLog): string {
  const directory = tempDirectory();
  mkdirSync(join(directory, 'journal'));
  for (const [at, bytes] of log.segments.entries())
    writeFileSync(join(directory, 'journal', `${String(at + 1).padStart(10, '0')}.segment`), bytes);
  return directory;
}

async function bodiesIn(directory: string): Promise<string[]> {
  const journal = await open(directory);
  const bodies: string[] = [];
  try {
    await journal.replay(({ body }) => bodies.push(Buffer.from(body).toString()));
  } finally {
    await journal.close();
  }
  return bodies;
}

test('a log of one record and a clean stop has these bytes', () => {
  const log = new HandmadeLog();
  log.add({ records: [{ type: 5, head: 'ab', body: 'xyz' }] });
  log.add({ flags: CLEAN_STOP });
  expect(log.current.toString('hex')).toBe(GOLDEN);
});

test('the golden log is opened as one that was closed', async () => {
  const log = new HandmadeLog();
  log.segments[0] = Buffer.from(GOLDEN, 'hex');
  const journal = await open(place(log));
  const seen: unknown[] = [];
  await journal.replay(({ type, head, body, segment, bodyOffset }) => {
    seen.push([type, Buffer.from(head).toString(), Buffer.from(body).toString(), segment, bodyOffset]);
  });
  expect([journal.wasClean, journal.torn, seen]).toEqual([true, null, [[5, 'ab', 'xyz', 1, 126]]]);
  await journal.close();
});

describe('a journal writes', () => {
  test('batches chained to each other over the seal of a segment, and a clean stop', async () => {
    const directory = tempDirectory();
    const journal = await open(directory);
    const long = 'x'.repeat(SEGMENT_BYTES);
    await commit(journal, 'one');
    await commit(journal, 'two', '', 'three');
    await commit(journal, long);
    await commit(journal, 'four');
    await journal.close();

    const log = likeThatIn(directory);
    log.add({ records: recordsOf('one') });
    log.add({ records: recordsOf('two', '', 'three') });
    log.add({ records: [{ type: SEGMENT_BYTES % 256, head: 'h', body: long }], flags: SEAL });
    log.roll();
    log.add({ records: recordsOf('four') });
    log.add({ flags: CLEAN_STOP });
    const found = segmentPaths(directory).map((path) => readFileSync(path).toString('hex'));
    expect(found).toEqual(log.segments.map((bytes) => bytes.toString('hex')));
  });

  test.each([
    ['interval', INTERVAL],
    ['never', NEVER],
  ] as const)(
    'with sync class %s what is known to be on the disk, which is not the batch before',
    async (name, flag) => {
      const directory = tempDirectory();
      const journal = await open(directory, name);
      for (const body of ['one', 'two', 'three']) await commit(journal, body);
      await journal.close();

      const log = likeThatIn(directory);
      for (const body of ['one', 'two', 'three']) log.add({ records: recordsOf(body), flags: flag, durableNumber: 0 });
      // The stop comes after a sync of its own.
      log.add({ flags: CLEAN_STOP | flag, durableNumber: 3 });
      expect(readFileSync(segmentPaths(directory)[0]!).toString('hex')).toBe(log.current.toString('hex'));
    },
  );
});

describe('a journal reads', () => {
  test('a log made by hand, of two segments with an idle mark and no clean stop', async () => {
    const log = new HandmadeLog();
    log.add({ records: recordsOf('one', 'two') });
    log.add({ flags: IDLE });
    log.add({ records: recordsOf('three'), flags: SEAL });
    log.roll();
    log.add({ records: recordsOf('four') });
    expect(await bodiesIn(place(log))).toEqual(['one', 'two', 'three', 'four']);
  });

  test('no log of a later version, and says which it would need', async () => {
    const log = new HandmadeLog();
    log.segments.pop();
    log.roll(2);
    const directory = place(log);
    const opening = open(directory);
    await expect(opening).rejects.toThrow(JournalDamagedError);
    await expect(opening).rejects.toMatchObject({
      code: 'JOURNAL_DAMAGED',
      segment: 1,
      offset: 0,
      reason: 'the format version is 2, this program reads version 1',
    });
    expect(readFileSync(segmentPaths(directory)[0]!).equals(log.current)).toBe(true);
  });

  test('no flag that it does not know otherwise than if it were not there', async () => {
    const log = new HandmadeLog();
    log.add({ records: recordsOf('one'), flags: 1 << 20 });
    log.add({ records: recordsOf('two') });
    expect(await bodiesIn(place(log))).toEqual(['one', 'two']);
  });
});

describe('a length that the file does not have', () => {
  const link = { number: 0, crc: new HandmadeLog().seed };

  test.each([1, 4_096, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1])(
    'is refused before any memory is taken for it: %d bytes too many in a batch header',
    (tooMany) => {
      const log = new HandmadeLog();
      const wanted = Math.min(13 + tooMany, 2 ** 32 - 1);
      log.append(log.batch({ records: [{ type: 5, head: 'ab', body: 'xyz' }], bodyBytes: wanted }));
      const slice = new SliceReader();
      const file = new MemoryFile(log.current);
      const reader = new BatchReader({ slice, file, segment: 1, log: logIdentity(log.id), position: 64, link });
      expect([reader.next(), reader.reason]).toEqual(['bad', 'a batch is longer than its file']);
      expect(slice.bytes.length).toBeLessThanOrEqual(log.current.length);
    },
  );

  test('is refused in a record as well, although every checksum is right', () => {
    for (const [at, width] of [
      [0, 4],
      [5, 3],
    ] as const) {
      const log = new HandmadeLog();
      const record = Buffer.alloc(8);
      record.writeUIntLE(2 ** (8 * width) - 1, at, width);
      log.append(log.batch({ raw: record, recordCount: 1 }));
      const slice = new SliceReader();
      const file = new MemoryFile(log.current);
      const reader = new BatchReader({ slice, file, segment: 1, log: logIdentity(log.id), position: 64, link });
      expect([reader.next(), reader.reason]).toEqual(['bad', 'the records of a batch do not fill it']);
    }
  });
});
