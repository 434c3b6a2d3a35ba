/** Several processes on one disk, crashed at every I/O operation: what lives afterwards is what lived, byte by byte, and work goes on. */
import { createHash } from 'node:crypto';
import { beforeAll, describe, expect, test } from 'vitest';
import { Random, seedOf } from '../../support/random.js';
import { checkAfterCrash, openAndReplay } from './after-crash.js';
import { type History, Lifetimes } from './lifetimes.js';
import { type Loss, SimulatedCrash, SimulatedDisk } from './simulated-disk.js';

const seed = seedOf('journal lifetimes');
const LOSSES: readonly Loss[] = ['lost', 'kept', 'torn', 'mixed'];

/** Calls of the run without a crash. */
let operations = 0;

async function runUntil(crashAt: number): Promise<{ disk: SimulatedDisk; history: History }> {
  const disk = new SimulatedDisk();
  disk.crashAt = crashAt;
  const history = await new Lifetimes(disk, seed).run();
  const isMere = [...history.errors, ...history.fatals].every((error) => error instanceof SimulatedCrash);
  if (!isMere) throw new Error(`crash at ${crashAt}, seed ${seed}`, { cause: [...history.errors, ...history.fatals] });
  return { disk, history };
}

/** Says where it was when a check fails. */
async function told(where: string, check: () => Promise<void>): Promise<void> {
  try {
    await check();
  } catch (error) {
    throw new Error(`${where}, seed ${seed}`, { cause: error });
  }
}

beforeAll(async () => {
  const disk = new SimulatedDisk();
  const run = new Lifetimes(disk, seed);
  const history = await run.run();
  expect(history).toMatchObject({ fatals: [], errors: [], closes: 3 });
  await checkAfterCrash(disk.image(new Random(seed), 'lost'), history);
  // The run is worth crashing: everything that a journal does happens in it.
  expect(history.seals).toBeGreaterThan(3);
  expect(history.idleMarks).toBeGreaterThan(2);
  expect(history.reclaimed).toBeGreaterThan(2);
  expect(run.moves).toBeGreaterThan(0);
  expect(disk.count('writeLater')).toBeGreaterThan(5);
  operations = disk.operations;
});

describe('a crash', () => {
  test('at any operation loses no message that is durable, revives none, and changes none', async () => {
    for (let crashAt = 1; crashAt <= operations; crashAt += 1) {
      const { disk, history } = await runUntil(crashAt);
      for (const loss of LOSSES) {
        await told(`crash at ${crashAt} of ${operations}, ${loss}`, () =>
          checkAfterCrash(disk.image(new Random(seed + crashAt), loss), history),
        );
      }
    }
  }, 240_000);

  // Every operation of the recovery, but of the crashes before it only about a hundred, others with each seed.
  test('at any operation of the recovery from another crash does not either', async () => {
    const random = new Random(seed);
    const stride = Math.ceil(operations / 50);
    for (let crashAt = random.whole(1, stride); crashAt <= operations; crashAt += random.whole(1, stride)) {
      const { disk, history } = await runUntil(crashAt);
      const [loss, second] = [random.pick(LOSSES), random.pick(LOSSES)];
      for (let secondAt = 1; ; secondAt += 1) {
        const image = disk.image(new Random(seed + crashAt), loss);
        image.crashAt = secondAt;
        const isDone = await recovers(image);
        await told(`crash at ${crashAt} (${loss}), then at ${secondAt} of the recovery (${second})`, () =>
          checkAfterCrash(image.image(new Random(seed + secondAt), second), history),
        );
        if (isDone) break;
      }
    }
  }, 240_000);
});

test('the same seed leaves the same bytes on the disk, also of a crash', async () => {
  // The log's id is drawn when the first segment is made, so both runs go on with the same empty log.
  const empty = new SimulatedDisk();
  await (await openAndReplay(empty)).journal.close();
  const crash = async (at: number): Promise<[crashed: SimulatedDisk, torn: SimulatedDisk]> => {
    const crashed = empty.copy();
    crashed.crashAt = at;
    await new Lifetimes(crashed, seed).run();
    return [crashed, crashed.image(new Random(seed), 'torn')];
  };
  // A crash right behind a sync tears nothing.
  let at = operations >> 1;
  const isTorn = ([crashed, torn]: SimulatedDisk[]): boolean =>
    JSON.stringify(digests(crashed!.contents())) !== JSON.stringify(digests(torn!.contents()));
  while (at < operations && !isTorn(await crash(at))) at++;
  const runs: SimulatedDisk[] = [];
  for (let count = 0; count < 2; count += 1) {
    const disk = empty.copy();
    expect(await new Lifetimes(disk, seed).run()).toMatchObject({ fatals: [], errors: [] });
    runs.push(disk, ...(await crash(at)));
  }
  const [whole, half, torn, ...again] = runs.map((disk) => disk.contents());
  expect(again.map(digests)).toEqual([whole, half, torn].map((contents) => digests(contents!)));
  expect(digests(half!)).not.toEqual(digests(torn!));
});

function digests(contents: Map<string, Buffer>): [string, string][] {
  return [...contents].map(([path, bytes]) => [path, createHash('sha256').update(bytes).digest('hex')]);
}

/** Opens, replays and closes; false if the disk crashed on the way. */
async function recovers(disk: SimulatedDisk): Promise<boolean> {
  try {
    const { journal, fatals } = await openAndReplay(disk);
    await journal.close();
    return fatals.length === 0;
  } catch (error) {
    if (error instanceof SimulatedCrash) return false;
    throw error;
  }
}
