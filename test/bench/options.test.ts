import { Command } from 'commander';
import { describe, expect, test } from 'vitest';
import { addBenchOptions, type BenchFlags, benchOptionsOf } from '../../bench/commands/bench-options.js';
import { BACKLOGS, leftOutOf, pointsOf } from '../../bench/scenarios/points.js';

/** What a command line gives; throws what commander would print. */
function flagsOf(...words: readonly string[]): BenchFlags {
  const command = addBenchOptions(new Command().exitOverride().configureOutput({ writeErr: () => undefined }));
  return command.parse(words, { from: 'user' }).opts<BenchFlags>();
}

describe('options of a measuring command', () => {
  test('have defaults', () => {
    expect(benchOptionsOf(flagsOf())).toMatchObject({
      windowMs: 8_000,
      warmUpMs: 3_000,
      rounds: 3,
      isFull: false,
      directory: undefined,
      seed: 7_420,
    });
  });

  test('are taken from the command line, seconds with fractions', () => {
    const words = ['--seconds', '0.5', '--warm-up', '2', '--rounds', '7', '--seed', '99', '--dir', '/data'];
    expect(benchOptionsOf(flagsOf(...words), true)).toMatchObject({
      windowMs: 500,
      warmUpMs: 2_000,
      rounds: 7,
      isFull: true,
      directory: '/data',
      seed: 99,
    });
  });

  test.each([
    ['--seconds', '0'],
    ['--seconds', '-1'],
    ['--seconds', 'soon'],
    ['--seconds', '3601'],
    ['--warm-up', 'NaN'],
    ['--rounds', '0'],
    ['--rounds', '1.5'],
    ['--seed', '1e3'],
  ])('refuse %s %s', (flag, value) => {
    expect(() => flagsOf(flag, value)).toThrow(/Expected/);
  });
});

describe('the sizes of a scenario', () => {
  const points = { always: [10, 10_000], full: [100, 1_000] };

  test('are a part of all in a usual run, which says what it leaves out', () => {
    expect(pointsOf(points, { isFull: false })).toEqual([10, 10_000]);
    expect(leftOutOf(points, 'queues', { isFull: false })).toEqual(['100 and 1,000 queues (--full)']);
  });

  test('are all of them, from small to large, in a full run, which leaves nothing out', () => {
    expect(pointsOf(points, { isFull: true })).toEqual([10, 100, 1_000, 10_000]);
    expect(leftOutOf(points, 'queues', { isFull: true })).toEqual([]);
  });

  test('of a backlog reach ten million in a full run', () => {
    expect(pointsOf(BACKLOGS, { isFull: true })).toEqual([1_000_000, 10_000_000]);
  });
});
