/** What a worker does when it is told to from elsewhere: one row an action. */
import { assertName, type WorkerAction } from '@lovage/protocol';
import { invalidArgument } from '../errors.js';
import { whole } from '../options.js';
import type { TimeLimits } from './pool.js';
import type { Worker } from './worker.js';

type Options = Readonly<Record<string, unknown>>;

const TIMER_MS_MAX = 2_147_483_647;

const ACTIONS: Readonly<Record<WorkerAction, (worker: Worker, options: Options) => unknown>> = {
  ping: () => 'pong',
  stats: (worker) => worker.stats(),
  active: (worker) => worker.running(),
  reserved: (worker) => ({ waiting: worker.reserved }),
  registered: (worker) => worker.tasks.map(({ name }) => name),
  resize: async (worker, { concurrency }) => {
    if (concurrency === undefined) throw invalidArgument('concurrency', concurrency, 'a whole number from 1');
    await worker.resize(concurrency as number);
    return { concurrency: worker.concurrency };
  },
  autoscale: (worker, { min, max }) => {
    worker.autoscale(min === undefined && max === undefined ? null : { min: min as number, max: max as number });
    return { concurrency: worker.concurrency };
  },
  restart: (worker) => {
    worker.restart();
    return null;
  },
  'add-queue': async (worker, { queue }) => {
    await worker.addQueue(named(queue));
    return { queues: worker.queues };
  },
  'cancel-queue': async (worker, { queue }) => {
    await worker.cancelQueue(named(queue));
    return { queues: worker.queues };
  },
  'time-limit': (worker, { task, softTimeLimitMs, timeLimitMs }) => {
    worker.setTimeLimits(named(task), { softTimeLimitMs, timeLimitMs } as TimeLimits);
    return null;
  },
  shutdown: (worker, { graceMs }) => {
    const ms = whole('graceMs', graceMs, { min: 0, max: TIMER_MS_MAX, fallback: 30_000 });
    // The answer goes first: the connection may end with the worker.
    setImmediate(() => void worker.stop({ graceMs: ms }).catch(() => undefined));
    return null;
  },
};

export function carryOut(worker: Worker, action: WorkerAction, options: Options): unknown {
  return ACTIONS[action](worker, options);
}

function named(name: unknown): string {
  assertName(name, 'name');
  return name;
}
