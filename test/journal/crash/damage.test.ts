/** Bytes that change after they were safe: the journal refuses to open, and never goes on with a silently wrong state. */
import { setImmediate as turn } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { dumpJournal, JournalDamagedError, verifyJournal } from '../../../server/journal/index.js';
import { BATCH_HEADER_BYTES } from '../../../server/journal/segment-format.js';
import { Random, seedOf } from '../../support/random.js';
import { ManualClock } from './manual-clock.js';
import { SimulatedCrash, SimulatedDisk } from './simulated-disk.js';
import { DIRECTORY, openOn, textOf, Workload } from './workload.js';

const seed = seedOf('journal damage');
const random = new Random(seed);

interface Log {
  readonly disk: SimulatedDisk;
  readonly records: readonly string[];
}

/** A log of a few segments; without a clean stop it ends as by a crash after the last batch had been synced. */
async function makeLog(isClosed: boolean, logSeed = seed): Promise<Log> {
  const disk = new SimulatedDisk();
  const log = new Random(logSeed);
  const records: string[] = [];
  const journal = await openOn(disk, new ManualClock(), 'always', (error) => {
    // Zeros that were on their way ahead may meet the crash.
    if (!(error instanceof SimulatedCrash)) throw error;
  });
  await journal.replay(() => undefined);
  while (journal.stagedSegment < 3 || records.length % 7 !== 0) {
    journal.prepare();
    const [type, head, body] = [log.whole(0, 255), log.bytes(log.whole(0, 30)), log.bytes(log.whole(0, 700))];
    journal.stage(type, head, body);
    records.push(textOf(type, head, body));
    await journal.commit();
  }
  if (isClosed) await journal.close();
  else disk.crash();
  return { disk: disk.image(log, 'lost'), records };
}

type Verdict = 'refused' | 'whole' | 'cut';

/** What the journal makes of a disk. Fails if it makes up or changes a record, or loses one from the middle. */
function verdictOf(
  disk: SimulatedDisk,
  records: readonly string[],
  check?: (error: JournalDamagedError) => void,
): Verdict {
  try {
    verifyJournal(DIRECTORY, disk);
    const found = Array.from(dumpJournal(DIRECTORY, 1, disk), ({ type, head, body }) => textOf(type, head, body));
    expect(found).toEqual(records.slice(0, found.length));
    return found.length === records.length ? 'whole' : 'cut';
  } catch (error) {
    if (!(error instanceof JournalDamagedError)) throw error;
    check?.(error);
    return 'refused';
  }
}

/** Whether opening agrees with the verdict, which only looked. */
async function checkOpening(disk: SimulatedDisk, records: readonly string[], verdict: Verdict): Promise<void> {
  const found: string[] = [];
  const opening = (async () => {
    const journal = await openOn(disk, new ManualClock(), 'always', (error) => {
      throw error;
    });
    try {
      await journal.replay(({ type, head, body }) => {
        found.push(textOf(type, head, body));
      });
    } finally {
      await journal.close();
    }
  })();
  if (verdict === 'refused') return expect(opening).rejects.toThrow(JournalDamagedError);
  await opening;
  expect(found).toEqual(records.slice(0, found.length));
  expect(found.length === records.length).toBe(verdict === 'whole');
}

/** Behind the last byte that is not zero. */
function endOf(bytes: Buffer): number {
  return bytes.findLastIndex((byte) => byte !== 0) + 1;
}

function segmentOf(path: string): number {
  return Number(/(\d+)\.segment$/.exec(path)![1]);
}

