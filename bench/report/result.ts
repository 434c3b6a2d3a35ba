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

export interface ScenarioResult {
  readonly name: string;
  /** The question that the scenario answers. */
  readonly question: string;
  /** How it was measured, in full sentences. */
  readonly setUp: string;
  readonly tables: readonly ResultTable[];
  readonly plots: readonly ResultPlot[];
  /** The numbers behind tables and plots. */
  readonly data: unknown;
}
