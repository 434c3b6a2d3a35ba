import { type LovageServer, withLovage } from '../broker/lovage-server.js';
import { type BacklogRun, runBacklog, SHORT_QUEUE } from '../load/backlog-run.js';
import { conditions } from '../report/conditions.js';
import { mebibytes, percent, short, whole } from '../report/format.js';
import { residentBytes, sumOf } from '../run/process-usage.js';
import { BACKLOGS, leftOutOf, pointsOf } from './points.js';
import type { BenchOptions, Scenario } from './scenario.js';

const MIB = 1_048_576;
/** Points of the memory's curve. */
const POINTS = 100;

type Point = readonly [x: number, y: number];

interface Backlog extends BacklogRun {
  readonly emptyBytes: number;
  readonly fullBytes: number;
  readonly drainedBytes: number;
  readonly journalBytes: number;
  /** Messages in the queue, MiB of the broker. */
  readonly memory: readonly Point[];
}

export const backlog: Scenario = {
  name: 'backlog',
  question: 'What does a long queue cost: in memory, in publishing, in draining it?',
  async run(options) {
    const runs: Backlog[] = [];
    for (const messages of pointsOf(BACKLOGS, options)) runs.push(await withBacklog(messages, options));
    return {
      conditions: conditions(),
      setUp: `One producer fills a paused queue; then the queue goes on and one consumer empties it, acknowledging every message by itself. The same three processes do that with ${whole(SHORT_QUEUE)} messages first, once to warm up and three times for the rates that the long queue is compared with. Memory is the resident set of the broker process.`,
      tables: [
        {
          title: 'By length of the queue',
          head: [
            'messages',
            'published /s',
            'of a short queue',
            'drained /s',
            'of a short queue',
            'MiB empty',
            'MiB full',
            'bytes a message',
            'MiB drained',
            'MiB of journal',
          ],
          rows: runs.map(row),
        },
      ],
      plots: [
        {
          title: 'Memory while the queue fills',
          xLabel: 'messages in the queue',
          yLabel: 'MiB resident',
          xScale: 'linear',
          yScale: 'linear',
          series: runs.map(({ messages, memory }) => ({ label: whole(messages), points: memory })),
        },
      ],
      leftOut: leftOutOf(BACKLOGS, 'messages', options),
      data: runs,
    };
  },
};

function withBacklog(messages: number, options: BenchOptions): Promise<Backlog> {
  return withLovage(options, (server) => backlogOn(server, messages, options));
}

async function backlogOn(server: LovageServer, messages: number, { seed }: BenchOptions): Promise<Backlog> {
  const resident = (): number => sumOf(server.pids, residentBytes) ?? Number.NaN;
  const memory: Point[] = [];
  let journalBytes = 0;
  const run = await runBacklog(server, { messages, seed }, async (inQueue) => {
    if (inQueue >= (memory.length * messages) / POINTS) memory.push([inQueue, resident() / MIB]);
    if (inQueue === messages) journalBytes = (await server.overview()).journal.bytes;
  });
  const drainedBytes = resident();
  const [first, last] = [memory[0]!, memory.at(-1)!];
  return { ...run, emptyBytes: first[1] * MIB, fullBytes: last[1] * MIB, drainedBytes, journalBytes, memory };
}

function row(run: Backlog): string[] {
  return [
    whole(run.messages),
    whole(run.long.publishedPerSecond),
    percent(run.long.publishedPerSecond / run.short.publishedPerSecond),
    whole(run.long.drainedPerSecond),
    percent(run.long.drainedPerSecond / run.short.drainedPerSecond),
    mebibytes(run.emptyBytes),
    mebibytes(run.fullBytes),
    short((run.fullBytes - run.emptyBytes) / run.messages),
    mebibytes(run.drainedBytes),
    mebibytes(run.journalBytes),
  ];
}
