/** Recovery on a disk that refuses a call, or has no room: it fails with what the disk said or finishes, and harms nothing. */
import { describe, expect, test } from 'vitest';
import { Random, seedOf } from '../../support/random.js';
import { checkAfterCrash, openAndReplay } from './after-crash.js';
import { type History, Lifetimes } from './lifetimes.js';
import { type Failure, type Loss, SimulatedCrash, SimulatedDisk } from './simulated-disk.js';

const seed = seedOf('journal recovery');
const LOSSES: readonly Loss[] = ['lost', 'kept', 'torn', 'mixed'];
/** Crashes before the recovery; others with each seed. */
const CRASHES = 24;
const CALLS = ['writev', 'writeHeader', 'datasync', 'syncDirectory', 'open', 'rename', 'unlink', 'truncate'] as const;

interface Crashed {
  readonly where: string;
  readonly history: History;
  /** The same disk each time. */
  readonly image: () => SimulatedDisk;
}

/** Disks as crashes of one run have left them. */
async function* crashes(random: Random): AsyncGenerator<Crashed> {
  const whole = new SimulatedDisk();
  expect(await new Lifetimes(whole, seed).run()).toMatchObject({ fatals: [], errors: [], closes: 3 });
  for (let count = 0; count < CRASHES; count += 1) {
    const disk = new SimulatedDisk();
    disk.crashAt = random.whole(1, whole.operations);
    const history = await new Lifetimes(disk, seed).run();
    const loss = random.pick(LOSSES);
    const imageSeed = random.whole(0, 1_000_000);
    const where = `crash at ${disk.crashAt} of ${whole.operations}, ${loss}`;
    yield { where, history, image: () => disk.image(new Random(imageSeed), loss) };
  }
}

/** Says where it was when a check fails. */
async function told(where: string, check: () => Promise<void>): Promise<void> {
  try {
    await check();
  } catch (error) {
    throw new Error(`${where}, seed ${seed}`, { cause: error });
  }
}

/** The code of the error that opening and closing ends with, null if there is none. */
async function codeOfRecovery(disk: SimulatedDisk): Promise<unknown> {
  try {
    const { journal, fatals } = await openAndReplay(disk);
    await journal.close();
    return fatals.length === 0 ? null : codeOf(fatals[0]);
  } catch (error) {
    return codeOf(error);
  }
}

function codeOf(error: unknown): unknown {
  return error instanceof SimulatedCrash ? 'CRASH' : ((error as { code?: unknown }).code ?? error);
}

describe('a recovery that the disk refuses any call', () => {
  test.each(['EIO', 'ENOSPC', 'short'] as const)(
    'with %s tells of it or manages without, and can be done again',
    async (code) => {
      const random = new Random(seed);
      let refused = 0;
      let managed = 0;
      for await (const crashed of crashes(random)) {
        for (const call of code === 'short' ? (['writev', 'writeHeader'] as const) : CALLS) {
          for (let nth = 1; ; nth += 1) {
            const disk = crashed.image();
            disk.failure = { call, nth, code, ...(code === 'EIO' && { forgets: true }) };
            const end = await codeOfRecovery(disk);
            if (!disk.hasFailed) break;
            if (end === null) managed += 1;
            else refused += 1;
            await told(`${crashed.where}, then ${code} at ${call} ${nth}`, () =>
              checkEnd(disk, end, code, crashed, random),
            );
          }
        }
      }
      expect(refused).toBeGreaterThan(0);
      // What is only made ahead may fail unheard; a full disk is written over in place.
      expect(managed).toBeGreaterThan(0);
    },
    120_000,
  );
});

/** The next process, on the same machine or after that has died as well, finds everything. */
async function checkEnd(
  disk: SimulatedDisk,
  end: unknown,
  code: Failure['code'],
  { history }: Crashed,
  random: Random,
): Promise<void> {
  expect([null, code === 'EIO' ? 'EIO' : 'ENOSPC', 'JOURNAL_DISK_FULL']).toContain(end);
  const isMachineDead = random.next() < 0.5;
  await checkAfterCrash(isMachineDead ? disk.image(random, random.pick(LOSSES)) : disk.restarted(), history);
}

describe('a recovery on a full disk', () => {
  test('opens the log as it is, also when it is crashed at any operation', async () => {
    const random = new Random(seed);
    let opened = 0;
    for await (const { where, history, image } of crashes(random)) {
      const loss = random.pick(LOSSES);
      for (let secondAt = 1; ; secondAt += 1) {
        const disk = full(image());
        disk.crashAt = secondAt;
        const end = await codeOfRecovery(disk);
        if (end === null) opened += 1;
        await told(`${where}, then at ${secondAt} of the recovery on a full disk (${loss}, ${end})`, async () => {
          expect([null, 'CRASH', 'ENOSPC', 'JOURNAL_DISK_FULL']).toContain(end);
          const after = disk.image(new Random(seed + secondAt), loss);
          after.capacityBytes = Number.POSITIVE_INFINITY;
          await checkAfterCrash(after, history);
        });
        if (end !== 'CRASH') break;
      }
    }
    expect(opened).toBeGreaterThan(0);
  }, 120_000);
});

/** Not a block more. */
function full(disk: SimulatedDisk): SimulatedDisk {
  disk.capacityBytes = disk.usedBytes;
  return disk;
}
