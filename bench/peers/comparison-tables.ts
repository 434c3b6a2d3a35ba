/** Tables and plots of the comparison; the first system is Lovage. */
import type { LimitResult } from '../limit/limit-run.js';
import { isSustained, type LatencyResult } from '../load/latency-run.js';
import { confirmedRate, consumedRate } from '../load/throughput-run.js';
import { mebibytes, percent, short, whole } from '../report/format.js';
import type { ResultPlot, ResultTable } from '../report/result.js';
import { median, spread } from '../run/statistics.js';
import type { Measured } from './competitor.js';

const LIMIT = 'limit: the same frames, no broker';

export function peerTables(
  all: readonly Measured[],
  limits: readonly LimitResult[],
  rounds: number,
): readonly ResultTable[] {
  const lovage = medianRate(all[0]!);
  const rates = limits.map(({ messagesPerSecond }) => messagesPerSecond);
  const limit = median(rates);
  return [
    {
      title: `Throughput, median of ${rounds} rounds`,
      head: ['system', 'a confirm means', 'confirmed /s', 'consumed /s', 'spread', 'Lovage / it', 'of the limit'],
      rows: [
        ...all.map((each) => throughputRow(each, lovage, limit)),
        [LIMIT, 'sync before confirm', '-', whole(limit), percent(spread(rates)), short(lovage / limit), '100 %'],
      ],
    },
    {
      title: `Latency at ${whole(all[0]!.latency[0]!.perSecond)} a second in ms, median of ${rounds} rounds`,
      head: [
        'system',
        'sustained',
        'handler p50',
        'p99',
        'spread of p99',
        'p99.9',
        'confirm p50',
        'p99',
        'Lovage / it, p50',
        'p99',
      ],
      rows: all.map((each) => latencyRow(each, all[0]!)),
    },
    {
      title: 'Systems, in the throughput runs',
      head: [
        'system',
        'version',
        'client',
        'priorities',
        'server cores',
        'producer cores',
        'consumer cores',
        'server MiB',
      ],
      rows: all.map(systemRow),
    },
  ];
}

export function peerPlots(all: readonly Measured[]): readonly ResultPlot[] {
  const names = all.map(({ competitor }) => competitor.title);
  return [
    {
      title: 'Throughput',
      xLabel: 'system',
      yLabel: 'consumed a second',
      xScale: 'names',
      yScale: 'linear',
      names,
      series: [{ label: 'consumed', points: all.map((each, i) => [i, medianRate(each)] as const) }],
    },
    {
      title: 'Latency from publish to handler',
      xLabel: 'system',
      yLabel: 'ms',
      xScale: 'names',
      yScale: 'log',
      names,
      series: [50, 99].map((percentile) => ({
        label: `p${percentile}`,
        points: all.map((each, i) => [i, median(percentiles(each, 'delivery', percentile))] as const),
      })),
    },
  ];
}

/** How each was set up, for people. */
export function peerSettings(all: readonly Measured[]): string {
  return all.map(({ competitor }) => `${competitor.title}: ${competitor.settings}`).join(' ');
}

function medianRate({ throughput }: Measured): number {
  return median(throughput.map(consumedRate));
}

function percentiles({ latency }: Measured, histogram: 'delivery' | 'confirm', percentile: number): readonly number[] {
  return latency.map((result: LatencyResult) => result[histogram].percentileMs(percentile));
}

function throughputRow(each: Measured, lovage: number, limit: number): string[] {
  const rate = medianRate(each);
  return [
    each.competitor.title,
    each.competitor.durability,
    whole(median(each.throughput.map(confirmedRate))),
    whole(rate),
    percent(spread(each.throughput.map(consumedRate))),
    short(lovage / rate),
    percent(rate / limit),
  ];
}

function latencyRow(each: Measured, lovage: Measured): string[] {
  const middle = (of: Measured, histogram: 'delivery' | 'confirm', percentile: number): number =>
    median(percentiles(of, histogram, percentile));
  const ratio = (percentile: number): number =>
    middle(lovage, 'delivery', percentile) / middle(each, 'delivery', percentile);
  return [
    each.competitor.title,
    each.latency.every(isSustained) ? 'yes' : 'NO',
    short(middle(each, 'delivery', 50)),
    short(middle(each, 'delivery', 99)),
    percent(spread(percentiles(each, 'delivery', 99))),
    short(middle(each, 'delivery', 99.9)),
    short(middle(each, 'confirm', 50)),
    short(middle(each, 'confirm', 99)),
    short(ratio(50)),
    short(ratio(99)),
  ];
}

function systemRow({ competitor, versions, throughput }: Measured): string[] {
  return [
    competitor.title,
    [...versions].join(', '),
    competitor.client,
    competitor.hasPriorities ? 'yes' : 'no',
    short(median(throughput.map(({ broker }) => broker.cores ?? Number.NaN))),
    short(median(throughput.map(({ groups }) => groups.producers.cores))),
    short(median(throughput.map(({ groups }) => groups.consumers.cores))),
    mebibytes(median(throughput.map(({ broker }) => broker.residentBytes ?? Number.NaN))),
  ];
}
