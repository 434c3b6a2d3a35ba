/** This tree and another commit, in turns. */
import { buildIn, ROOT } from '../broker/build.js';
import type { Checkout } from '../compare/checkout.js';
import { type Measure, type Metric, takeOn } from '../compare/measures.js';
import { conditions } from '../report/conditions.js';
import { percent, short } from '../report/format.js';
import type { ScenarioResult } from '../report/result.js';
import { median, spread } from '../run/statistics.js';
import type { BenchOptions } from './scenario.js';

/** One metric of both, a value for each round. */
interface Pair {
  readonly metric: Metric;
  readonly here: readonly number[];
  readonly there: readonly number[];
}

export async function compareWith(
  other: Checkout,
  measures: readonly Measure[],
  options: BenchOptions,
): Promise<ScenarioResult> {
  const pairs: Pair[] = [];
  for (const measure of measures) pairs.push(...(await pairsOf(measure, other, options)));
  return {
    name: 'compare',
    question: `What has changed since ${other.commit}?`,
    conditions: conditions(),
    setUp: `This tree and commit ${other.commit}, each with its own broker and its own SDK, from the same load processes. They take turns, a new broker for every run, and who begins changes with every round. The ratio is this tree / the other; with its smallest and largest value of a round.`,
    tables: [
      {
        title: `Median of ${options.rounds} rounds`,
        head: ['', 'better', 'this tree', 'spread', other.commit, 'spread', 'ratio', 'ratios of rounds'],
        rows: pairs.map(row),
      },
    ],
    plots: [],
    leftOut: [],
    data: { commit: other.commit, pairs },
  };
}

async function pairsOf(measure: Measure, other: Checkout, options: BenchOptions): Promise<readonly Pair[]> {
  const here: (readonly number[])[] = [];
  const there: (readonly number[])[] = [];
  for (let round = 1; round <= options.rounds; round++) {
    const label = `${measure.name}, round ${round} of ${options.rounds}`;
    const sides = [
      async () => here.push(await takeOn(buildIn(ROOT), { measure, options, label: `${label}, this tree` })),
      async () => there.push(await takeOn(other.build, { measure, options, label: `${label}, ${other.commit}` })),
    ];
    for (const side of round % 2 === 1 ? sides : sides.reverse()) await side();
  }
  return measure.metrics.map((metric, i) => ({
    metric,
    here: here.map((values) => values[i]!),
    there: there.map((values) => values[i]!),
  }));
}

function row({ metric, here, there }: Pair): string[] {
  const ratios = here.map((value, i) => value / there[i]!);
  return [
    metric.name,
    metric.better,
    short(median(here)),
    percent(spread(here)),
    short(median(there)),
    percent(spread(there)),
    short(median(here) / median(there)),
    `${short(Math.min(...ratios))}-${short(Math.max(...ratios))}`,
  ];
}
