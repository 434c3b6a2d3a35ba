/**
 * Bytes that are not what was written: wherever they are, opening the log either refuses and names the place, or has an exact beginning of the log,
 * and that only where nothing that was written later tells that more was there (rule W4).
 */
import { beforeAll, describe, expect, test } from 'vitest';
import { BATCH_HEADER_BYTES, FILE_HEADER_BYTES } from '../../server/journal/segment-format.js';
import { Random, seedOf } from '../support/random.js';
import { type Batch, check, type Ending, pathOf, type Verdict, type WrittenLog, writeLog } from './damaged-log.js';

const seed = seedOf('damage');
const random = new Random(seed);
const SECTOR = 512;
const ENDINGS: readonly Ending[] = ['closed', 'killed at once', 'killed when idle'];

describe.each(ENDINGS)('a log whose process was %s', (ending) => {
  const isEvery = ending === 'killed at once';
  const lengths = isEvery ? 'any length' : 'one length in four';
  let log: WrittenLog;
  let files: [string, Buffer][];
  let last: Batch;

  beforeAll(async () => {
    log = await writeLog(ending, seed);
    files = [...log.disk.contents()];
    last = log.batches.at(-1)!;
    expect(last.segment).toBe(3);
    // The last thing written is a mark without records, but for a process that was killed at once.
    expect(last.records > 0).toBe(ending === 'killed at once');
  });

  /** Every byte where something was written, and one in some twenty of the zeros that were written ahead. */
  function step(path: string, at: number): number {
    const isWritten = log.batches.some(({ segment, end }) => pathOf(segment) === path && at < end);
    return isWritten || at < FILE_HEADER_BYTES ? 1 : random.whole(1, 40);
  }

  test('with any one byte changed is refused at the batch it is in, or has lost nothing but its last batch', async () => {
    const lost: Verdict[] = [];
    for (const [path, bytes] of files) {
      for (let at = 0; at < bytes.length; at += step(path, at)) {
        const change = random.pick([0x01, 0xff]);
        const disk = log.disk.edited(path, (copy) => copy.writeUInt8(copy[at]! ^ change, at));
        const verdict = await check(log, disk, `${path}: byte ${at} ^ ${change}, seed ${seed}`);
        if (verdict.type === 'opened' && verdict.records < log.records.length) lost.push(verdict);
      }
    }
    // Damage to the very last batch cannot be told from a write that a crash cut short. When the journal was closed, or a second of silence
    // has passed, that last batch is a mark, and losing it loses nothing.
    const cut = { type: 'opened', records: last.recordsBefore };
    expect(lost).toEqual(ending === 'killed at once' ? Array(last.end - last.offset).fill(cut) : []);
  }, 120_000);

  test('with any one to three sectors of zeros is refused or has an exact beginning', async () => {
    let refused = 0;
    for (const [path, bytes] of files) {
      for (let at = 0; at < bytes.length; at += SECTOR) {
        for (const sectors of [1, 2, 3]) {
          const disk = log.disk.edited(path, (copy) => copy.fill(0, at, Math.min(copy.length, at + sectors * SECTOR)));
          const verdict = await check(log, disk, `${path}: ${sectors} sectors of zeros from ${at}, seed ${seed}`);
          if (verdict.type === 'refused') refused += 1;
        }
      }
    }
    expect(refused).toBeGreaterThan(30);
  });

  test(`with a file that ends early, at ${lengths}, is refused or has an exact beginning`, async () => {
    for (const [path, bytes] of files) {
      // Of the last segment nothing tells how long it was: cut at the end of a batch it is a shorter log, and nobody can know.
      for (let length = 0; length < bytes.length; length += isEvery ? step(path, length) : random.whole(1, 7))
        await check(log, log.disk.truncated(path, length), `${path}: ${length} bytes, seed ${seed}`);
    }
  }, 120_000);

  test('with garbage behind its last batch has lost nothing, and a copy of the garbage is kept', async () => {
    const path = pathOf(last.segment);
    for (const length of [1, 7, BATCH_HEADER_BYTES, 600, 5_000]) {
      const garbage = Buffer.concat([random.bytes(length - 1), Buffer.of(1)]);
      const disk = log.disk.edited(path, (copy) => Buffer.concat([copy.subarray(0, last.end), garbage]));
      expect(await check(log, disk, `${length} bytes of garbage, seed ${seed}`)).toEqual({
        type: 'opened',
        records: log.records.length,
      });
      const copy = disk.contents().get(`/data/torn/000000000${last.segment}-${last.end}.bin`);
      expect(copy?.equals(garbage)).toBe(true);
    }
  });

  test('with a batch in the place of another one is refused there', async () => {
    for (let count = 0; count < 200; count += 1) {
      const [from, to] = [random.pick(log.batches), random.pick(log.batches.slice(0, -1))];
      const moved = log.disk.contents().get(pathOf(from.segment))!.subarray(from.offset, from.end);
      if (from === to || to.offset + moved.length > files[to.segment - 1]![1].length) continue;
      const disk = log.disk.edited(pathOf(to.segment), (copy) => moved.copy(copy, to.offset));
      await check(log, disk, `batch at ${JSON.stringify(from)} over that at ${JSON.stringify(to)}, seed ${seed}`);
    }
  });

  test('with several places changed at once is refused at the first, or has an exact beginning', async () => {
    for (let count = 0; count < 300; count += 1) {
      let disk = log.disk;
      for (let places = random.whole(2, 6); places > 0; places -= 1) {
        const [path, bytes] = random.pick(files);
        const at = random.whole(0, bytes.length - 1);
        const length = random.pick([1, 4, 60, SECTOR]);
        disk = disk.edited(path, (copy) => Buffer.from(random.bytes(length)).copy(copy, at));
      }
      await check(log, disk, `change ${count} of several places, seed ${seed}`);
    }
  });
});
