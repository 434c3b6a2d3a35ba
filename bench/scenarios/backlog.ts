import { LovageServer } from '../broker/lovage-server.js';
import { fill, watch } from '../load/fill.js';
import { LoadProcess } from '../load/load-process.js';
import { STANDARD_SHAPE } from '../load/throughput-run.js';
import { mebibytes, short, whole } from '../report/format.js';
import { residentBytes, sumOf } from '../run/process-usage.js';
import { backlogSizes } from './backlog-sizes.js';
import type { BenchOptions, Scenario } from './scenario.js';

const QUEUE = 'backlog';
const MIB = 1_048_576;

type Point = readonly [x: number, y: number];

interface BacklogRun {
  readonly messages: number;
  readonly publishSeconds: number;
  readonly drainedPerSecond: number;
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
  isDefault: true,
  async run(options) {
    const runs: BacklogRun[] = [];
    for (const messages of backlogSizes(options)) runs.push(await withBacklog(messages, options));
    return {
      name: this.name,
      question: this.question,
      setUp:
        'One producer (1,000 unconfirmed, 256-byte bodies, random priorities 0-9, --sync always) fills a queue that nobody consumes; then one consumer (prefetch 1,000, every message acknowledged by itself) empties it. Memory is the resident set of the broker process.',
      tables: [
        {
          title: 'By length of the queue',
          head: [
            'messages',
            'published /s',
            'drained /s',
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
      data: runs,
    };
  },
};

async function withBacklog(messages: number, { directory, build, seed }: BenchOptions): Promise<BacklogRun> {
  const { bytes, window, priorities, prefetch } = STANDARD_SHAPE;
  const server = await LovageServer.start({ directory, build });
  const resident = (): number => sumOf(server.pids, residentBytes) ?? Number.NaN;
  const emptyBytes = resident();
  const memory: Point[] = [];
  const publishSeconds = await fill(
    server,
    { queue: QUEUE, messages, bytes, window, priorities, seed },
    `backlog of ${whole(messages)}: publishing`,
    (confirmed) => memory.push([confirmed, resident() / MIB]),
  );
  const fullBytes = resident();
  const journalBytes = (await server.overview()).journal.bytes;
  const drainedPerSecond = await drain(server, messages, prefetch);
  const drainedBytes = resident();
  await server.close();
  return { messages, publishSeconds, drainedPerSecond, emptyBytes, fullBytes, drainedBytes, journalBytes, memory };
}

/** Messages a second until the queue is empty. What comes before the first look is left out. */
async function drain(server: LovageServer, messages: number, prefetch: number): Promise<number> {
  const consumer = await LoadProcess.start('consumer', server.target, {
    queues: [QUEUE],
    consumersPerQueue: 1,
    prefetch,
    concurrency: prefetch,
    handlerMs: 0,
    isStamped: false,
  });
  const before = await consumer.call('sample');
  const seconds = await watch(consumer, before, messages, `backlog of ${whole(messages)}: draining`, () => undefined);
  await consumer.close();
  return (messages - before.count) / seconds;
}

function row(run: BacklogRun): string[] {
  return [
    whole(run.messages),
    whole(run.messages / run.publishSeconds),
    whole(run.drainedPerSecond),
    mebibytes(run.emptyBytes),
    mebibytes(run.fullBytes),
    short((run.fullBytes - run.emptyBytes) / run.messages),
    mebibytes(run.drainedBytes),
    mebibytes(run.journalBytes),
  ];
}