describe('a changed byte', () => {
  test('of a log that was closed is refused at its place, or was of no importance', async () => {
    const { disk, records } = await makeLog(true);
    const verdicts = { refused: 0, whole: 0, cut: 0 };
    for (const [path, bytes] of disk.contents()) {
      for (let at = 0; at < bytes.length; at += 1) {
        const bad = disk.edited(path, (copy) => copy.writeUInt8(copy[at]! ^ random.whole(1, 255), at));
        const verdict = verdictOf(bad, records, ({ segment, offset }) => {
          expect(segment).toBe(segmentOf(path));
          expect(offset).toBeLessThanOrEqual(at);
        });
        verdicts[verdict] += 1;
        // Nothing was in the zeros behind the end; and the mark of the clean stop may go without a word, because nobody waits for it.
        const isMark = segmentOf(path) === 3 && at >= endOf(bytes) - BATCH_HEADER_BYTES;
        if (verdict === 'whole') expect(isMark || at >= endOf(bytes)).toBe(true);
        if (at % 97 === 0) await checkOpening(bad, records, verdict);
      }
    }
    expect(verdicts.cut).toBe(0);
    expect(verdicts.refused).toBeGreaterThan(5_000);
  }, 120_000);

  test('of a log that a crash has ended is refused, or can only be in its last batch', async () => {
    const { disk, records } = await makeLog(false);
    let cut = 0;
    for (const [path, bytes] of disk.contents()) {
      for (let at = 0; at < bytes.length; at += random.whole(1, 3)) {
        const bad = disk.edited(path, (copy) => copy.writeUInt8(copy[at]! ^ random.whole(1, 255), at));
        const verdict = verdictOf(bad, records, ({ segment }) => expect(segment).toBe(segmentOf(path)));
        if (verdict !== 'cut') continue;
        // What cannot be told from a torn write: the batch behind which nothing was written.
        cut += 1;
        expect(Array.from(dumpJournal(DIRECTORY, 1, bad))).toHaveLength(records.length - 1);
      }
    }
    expect(cut).toBeGreaterThan(0);
  }, 120_000);

  test('in the last batch is refused once the idle mark of a second later is there', async () => {
    const disk = new SimulatedDisk();
    const clock = new ManualClock();
    const journal = await openOn(disk, clock, 'always', (error) => {
      if (!(error instanceof SimulatedCrash)) throw error;
    });
    await journal.replay(() => undefined);
    journal.prepare();
    journal.stage(1, Buffer.from('head'), Buffer.from('body'));
    await journal.commit();
    clock.advance(2_500);
    for (let turns = 0; turns < 5; turns += 1) await turn();
    expect(journal.stats().batches).toBe(2);
    disk.crash();
    const image = disk.image(random, 'lost');
    const bad = image.edited(`${DIRECTORY}/journal/0000000001.segment`, (copy) => copy.writeUInt8(9, 64 + 52));
    expect(verdictOf(image, [textOf(1, Buffer.from('head'), Buffer.from('body'))])).toBe('whole');
    expect(verdictOf(bad, [])).toBe('refused');
  });
});

describe('files', () => {
  test('truncated at any length are refused, or the cut was behind all records', async () => {
    const { disk, records } = await makeLog(true);
    for (const [path, bytes] of disk.contents()) {
      for (let length = 0; length < bytes.length; length += random.whole(1, 3)) {
        const verdict = verdictOf(disk.truncated(path, length), records);
        // Of the last segment nothing tells how long it was.
        if (segmentOf(path) < 3) expect(verdict).toBe(length < endOf(bytes) ? 'refused' : 'whole');
      }
    }
  }, 120_000);

  test('that are missing, swapped, or of another log are refused', async () => {
    const { disk, records } = await makeLog(true);
    const other = await makeLog(true, seed + 1);
    const paths = [...disk.contents().keys()];
    for (const path of paths.slice(1, -1)) expect(verdictOf(disk.without(path), records)).toBe('refused');
    const [first, second] = paths as [string, string];
    const swapped = disk.edited(first, () => disk.contents().get(second)!);
    expect(verdictOf(swapped, records)).toBe('refused');
    for (const path of paths) {
      const mixed = disk.edited(path, () => other.disk.contents().get(path) ?? Buffer.alloc(0));
      expect(verdictOf(mixed, records)).toBe('refused');
    }
  });
});

test('a crash in the middle of the workload is no damage', async () => {
  const disk = new SimulatedDisk();
  const outcome = await new Workload(disk, seed).run();
  expect(outcome.isClosed).toBe(true);
  verifyJournal(DIRECTORY, disk);
});
