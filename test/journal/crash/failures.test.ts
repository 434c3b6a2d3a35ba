/** The disk refuses a call: rule W1 for what cannot be known any more, rules W6 and W7 for a disk that is full. */
import { describe, expect, test } from 'vitest';
import { Random, seedOf } from '../../support/random.js';
import { type Call, type Failure, type Loss, SimulatedDisk } from './simulated-disk.js';
import { checkRecovery, type Outcome, Workload } from './workload.js';

const seed = seedOf('journal failures');
const random = new Random(seed);
const LOSSES: readonly Loss[] = ['lost', 'kept', 'torn', 'mixed'];

/** A run on a disk that fails once; then the process ends and the next one looks. */
async function runWith(failure: Failure): Promise<{ disk: SimulatedDisk; outcome: Outcome }> {
  const disk = new SimulatedDisk();
  disk.failure = failure;
  const outcome = await new Workload(disk, seed).run();
  disk.crash();
  const image = disk.image(random, random.pick(LOSSES));
  try {
    await checkRecovery(image, outcome);
  } catch (error) {
    throw new Error(`after ${failure.code} at ${failure.call} ${failure.nth}, seed ${seed}`, { cause: error });
  }
  return { disk, outcome };
}

/** How often a whole run makes a call. */
async function callsOf(call: Call): Promise<number> {
  const disk = new SimulatedDisk();
  await new Workload(disk, seed).run();
  return disk.count(call);
}

describe('EIO', () => {
  test.each(['datasync', 'writev', 'writeHeader', 'syncDirectory', 'open', 'rename', 'unlink'] as const)(
    'at any %s ends the journal once and for all, and confirms nothing more',
    async (call) => {
      const calls = await callsOf(call);
      expect(calls).toBeGreaterThan(1);
      for (let nth = 1; nth <= calls; nth += 1) {
        const { disk, outcome } = await runWith({ call, nth, code: 'EIO' });
        // Before the journal is open the one who opens it is told, later `onFatal`, and never twice.
        expect(outcome.fatals).toBeLessThanOrEqual(1);
        // What only prepares for later may fail unheard while the journal is closed.
        if (outcome.isClosed) expect(outcome.hadFailed).toBe(false);
        else expect(outcome.errors.length).toBeGreaterThan(0);
        // Rule W1: nothing is written any more, as a second try at what could not be synced or as if nothing had happened.
        if (outcome.fatals === 1) expect(disk.count('writev')).toBe(outcome.writesAtFatal);
      }
    },
    120_000,
  );
});

describe('a full disk', () => {
  test('met by zeros written ahead disturbs nobody', async () => {
    const calls = await callsOf('writeLater');
    for (let nth = 1; nth <= calls; nth += 1) {
      for (const code of ['ENOSPC', 'short'] as const) {
        const { outcome } = await runWith({ call: 'writeLater', nth, code });
        expect(outcome).toMatchObject({ fatals: 0, isClosed: true });
      }
    }
  }, 120_000);

  test('met by a batch is overcome with the space kept aside, or ends the process; nothing durable is lost', async () => {
    const calls = await callsOf('writev');
    let overcome = 0;
    for (let nth = 1; nth <= calls; nth += 1) {
      for (const code of ['ENOSPC', 'short'] as const) {
        const { outcome } = await runWith({ call: 'writev', nth, code });
        if (outcome.isClosed) overcome += 1;
        else expect(outcome.fatals + outcome.errors.length).toBeGreaterThan(0);
      }
    }
    expect(overcome).toBeGreaterThan(0);
  }, 120_000);
});
