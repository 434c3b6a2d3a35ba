/** `lovage workers`: which workers are connected, and telling one what to do. */
import type { WorkerAction, WorkerInfo } from '@lovage/client';
import { WORKER_ACTIONS } from '@lovage/protocol';
import { Argument, type Command, InvalidArgumentError, Option } from 'commander';
import { withClient } from './client.js';
import { UsageError } from './failure.js';
import { addSettings, integerOption, JSON_OPTION, parseAutoscale } from './options.js';
import { Output } from './output.js';
import { textTable } from './text-table.js';

type Flags = Readonly<Record<string, unknown>>;

/** What each action takes: its flags, and those of them that it needs. */
const TAKES: Readonly<Partial<Record<WorkerAction, readonly [flags: readonly string[], needed: readonly string[]]>>> = {
  resize: [['concurrency'], ['concurrency']],
  autoscale: [['autoscale'], []],
  'add-queue': [['queue'], ['queue']],
  'cancel-queue': [['queue'], ['queue']],
  'time-limit': [['task', 'softTimeLimitMs', 'timeLimitMs'], ['task']],
  shutdown: [['graceMs'], []],
};
const FLAGS = ['concurrency', 'autoscale', 'queue', 'task', 'softTimeLimitMs', 'timeLimitMs', 'graceMs'] as const;
const TIMER_MS_MAX = 2_147_483_647;

export function addWorkers(program: Command): void {
  const workers = program
    .command('workers')
    .description('show the workers that are connected, and tell one what to do');
  const list = workers.command('list').description('show the workers, and tasks that none of them can run');
  addSettings(list.option(...JSON_OPTION).action(listWorkers), 'client');
  const control = workers
    .command('control')
    .description('tell a worker to do something, and show its answer')
    .argument('<id>', 'id of the worker, as `lovage workers list` shows it')
    .addArgument(new Argument('<action>', 'what to do').choices(WORKER_ACTIONS))
    .addOption(integerOption('--concurrency <number>', 'of resize: tasks at a time', { min: 1, max: 65_535 }))
    .addOption(
      new Option('--autoscale <max,min>', 'of autoscale: its bounds; without them it ends').argParser(parseAutoscale),
    )
    .option('--queue <name>', 'of add-queue and cancel-queue')
    .option('--task <name>', 'of time-limit')
    .addOption(limitOption('--soft-time-limit-ms <ms>', 'of time-limit: when its signal aborts'))
    .addOption(limitOption('--time-limit-ms <ms>', 'of time-limit: when it is killed'))
    .addOption(
      integerOption('--grace-ms <ms>', 'of shutdown: how long running tasks have to end', {
        min: 0,
        max: TIMER_MS_MAX,
      }),
    )
    .option(...JSON_OPTION);
  addSettings(control, 'client').action(controlWorker);
}

async function listWorkers(flags: Flags): Promise<void> {
  const list = await withClient(flags, (client) => client.workers.list());
  const heads = ['id', 'client', 'host', 'pid', 'pool', 'at a time', 'queues', 'tasks'];
  const table = list.workers.length === 0 ? 'No workers' : textTable(heads, list.workers.map(rowOf));
  const stranded = list.stranded.map(
    ({ queue, task, count }) =>
      `Task ${task} waits in queue ${queue}: no worker that is here has it (given back ${count} times)`,
  );
  await new Output(flags.json === true).print(list, [table, ...stranded].join('\n'));
}

async function controlWorker(id: string, action: WorkerAction, flags: Flags): Promise<void> {
  const [takes, needed] = TAKES[action] ?? [[], []];
  for (const flag of FLAGS) {
    if (flags[flag] !== undefined && !takes.includes(flag))
      throw new UsageError(`${action} does not take --${dashed(flag)}`);
    if (flags[flag] === undefined && needed.includes(flag)) throw new UsageError(`${action} needs --${dashed(flag)}`);
  }
  const { autoscale, ...rest } = Object.fromEntries(FLAGS.map((flag) => [flag, flags[flag]]));
  const given = { ...(autoscale as object | undefined), ...rest };
  const options = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
  const answer = await withClient(flags, (client) => client.workers.control(id, action, options));
  await new Output(flags.json === true).print({ id, action, answer }, textOf(answer));
}

function textOf(answer: unknown): string {
  if (answer === null) return 'done';
  if (typeof answer === 'string') return answer;
  if (Array.isArray(answer)) return answer.length === 0 ? 'nothing' : answer.map(textOf).join('\n');
  const entries = Object.entries(answer as object);
  return entries
    .map(([key, value]) => `${key}: ${Array.isArray(value) ? value.join(', ') || '-' : String(value)}`)
    .join(', ');
}

function rowOf({ id, clientName, host, pid, pool, concurrency, queues, tasks }: WorkerInfo): string[] {
  const names = tasks.map(([name, version]) => (version === null ? name : `${name}@${version}`));
  return [
    id,
    clientName ?? '-',
    host,
    String(pid),
    pool,
    String(concurrency),
    queues.join(','),
    names.join(',') || '-',
  ];
}

/** ms, or `none`. */
function limitOption(flags: string, description: string): Option {
  return new Option(flags, `${description}; or none`).argParser((text) => {
    if (text === 'none') return null;
    const ms = Number(text);
    if (/^[1-9][0-9]*$/.test(text) && ms <= TIMER_MS_MAX) return ms;
    throw new InvalidArgumentError(`Expected none, or a whole number from 1 to ${TIMER_MS_MAX}.`);
  });
}

function dashed(flag: string): string {
  return flag.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}
