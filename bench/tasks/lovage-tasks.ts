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
  /** Deliveries at the worker, as a multiple of `concurrency`. Default: the worker's. */
  readonly prefetchMultiplier?: number | undefined;
  readonly build: Build;
}

export function lovageTasks(options: LovageTasksOptions): TaskSystem {
  const words = workerWords(options);
  return {
    title: `Lovage, ${workerTitle(options)}`,
    settings: `--sync always; sendMany of 1,000 tasks, 4 lists at once; lovage worker ${words.join(' ')}; results kept.`,
    start: (directory) => start(options.build, words, directory),
  };
}

/** For tables. */
export function workerTitle({ pool, concurrency, prefetchMultiplier }: Omit<LovageTasksOptions, 'build'>): string {
  const prefetch = prefetchMultiplier === undefined ? '' : `, prefetch ${prefetchMultiplier} each`;
  return `${pool}, ${concurrency} at a time${prefetch}`;
}

function workerWords({ pool, concurrency, prefetchMultiplier }: LovageTasksOptions): readonly string[] {
  const words = ['--pool', pool, '--concurrency', String(concurrency)];
  return prefetchMultiplier === undefined ? words : [...words, '--prefetch-multiplier', String(prefetchMultiplier)];
}

async function start(
  build: Build,
  workerFlags: readonly string[],
  directory: string | undefined,
): Promise<RunningTasks> {
  const server = await LovageServer.start({ directory, build });
  const client = await server.connect();
  await client.queues.declare(QUEUE);
  const url = server.target.endpoint;
  const program = process.execPath;
  const worker = await TaskProcess.start({
    program,
    words: [build.command, 'worker', MODULE, '--url', url, ...workerFlags],
  });
  const producer = await TaskProcess.start({ program, words: [PRODUCER, url] });
  return {
    version: server.version,
    brokerPids: server.pids,
    workerPids: worker.pids,
    producerPids: producer.pids,
    died: Promise.race([server.died, worker.died, producer.died]),
    send: (count) => producer.send(count),
    completed: async () => (await client.queues.inspect(QUEUE)).totals.acked,
    kept: async () => {
      const { ready, totals } = await client.queues.inspect(RESULTS_QUEUE);
      return ready + totals.archived;
    },
    async close() {
      await producer.stop();
      await worker.stop();
      await client.close();
      await server.close();
    },
  };
}
