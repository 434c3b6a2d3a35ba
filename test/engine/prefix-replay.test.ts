/**
 * Every prefix of the journal makes the state that the live engine had there (promise P10), however the commands came. LOVAGE_TEST_SEED repeats a
 * run, LOVAGE_TEST_RUNS multiplies them.
 */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { EngineOptions } from '../../server/engine/state.js';
import { reportFound } from '../support/found-case.js';
import { seedOf } from '../support/random.js';
import { type Intent, intent } from './intents.js';
import { PrefixChecker } from './prefix-checker.js';
import { runsOf } from './runs.js';
import { WORLD_OPTIONS, World } from './world.js';

const housekeeping: fc.Arbitrary<Intent> = fc.constantFrom('roll', 'copy', 'reclaim').map((type) => ({ type }));

/** Commands among which segments begin, are copied forward and go. */
const intents = fc.array(fc.oneof({ weight: 12, arbitrary: intent }, { weight: 1, arbitrary: housekeeping }), {
  minLength: 600,
  maxLength: 1_000,
  size: 'max',
});

interface Variant {
  readonly name: string;
  readonly options: Partial<EngineOptions>;
  readonly isJournalOnly: boolean;
  readonly runs: number;
}

const VARIANTS: readonly Variant[] = [
  { name: 'with messages in memory among them', options: {}, isJournalOnly: false, runs: 20 },
  { name: 'without', options: {}, isJournalOnly: true, runs: 20 },
  { name: 'with a grace that outlives most things', options: { graceMs: 5_000 }, isJournalOnly: true, runs: 10 },
];

for (const { name, options, isJournalOnly, runs } of VARIANTS) {
  test(
    `engine made from any prefix of the records equals the live one, ${name}`,
    () => {
      const numRuns = runsOf(runs);
      const seed = seedOf(`prefixes ${name}`);
      let prefixes = 0;
      let laterStarts = 0;
      fc.assert(
        fc.property(intents, (drawn) => {
          const world = new World({ ...WORLD_OPTIONS, ...options });
          const checker = new PrefixChecker(world, { isJournalOnly });
          for (const next of drawn) {
            world.step(isJournalOnly && next.type === 'publish' ? { ...next, memory: false } : next);
            checker.check();
          }
          checker.checkWhole();
          prefixes += checker.prefixes;
          laterStarts += checker.laterStarts;
        }),
        // Making a counterexample smaller replays everything again.
        { numRuns, seed, reporter: reportFound, endOnFailure: true },
      );
      expect(prefixes).toBeGreaterThan(numRuns * 100);
      expect(laterStarts).toBeGreaterThan(numRuns * 10);
    },
    runsOf(300_000),
  );
}
