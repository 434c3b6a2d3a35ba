/** A journal whose disk has refused a call once, and works again: it does not believe it, and asks nothing of it any more (rule W1). */
import { setImmediate as turn } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { Random, seedOf } from '../../support/random.js';
import { checkAfterCrash } from './after-crash.js';
import { type Life, Lifetimes } from './lifetimes.js';
import { type Call, type Failure, type Loss, SimulatedDisk } from './simulated-disk.js';

const seed = seedOf('journal after a failure');
const random = new Random(seed);
const LOSSES: readonly Loss[] = ['lost', 'kept', 'torn', 'mixed'];
const CALLS = [
  'writev',
  'writeHeader',
  'writeLater',
  'datasync',
  'syncDirectory',
  'open',
  'rename',
  'unlink',
  'truncate',
] as const satisfies Call[];

/** Calls of each name in a whole run. */
async function callsOf(call: Call): Promise<number> {
  const disk = new SimulatedDisk();
  expect(await new Lifetimes(disk, seed).run()).toMatchObject({ fatals: [], errors: [], closes: 3 });
  return disk.count(call);
}

/** A run on a disk that fails once. Afterwards everything that the owner of the journal may still ask of it is asked. */
async function failAt(failure: Failure): Promise<'fatal' | 'refused' | 'harmless'> {
  const disk = new SimulatedDisk();
  disk.failure = failure;
  const run = new Lifetimes(disk, seed);
  const history = await run.run();
  expect(history.fatals.length).toBeLessThanOrEqual(1);
  if (history.fatals.length === 1) await checkSilence(disk, run.last!);
  expect(history.fatals.length).toBeLessThanOrEqual(1);
  expect(history.isUnaware).toBe(false);
  disk.crash();
  await checkAfterCrash(disk.image(random, random.pick(LOSSES)), history);
  // The owner was told through `onFatal` or through what he was waiting for; or the journal was being closed, and nothing hung on it.
  if (history.fatals.length === 1) return 'fatal';
  return history.errors.length > 0 ? 'refused' : 'harmless';
}

/** Nothing is confirmed, nothing is written or deleted, and closing ends. */
async function checkSilence(disk: SimulatedDisk, life: Life): Promise<void> {
  const { journal, clock } = life;
  const before = CALLS.map((call) => [call, disk.count(call)]);
  const { firstSegment } = journal;
  const checkUnconfirmed = life.isClosing ? () => undefined : stageMore(life);
  if (!life.isClosing) await journal.reclaim(journal.stagedSegment);
  // A process that has yet to end lets time pass: no idle mark, no sync, no zeros.
  clock.advance(5_000);
  for (let turns = 0; turns < 4; turns += 1) await turn();
  checkUnconfirmed();
  await journal.close();
  for (let turns = 0; turns < 4; turns += 1) await turn();
  checkUnconfirmed();
  expect(journal.firstSegment).toBe(firstSegment);
  expect(CALLS.map((call) => [call, disk.count(call)])).toEqual(before);
}

/** Stages a message and, if no commit has been left hanging, commits it. Returns what checks that neither is confirmed. */
function stageMore({ journal, store, isCommitting }: Life): () => void {
  let answers = 0;
  store.begin();
  store.put();
  const { segment, offset } = [...store.live.places.values()].at(-1)!;
  const answer = (): void => {
    answers += 1;
  };
  if (!isCommitting) journal.commit().then(answer, answer);
  return () => {
    expect(answers).toBe(0);
    expect(journal.isDurable(segment, offset)).toBe(false);
  };
}

describe('EIO', () => {
  test.each(CALLS)(
    'at any %s is told once, and nothing is tried again or confirmed',
    async (call) => {
      const calls = await callsOf(call);
      expect(calls).toBeGreaterThan(2);
      const ends = { fatal: 0, refused: 0, harmless: 0 };
      for (let nth = 1; nth <= calls; nth += 1) {
        try {
          ends[await failAt({ call, nth, code: 'EIO', forgets: true })] += 1;
        } catch (error) {
          throw new Error(`EIO at ${call} ${nth} of ${calls}, seed ${seed}`, { cause: error });
        }
      }
      expect(ends.fatal).toBeGreaterThan(0);
      expect(ends.harmless).toBeLessThan(calls / 4);
    },
    120_000,
  );
});
