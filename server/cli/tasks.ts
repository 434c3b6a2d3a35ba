/** `lovage tasks`: what has become of tasks, and taking them back. */
import type { TaskApp } from '@lovage/client/tasks';
import { isName, LovageError } from '@lovage/protocol';
import { type Command, InvalidArgumentError } from 'commander';
import { loadSettings, readClientTls } from '../settings/index.js';
import { UsageError } from './failure.js';
import { importModule } from './imports.js';
import { addSettings, JSON_OPTION, pairsOption } from './options.js';
import { Output } from './output.js';

interface RevokeFlags {
  readonly name?: string;
  readonly queue?: string;
  readonly header?: Record<string, string>;
  readonly terminate?: true;
  readonly dryRun?: true;
}

export function addTasks(program: Command): void {
  const tasks = program.command('tasks').description('show what has become of tasks, and revoke them');
  const show = tasks
    .command('show')
    .description('show the state of a task, and what it has failed with')
    .argument('<id>', "number of the task, its handle's id", readId)
    .option(...JSON_OPTION);
  addSettings(show, 'client').action(showTask);
  const revoke = tasks
    .command('revoke')
    .description('take tasks back for good, whether they wait or run')
    .argument('[id...]', 'numbers of tasks, instead of a name or a queue', readIds, [])
    .option('--name <name>', 'tasks of this name')
    .option('--queue <queue>', 'tasks that wait in this queue, or come from it (default: the one named default)')
    .addOption(pairsOption('--header <name=value>', 'only those with this header; may be repeated'))
    .option('--terminate', 'end by force what runs, where the pool of the worker can')
    .option('--dry-run', 'change nothing, only count; not with numbers')
    .option(...JSON_OPTION);
  addSettings(revoke, 'client').action(revokeTasks);
}

function readId(text: string): number {
  if (!/^[1-9][0-9]{0,15}$/.test(text)) throw new InvalidArgumentError('expected a whole number from 1 on');
  return Number(text);
}

function readIds(text: string, before: readonly number[]): readonly number[] {
  return [...before, readId(text)];
}

async function showTask(id: number, flags: Readonly<Record<string, unknown>>): Promise<void> {
  await withApp(flags, async (app) => {
    const handle = app.handle(id);
    const status = await handle.state();
    const isFailed = status.state === 'failed' || status.state === 'revoked';
    const failure = isFailed ? await handle.result().catch(failureOf) : null;
    const shown = { id, ...status, failure };
    const lines = Object.entries(shown).flatMap(([key, value]) =>
      value === null || (Array.isArray(value) && value.length === 0) ? [] : [`${key}: ${textOf(key, value)}`],
    );
    const output = new Output(flags.json === true);
    await output.print(shown, lines.join('\n'));
    await output.end();
  });
}

function failureOf(error: unknown): { readonly code: string; readonly message: string } {
  if (error instanceof LovageError) return { code: error.code, message: error.message };
  throw error;
}

function textOf(key: string, value: unknown): string {
  if (key === 'dueAt') return new Date(value as number).toISOString();
  if (key === 'progress') return JSON.stringify(value) ?? 'null';
  if (key === 'log') return (value as readonly string[]).map((line) => `\n  ${line}`).join('');
  if (key !== 'failure') return String(value);
  const { code, message } = value as { readonly code: string; readonly message: string };
  return `${code}: ${message}`;
}

async function revokeTasks(ids: readonly number[], flags: RevokeFlags & Record<string, unknown>): Promise<void> {
  const { name, queue, header: headers, terminate, dryRun } = flags;
  const hasFilter = name !== undefined || queue !== undefined || headers !== undefined;
  if (ids.length > 0 && (hasFilter || dryRun === true))
    throw new UsageError('Cannot select tasks: expected numbers alone, or a name or a queue');
  if (ids.length === 0 && name === undefined && queue === undefined)
    throw new UsageError('Cannot select tasks: expected numbers, --name or --queue');
  for (const given of [name, queue])
    if (given !== undefined && !isName(given))
      throw new UsageError(`Cannot use ${JSON.stringify(given)}: expected 1-200 of A-Z a-z 0-9 _ . : / -`);
  await withApp(flags, async (app) => {
    const output = new Output(flags.json === true);
    const revoked =
      ids.length > 0
        ? await revokeNamed(app, ids, terminate)
        : await app.revoke({ name, queue, headers, terminate, dryRun });
    const would = dryRun === true ? 'Without --dry-run: ' : '';
    const of = ids.length > 0 ? ` of ${ids.length}` : '';
    await output.print({ revoked }, `${would}Revoked ${revoked}${of} ${revoked === 1 && of === '' ? 'task' : 'tasks'}`);
    await output.end();
  });
}

async function revokeNamed(app: TaskApp, ids: readonly number[], terminate: true | undefined): Promise<number> {
  const answers = await Promise.all([...new Set(ids)].map((id) => app.handle(id).revoke({ terminate })));
  return answers.filter(({ revoked }) => revoked).length;
}

/** An app without tasks of its own, connected by the settings among `flags`. */
async function withApp(flags: Readonly<Record<string, unknown>>, run: (app: TaskApp) => Promise<void>): Promise<void> {
  const settings = loadSettings('client', { flags, variables: process.env });
  const { url, token, namespace } = settings;
  const tls = readClientTls(settings) ?? undefined;
  const { TaskApp } = await importModule<typeof import('@lovage/client/tasks')>('@lovage/client/tasks');
  const app = new TaskApp({ url, token, namespace, tls, name: 'lovage-cli' });
  try {
    await run(app);
  } finally {
    await app.close();
  }
}
