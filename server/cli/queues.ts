/** `lovage queues`: what queues there are, and what can be done to one. */
import type { Client } from '@lovage/client';
import {
  isName,
  LIMITS,
  parseGivenSettings,
  QUEUE_SETTING_NAMES,
  QUEUE_SETTINGS,
  type QueueInfo,
  type QueueSettings,
} from '@lovage/protocol';
import { type Command, Option } from 'commander';
import { showBytes } from '../settings/index.js';
import { withClient } from './client.js';
import { UsageError } from './failure.js';
import { addSettings, integerOption, JSON_OPTION, pairsOption } from './options.js';
import { Output } from './output.js';
import { textPairs, textTable } from './text-table.js';

type Flags = Readonly<Record<string, unknown>>;

interface Answer {
  readonly value: unknown;
  readonly text: string;
}

interface QueueVerb {
  readonly description: string;
  /** Adds the verb's own options. */
  readonly options?: (command: Command) => void;
  /** Refuses wrong flags before anything is connected. */
  readonly check?: (flags: Flags) => unknown;
  readonly run: (client: Client, queue: string, flags: Flags) => Promise<Answer>;
}

const SETTING_TEXTS: Readonly<Record<keyof QueueSettings, string>> = {
  defaultPriority: 'priority of messages published without one',
  messageTtlMs: 'how long messages live that give no expiry of their own; 0 means for ever',
  backoffMsMin: 'wait before the first redelivery of a failed message; doubles with each attempt',
  backoffMsMax: 'wait at which the doubling stops',
  dedupWindowMs: 'how long a dedup key is remembered; 0 turns it off',
  dedupKeysMax: 'dedup keys remembered at a time',
  deadLetterQueue: 'queue that gets what this one gives up; empty for none',
  attemptsMax: 'attempts after which a message that comes back is given up; 0 for no bound',
  messagesMax: 'messages in the queue, those at consumers included; 0 for no bound',
  bytesMax: 'bytes of payload in the queue; 0 for no bound',
  overflow: 'what happens to a message too many',
  expiresAfterUnusedMs: 'time without consumers, declarations and publishes after which the queue goes; 0 for never',
  singleActiveConsumer: 'one consumer gets everything while the others stand by',
};

const PLACEHOLDERS = { flag: 'true|false', choice: 'choice', name: 'queue' } as const;

/** Verbs that take one queue. */
const VERBS = {
  declare: {
    description: 'make a queue; if there is one, check that it has the settings given, or change those',
    options: addQueueSettings,
    check: givenSettings,
    run: async (client, queue, flags) => {
      const settings = givenSettings(flags);
      // Without settings a queue is taken as it is.
      const isGiven = Object.keys(settings).length > 0;
      const declared = await client.queues.declare(queue, isGiven ? settings : undefined, {
        merge: flags.merge === true,
      });
      const { created, version } = declared;
      const now = flags.merge === true ? `has version ${version} of its settings` : 'was there';
      return done(`Queue ${queue} ${created ? 'is made' : now}`, { queue, ...declared });
    },
  },
  inspect: {
    description: 'show the counts and settings of a queue',
    run: async (client, queue) => {
      const info = await client.queues.inspect(queue);
      return { value: info, text: infoText(info) };
    },
  },
  purge: {
    description: 'remove the messages that wait in a queue; deliveries that are out stay',
    run: async (client, queue) => {
      const { purged } = await client.queues.purge(queue);
      return done(`Removed ${countText(purged)} from ${queue}`, { queue, purged });
    },
  },
  delete: {
    description: 'delete a queue with its messages',
    options: (command) => {
      command.option('--if-empty', 'only if it holds no messages').option('--if-unused', 'only if it has no consumers');
    },
    run: async (client, queue, { ifEmpty, ifUnused }) => {
      const options = { ifEmpty: ifEmpty === true, ifUnused: ifUnused === true };
      const { messages } = await client.queues.delete(queue, options);
      return done(`Deleted ${queue} with ${countText(messages)}`, { queue, deleted: messages });
    },
  },
  pause: {
    description: 'stop deliveries from a queue; publishing goes on',
    run: async (client, queue) => {
      await client.queues.pause(queue);
      return done(`Queue ${queue} is paused`, { queue, paused: true });
    },
  },
  resume: {
    description: 'start deliveries from a paused queue again',
    run: async (client, queue) => {
      await client.queues.resume(queue);
      return done(`Queue ${queue} delivers`, { queue, paused: false });
    },
  },
} as const satisfies Record<string, QueueVerb>;

