/**
 * A broker over real segment files, killed at any moment and started again from what the files hold: rolls, checkpoints, copies forward and deletions
 * under way. LOVAGE_TEST_SEED repeats a run, LOVAGE_TEST_RUNS multiplies them.
 */
import assert from 'node:assert/strict';
import { setImmediate as turn } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { durableState } from '../engine/durable-state.js';
import { runsOf } from '../engine/runs.js';
import { Random, seedOf } from '../support/random.js';
import { CrashWorld } from './crash-world.js';

const RUNS = 4;
const CRASHES_PER_RUN = 12;
const STEPS_MAX = 150;

/** Acts until the next crash, sometimes far ahead of the disk. */
async function work(world: CrashWorld): Promise<void> {
  const { random } = world;
  const steps = random.whole(10, STEPS_MAX);
  for (let step = 0; step < steps; step++) {
    world.act();
    const wait = random.next();
    if (wait < 0.3) await world.harness.turn();
    else if (wait < 0.6) await turn();
    world.hear();
  }
}

/** All that the engine has is on the disk: what starts from there is the same. */
async function crashAtRest(world: CrashWorld): Promise<void> {
  await world.harness.turn();
  const { engine } = world.harness.broker;
  const expected = durableState(engine);
  await world.crash();
  assert.deepEqual(durableState(world.harness.broker.engine), expected);
}

test(
  'broker killed at any moment has every message it told of, byte by byte, and none that it settled',
  async () => {
    const random = new Random(seedOf('broker over files'));
    let live = 0;
    let moved = 0;
    let deleted = 0;
    for (let run = 0; run < runsOf(RUNS); run++) {
      const world = new CrashWorld(random);
      await world.start();
      for (let crash = 0; crash < CRASHES_PER_RUN; crash++) {
        await world.connect();
        await work(world);
        const kind = random.next();
        if (kind < 0.3) await crashAtRest(world);
        else if (kind < 0.9) await world.crash();
        else await world.restart();
        live += world.checkMessages();
        // Killed again before anybody has come.
        if (random.next() < 0.2) {
          await world.crash();
          world.checkMessages();
        }
      }
      moved += world.moved;
      deleted += world.journal.firstSegment - 1;
      await world.harness.broker.close();
    }
    expect(live).toBeGreaterThan(100);
    // The journals were cut into segments, which were copied forward and deleted.
    expect(moved).toBeGreaterThan(0);
    expect(deleted).toBeGreaterThan(10);
  },
  runsOf(120_000),
);
