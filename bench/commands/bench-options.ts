/** The options that every measuring command has. */
import { type Command, InvalidArgumentError } from 'commander';
import { buildIn, ROOT } from '../broker/build.js';
import type { BenchOptions } from '../scenarios/scenario.js';

/** What commander gives. */
export interface BenchFlags {
  readonly seconds: number;
  readonly warmUp: number;
  readonly rounds: number;
  readonly seed: number;
  readonly full?: true;
  readonly dir?: string;
  readonly json?: string;
  readonly html?: string;
}

const DEFAULT_SEED = 7_420;

export function addBenchOptions(command: Command): Command {
  return command
    .option('--seconds <s>', 'length of each measured window', positive, 8)
    .option('--warm-up <s>', 'time before it', positive, 3)
    .option('--rounds <n>', 'repetitions of what varies from run to run', wholeNumber, 3)
    .option('--seed <n>', 'seed of everything random', wholeNumber, DEFAULT_SEED)
    .option('--full', 'all sizes: takes half an hour, some gigabytes of memory and disk')
    .option(
      '--dir <path>',
      "where brokers keep their data meanwhile; must be on a real disk (default: the system's place for temporary files)",
    )
    .option('--json <file>', 'write all numbers there (default: bench/results/<time>-<what>.json)')
    .option(
      '--html <file>',
      'write a report with plots there, one file that needs no network (default: the same name)',
    );
}

export function benchOptionsOf(flags: BenchFlags): BenchOptions {
  return {
    windowMs: flags.seconds * 1_000,
    warmUpMs: flags.warmUp * 1_000,
    rounds: flags.rounds,
    isFull: flags.full === true,
    directory: flags.dir,
    seed: flags.seed,
    build: buildIn(ROOT),
  };
}

export function wholeNumber(text: string): number {
  if (/^[1-9][0-9]{0,8}$/.test(text)) return Number(text);
  throw new InvalidArgumentError('Expected a whole number from 1.');
}

function positive(text: string): number {
  const value = Number(text);
  if (value > 0 && value <= 3_600) return value;
  throw new InvalidArgumentError('Expected a number above 0, at most 3600.');
}
