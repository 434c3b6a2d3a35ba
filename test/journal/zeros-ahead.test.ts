/** The zeros that are written ahead of the log, and the log that overtakes them. */
import { setImmediate as turn } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { RESERVE_BYTES_MIN } from '../../server/journal/disk-space.js';
import { nodeStorage, openFileJournal, type Storage } from '../../server/journal/index.js';
import { SLICE_BYTES, WATCH_MS } from '../../server/journal/reserve.js';
import { eventually } from '../support/deadline.js';
import { tempDirectory } from '../support/temp-directory.js';
import { ManualClock } from './crash/manual-clock.js';

const SEGMENT_BYTES = 256 * 1024;
/** In this range a batch ends that seals the first segment and does not reach the second slice of zeros. */
const SEALED_BYTES = SEGMENT_BYTES + 1024;

test('zeros that are still being written when the log leaves their segment harm nobody', async () => {
  const directory = tempDirectory();
  const errors: Error[] = [];
  let slices = 0;
  let letGo: () => void = () => undefined;
  const held = new Promise<void>((resolve) => {
    letGo = resolve;
  });
  /** The second slice of zeros takes as long as the test likes. */
  const storage: Storage = {
    ...nodeStorage,
    open: (path, mode) => {
      const file = nodeStorage.open(path, mode);
      const writeLater = file.writeLater.bind(file);
      const close = file.close.bind(file);
      let pending = 0;
      let isClosing = false;
      return Object.assign(file, {
        writeLater: async (source: Uint8Array, length: number, position: number) => {
          pending += 1;
          if (++slices === 2) await held;
          const count = await writeLater(source, length, position);
          pending -= 1;
          if (isClosing) close();
          return count;
        },
        close: () => {
          isClosing = true;
          if (pending === 0) close();
        },
      });
    },
  };
  const journal = await openFileJournal({
    directory,
    storage,
    segmentBytes: SEGMENT_BYTES,
    onFatal: (error) => errors.push(error),
  });
  await journal.replay(() => undefined);
  await eventually(
    () => slices,
    (count) => count === 2,
    'the second slice of zeros',
  );
  for (const bytes of [SEALED_BYTES, 10]) {
    journal.prepare();
    journal.stage(1, new Uint8Array(0), new Uint8Array(bytes).fill(1));
    await journal.commit();
  }
  expect(journal.stagedSegment).toBe(2);
  letGo();
  await eventually(
    () => slices > 2 || errors.length > 0,
    (isOver) => isOver,
    'the next slice of zeros',
  );
  expect(errors).toEqual([]);
  await journal.close();

  const again = await openFileJournal({
    directory,
    segmentBytes: SEGMENT_BYTES,
    onFatal: (error) => errors.push(error),
  });
  const lengths: number[] = [];
  await again.replay(({ body }) => lengths.push(body.length));
  expect([again.wasClean, lengths, errors]).toEqual([true, [SEALED_BYTES, 10], []]);
  await again.close();
});

/** A journal on a disk with plenty of room, whose clock stands still, with all its zeros ahead. */
async function reserved() {
  const clock = new ManualClock();
  const journal = await openFileJournal({
    directory: tempDirectory(),
    clock,
    onFatal: (error) => expect(error).toBe(null),
  });
  await journal.replay(() => undefined);
  const commit = async (bytes: number): Promise<void> => {
    journal.prepare();
    journal.stage(1, new Uint8Array(0), new Uint8Array(bytes).fill(1));
    await journal.commit();
  };
  const filled = (): Promise<unknown> =>
    eventually(
      () => journal.stats().reservedBytes,
      (bytes) => bytes >= RESERVE_BYTES_MIN,
      'all zeros are written',
    );
  await filled();
  return { clock, journal, commit, filled };
}

test('zeros follow a log that goes on, slice for slice, whenever they are looked at', async () => {
  const { clock, journal, commit, filled } = await reserved();
  await commit(1_000);
  clock.advance(WATCH_MS);
  for (let slices = 0; slices < 20; slices++) {
    await commit(SLICE_BYTES);
    await eventually(
      () => journal.stats().reservedBytes,
      (bytes) => bytes >= RESERVE_BYTES_MIN - SLICE_BYTES,
      `the zeros have followed slice ${slices}`,
    );
  }
  clock.advance(WATCH_MS);
  await filled();
  await journal.close();
});

test('zeros do not follow a log that is fast, until it is slow again', async () => {
  const { clock, journal, commit, filled } = await reserved();
  await commit(9 * 1024 * 1024);
  clock.advance(WATCH_MS);
  expect(journal.stats().reservedBytes).toBe(0);
  await commit(3 * SLICE_BYTES);
  for (let turns = 0; turns < 100; turns++) await turn();
  expect(journal.stats().reservedBytes).toBe(0);
  for (let looks = 0; looks < 10; looks++) {
    clock.advance(WATCH_MS);
    await commit(1_000);
    await turn();
  }
  clock.advance(WATCH_MS);
  clock.advance(WATCH_MS);
  await filled();
  await journal.close();
});
