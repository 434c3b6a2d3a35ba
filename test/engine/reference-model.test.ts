/**
 * The engine against the reference model under random commands: thousands in a run, each answer compared, and the whole state after every fourth. See `world.ts`.
 * LOVAGE_TEST_SEED repeats a run, LOVAGE_TEST_RUNS multiplies them; the counterexample that is printed is a list of intents for `found.test.ts`.
 */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { EngineOptions } from '../../server/engine/state.js';
import { reportFound } from '../support/found-case.js';
import { seedOf } from '../support/random.js';
import { intent } from './intents.js';
import { runsOf } from './runs.js';
import { WORLD_OPTIONS, World } from './world.js';

const VARIANTS: readonly (readonly [string, Partial<EngineOptions>, number])[] = [
  ['with room', {}, 60],
  ['with few messages and slow connections', { messagesMax: 14, unsentBytesMax: 70 }, 30],
  ['with few bytes at a consumer', { consumerBytesMax: 40 }, 30],
  ['with a grace that outlives most things', { graceMs: 5_000 }, 30],
];

for (const [name, options, runs] of VARIANTS) {
  test(
    `engine does what the model does, and replay makes the same, ${name}`,
    () => {
      const numRuns = runsOf(runs);
      const seed = seedOf(`engine and model ${name}`);
      let commands = 0;
      fc.assert(
        fc.property(fc.array(intent, { maxLength: 3_000, size: 'max' }), (intents) => {
          commands += intents.length;
          new World({ ...WORLD_OPTIONS, ...options }).run(intents);
        }),
        // Making a counterexample of thousands of intents smaller may take for ever.
        {
          numRuns,
          seed,
          reporter: reportFound,
          interruptAfterTimeLimit: runsOf(120_000),
          markInterruptAsFailure: true,
        },
      );
      expect(commands).toBeGreaterThan(numRuns * 100);
    },
    runsOf(300_000),
  );
}
