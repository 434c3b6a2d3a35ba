/**
 * A process dies while a batch is on its way to the disk. Whatever part of it has arrived, the next process cuts it off, keeps a copy of it, has
 * every batch before it, and goes on in its place (rules W3 and W4).
 */
import { existsSync, readdirSync, readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { keptTails, overwrite, segmentPaths } from '../support/data-directory.js';
import { Random, seedOf } from '../support/random.js';
import { type AbandonedLog, abandonedLog, append, copyOf, isSame, reopened } from './abandoned-log.js';

const seed = seedOf('torn tails');
const random = new Random(seed);
const SECTOR = 512;

/** Bytes without zeros, so that a missing one is seen. */
function body(length: number): Buffer {
  return Buffer.from(Uint8Array.from({ length }, () => random.whole(1, 255)));
}

function bodies(...lengths: readonly number[]): Buffer[] {
  return lengths.map(body);
}

/** Behind the last byte that is not zero. */
function endOf(bytes: Buffer): number {
  return bytes.findLastIndex((byte) => byte !== 0) + 1;
}

/**
 * Lets the last batch arrive only as `tear` leaves it, opens what is there, and checks all that is promised of a torn tail. Returns how many bytes
 * were cut off.
 */
async function checkTorn(log: AbandonedLog, tear: (path: string) => void): Promise<number> {
  const directory = copyOf(log.directory);
  const path = segmentPaths(directory)[log.segment - 1]!;
  tear(path);
  const before = readFileSync(path);
  const { offset } = log.places.at(-1)!;
  const end = Math.max(offset, endOf(before));
  const next = body(30);
  const found = await reopened(directory, log.options, async (journal) => {
    // In the place of what was cut off; a segment that was sealed before it stays so.
    expect(await append(journal, next)).toEqual({ segment: log.segment, offset: offset + 52 + 8 + 4 });
  });
  expect(isSame(found.bodies, log.bodies.slice(0, -1))).toBe(true);
  // A log without one byte of a batch is a new one, and nothing was left unclean.
  expect(found.wasClean).toBe(log.bodies.length === 1 && end === offset);
  if (end === offset) {
    // Nothing of the batch has arrived.
    expect([found.torn, keptTails(directory)]).toEqual([null, []]);
  } else {
    const copy = join(directory, 'torn', `${basename(path, '.segment')}-${offset}.bin`);
    expect(found.torn).toMatchObject({ segment: log.segment, offset, bytes: end - offset, copy });
    expect(found.torn!.reason).not.toBe('');
    expect(keptTails(directory)).toEqual([copy]);
    expect(readFileSync(copy).equals(before.subarray(offset, end))).toBe(true);
  }
  const again = await reopened(directory, log.options);
  expect(isSame(again.bodies, [...log.bodies.slice(0, -1), next])).toBe(true);
  expect([again.torn, again.wasClean]).toEqual([null, true]);
  return end - offset;
}

async function told(what: string, check: () => Promise<unknown>): Promise<void> {
  try {
    await check();
  } catch (error) {
    throw new Error(`${what}, seed ${seed}`, { cause: error });
  }
}

const PLACES = {
  'in the middle of a segment': () => bodies(300, 500, 40),
  // The second fills the first segment.
  'at the beginning of a segment': () => bodies(1_000, 3_500, 40),
  'at the beginning of the log': () => bodies(40),
} as const;

describe.each(Object.entries(PLACES))('a last batch %s', (_, make) => {
  let log: AbandonedLog;

  beforeAll(async () => {
    log = await abandonedLog(make());
    // There are zeros behind the log, and segments made ahead of it.
    expect(statSync(log.path).size).toBeGreaterThan(log.places.at(-1)!.end);
    expect(segmentPaths(log.directory).length).toBeGreaterThan(log.segment);
  });

  test('that is there is there', async () => {
    const found = await reopened(copyOf(log.directory), log.options);
    expect(isSame(found.bodies, log.bodies)).toBe(true);
    expect([found.torn, found.wasClean]).toEqual([null, false]);
  });

  test('of which the zeros behind its first bytes are still to be overwritten is cut off, at every byte', async () => {
    const { offset, end } = log.places.at(-1)!;
    for (let at = offset; at < end; at += 1)
      await told(`zeros from ${at - offset} of the batch on`, () =>
        checkTorn(log, (path) => overwrite(path, at, Buffer.alloc(end - at))),
      );
  });

  test('at which its file ends is cut off, at every byte', async () => {
    const { offset, end } = log.places.at(-1)!;
    for (let at = offset; at < end; at += 1)
      await told(`a file that ends at ${at - offset} of the batch`, () =>
        checkTorn(log, (path) => truncateSync(path, at)),
      );
  });
});

describe('a last batch of many sectors', () => {
  test('of which only some have arrived is cut off, whichever they are (60 choices by seed)', async () => {
    const log = await abandonedLog(bodies(200, 3_000));
    const { offset, end } = log.places.at(-1)!;
    for (let count = 0; count < 60; count += 1) {
      const lost: number[] = [];
      for (let at = offset; at < end; at = Math.min(end, (Math.floor(at / SECTOR) + 1) * SECTOR))
        if (random.next() < 0.4) lost.push(at);
      if (lost.length === 0) continue;
      await told(`without the sectors at ${lost}`, () =>
        checkTorn(log, (path) => {
          for (const at of lost) {
            const length = Math.min(end, (Math.floor(at / SECTOR) + 1) * SECTOR) - at;
            overwrite(path, at, Buffer.alloc(length));
          }
        }),
      );
    }
  });

  test('that is longer than what is read at once is copied whole', async () => {
    const MIB = 1024 * 1024;
    const last = Buffer.alloc(9 * MIB + 77, 'nine and a bit ');
    const log = await abandonedLog([...bodies(200), last], { segmentBytes: 16 * MIB });
    const { end } = log.places.at(-1)!;
    expect(await checkTorn(log, (path) => truncateSync(path, end - 1))).toBeGreaterThan(9 * MIB);
  });
});

describe('a torn tail', () => {
  test('at a place where one was cut off before gets a copy of its own', async () => {
    const log = await abandonedLog(bodies(100, 100));
    const { end } = log.places.at(-1)!;
    const tails: Buffer[] = [];
    let { directory } = log;
    for (let count = 1; count <= 3; count += 1) {
      directory = copyOf(directory);
      const tail = body(10 * count);
      const path = segmentPaths(directory)[0]!;
      writeFileSync(path, Buffer.concat([readFileSync(path).subarray(0, end), tail]));
      tails.push(tail);
      let left = '';
      const found = await reopened(directory, log.options, async () => {
        left = copyOf(directory);
      });
      expect(isSame(found.bodies, log.bodies)).toBe(true);
      directory = left;
      const names = ['.bin', '.2.bin', '.3.bin'].slice(0, count).map((suffix) => `0000000001-${end}${suffix}`);
      expect(readdirSync(join(directory, 'torn')).sort()).toEqual(names.toSorted());
      const kept = names.map((name) => readFileSync(join(directory, 'torn', name)));
      expect(isSame(kept, tails)).toBe(true);
    }
  });

  test('behind a segment that is sealed, and before the next one has anything, is cut off as well', async () => {
    const log = await abandonedLog(bodies(1_000, 3_500));
    const directory = copyOf(log.directory);
    const path = segmentPaths(directory)[0]!;
    const sealed = readFileSync(path).subarray(0, log.places.at(-1)!.end);
    writeFileSync(path, Buffer.concat([sealed, body(5)]));
    const next = body(20);
    const found = await reopened(directory, log.options, async (journal) => {
      expect(await append(journal, next)).toMatchObject({ segment: 2 });
    });
    expect(isSame(found.bodies, log.bodies)).toBe(true);
    expect(found.torn).toMatchObject({ segment: 1, offset: sealed.length, bytes: 5 });
    expect(isSame((await reopened(directory, log.options)).bodies, [...log.bodies, next])).toBe(true);
  });

  test('in a file of a later segment that was not finished is none: the file is removed', async () => {
    const log = await abandonedLog(bodies(100));
    const directory = copyOf(log.directory);
    const name = join(directory, 'journal', '0000000099.segment.tmp');
    writeFileSync(name, body(50));
    const found = await reopened(directory, log.options);
    expect([isSame(found.bodies, log.bodies), found.torn, existsSync(name)]).toEqual([true, null, false]);
  });
});

describe.each(['interval', 'never'] as const)('with sync class %s', (syncClass) => {
  test('batches that were on their way together are cut off from the first bad one on, whichever have arrived', async () => {
    const log = await abandonedLog(bodies(100, 100, 100, 100, 100, 100), { syncClass });
    const [first, ...later] = log.places.slice(1);
    for (let count = 0; count < 40; count += 1) {
      const bad = random.pick([first!, ...later]);
      const at = random.whole(bad.offset, bad.end - 2);
      await told(`batch at ${bad.offset} torn at ${at}`, async () => {
        const directory = copyOf(log.directory);
        const path = segmentPaths(directory)[0]!;
        overwrite(path, at, Buffer.alloc(bad.end - at));
        const before = readFileSync(path);
        const next = body(20);
        const found = await reopened(directory, log.options, async (journal) => {
          await append(journal, next);
        });
        const left = log.bodies.slice(0, log.places.indexOf(bad));
        expect(isSame(found.bodies, left)).toBe(true);
        const end = Math.max(bad.offset, endOf(before));
        const tails = keptTails(directory).map((copy) => readFileSync(copy));
        // Of the last one not a byte may have arrived: then there is nothing to keep.
        expect(isSame(tails, end > bad.offset ? [before.subarray(bad.offset, end)] : [])).toBe(true);
        expect(found.torn?.bytes ?? 0).toBe(end - bad.offset);
        // What was whole behind the bad one does not come back.
        expect(isSame((await reopened(directory, log.options)).bodies, [...left, next])).toBe(true);
      });
    }
  });
});
