/** `lovage queues`: what queues there are, and what can be done to one. */
import type { Client } from '@lovage/client';
import { isName, LIMITS, QUEUE_SETTINGS, type QueueInfo, type QueueSettings } from '@lovage/protocol';
import type { Command } from 'commander';
import { showBytes } from '../settings/index.js';
import { withClient } from './client.js';
import { UsageError } from './failure.js';
import { addSettings, integerOption, JSON_OPTION } from './options.js';
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
  readonly run: (client: Client, queue: string, flags: Flags) => Promise<Answer>;
}

const SETTING_TEXTS: Readonly<Record<keyof QueueSettings, string>> = {
  defaultPriority: 'priority of messages published without one',
  messageTtlMs: 'how long messages live that give no expiry of their own; 0 means for ever',
  backoffMsMin: 'wait before the first redelivery of a failed message; doubles with each attempt',
  backoffMsMax: 'wait at which the doubling stops',
  dedupWindowMs: 'how long a dedup key is remembered; 0 turns it off',
  dedupKeysMax: 'dedup keys remembered at a time',
};
const SETTING_KEYS = Object.keys(QUEUE_SETTINGS) as (keyof QueueSettings)[];

/** Verbs that take one queue. */
const VERBS = {
  declare: {
    description: 'make a queue; if there is one, check that it has the settings given',
    options: addQueueSettings,
    run: async (client, queue, flags) => {
      const settings = Object.fromEntries(
        SETTING_KEYS.filter((key) => flags[key] !== undefined).map((key) => [key, flags[key]]),
      );
      // Without settings a queue is taken as it is.
      const isGiven = Object.keys(settings).length > 0;
      const declared = await client.queues.declare(queue, isGiven ? settings : undefined);
      return done(`Queue ${queue} ${declared.created ? 'is made' : 'was there'}`, { queue, ...declared });
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
  for (const key of SETTING_KEYS) {
    const flag = key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
    const unit = key.includes('Ms') ? 'ms' : 'number';
    const text = `${SETTING_TEXTS[key]}, default ${QUEUE_SETTINGS[key].fallback}`;
    command.addOption(integerOption(`--${flag} <${unit}>`, text, QUEUE_SETTINGS[key]));
  }
}

function infoText(info: QueueInfo): string {
  const { name, namespace, isPaused, settings, totals, bytes, consumers, ready, delayed, leased, started } = info;
  return textPairs([
    ['queue', name],
    ['namespace', namespace],
    ['paused', isPaused],
    ['consumers', consumers],
    ...Object.entries({ ready, delayed, leased, started }),
    ['bytes', showBytes(bytes)],
    ...Object.entries(totals).map(([key, count]) => [`total ${key}`, count] as const),
    ...Object.entries(settings),
  ]);
}

function done(text: string, value: unknown): Answer {
  return { value, text };
}

function countText(messages: number): string {
  return `${messages} ${messages === 1 ? 'message' : 'messages'}`;
}
