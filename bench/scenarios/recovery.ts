import { type LovageServer, withLovage } from '../broker/lovage-server.js';
import { fill } from '../load/fill.js';
import { conditions } from '../report/conditions.js';
import { mebibytes, percent, short, whole } from '../report/format.js';
import { median, spread } from '../run/statistics.js';
import { BACKLOGS, leftOutOf, pointsOf } from './points.js';
import type { BenchOptions, Scenario } from './scenario.js';

const QUEUE = 'recovery';

interface Recovery {
  readonly messages: number;
  readonly journalBytes: number;
  /** ms from the start of the process to its ready line, one for each round. */
  readonly readyMs: readonly number[];
}

export const recovery: Scenario = {
  name: 'recovery',
  question: 'How long is a broker away after kill -9?',
  async run(options) {
    const recoveries: Recovery[] = [];
    for (const messages of [0, ...pointsOf(BACKLOGS, options)]) recoveries.push(await after(messages, options));
    const base = median(recoveries[0]!.readyMs);
    return {
      conditions: conditions({ prefetch: 'none' }),
      setUp: `A queue holds messages that nobody consumes; the broker is killed with SIGKILL and started again, once in each of ${options.rounds} rounds. Time counts from the start of the process to its ready line, so starting Node is in it; after each start the messages are counted and must all be there. The journal's files are in the page cache, as after any crash of a process.`,
      tables: [
        {
          title: 'By messages in the journal',
          head: ['messages', 'ready after ms (median)', 'spread', 'messages /s above an empty start', 'MiB of journal'],
          rows: recoveries.map(({ messages, readyMs, journalBytes }) => [
            whole(messages),
            short(median(readyMs)),
            percent(spread(readyMs)),
            messages === 0 ? '-' : whole(messages / ((median(readyMs) - base) / 1_000)),
            mebibytes(journalBytes),
          ]),
        },
      ],
      plots: [
        {
          title: 'Time to ready',
          xLabel: 'messages',
          yLabel: 'ms',
          xScale: 'names',
          yScale: 'linear',
          names: recoveries.map(({ messages }) => whole(messages)),
          series: [{ label: 'ms', points: recoveries.map(({ readyMs }, i) => [i, median(readyMs)] as const) }],
        },
      ],
      leftOut: leftOutOf(BACKLOGS, 'messages', options),
      data: recoveries,
    };
  },
};

function after(messages: number, options: BenchOptions): Promise<Recovery> {
  return withLovage(options, (server) => recoveriesOf(server, messages, options));
}

async function recoveriesOf(server: LovageServer, messages: number, { seed, rounds }: BenchOptions): Promise<Recovery> {
  if (messages > 0) await fill(server, { queue: QUEUE, messages, seed }, `recovery of ${whole(messages)}: publishing`);
  const readyMs: number[] = [];
  for (let round = 0; round < rounds; round++) {
    readyMs.push(await server.crash());
    const { ready } = (await server.overview()).messages;
    if (ready !== messages) throw new Error(`Cannot find everything again: ${ready} messages, expected ${messages}`);
  }
  const journalBytes = (await server.overview()).journal.bytes;
  return { messages, journalBytes, readyMs };
}
