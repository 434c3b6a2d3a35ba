import { type FrameProfile, frameProfile } from '../limit/frame-profile.js';
import { type LimitResult, runLimit } from '../limit/limit-run.js';
import { STANDARD } from '../load/standard.js';
import { consumedRate, type ThroughputResult } from '../load/throughput-run.js';
import { conditions } from '../report/conditions.js';
import { percent, short, whole } from '../report/format.js';
import { median, spread } from '../run/statistics.js';
import { freshRun } from './fresh-run.js';
import type { BenchOptions, Scenario } from './scenario.js';

/** Lovage, and right after it the same frames without a broker. */
interface LimitRound {
  readonly lovage: ThroughputResult;
  readonly profile: FrameProfile;
  readonly limit: LimitResult;
}

export const limit: Scenario = {
  name: 'limit',
  question: 'How near is Lovage to what sockets and disk of this machine allow?',
  async run(options) {
    const data: LimitRound[] = [];
    for (let round = 1; round <= options.rounds; round++)
      data.push(await limitRound(`round ${round} of ${options.rounds}`, options));
    const lovage = data.map((round) => consumedRate(round.lovage));
    const raw = data.map((round) => round.limit.messagesPerSecond);
    const share = data.map((round) => consumedRate(round.lovage) / round.limit.messagesPerSecond);
    const rows: readonly (readonly [string, readonly number[], (value: number) => string])[] = [
      ['Lovage, consumed /s', lovage, whole],
      ['limit, messages /s', raw, whole],
      ['Lovage as a share of the limit', share, percent],
      ['limit, syncs /s', data.map((round) => round.limit.syncsPerSecond), whole],
      ['limit, server cores', data.map((round) => round.limit.relayCores), short],
      ['Lovage, broker cores', data.map((round) => round.lovage.broker.cores ?? Number.NaN), short],
      ['messages in a PUBLISH', data.map((round) => round.profile.publish.messages), short],
      ['messages in a DELIVER', data.map((round) => round.profile.deliver.messages), short],
    ];
    return {
      conditions: conditions(),
      setUp:
        'Each round runs throughput 1 x 1 and counts its frames; then the same frames (their mean sizes and numbers, the same window of unconfirmed messages) go from one process through a server to another over loopback WebSockets, and the server writes what it gets to a file and syncs it before it answers, whatever arrives during a sync being the next batch. No queue, no message, no promise is behind it.',
      tables: [
        {
          title: `Median of ${options.rounds} rounds`,
          head: ['', 'median', 'spread'],
          rows: rows.map(([label, values, text]) => [label, text(median(values)), percent(spread(values))]),
        },
      ],
      plots: [
        {
          title: 'Lovage and the limit',
          xLabel: 'round',
          yLabel: 'messages a second',
          xScale: 'names',
          yScale: 'linear',
          names: data.map((_, i) => `round ${i + 1}`),
          series: [
            { label: 'Lovage', points: lovage.map((value, i) => [i, value] as const) },
            { label: 'limit', points: raw.map((value, i) => [i, value] as const) },
          ],
        },
      ],
      leftOut: [],
      data,
    };
  },
};

async function limitRound(label: string, options: BenchOptions): Promise<LimitRound> {
  const { directory, warmUpMs, windowMs } = options;
  const lovage = await freshRun(options, {}, `limit, Lovage, ${label}`);
  const profile = frameProfile(lovage);
  const shape = { profile, window: STANDARD.window, directory, warmUpMs, windowMs };
  const result = await runLimit(shape, `limit, bare frames, ${label}`);
  return { lovage, profile, limit: result };
}
