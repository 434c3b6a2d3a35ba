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
  readonly dir?: string;
  readonly json?: string;
  readonly html?: string;
}

const DEFAULT_SEED = 7_420;

/** Times of runs of whole brokers. */
const TIMES = { seconds: 8, warmUp: 3, rounds: 3 } as const;

export function addBenchOptions(command: Command, times: Pick<BenchFlags, keyof typeof TIMES> = TIMES): Command {
  return command
    .option('--seconds <s>', 'length of each measured window', positive, times.seconds)
    .option('--warm-up <s>', 'time before it; before a latency three times as long', positive, times.warmUp)
    .option('--rounds <n>', 'repetitions of what varies from run to run', wholeNumber, times.rounds)
    .option('--seed <n>', 'seed of everything random', wholeNumber, DEFAULT_SEED)
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

/** `isFull`: all sizes, also those that take long. */
export function benchOptionsOf(flags: BenchFlags, isFull = false): BenchOptions {
  return {
    windowMs: flags.seconds * 1_000,
    warmUpMs: flags.warmUp * 1_000,
    rounds: flags.rounds,
    isFull,
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
