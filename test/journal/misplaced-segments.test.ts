/**
 * Segments that are missing, in the wrong place, of another log or of another time (rule W16). Each of them has right checksums, so only the chain over
 * the whole log and the log's id tell.
 */
import { beforeAll, describe, expect, test } from 'vitest';
import { Random, seedOf } from '../support/random.js';
import { ManualClock } from './crash/manual-clock.js';
import { SimulatedCrash, type SimulatedDisk } from './crash/simulated-disk.js';
import { openOn, textOf } from './crash/workload.js';
import { openDamaged, pathOf, recordsUpTo, type WrittenLog, writeLog } from './damaged-log.js';

const seed = seedOf('misplaced segments');
const random = new Random(seed);
const SEGMENTS = [1, 2, 3] as const;

let log: WrittenLog;

beforeAll(async () => {
  log = await writeLog('closed', seed);
});

function bytesOf(disk: SimulatedDisk, segment: number): Buffer {
  return disk.contents().get(pathOf(segment))!;
}

function withFile(segment: number, bytes: Buffer): SimulatedDisk {
  return log.disk.edited(pathOf(segment), () => bytes);
}

/** Goes on with a log until its last segment has the number, and leaves it without a close. */
async function continued(disk: SimulatedDisk, segment: number): Promise<SimulatedDisk> {
  const copy = disk.copy();
  const journal = await openOn(copy, new ManualClock(), 'always', (error) => {
    if (!(error instanceof SimulatedCrash)) throw error;
  });
  await journal.replay(() => undefined);
  while (journal.stagedSegment <= segment) {
    journal.prepare();
    journal.stage(1, random.bytes(20), Buffer.concat([random.bytes(500), Buffer.of(7)]));
    await journal.commit();
  }
  copy.crash();
  return copy.image(random, 'kept');
}

describe('a segment that is missing', () => {
  test('in the middle is refused by its number', async () => {
    expect(await openDamaged(log, log.disk.without(pathOf(2)))).toEqual({ type: 'refused', segment: 2, offset: 0 });
  });

  test('at the end is a log that ends earlier: nothing of what was written before tells that there was more', async () => {
    const disk = log.disk.without(pathOf(3));
    expect(await openDamaged(log, disk)).toEqual({ type: 'opened', records: recordsUpTo(log, 2) });
  });

  test('at the beginning is a log whose oldest segments were reclaimed: nothing tells that this one was not', async () => {
    const disk = log.disk.without(pathOf(1));
    const found: string[] = [];
    const journal = await openOn(disk, new ManualClock(), 'always', (error) => {
      throw error;
    });
    await journal.replay(({ type, head, body }) => {
      found.push(textOf(type, head, body));
    });
    expect(journal.firstSegment).toBe(2);
    expect(found).toEqual(log.records.slice(recordsUpTo(log, 1)));
    await journal.close();
  });
});

describe('a segment in the place of another', () => {
  test('is refused, with the first place that is wrong', async () => {
    for (const to of SEGMENTS) {
      for (const from of SEGMENTS) {
        if (from === to) continue;
        const copied = withFile(to, bytesOf(log.disk, from));
        expect(await openDamaged(log, copied)).toEqual({ type: 'refused', segment: to, offset: 0 });
        const swapped = copied.edited(pathOf(from), () => bytesOf(log.disk, to));
        const first = Math.min(from, to);
        expect(await openDamaged(log, swapped)).toEqual({ type: 'refused', segment: first, offset: 0 });
      }
    }
  });

  test('is not believed under the header of the right one', async () => {
    for (const [to, from] of [
      [1, 2],
      [2, 1],
      [2, 3],
      [3, 2],
    ] as const) {
      const bytes = Buffer.concat([bytesOf(log.disk, to).subarray(0, 64), bytesOf(log.disk, from).subarray(64)]);
      const verdict = await openDamaged(log, withFile(to, bytes));
      // At the end of the log it cannot be told from the rest of a write: nothing of this log is behind it.
      if (to === 3) expect(verdict).toEqual({ type: 'opened', records: recordsUpTo(log, 2) });
      else expect(verdict).toEqual({ type: 'refused', segment: to, offset: 64 });
    }
  });
});

describe('a segment of another log', () => {
  let other: WrittenLog;

  beforeAll(async () => {
    other = await writeLog('closed', seed + 1);
  });

  test('is refused', async () => {
    for (const segment of SEGMENTS) {
      const verdict = await openDamaged(log, withFile(segment, bytesOf(other.disk, segment)));
      // Whose log it is, the first segment says: when that is the stranger, the second is the one that does not fit.
      expect(verdict).toEqual({ type: 'refused', segment: Math.max(2, segment), offset: 0 });
    }
  });

  test('is refused under the header of the right one, too, or is behind the end', async () => {
    for (const segment of SEGMENTS) {
      const bytes = Buffer.concat([
        bytesOf(log.disk, segment).subarray(0, 64),
        bytesOf(other.disk, segment).subarray(64),
      ]);
      const verdict = await openDamaged(log, withFile(segment, bytes));
      if (segment === 3) expect(verdict).toEqual({ type: 'opened', records: recordsUpTo(log, 2) });
      else expect(verdict).toEqual({ type: 'refused', segment, offset: 64 });
    }
  });
});

describe('a segment of another time', () => {
  test('when it was not full yet, is refused where it ended', async () => {
    for (const segment of [1, 2] as const) {
      const batches = log.batches.filter((batch) => batch.segment === segment);
      const { end } = random.pick(batches.slice(0, -1));
      for (const zeros of [0, 300]) {
        const stale = Buffer.concat([bytesOf(log.disk, segment).subarray(0, end), Buffer.alloc(zeros)]);
        expect(await openDamaged(log, withFile(segment, stale))).toEqual({ type: 'refused', segment, offset: end });
      }
    }
  });

  test('of a copy that was gone on with by itself, is refused where the two meet', async () => {
    // Both go on from the same last batch, with the same numbers at nearly the same places, under the same id.
    const [one, two] = [await continued(log.disk, 5), await continued(log.disk, 5)];
    const mixed = one.edited(pathOf(4), () => bytesOf(two, 4));
    expect(await openDamaged(log, mixed)).toEqual({ type: 'refused', segment: 4, offset: 64 });
    const early = one.edited(pathOf(3), () => bytesOf(two, 3));
    expect(await openDamaged(log, early)).toEqual({ type: 'refused', segment: 4, offset: 64 });
    const last = one.edited(pathOf(5), () => bytesOf(two, 5));
    expect(await openDamaged(log, last)).toEqual({ type: 'refused', segment: 5, offset: 64 });
  });
});
