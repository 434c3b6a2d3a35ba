/** `lovage journal`: looks at the journal of a broker that is down, and mends it. */
import type { Command } from 'commander';
import { describeRecord, recordTypeName } from '../app/journal-records.js';
import {
  dumpJournal,
  type JournalHealth,
  journalStats,
  type Repair,
  type RepairPlan,
  repairJournal,
  type SegmentStats,
  verifyJournal,
} from '../journal/index.js';
import { integerOption, JSON_OPTION } from './options.js';
import { Output } from './output.js';
import { textPairs, textTable } from './text-table.js';

type Flags = Readonly<Record<string, unknown>>;

interface JournalVerb {
  readonly description: string;
  /** Adds the verb's own options. */
  readonly options?: (command: Command) => void;
  readonly run: (directory: string, output: Output, flags: Flags) => Promise<void>;
}

const VERBS = {
  verify: {
    description: 'read the whole journal and check it; exit code 1 if it is damaged',
    run: async (directory, output) => {
      const health = verifyJournal(directory);
      await output.print(health, healthText(directory, health));
    },
  },
  stats: {
    description: 'count its records by segment and by type',
    run: async (directory, output) => {
      const segments = journalStats(directory);
      await output.print(segments.map(segmentFacts), statsText(segments));
    },
  },
  dump: {
    description: 'print its records, one JSON line each, without the bodies of messages',
    options: (command) => {
      command
        .addOption(integerOption('--from-segment <number>', 'begin with this segment', { min: 1, max: 2 ** 32 - 1 }))
        .addOption(
          integerOption('--limit <number>', 'end after so many records', { min: 1, max: Number.MAX_SAFE_INTEGER }),
        );
    },
    run: async (directory, output, { fromSegment, limit }) => {
      let left = (limit as number | undefined) ?? Number.POSITIVE_INFINITY;
      for (const record of dumpJournal(directory, fromSegment as number | undefined)) {
        await output.item(JSON.stringify(describeRecord(record)));
        left -= 1;
        if (left === 0) break;
      }
      await output.end();
    },
  },
  repair: {
    description: 'show what must go so that a damaged journal can be opened, and with --apply take it out',
    options: (command) => {
      command.option('--apply', 'change the journal; what is taken out is kept in torn/ in the data directory');
    },
    run: async (directory, output, { apply }) => {
      const repair = await repairJournal(directory, { apply: apply === true });
      await output.print(repairFacts(repair, apply === true), repairText(directory, repair, apply === true));
    },
  },
} as const satisfies Record<string, JournalVerb>;

export function addJournal(program: Command): void {
  const journal = program
    .command('journal')
    .description('check, count, print and repair the journal of a broker that is down');
  for (const [name, verb] of Object.entries<JournalVerb>(VERBS)) {
    const command = journal
      .command(name)
      .description(verb.description)
      .argument('<data-dir>', 'data directory of the broker');
    verb.options?.(command);
    command
      .option(...JSON_OPTION)
      .action((directory: string, flags: Flags) =>
        verb.run(directory, new Output(flags.json === true || name === 'dump'), flags),
      );
  }
}

function healthText(directory: string, health: JournalHealth): string {
  const { firstSegment, lastSegment, segments, batches, records, bytes, isClean, torn } = health;
  const end =
    torn === null
      ? isClean
        ? 'closed by the broker'
        : 'left by a process that died; the next start goes on behind it'
      : `torn in segment ${torn.segment} at offset ${torn.offset} (${torn.bytes} bytes: ${torn.reason}); the next start cuts that off and keeps a copy`;
  return textPairs([
    ['journal', `${directory} is whole`],
    ['segments', `${segments} (${firstSegment} to ${lastSegment})`],
    ['batches', batches],
    ['records', records],
    ['bytes', bytes],
    ['end', end],
  ]);
}

function segmentFacts({ types, ...stats }: SegmentStats): Record<string, unknown> {
  return { ...stats, types: Object.fromEntries([...types].map(([type, counts]) => [recordTypeName(type), counts])) };
}

function statsText(segments: readonly SegmentStats[]): string {
  const types = new Map<number, { records: number; bytes: number }>();
  for (const segment of segments) {
    for (const [type, { records, bytes }] of segment.types) {
      const sum = types.get(type) ?? { records: 0, bytes: 0 };
      types.set(type, { records: sum.records + records, bytes: sum.bytes + bytes });
    }
  }
  const bySegment = textTable(
    ['segment', 'bytes', 'batches', 'records', 'sealed'],
    segments.map(({ segment, bytes, batches, records, isSealed }) => [segment, bytes, batches, records, isSealed]),
  );
  const byType = textTable(
    ['type', 'records', 'bytes'],
    [...types].sort(([a], [b]) => a - b).map(([type, { records, bytes }]) => [recordTypeName(type), records, bytes]),
  );
  return `${bySegment}\n\n${byType}`;
}

function repairFacts(repair: Repair | null, isApplied: boolean): Record<string, unknown> {
  if (repair === null) return { damaged: false, applied: false };
  return { damaged: true, applied: isApplied, ...repair.plan, copies: repair.copies };
}

function repairText(directory: string, repair: Repair | null, isApplied: boolean): string {
  if (repair === null) return `There is nothing to repair in ${directory}`;
  const { segment, offset, reason } = repair.plan.damage;
  const damage = `Segment ${segment} is damaged at offset ${offset}: ${reason}`;
  const steps = stepsOf(repair.plan).map((step) => `  - ${step}`);
  if (!isApplied) return [damage, 'A repair would', ...steps, 'Do that with --apply.'].join('\n');
  const copies = repair.copies.map((path) => `Kept: ${path}`);
  return [damage, 'Done:', ...steps, ...copies].join('\n');
}

function stepsOf({ headers, cut, dropped }: RepairPlan): string[] {
  const steps = headers.map((segment) => `write the file header of segment ${segment} again; nothing is lost by that`);
  if (cut !== null)
    steps.push(`cut segment ${cut.segment} at offset ${cut.offset} (${cut.bytes} bytes); what they hold is lost`);
  const [first] = dropped;
  if (first !== undefined) {
    const last = dropped.at(-1)!.segment;
    const which = last === first.segment ? `segment ${last}` : `segments ${first.segment} to ${last}`;
    const bytes = dropped.reduce((sum, segment) => sum + segment.bytes, 0);
    steps.push(`take ${which} out (${bytes} bytes); what it holds is lost`);
  }
  return steps;
}