export function addQueues(program: Command): void {
  const queues = program.command('queues').description('list, make, look into, purge, delete, pause and resume queues');
  const list = queues.command('list').description('show all queues of the namespace');
  list.option(...JSON_OPTION).action(listQueues);
  addSettings(list, 'client');
  for (const [name, verb] of Object.entries<QueueVerb>(VERBS)) {
    const command = queues.command(name).description(verb.description).argument('<queue>', 'name of the queue');
    verb.options?.(command);
    command.option(...JSON_OPTION).action((queue: string, flags: Flags) => runVerb(verb, queue, flags));
    addSettings(command, 'client');
  }
}

async function runVerb(verb: QueueVerb, queue: string, flags: Flags): Promise<void> {
  if (!isName(queue))
    throw new UsageError(`Cannot use ${JSON.stringify(queue)} as queue: expected 1-200 of A-Z a-z 0-9 _ . : / -`);
  verb.check?.(flags);
  const { value, text } = await withClient(flags, (client) => verb.run(client, queue, flags));
  await new Output(flags.json === true).print(value, text);
}

/** One JSON line a queue as the pages come, or a table when all are there. */
async function listQueues(flags: Flags): Promise<void> {
  const output = new Output(flags.json === true);
  const rows: (string | number | boolean)[][] = [];
  await withClient(flags, async (client) => {
    for await (const info of allQueues(client)) {
      if (output.isJson) await output.item(JSON.stringify(info));
      else rows.push([info.name, info.ready, info.delayed, info.leased, info.started, info.consumers, info.isPaused]);
    }
  });
  const heads = ['queue', 'ready', 'delayed', 'leased', 'started', 'consumers', 'paused'];
  if (!output.isJson) await output.line(rows.length === 0 ? 'No queues' : textTable(heads, rows));
  await output.end();
}

async function* allQueues(client: Client): AsyncGenerator<QueueInfo> {
  let after: string | undefined;
  do {
    const page: readonly QueueInfo[] = await client.queues.list({
      ...(after === undefined ? {} : { after }),
      limit: LIMITS.pageMax,
    });
    yield* page;
    after = page.length < LIMITS.pageMax ? undefined : page.at(-1)?.name;
  } while (after !== undefined);
}

function addQueueSettings(command: Command): void {
  for (const key of QUEUE_SETTING_NAMES) {
    const row = QUEUE_SETTINGS[key];
    const flag = key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
    const text = `${SETTING_TEXTS[key]}, default ${row.fallback ?? 'none'}`;
    if (row.kind === 'integer') {
      command.addOption(integerOption(`--${flag} <${key.includes('Ms') ? 'ms' : 'number'}>`, text, row));
      continue;
    }
    const option = new Option(`--${flag} <${PLACEHOLDERS[row.kind]}>`, text);
    if (row.kind === 'choice') option.choices(row.choices);
    if (row.kind === 'flag') option.choices(['true', 'false']);
    command.addOption(option);
  }
  command
    .addOption(pairsOption('--set <name=value>', 'a setting by its name; may be repeated'))
    .option('--merge', 'change the settings given and keep the others, instead of checking them');
}

/** The settings given, by a flag of their own or by `--set`. */
function givenSettings(flags: Flags): Partial<QueueSettings> {
  const texts: Record<string, unknown> = { ...(flags.set as Record<string, string> | undefined) };
  for (const key of QUEUE_SETTING_NAMES) if (flags[key] !== undefined) texts[key] = flags[key];
  const values = Object.entries(texts).map(([name, text]) => [name, settingValue(name, text)] as const);
  try {
    return parseGivenSettings(Object.fromEntries(values));
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}

/** A setting's text as its kind of value; what fits none is left for the check to refuse. */
function settingValue(name: string, text: unknown): unknown {
  if (!Object.hasOwn(QUEUE_SETTINGS, name) || typeof text !== 'string') return text;
  const { kind } = QUEUE_SETTINGS[name as keyof QueueSettings];
  if (kind === 'integer') return /^[0-9]{1,16}$/.test(text) ? Number(text) : text;
  if (kind === 'flag') return text === 'true' || (text === 'false' ? false : text);
  return kind === 'name' && text === '' ? null : text;
}

function infoText(info: QueueInfo): string {
  const { name, namespace, isPaused, settings, version, totals, bytes, consumers, dedupKeys } = info;
  const { ready, delayed, leased, started } = info;
  return textPairs([
    ['queue', name],
    ['namespace', namespace],
    ['paused', isPaused],
    ['consumers', consumers],
    ...Object.entries({ ready, delayed, leased, started }),
    ['bytes', showBytes(bytes)],
    ['dedup keys', dedupKeys],
    ...Object.entries(totals).map(([key, count]) => [`total ${key}`, count] as const),
    ['version', version],
    ...QUEUE_SETTING_NAMES.map((key) => [key, settings[key] ?? 'none'] as const),
  ]);
}

function done(text: string, value: unknown): Answer {
  return { value, text };
}

function countText(messages: number): string {
  return `${messages} ${messages === 1 ? 'message' : 'messages'}`;
}
