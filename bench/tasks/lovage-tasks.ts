/** Lovage running tasks: `lovage start`, `lovage worker`, and a process that sends. */
import { fileURLToPath } from 'node:url';
import type { PoolKind } from '@lovage/client/tasks';
import { RESULTS_QUEUE } from '@lovage/protocol';
import type { Build } from '../broker/build.js';
import { LovageServer } from '../broker/lovage-server.js';
import { TaskProcess } from './task-process.js';
import type { RunningTasks, TaskSystem } from './task-system.js';

const PRODUCER = fileURLToPath(new URL('./lovage-producer.js', import.meta.url));
const MODULE = fileURLToPath(new URL('./noop-task.js', import.meta.url));
const QUEUE = 'noop';

export interface LovageTasksOptions {
  readonly pool: PoolKind;
  /** Tasks at a time of the worker. */
  readonly concurrency: number;
  readonly build: Build;
}

export function lovageTasks({ pool, concurrency, build }: LovageTasksOptions): TaskSystem {
  return {
    title: `Lovage, ${pool}, ${concurrency} at a time`,
    settings: `--sync always; sendMany of 1,000 tasks, 4 lists at once; lovage worker --pool ${pool} --concurrency ${concurrency}; results kept.`,
    start: (directory) => start({ pool, concurrency, build }, directory),
  };
}

async function start(
  { pool, concurrency, build }: LovageTasksOptions,
  directory: string | undefined,
): Promise<RunningTasks> {
  const server = await LovageServer.start({ directory, build });
  const client = await server.connect();
  await client.queues.declare(QUEUE);
  const url = server.target.endpoint;
  const program = process.execPath;
  const flags = ['--url', url, '--pool', pool, '--concurrency', String(concurrency)];
  const worker = await TaskProcess.start({ program, words: [build.command, 'worker', MODULE, ...flags] });
  const producer = await TaskProcess.start({ program, words: [PRODUCER, url] });
  return {
    version: server.version,
    brokerPids: server.pids,
    workerPids: worker.pids,
    producerPids: producer.pids,
    died: Promise.race([server.died, worker.died, producer.died]),
    send: (count) => producer.send(count),
    completed: async () => (await client.queues.inspect(QUEUE)).totals.acked,
    kept: async () => (await client.queues.inspect(RESULTS_QUEUE)).ready,
    async close() {
      await producer.stop();
      await worker.stop();
      await client.close();
      await server.close();
    },
  };
}
