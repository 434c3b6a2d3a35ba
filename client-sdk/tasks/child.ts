/**
 * What runs in a child of a pool: it loads the files that declare the tasks, and runs one task after the other for its parent.
 *
 *     start ──► modules are loaded ──► ready ──► run ──► done ──► run ──► ... ──► stop
 */
import { parentPort } from 'node:worker_threads';
import { isErrorCode, LovageError } from '@lovage/protocol';
import { textOf } from '../errors.js';
import type { TaskApp } from './app.js';
import { Attempt } from './attempt.js';
import type { ChildAbort, ChildStart, FromChild, RunRow, ToChild } from './child-messages.js';
import { setChildRegistry } from './child-registry.js';
import { RemoteDelivery } from './remote-delivery.js';
import type { Task } from './task.js';
import { factsOf } from './task-facts.js';

const apps: TaskApp[] = [];
const running = new Map<number, { readonly attempt: Attempt; readonly delivery: RemoteDelivery }>();
let start: ChildStart | null = null;

function post(message: FromChild): void {
  if (parentPort !== null) return parentPort.postMessage(message);
  process.send?.(message);
}

async function load({ modules, url, connect }: ChildStart): Promise<void> {
  const whenStarted = new Promise<void>((resolve) => setChildRegistry({ apps, workerStarted: resolve }));
  for (const module of modules)
    try {
      // A file that starts its worker itself waits there for ever.
      await Promise.race([import(module), whenStarted]);
    } catch (error) {
      const text = error instanceof Error ? (error.stack ?? error.message) : textOf(error);
      return post({ type: 'failed', text: `Cannot load the module "${module}": ${text}` });
    }
  for (const app of apps) connectLike(app, url, connect);
  const tasks = apps.flatMap((app) => [...app.tasks.values()]);
  post({ type: 'ready', tasks: tasks.map(factsOf) });
}

/** As the parent's app is connected. One that has a connection by now, because its file has sent something, keeps it. */
function connectLike(app: TaskApp, url: string, options: ChildStart['connect']): void {
  try {
    app.connectTo(url, options);
  } catch (error) {
    if (!(error instanceof Error && (error as Partial<LovageError>).code === 'INVALID_ARGUMENT')) throw error;
  }
}

async function run(message: RunRow): Promise<void> {
  const [call, name] = message;
  const task = find(name);
  if (task === null || start === null) throw new LovageError('INTERNAL_ERROR', `No task "${name}" in the child`);
  const delivery = new RemoteDelivery(message, post);
  const attempt = new Attempt(task.app, task, delivery, start.bodyBytesMax, message[9]);
  running.set(call, { attempt, delivery });
  await attempt.run();
  running.delete(call);
  post([call, memoryBytes(start.memory), delivery.takeAnswer()]);
}

function abort({ call, code, message, details }: ChildAbort): void {
  const known = isErrorCode(code) ? code : 'SUPERSEDED';
  running.get(call)?.attempt.context.abort(new LovageError(known, message, { details }));
}

function find(name: string): Task<never[], unknown> | null {
  for (const app of apps) {
    const task = app.tasks.get(name);
    if (task !== undefined) return task;
  }
  return null;
}

function memoryBytes(kind: ChildStart['memory']): number {
  if (kind === null) return 0;
  if (kind === 'rss') return process.memoryUsage.rss();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

/** What tasks have sent is sent first. */
async function stop(): Promise<void> {
  await Promise.all(apps.map((app) => app.close().catch(() => undefined)));
  process.exit(0);
}

function receive(message: ToChild): void {
  if ('length' in message) return void run(message);
  switch (message.type) {
    case 'start':
      start = message;
      return void load(message);
    case 'abort':
      return abort(message);
    case 'answered':
      return running.get(message.call)?.delivery.answered(message);
    case 'stop':
      return void stop();
  }
}

if (parentPort !== null) parentPort.on('message', receive);
else {
  process.on('message', receive);
  // The parent decides when it is over: a Ctrl-C in the terminal reaches its children as well.
  process.on('SIGINT', () => undefined);
  process.on('SIGTERM', () => undefined);
  process.on('SIGHUP', () => undefined);
  process.on('disconnect', () => process.exit(1));
}
