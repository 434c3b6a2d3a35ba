/** The one place that says how far the log may be believed (rule W8): it refuses every step that is not one forward. */
import { describe, expect, test } from 'vitest';
import { DurablePosition } from '../../server/journal/durable-position.js';

describe('a position with sync class always', () => {
  test('confirms a batch when it has been written and synced, and not before', () => {
    const position = new DurablePosition('always', 0, 1, 64);
    expect([position.writtenNumber, position.syncedNumber, position.segment]).toEqual([0, 0, 1]);
    expect(() => position.confirm(1, 1, 100)).toThrow('batch 1 is confirmed, but only 0 is safe');
    position.wrote(1);
    expect(() => position.confirm(1, 1, 100)).toThrow('batch 1 is confirmed, but only 0 is safe');
    expect([position.covers(1, 63), position.covers(1, 64)]).toEqual([true, false]);
    position.synced(1);
    position.confirm(1, 1, 100);
    expect([position.covers(1, 99), position.covers(1, 100)]).toEqual([true, false]);
    expect([position.writtenNumber, position.syncedNumber]).toEqual([1, 1]);
  });

  test('has at most one batch on its way', () => {
    const position = new DurablePosition('always', 7, 1, 64);
    position.wrote(8);
    expect(() => position.wrote(9)).toThrow('at most one batch is on its way to the disk');
    position.synced(8);
    position.wrote(9);
    expect(position.writtenNumber).toBe(9);
  });
});

describe.each(['interval', 'never'] as const)('a position with sync class %s', (syncClass) => {
  test('confirms what is written, with several batches on their way', () => {
    const position = new DurablePosition(syncClass, 0, 1, 64);
    position.wrote(1);
    position.wrote(2);
    position.confirm(2, 1, 300);
    expect(position.covers(1, 299)).toBe(true);
    expect(position.syncedNumber).toBe(0);
    expect(() => position.confirm(3, 1, 400)).toThrow('batch 3 is confirmed, but only 2 is safe');
    position.synced(2);
    expect(position.syncedNumber).toBe(2);
  });
});

describe('a position', () => {
  test('leaves out no batch and takes none twice', () => {
    const position = new DurablePosition('interval', 3, 1, 64);
    expect(() => position.wrote(3)).toThrow('batch 3 is written after batch 3');
    expect(() => position.wrote(5)).toThrow('batch 5 is written after batch 3');
    position.wrote(4);
    expect(position.writtenNumber).toBe(4);
  });

  test('is never synced behind what was written, nor backwards', () => {
    const position = new DurablePosition('interval', 3, 1, 64);
    expect(() => position.synced(4)).toThrow('batch 4 is synced, 3 was, 3 is written');
    position.wrote(4);
    position.synced(4);
    expect(() => position.synced(3)).toThrow('batch 3 is synced, 4 was, 4 is written');
    position.synced(4);
    expect(position.syncedNumber).toBe(4);
  });

  test('moves forward only, over segments', () => {
    const position = new DurablePosition('never', 0, 1, 500);
    position.wrote(1);
    expect(() => position.confirm(1, 1, 499)).toThrow('the confirmed position moves forward');
    position.confirm(1, 2, 64);
    expect([position.covers(1, 4_000_000_000), position.covers(2, 63), position.covers(2, 64)]).toEqual([
      true,
      true,
      false,
    ]);
    expect(() => position.confirm(1, 1, 900)).toThrow('the confirmed position moves forward');
    expect(position.segment).toBe(2);
  });
});
