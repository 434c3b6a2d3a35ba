/** `lovage namespaces`: give namespaces bounds, list them, and delete one with everything in it. */
import type { NamespaceInfo } from '@lovage/client';
import {
  isName,
  LIMITS,
  LovageError,
  NAMESPACE_QUOTAS,
  type NamespaceSettings,
  parseGivenSettings,
} from '@lovage/protocol';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { showBytes } from '../settings/index.js';
import { withClient } from './client.js';
import { UsageError } from './failure.js';
import { addSettings, integerOption, JSON_OPTION } from './options.js';
import { Output } from './output.js';
import { pagesOf } from './pages.js';
import { textTable } from './text-table.js';

type Flags = Readonly<Record<string, unknown>>;

const KEYS = Object.keys(NAMESPACE_QUOTAS) as (keyof typeof NAMESPACE_QUOTAS)[];
/** Not `--connections-max` and the like: those are settings of a broker. */
const FLAGS: Readonly<Record<(typeof KEYS)[number], readonly [flag: string, text: string]>> = {
  queuesMax: ['limitQueues', 'queues in it'],
  messagesMax: ['limitMessages', 'messages in its queues, waiting and unsettled'],
  bytesMax: ['limitBytes', 'bytes of payload of those'],
  connectionsMax: ['limitConnections', 'connections at a time'],
};

export function addNamespaces(program: Command): void {
  const namespaces = program.command('namespaces').description('give namespaces bounds, list and delete them');
  const set = namespaces.command('set').description('give a namespace these bounds and no others');
  set.argument('<name>', 'name of the namespace');
  for (const key of KEYS) {
    const [flag, text] = FLAGS[key];
    const dashed = flag.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
    set.addOption(integerOption(`--${dashed} <number>`, `${text}, default no bound`, NAMESPACE_QUOTAS[key]));
  }
  set.addOption(queueDefaultsOption());
  addSettings(set.option(...JSON_OPTION).action(setNamespace), 'client');
  const list = namespaces
    .command('list')
    .description('show the namespaces that are set or have queues, exchanges or rate limits');
  addSettings(list.option(...JSON_OPTION).action(listNamespaces), 'client');
  const remove = namespaces
    .command('delete')
    .description(
      'delete a namespace: its queues with their messages, its bounds, and the tokens that are for it alone',
    );
  remove.argument('<name>', 'name of the namespace');
  addSettings(remove.option(...JSON_OPTION).action(deleteNamespace), 'client');
}

async function setNamespace(name: string, flags: Flags): Promise<void> {
  assertName(name);
  const settings: { -readonly [K in keyof NamespaceSettings]?: NamespaceSettings[K] } = {};
  for (const key of KEYS) {
    const value = flags[FLAGS[key][0]];
    if (typeof value === 'number') settings[key] = value;
  }
  if (flags.queueDefaults !== undefined)
    settings.queueDefaults = flags.queueDefaults as NamespaceSettings['queueDefaults'];
  const info = await withClient(flags, (client) => client.namespaces.set(name, settings));
  await new Output(flags.json === true).print(info, `Namespace ${name} is set`);
}

async function listNamespaces(flags: Flags): Promise<void> {
  const output = new Output(flags.json === true);
  const rows: (string | number)[][] = [];
  await withClient(flags, async (client) => {
    const page = (after?: string) => client.namespaces.list({ after, limit: LIMITS.pageMax });
    for await (const info of pagesOf(page, ({ name }) => name)) {
      if (output.isJson) await output.item(JSON.stringify(info));
      else rows.push(rowOf(info));
    }
  });
  const heads = ['namespace', 'queues', 'messages', 'bytes', 'bounds'];
  if (!output.isJson) await output.line(rows.length === 0 ? 'No namespaces' : textTable(heads, rows));
  await output.end();
}

async function deleteNamespace(name: string, flags: Flags): Promise<void> {
  assertName(name);
  const gone = await withClient(flags, (client) => client.namespaces.delete(name));
  const text = `Deleted namespace ${name} with ${gone.queues} queues and ${gone.messages} messages`;
  await new Output(flags.json === true).print({ namespace: name, ...gone }, text);
}

function rowOf({ name, settings, queues, messages, bytes }: NamespaceInfo): (string | number)[] {
  const bounds = KEYS.flatMap((key) => (settings?.[key] == null ? [] : [`${key} ${settings[key]}`]));
  const defaults = Object.keys(settings?.queueDefaults ?? {});
  if (defaults.length > 0) bounds.push(`queue defaults: ${defaults.join(', ')}`);
  return [name, queues, messages, showBytes(bytes), bounds.length === 0 ? '-' : bounds.join(', ')];
}

function queueDefaultsOption(): Option {
  const text = 'settings of queues declared from now on, as JSON: \'{"attemptsMax": 5}\', default none';
  return new Option('--queue-defaults <json>', text).argParser((json) => {
    try {
      return parseGivenSettings(JSON.parse(json));
    } catch (error) {
      throw new InvalidArgumentError(error instanceof LovageError ? error.message : 'Expected JSON.');
    }
  });
}

function assertName(name: string): void {
  if (!isName(name))
    throw new UsageError(`Cannot use ${JSON.stringify(name)} as namespace: expected 1-200 of A-Z a-z 0-9 _ . : / -`);
}
