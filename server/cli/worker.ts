/** `lovage worker`: runs the tasks of a module until it is told to stop. */
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { PoolKind, TaskApp, Worker, WorkerOptions } from '@lovage/client/tasks';
import { isName, LovageError } from '@lovage/protocol';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { isGiven, loadSettings, readClientTls, type SettingKey } from '../settings/index.js';
import { EXIT, UsageError } from './failure.js';
import { importModule } from './imports.js';
import { writeNote } from './notes.js';
import { addSettings, integerOption, JSON_OPTION, parseAutoscale } from './options.js';
import { Output } from './output.js';
import { onStopSignals } from './signals.js';

interface WorkerFlags
  extends Pick<
    WorkerOptions,
    | 'queues'
    | 'concurrency'
    | 'autoscale'
    | 'prefetchMultiplier'
    | 'maxTasksPerChild'
    | 'maxMemoryPerChildMb'
    | 'maxChildAgeMs'
  > {
  readonly pool: PoolKind;
  readonly graceMs: number;
}

const TIMER_MS_MAX = 2_147_483_647;
const GRACE_MS = 30_000;

export function addWorker(program: Command): void {
  const command = program
    .command('worker')
    .description(
      'run the tasks of a module; SIGINT or SIGTERM stop it when what runs is done, a second one gives it back, a third one ends at once; SIGHUP loads the module anew (threads, processes)',
    )
    .argument('<module>', 'JavaScript file that exports an app or its tasks')
    .addOption(
      new Option(
        '--queues <names>',
        'queues to take tasks from, the first ones first (default: those of the tasks)',
      ).argParser(parseQueues),
    )
    .addOption(
      new Option('--pool <pool>', 'how tasks run').choices(['async', 'solo', 'threads', 'processes']).default('async'),
    )
    .addOption(
      integerOption('--concurrency <number>', 'tasks at a time; default: the number of CPUs', { min: 1, max: 65_535 }),
    )
    .addOption(
      new Option(
        '--autoscale <max,min>',
        'tasks at a time follow the work, between these two; --concurrency is what it begins with',
      ).argParser(parseAutoscale),
    )
    .addOption(
      integerOption('--max-tasks-per-child <number>', 'tasks after which a thread or process is replaced', {
        min: 1,
        max: 1_000_000_000,
      }),
    )
    .addOption(
      integerOption(
        '--max-memory-per-child-mb <MiB>',
        'memory after a task with which a thread or process is replaced',
        {
          min: 1,
          max: 1_048_576,
        },
      ),
    )
    .addOption(
      integerOption('--max-child-age-ms <ms>', 'age at which a thread or process is replaced', {
        min: 1,
        max: TIMER_MS_MAX,
      }),
    )
    .addOption(
      integerOption(
        '--prefetch-multiplier <number>',
        'deliveries at this worker, as a multiple of the concurrency; 1: no spare, 0: no bound; default 4',
        {
          min: 0,
          max: 1_000,
        },
      ),
    )
    .addOption(
      integerOption('--grace-ms <ms>', 'how long running tasks have to end after the first signal', {
        min: 0,
        max: TIMER_MS_MAX,
      }).default(GRACE_MS),
    )
    .option(...JSON_OPTION);
  addSettings(command, 'client').action(work);
}

async function work(path: string, flags: WorkerFlags & Record<string, unknown>): Promise<void> {
  const isJson = flags.json === true;
  const app = appOf(path, await load(path));
  const settings = loadSettings('client', { flags, variables: process.env });
  const { token, namespace } = settings;
  // The app knows where its broker is and in which namespace it works, unless somebody says otherwise.
  const isTold = (key: SettingKey): boolean => isGiven(key, { flags, variables: process.env });
  app.connectTo(isTold('url') ? settings.url : null, {
    token,
    namespace: isTold('namespace') ? namespace : undefined,
    tls: readClientTls(settings) ?? undefined,
  });
  const { queues, pool, concurrency, autoscale, prefetchMultiplier, graceMs } = flags;
  const { maxTasksPerChild, maxMemoryPerChildMb, maxChildAgeMs } = flags;
  const onError = ({ code, message }: LovageError): void =>
    writeNote({ type: 'worker-error', code, message }, `${code}: ${message}`, isJson);
  const options: WorkerOptions = {
    queues,
    pool,
    concurrency,
    autoscale,
    prefetchMultiplier,
    maxTasksPerChild,
    maxMemoryPerChildMb,
    maxChildAgeMs,
    // What the children load is what was loaded here.
    modules: [pathToFileURL(resolve(path)).href],
    onError,
  };
  const worker = app.worker(options);
  await worker.start();
  process.on('SIGHUP', () => reload(worker, onError));
  const stopped = new Promise<null>((stop) => onStopSignals([() => stop(null), () => void app.close({ graceMs: 0 })]));
  const output = new Output(isJson);
  const tasks = [...app.tasks.keys()].sort();
  await output.print(
    { ready: true, tasks, queues: worker.queues, pool, concurrency: worker.concurrency, pid: process.pid },
    `Lovage worker is ready: ${tasks.join(', ')} from ${worker.queues.join(', ')} (${pool}, ${worker.concurrency} at a time)`,
  );
  // Told to stop by a signal, or from elsewhere; or its connection is over for good.
  const error = await Promise.race([stopped, worker.ended]);
  await app.close({ graceMs });
  await output.end();
  process.exit(error === null ? EXIT.done : EXIT.failed);
}

function reload(worker: Worker, onError: (error: LovageError) => void): void {
  try {
    worker.restart();
  } catch (error) {
    onError(error as LovageError);
  }
}

async function load(path: string): Promise<Readonly<Record<string, unknown>>> {
  try {
    return await importModule(pathToFileURL(resolve(path)).href);
  } catch (cause) {
    const text = cause instanceof Error ? `${cause.name}: ${cause.message}${placeOf(cause)}` : String(cause);
    throw new LovageError('MODULE_FAILED', `Cannot load the module "${path}": ${text}`, { cause });
  }
}

/** Where a file has thrown, if its stack tells. */
function placeOf({ stack }: Error): string {
  const place = /\(?(file:[^)\s]+)\)?$/m.exec(stack?.slice(stack.indexOf('\n    at ')) ?? '');
  return place === null ? '' : ` (${place[1]})`;
}

/** The one app among what a module exports: itself, or by one of its tasks. A copy of the SDK of its own made it, so it is known by what it can do. */
function appOf(path: string, exported: Readonly<Record<string, unknown>>): TaskApp {
  const apps = new Set(Object.values(exported).flatMap(appsIn));
  const [app] = apps;
  if (app !== undefined && apps.size === 1) return app;
  const message =
    app === undefined
      ? `Cannot find tasks in the module "${path}": it exports neither a TaskApp nor a task`
      : `Cannot choose among the ${apps.size} apps of the module "${path}": expected one`;
  throw new LovageError('MODULE_FAILED', message);
}

function appsIn(value: unknown): TaskApp[] {
  if (typeof value !== 'object' || value === null) return [];
  const { app } = value as { readonly app?: unknown };
  return [value, app].filter(
    (candidate): candidate is TaskApp => typeof (candidate as Partial<TaskApp> | undefined)?.connectTo === 'function',
  );
}

function parseQueues(text: string): readonly string[] {
  const names = text.split(',').map((name) => name.trim());
  const wrong = names.find((name) => !isName(name));
  if (wrong !== undefined)
    throw new InvalidArgumentError(`Expected names separated by commas, got ${JSON.stringify(wrong)}.`);
  if (new Set(names).size < names.length) throw new UsageError('Cannot consume a queue twice: expected each name once');
  return names;
}
