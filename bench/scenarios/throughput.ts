import { confirmedRate, consumedRate, type ThroughputResult } from '../load/throughput-run.js';
import { conditions } from '../report/conditions.js';
import { mebibytes, percent, short, whole } from '../report/format.js';
import { median, spread } from '../run/statistics.js';
import { freshRun } from './fresh-run.js';
import type { BenchOptions, Scenario } from './scenario.js';

const PAIRS = [1, 4] as const;

/** Rounds with so many producers and as many consumers. */
interface ThroughputRounds {
  readonly pairs: number;
  readonly rounds: readonly ThroughputResult[];
}

export const throughput: Scenario = {
  name: 'throughput',
  question: 'How many messages a second go from producers through the disk to consumers?',
  async run(options) {
    const data: ThroughputRounds[] = [];
    for (const pairs of PAIRS) data.push({ pairs, rounds: await roundsWith(pairs, options) });
    return {
      conditions: conditions(),
      setUp:
        'Each producer keeps its window full, with a call of publish and a promise for each message; each consumer acknowledges every message by itself after its handler. Each producer and consumer is a process. All confirmed messages were consumed.',
      tables: [
        {
          title: `Median of ${options.rounds} rounds, a new broker each`,
          head: [
            'producers x consumers',
            'confirmed /s',
            'consumed /s',
            'spread',
            'broker cores',
            'producer cores',
            'consumer cores',
            'broker MiB',
          ],
          rows: data.map(row),
        },
      ],
      plots: [
        {
          title: 'Throughput',
          xLabel: 'producers x consumers',
          yLabel: 'messages a second',
          xScale: 'names',
          yScale: 'linear',
          names: data.map(({ pairs }) => `${pairs} x ${pairs}`),
          series: [
            {
              label: 'confirmed',
              points: data.map(({ rounds }, i) => [i, median(rounds.map(confirmedRate))] as const),
            },
            { label: 'consumed', points: data.map(({ rounds }, i) => [i, median(rounds.map(consumedRate))] as const) },
          ],
        },
      ],
      leftOut: [],
      data,
    };
  },
};

async function roundsWith(pairs: number, options: BenchOptions): Promise<ThroughputResult[]> {
  const results: ThroughputResult[] = [];
  for (let round = 1; round <= options.rounds; round++) {
    const label = `throughput ${pairs} x ${pairs}, round ${round} of ${options.rounds}`;
    results.push(await freshRun(options, { producers: pairs, consumers: pairs }, label));
  }
  return results;
}

function row({ pairs, rounds }: ThroughputRounds): string[] {
  const middle = (read: (result: ThroughputResult) => number): number => median(rounds.map(read));
  return [
    `${pairs} x ${pairs}`,
    whole(middle(confirmedRate)),
    whole(middle(consumedRate)),
    percent(spread(rounds.map(consumedRate))),
    short(middle(({ broker }) => broker.cores ?? Number.NaN)),
    short(middle(({ groups }) => groups.producers.cores)),
    short(middle(({ groups }) => groups.consumers.cores)),
    mebibytes(middle(({ broker }) => broker.residentBytes ?? Number.NaN)),
  ];
}
