/** What a scenario has found: numbers for programs, and tables and plots for people. Everything in it travels as JSON. */

export type Cell = string | number;

export interface ResultTable {
  readonly title: string;
  /** Names of the columns, with their unit. */
  readonly head: readonly string[];
  readonly rows: readonly (readonly Cell[])[];
}

export interface Series {
  readonly label: string;
  readonly points: readonly (readonly [x: number, y: number])[];
}

export interface ResultPlot {
  readonly title: string;
  readonly xLabel: string;
  readonly yLabel: string;
  readonly xScale: 'linear' | 'log' | 'names';
  readonly yScale: 'linear' | 'log';
  /** With scale `names`: what stands at x = 0, 1, 2, ... as bars. */
  readonly names?: readonly string[];
  readonly series: readonly Series[];
}

/** What every number of a result rests on; shown beside it. */
export interface Conditions {
  /** When the journal is forced to disk. */
  readonly sync: string;
  /** Unconfirmed publishes of a producer at most. */
  readonly window: string;
  readonly prefetch: string;
  readonly body: string;
  readonly priorities: string;
}

/** What a run of a scenario gives. */
export interface Findings {
  readonly conditions: Conditions;
  /** How it was measured, in full sentences. */
  readonly setUp: string;
  readonly tables: readonly ResultTable[];
  readonly plots: readonly ResultPlot[];
  /** What this run did not measure, and how to get it. */
  readonly leftOut: readonly string[];
  /** The numbers behind tables and plots. */
  readonly data: unknown;
}

export interface ScenarioResult extends Findings {
  readonly name: string;
  /** The question that the scenario answers. */
  readonly question: string;
}
