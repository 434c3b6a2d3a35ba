/** The journal crashed at every I/O operation: nothing durable is lost, nothing is made up, and it can be gone on with. */
import { describe, expect, test } from 'vitest';
import { Random, seedOf } from '../../support/random.js';
import { ManualClock } from './manual-clock.js';
import { type Loss, SimulatedCrash, SimulatedDisk } from './simulated-disk.js';
import { checkRecovery, openOn, Workload } from './workload.js';

const seed = seedOf('journal crashes');
const LOSSES: readonly Loss[] = ['lost', 'kept', 'torn', 'mixed'];

/** Operations of the whole run. */
async function operations(): Promise<number> {
  const disk = new SimulatedDisk();
  const outcome = await new Workload(disk, seed).run();
  expect(outcome).toMatchObject({ fatals: 0, errors: [], isClosed: true });
  await checkRecovery(disk.image(new Random(seed), 'lost'), outcome);
  // The run is worth crashing: it seals segments, deletes some, and writes zeros ahead.
  expect(outcome.records.at(-1)!.segment).toBeGreaterThan(2);
  for (const call of ['datasync', 'syncDirectory', 'rename', 'writeLater'] as const)
    expect(disk.count(call)).toBeGreaterThan(1);
  return disk.operations;
}

test('the same seed does the same', async () => {
  const [first, second] = [new SimulatedDisk(), new SimulatedDisk()];
  await new Workload(first, seed).run();
  await new Workload(second, seed).run();
  expect(second.operations).toBe(first.operations);
  expect(lengthsOf(second)).toEqual(lengthsOf(first));
});

/** The log's id is drawn anew each time, and all checksums start from it; names and lengths do not. */
function lengthsOf(disk: SimulatedDisk): [string, number][] {
  return [...disk.contents()].map(([path, bytes]) => [path, bytes.length]);
}

describe('a crash', () => {
  test.each(LOSSES)(
    'at any operation loses nothing durable, when what was not synced is %s',
    async (loss) => {
      const last = await operations();
      for (let crashAt = 1; crashAt <= last; crashAt += 1) {
        const disk = new SimulatedDisk();
        disk.crashAt = crashAt;
        const outcome = await new Workload(disk, seed).run();
        await told(`crash at operation ${crashAt} of ${last}, ${loss}, seed ${seed}`, () =>
          checkRecovery(disk.image(new Random(seed + crashAt), loss), outcome),
        );
      }
    },
    240_000,
  );

  test('at any operation of the recovery from another crash loses nothing either', async () => {
    const random = new Random(seed);
    const last = await operations();
    for (let crashAt = random.whole(1, 4); crashAt <= last; crashAt += random.whole(1, 8)) {
      const disk = new SimulatedDisk();
      disk.crashAt = crashAt;
      const outcome = await new Workload(disk, seed).run();
      for (let secondAt = 1; ; secondAt += 1) {
        const image = disk.image(new Random(seed + crashAt), random.pick(LOSSES));
        image.crashAt = secondAt;
        const isDone = await recovers(image);
        await told(`crash at ${crashAt}, then at ${secondAt} of the recovery, seed ${seed}`, () =>
          checkRecovery(image.image(random, random.pick(LOSSES)), outcome),
        );
        if (isDone) break;
      }
    }
  }, 240_000);

  test.each(['interval', 'never'] as const)(
    'with sync class %s leaves a beginning of the log without holes',
    async (syncClass) => {
      const random = new Random(seed);
      const whole = new SimulatedDisk();
      await new Workload(whole, seed, syncClass).run();
      for (let crashAt = 1; crashAt <= whole.operations; crashAt += random.whole(1, 3)) {
        const disk = new SimulatedDisk();
        disk.crashAt = crashAt;
        const outcome = await new Workload(disk, seed, syncClass).run();
        const loss = random.pick(LOSSES);
        // A confirm of these classes outlives the process, not the machine.
        const durable = loss === 'kept' ? outcome.durable : 0;
        await told(`crash at ${crashAt}, ${loss}, seed ${seed}`, () =>
          checkRecovery(disk.image(random, loss), outcome, durable),
        );
      }
    },
    240_000,
  );
});

/** Opens, replays and closes; false if the disk crashed on the way. */
async function recovers(disk: SimulatedDisk): Promise<boolean> {
  let isFatal = false;
  try {
    const journal = await openOn(disk, new ManualClock(), 'always', () => {
      isFatal = true;
    });
    await journal.replay(() => undefined);
    await journal.close();
    return !isFatal;
  } catch (error) {
    if (error instanceof SimulatedCrash) return false;
    throw error;
  }
}

/** Says where it was when a check fails. */
async function told(where: string, check: () => Promise<void>): Promise<void> {
  try {
    await check();
  } catch (error) {
    throw new Error(where, { cause: error });
  }
}
