/** `lovage messages`: look at messages of a queue, and drop, move, send back, hurry or reorder them. */
import type { Client, MessageChanges, MessageInfo, MessageSelection } from '@lovage/client';
import { DEAD_LETTER_REASONS, isName, LIMITS, MESSAGE_STATES } from '@lovage/protocol';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { withClient } from './client.js';
import { UsageError } from './failure.js';
import { addSettings, integerOption, JSON_OPTION } from './options.js';
import { Output } from './output.js';
import { textTable } from './text-table.js';

type Flags = Readonly<Record<string, unknown>>;

interface MessageVerb {
  readonly description: string;
  /** What became of them, in the past tense. */
  readonly done: string;
  /** Whether it asks for ids or a filter before it works on a whole queue. */
  readonly needsSelection: boolean;
  readonly options?: (command: Command) => void;
  readonly run: (client: Client, queue: string, selection: MessageSelection, flags: Flags) => Promise<MessageChanges>;
}

const PRIORITY = { min: 0, max: LIMITS.priorityMax } as const;
const ID = { min: 0, max: Number.MAX_SAFE_INTEGER } as const;
const FORCE = ['--force', 'also what a handler has started'] as const;

const VERBS = {
  drop: {
    description: 'drop messages',
    done: 'Dropped',
    needsSelection: true,
    options: (command) => command.option(...FORCE),
    run: (client, queue, selection, { dryRun, force }) =>
      client.messages.drop(queue, selection, { dryRun: dryRun === true, force: force === true }),
  },
  move: {
    description: 'move messages to another queue, where they begin anew',
    done: 'Moved',
    needsSelection: true,
    options: (command) => command.requiredOption('--to <queue>', 'queue to move them to').option(...FORCE),
    run: (client, queue, selection, { dryRun, force, to }) =>
      client.messages.move(queue, selection, to as string, { dryRun: dryRun === true, force: force === true }),
  },
  retry: {
    description: 'make delayed messages ready now',
    done: 'Made ready',
    needsSelection: false,
    run: (client, queue, selection, { dryRun }) => client.messages.retry(queue, selection, { dryRun: dryRun === true }),
  },
  priority: {
    description: 'give messages another priority',
    done: 'Changed the priority of',
    needsSelection: true,
    options: (command) =>
      command.addOption(integerOption('--to <priority>', 'the new priority', PRIORITY).makeOptionMandatory()),
    run: (client, queue, selection, { dryRun, to }) =>
      client.messages.setPriority(queue, selection, to as number, { dryRun: dryRun === true }),
  },
  redrive: {
    description: 'send dead letters back to the queues that have given them up',
    done: 'Sent back',
    needsSelection: false,
    run: (client, queue, selection, { dryRun }) =>
      client.messages.redrive(queue, selection, { dryRun: dryRun === true }),
  },
} as const satisfies Record<string, MessageVerb>;

export function addMessages(program: Command): void {
  const messages = program
    .command('messages')
    .description('look at single messages, drop, move, retry, reorder and redrive them');
  const list = addSelection(messages.command('list').description('show messages of a queue, the oldest first'), false);
  addSettings(list.option(...JSON_OPTION).action(listMessages), 'client');
  const peek = messages.command('peek').description('show messages with what is in them; nothing is delivered');
  addSelection(peek, true);
  addSettings(peek.option(...JSON_OPTION).action(peekAt), 'client');
  for (const [name, verb] of Object.entries<MessageVerb>(VERBS)) {
    const command = addSelection(messages.command(name).description(verb.description), true);
    if (verb.needsSelection) command.option('--all', 'everything in the queue');
    verb.options?.(command);
    command.option('--dry-run', 'change nothing, only count').option(...JSON_OPTION);
    command.action((queue: string, ids: number[], flags: Flags) => runVerb(verb, queue, ids, flags));
    addSettings(command, 'client');
  }
}

function addSelection(command: Command, withIds: boolean): Command {
  command.argument('<queue>', 'name of the queue');
  if (withIds) command.argument('[id...]', 'ids of messages, instead of a filter', readId, []);
  else command.addOption(integerOption('--limit <n>', 'at most so many, default all', { min: 1, max: ID.max }));
  return command
    .addOption(new Option('--state <state>', 'only those of this state').choices(MESSAGE_STATES))
    .addOption(integerOption('--priority-min <priority>', 'only those of this priority or above', PRIORITY))
    .addOption(integerOption('--priority-max <priority>', 'only those of this priority or below', PRIORITY))
    .addOption(integerOption('--id-min <id>', 'only those of this id or above', ID))
    .addOption(integerOption('--id-below <id>', 'only those below this id', ID))
    .addOption(new Option('--reason <reason>', 'only dead letters of this reason').choices(DEAD_LETTER_REASONS))
    .option('--from <queue>', 'only dead letters that came from this queue');
}

