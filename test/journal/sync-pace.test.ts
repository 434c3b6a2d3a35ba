/** Which syncs are done on the event loop: small ones, one a turn, while the disk is quick. */
import { setImmediate as turn } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { SyncPace } from '../../server/journal/sync-pace.js';

const SMALL = 65_536;

test('a small one is, a larger one is not', () => {
  const pace = new SyncPace();
  expect([pace.isOnLoop(SMALL + 1), pace.isOnLoop(Number.POSITIVE_INFINITY)]).toEqual([false, false]);
  expect(pace.isOnLoop(SMALL)).toBe(true);
});

test('the second one of a turn is not, whatever became of the first', async () => {
  const pace = new SyncPace();
  for (let turns = 0; turns < 5; turns += 1) {
    expect([pace.isOnLoop(1), pace.isOnLoop(1)]).toEqual([true, false]);
    pace.took(0.2);
    await turn();
  }
});

test('none is after a slow one, until 64 in a row were quick', async () => {
  const pace = new SyncPace();
  for (const quickBefore of [0, 1, 63]) {
    pace.took(2);
    for (let count = 0; count < quickBefore; count += 1) pace.took(1.9);
    expect(pace.isOnLoop(1)).toBe(false);
  }
  // The last slow one had 63 quick ones behind it.
  pace.took(0);
  expect(pace.isOnLoop(1)).toBe(true);
  await turn();
  expect(pace.isOnLoop(1)).toBe(true);
});
