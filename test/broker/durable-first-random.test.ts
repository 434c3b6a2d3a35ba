/**
 * Nothing shows before it is safe (promise P1), under random commands of several clients and a disk that takes its time as chance has it: whenever a
 * frame leaves, the records that it rests on are in a batch that is on disk. LOVAGE_TEST_SEED repeats a run, LOVAGE_TEST_RUNS multiplies them.
 */
import { expect, test } from 'vitest';
import { runsOf } from '../engine/runs.js';
import { Random, seedOf } from '../support/random.js';
import { Suspicion } from './suspicion.js';

const RUNS = 40;
const STEPS = 300;

test(
  'whatever leaves rests on what is on disk, in the order in which it was asked for',
  async () => {
    const random = new Random(seedOf('durable first'));
    let heard = 0;
    let held = 0;
    for (let run = 0; run < runsOf(RUNS); run++) {
      const suspicion = await Suspicion.start(random);
      for (let step = 0; step < STEPS; step++) {
        suspicion.act();
        const then = random.next();
        if (then < 0.4) await suspicion.harness.turns();
        else if (then < 0.55 && suspicion.harness.journal.isCommitting) await suspicion.harness.release();
        else if (then < 0.6 && suspicion.harness.journal.isCommitting) await suspicion.harness.releaseInTurn();
      }
      held += suspicion.unanswered;
      await suspicion.harness.letGo();
      suspicion.check();
      expect(suspicion.unanswered).toBe(0);
      expect(suspicion.harness.sessions.failures).toEqual([]);
      heard += suspicion.heard;
    }
    expect(heard).toBeGreaterThan(runsOf(RUNS) * STEPS);
    expect(held).toBeGreaterThan(runsOf(RUNS));
  },
  runsOf(120_000),
);
