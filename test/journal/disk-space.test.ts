/** How much of a disk publishes may use, and how much is kept for settlements (rule W7). */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { DiskSpace, RESERVE_BYTES_MIN } from '../../server/journal/disk-space.js';

const MIB = 1024 * 1024;

function measured(freeBytes: number, { reservedBytes = 0, logBytes = 0, needBytes = 0 } = {}): DiskSpace {
  const space = new DiskSpace();
  space.need(needBytes);
  space.measure({ freeBytes, reservedBytes, logBytes });
  return space;
}

describe('what is kept for settlements', () => {
  test('is 8 MiB on a large disk, and more when what is alive needs more', () => {
    expect(measured(100_000 * MIB).targetBytes).toBe(RESERVE_BYTES_MIN);
    expect(measured(100_000 * MIB, { needBytes: 300 * MIB }).targetBytes).toBe(300 * MIB);
  });

  test('is a share of a small disk: a quarter without need, half with any', () => {
    expect(measured(16 * MIB).targetBytes).toBe(4 * MIB);
    expect(measured(16 * MIB, { needBytes: 6 * MIB }).targetBytes).toBe(6 * MIB);
    expect(measured(16 * MIB, { needBytes: 900 * MIB }).targetBytes).toBe(8 * MIB);
  });

  test('does not change when free space becomes reserved space or records', () => {
    const target = measured(16 * MIB).targetBytes;
    expect(measured(10 * MIB, { reservedBytes: 4 * MIB, logBytes: 2 * MIB }).targetBytes).toBe(target);
    expect(measured(0, { reservedBytes: 0, logBytes: 16 * MIB }).targetBytes).toBe(target);
  });
});

describe('the room for publishes', () => {
  test('is what is left of the disk behind the target and a margin of a sixteenth', () => {
    expect(measured(16 * MIB).roomBytes).toBe(16 * MIB - 4 * MIB - MIB);
    expect(measured(8 * MIB, { reservedBytes: 4 * MIB, logBytes: 4 * MIB }).roomBytes).toBe(7 * MIB);
  });

  test('has a margin of 32 MiB at most', () => {
    expect(measured(100_000 * MIB).roomBytes).toBe(100_000 * MIB - 8 * MIB - 32 * MIB);
  });

  test('is negative when settlements have begun to use what was kept for them', () => {
    expect(measured(0, { reservedBytes: 3 * MIB, logBytes: 13 * MIB }).roomBytes).toBe(-2 * MIB);
  });

  test('shrinks by what is written until the disk is looked at again, which is soon', () => {
    const space = measured(16 * MIB);
    expect(space.used(MIB)).toBe(false);
    expect(space.roomBytes).toBe(10 * MIB);
    expect(space.used(1)).toBe(true);
    space.measure({ freeBytes: 14 * MIB, reservedBytes: 0, logBytes: 2 * MIB });
    expect(space.roomBytes).toBe(9 * MIB);
    expect(space.used(MIB)).toBe(false);
  });

  test('is none before the disk has been looked at', () => {
    expect(new DiskSpace().roomBytes).toBe(0);
  });
});

test('a disk is scarce when less than a GiB, or a quarter of a small one, or four times the target is free', () => {
  const isScarce = (freeBytes: number, logBytes: number, needBytes = 0): boolean =>
    measured(freeBytes, { logBytes, needBytes }).isScarce;
  expect([isScarce(1_025 * MIB, 100_000 * MIB), isScarce(1_023 * MIB, 100_000 * MIB)]).toEqual([false, true]);
  expect([isScarce(101 * MIB, 299 * MIB), isScarce(99 * MIB, 301 * MIB)]).toEqual([false, true]);
  expect([isScarce(8_001 * MIB, 8_000 * MIB, 2_000 * MIB), isScarce(7_999 * MIB, 8_000 * MIB, 2_000 * MIB)]).toEqual([
    false,
    true,
  ]);
});

test('room, target and margin never are more than the disk has', () => {
  const bytes = fc.integer({ min: 0, max: 2 ** 40 });
  fc.assert(
    fc.property(bytes, bytes, bytes, bytes, (freeBytes, reservedBytes, logBytes, needBytes) => {
      const space = measured(freeBytes, { reservedBytes, logBytes, needBytes });
      const capacity = freeBytes + reservedBytes + logBytes;
      expect(space.targetBytes).toBeLessThanOrEqual(capacity / 2);
      expect(space.targetBytes).toBeGreaterThanOrEqual(Math.floor(Math.min(RESERVE_BYTES_MIN, capacity / 4)));
      expect(space.roomBytes + space.targetBytes).toBeLessThanOrEqual(freeBytes + reservedBytes);
    }),
  );
});
