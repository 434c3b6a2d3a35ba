import type { Build } from '../broker/build.js';
import type { Findings } from '../report/result.js';

/** How a run was asked for. */
export interface BenchOptions {
  /** Length of each measured window. */
  readonly windowMs: number;
  readonly warmUpMs: number;
  /** How often a measurement is repeated where it varies. */
  readonly rounds: number;
  /** All sizes, also those that take minutes. */
  readonly isFull: boolean;
  /** Where brokers get their data directories; undefined: the system's place for temporary files. */
  readonly directory: string | undefined;
  /** Of everything random. */
  readonly seed: number;
  readonly build: Build;
}

/** One question, and how it is answered. */
export interface Scenario {
  readonly name: string;
  readonly question: string;
  run(options: BenchOptions): Promise<Findings>;
}
