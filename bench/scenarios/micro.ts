/** Single parts of Lovage, each by itself. */
import { codecMicros } from '../micro/codec.js';
import { journalAppendMicros } from '../micro/journal-append.js';
import { type MicroResult, measureMicro } from '../micro/micro.js';
import { readyIndexMicros } from '../micro/ready-index.js';
import { replayMicros } from '../micro/replay.js';
import { topicTrieMicros } from '../micro/topic-trie.js';
import { conditions } from '../report/conditions.js';
import { mebibytes, percent, short, whole } from '../report/format.js';
import type { ScenarioResult } from '../report/result.js';
import { median, spread } from '../run/statistics.js';
import type { BenchOptions } from './scenario.js';

export async function measureMicros(options: BenchOptions): Promise<ScenarioResult> {
  const { seed, directory, rounds, warmUpMs, windowMs } = options;
  const micros = [
    ...codecMicros(seed),
    ...readyIndexMicros(seed),
    ...topicTrieMicros(),
    ...journalAppendMicros(seed, directory),
    ...replayMicros(seed, directory),
  ];
  const data: MicroResult[] = [];
  for (const micro of micros) data.push(await measureMicro(micro, { warmUpMs, windowMs, rounds }));
  return {
    name: 'micro',
    question: 'What does each part cost by itself?',
    conditions: conditions({ sync: 'as named', window: 'none', prefetch: 'none' }),
    setUp:
      'In one process, without sockets; codec, ready index, topic trie, journal and recovery as the broker and the SDK use them. Bytes are those of bodies.',
    tables: [
      {
        title: `Median of ${rounds} rounds`,
        head: ['part', 'counts', 'ns each', 'spread', 'each second', 'MiB /s'],
        rows: data.map(row),
      },
    ],
    plots: [],
    leftOut: [],
    data,
  };
}

function row({ name, unit, unitBytes, nanos }: MicroResult): string[] {
  const each = median(nanos);
  return [
    name,
    unit,
    short(each),
    percent(spread(nanos)),
    whole(1e9 / each),
    unitBytes === 0 ? '-' : mebibytes((unitBytes * 1e9) / each),
  ];
}
