/** What lies behind the last good batch, and whether a crash can have left it there (rules W4 and W16). */
import { describe, expect, test } from 'vitest';
import { logIdentity } from '../../server/journal/segment-format.js';
import { SLICE_BYTES, SliceReader } from '../../server/journal/slice-reader.js';
import { searchTail, type Tail } from '../../server/journal/tail-search.js';
import { type HandmadeBatch, HandmadeLog, INTERVAL } from './handmade-log.js';
import { MemoryFile } from './memory-file.js';

const RECORDS = [{ type: 1, head: 'head', body: 'body' }];

/** A log of one segment with three batches, and where it ends. */
function threeBatches(flags = 0): { log: HandmadeLog; end: number } {
  const log = new HandmadeLog();
  for (let count = 0; count < 3; count += 1) log.add({ records: RECORDS, flags });
  return { log, end: log.current.length };
}

function searchBehind(log: HandmadeLog, end: number, bytes = log.current): Tail {
  return searchTail({
    slice: new SliceReader(),
    file: new MemoryFile(bytes),
    segment: log.segments.length,
    log: logIdentity(log.id),
    position: end,
    link: { number: 3, crc: log.crc },
  });
}

/** Puts a bad batch 4 behind the log and then, at `gap` bytes behind it, this one, as it would be written there. */
function behindBad(batch: HandmadeBatch, { gap = 0, flags = 0 } = {}): Tail {
  const { log, end } = threeBatches(flags);
  const bad = log.batch({ records: RECORDS, flags });
  bad[20]! ^= 0xff;
  const { crc } = log;
  log.append(Buffer.concat([bad, Buffer.alloc(gap)]));
  log.append(log.batch({ records: RECORDS, flags, number: 5, ...batch }));
  log.crc = crc;
  return searchBehind(log, end);
}

describe('behind the last good batch', () => {
  test('nothing, or zeros however many, is the end of the log', () => {
    const { log, end } = threeBatches();
    expect(searchBehind(log, end)).toEqual({ end, damage: '', looseBatches: 0 });
    for (const zeros of [1, 51, 52, 4_096, SLICE_BYTES + 100])
      expect(searchBehind(log, end, Buffer.concat([log.current, Buffer.alloc(zeros)])).end).toBe(end);
  });

  test('bytes that are no batch are a torn tail, up to the last one that is not zero', () => {
    const { log, end } = threeBatches();
    for (const [zerosBefore, zerosBehind] of [
      [0, 0],
      [0, 500],
      [500, 0],
      [SLICE_BYTES, 10],
    ] as const) {
      const tail = Buffer.concat([Buffer.alloc(zerosBefore), Buffer.from('torn'), Buffer.alloc(zerosBehind)]);
      const found = searchBehind(log, end, Buffer.concat([log.current, tail]));
      expect(found).toEqual({ end: end + zerosBefore + 4, damage: '', looseBatches: 0 });
    }
  });

  test('the next batch with a body that is not whole is a torn tail', () => {
    const { log, end } = threeBatches();
    const bytes = Buffer.concat([log.current, log.batch({ records: RECORDS }).subarray(0, 57)]);
    expect(searchBehind(log, end, bytes)).toEqual({ end: bytes.length, damage: '', looseBatches: 0 });
  });

  test('a batch that says the bad one was on the disk makes it damage', () => {
    expect(behindBad({ durableNumber: 4 }).damage).toMatch(
      /^batch 4 is bad, but batch 5 at offset \d+ was written after it had reached the disk$/,
    );
    expect(behindBad({ number: 9, durableNumber: 8 }, { gap: 3_000 }).damage).not.toBe('');
  });

  test('the next batch chained to another one than the last makes it damage', () => {
    const { log, end } = threeBatches();
    log.append(log.batch({ records: RECORDS, previousCrc: 1 }));
    expect(searchBehind(log, end).damage).toBe('batch 4 was written after another batch than the one before it');
  });

  test('later batches that do not say so are loose: they may have been on their way together', () => {
    const { log, end } = threeBatches(INTERVAL);
    const { crc } = log;
    const bad = log.batch({ records: RECORDS, flags: INTERVAL });
    bad[60]! ^= 0xff;
    log.append(bad);
    log.number = 4;
    for (let count = 0; count < 2; count += 1) log.add({ records: RECORDS, flags: INTERVAL, durableNumber: 3 });
    log.crc = crc;
    // Batch 4 has a whole header, but that does not make it a later batch.
    expect(searchBehind(log, end)).toEqual({ end: log.current.length, damage: '', looseBatches: 2 });
    expect(behindBad({ durableNumber: 3 }, { flags: INTERVAL })).toMatchObject({ damage: '', looseBatches: 1 });
  });
});

describe('a batch is nothing to the search', () => {
  test('when it was written for another place, another segment, or another log', () => {
    for (const batch of [{ offset: 4_096 }, { segment: 2 }])
      expect(behindBad({ durableNumber: 4, ...batch })).toMatchObject({ damage: '', looseBatches: 0 });
    const { log, end } = threeBatches();
    const other = new HandmadeLog(Buffer.alloc(16, 9));
    log.append(other.batch({ number: 5, durableNumber: 4, offset: end, records: RECORDS }));
    expect(searchBehind(log, end)).toEqual({ end: log.current.length, damage: '', looseBatches: 0 });
  });

  test('when it is older than the last good one', () => {
    expect(behindBad({ number: 3, durableNumber: 2 })).toMatchObject({ damage: '', looseBatches: 0 });
  });

  test('when its header is cut short by the end of the file', () => {
    const { log, end } = threeBatches();
    log.append(Buffer.from('bad'));
    const header = log.batch({ number: 5, durableNumber: 4 });
    for (const length of [4, 51])
      expect(searchBehind(log, end, Buffer.concat([log.current, header.subarray(0, length)])).damage).toBe('');
    expect(searchBehind(log, end, Buffer.concat([log.current, header])).damage).not.toBe('');
  });
});

test('a later batch is found at every place around the border of two slices', () => {
  for (let before = 0; before <= 56; before += 1) {
    const { log, end } = threeBatches();
    log.append(Buffer.alloc(SLICE_BYTES - before));
    log.append(log.batch({ number: 5, durableNumber: 4, records: RECORDS }));
    const found = searchBehind(log, end);
    expect([before, found.damage === '', found.end]).toEqual([before, false, log.current.length]);
  }
});

test('a later batch is found behind bytes that look like its beginning', () => {
  const { log, end } = threeBatches();
  log.append(Buffer.from('LvB1LvB1LvLvB'));
  log.append(log.batch({ number: 5, durableNumber: 4 }));
  expect(searchBehind(log, end).damage).not.toBe('');
});