function readId(text: string, before: readonly number[]): readonly number[] {
  if (!/^[1-9][0-9]{0,15}$/.test(text)) throw new InvalidArgumentError('expected a whole number from 1 on');
  return [...before, Number(text)];
}

function selectionOf(ids: readonly number[], flags: Flags): MessageSelection {
  const filter: Record<string, unknown> = {};
  for (const key of ['state', 'priorityMin', 'priorityMax', 'idMin', 'idBelow', 'reason', 'from'])
    if (flags[key] !== undefined) filter[key] = flags[key];
  if (ids.length > 0 && Object.keys(filter).length > 0)
    throw new UsageError('Cannot select messages: expected ids or a filter, not both');
  return ids.length > 0 ? { ids } : filter;
}

async function listMessages(queue: string, flags: Flags): Promise<void> {
  checkName(queue);
  const filter = selectionOf([], flags);
  const output = new Output(flags.json === true);
  const rows: (string | number)[][] = [];
  let left = typeof flags.limit === 'number' ? flags.limit : Number.POSITIVE_INFINITY;
  await withClient(flags, async (client) => {
    for (let after: number | null = 0; after !== null && left > 0; ) {
      const page = await client.messages.list(queue, filter, { after, limit: Math.min(left, LIMITS.pageMax) });
      for (const info of page.messages) {
        if (output.isJson) await output.item(JSON.stringify(info));
        else rows.push(rowOf(info));
      }
      left -= page.messages.length;
      after = page.next;
    }
  });
  const heads = ['id', 'state', 'priority', 'attempts', 'bytes', 'due', 'expires', 'came from'];
  if (!output.isJson) await output.line(rows.length === 0 ? 'No messages' : textTable(heads, rows));
  await output.end();
}

async function peekAt(queue: string, ids: readonly number[], flags: Flags): Promise<void> {
  checkName(queue);
  const selection = selectionOf(ids, flags);
  const { messages } = await withClient(flags, (client) => client.messages.peek(queue, selection));
  const output = new Output(flags.json === true);
  for (const message of messages) {
    const { body, ...rest } = message;
    const shown = { ...rest, ...textOf(body) };
    await output.print(shown, `${JSON.stringify(shown, null, 2)}`);
  }
  if (messages.length === 0 && !output.isJson) await output.line('No messages');
  await output.end();
}

/** A body as text if it is text, else as base64. */
function textOf(body: Uint8Array): { readonly body: string } | { readonly base64: string } {
  try {
    return { body: new TextDecoder('utf-8', { fatal: true }).decode(body) };
  } catch {
    return { base64: Buffer.from(body).toString('base64') };
  }
}

async function runVerb(verb: MessageVerb, queue: string, ids: readonly number[], flags: Flags): Promise<void> {
  checkName(queue);
  const selection = selectionOf(ids, flags);
  if (verb.needsSelection && Object.keys(selection).length === 0 && flags.all !== true)
    throw new UsageError('Cannot select messages: expected ids, a filter, or --all for everything in the queue');
  const changes = await withClient(flags, (client) => verb.run(client, queue, selection, flags));
  const skipped = Object.entries(changes.skipped).map(([why, count]) => `${count} ${why}`);
  const would = flags.dryRun === true ? 'Without --dry-run: ' : '';
  const text = `${would}${verb.done} ${changes.changed} of ${changes.matched} messages`;
  await new Output(flags.json === true).print(changes, skipped.length === 0 ? text : `${text} (${skipped.join(', ')})`);
}

function rowOf({
  id,
  state,
  priority,
  attempts,
  bytes,
  dueAt,
  expiresAt,
  deadLetters,
}: MessageInfo): (string | number)[] {
  const last = deadLetters.at(-1);
  const origin = last === undefined ? '-' : `${last.queue} (${last.reason})`;
  return [id, state, priority, attempts, bytes, timeOf(dueAt), timeOf(expiresAt), origin];
}

function timeOf(ms: number | null): string {
  return ms === null ? '-' : new Date(ms).toISOString();
}

function checkName(queue: string): void {
  if (!isName(queue))
    throw new UsageError(`Cannot use ${JSON.stringify(queue)} as queue: expected 1-200 of A-Z a-z 0-9 _ . : / -`);
}
