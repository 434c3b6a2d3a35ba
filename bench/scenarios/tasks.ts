import type { PoolKind } from '@lovage/client/tasks';
import { conditions } from '../report/conditions.js';
import { mebibytes } from '../report/format.js';
import { residentBytes, sumOf } from '../run/process-usage.js';
import { lovageTasks, workerTitle } from '../tasks/lovage-tasks.js';
import { runTasks, type TaskResult } from '../tasks/task-run.js';
import { TASK_HEAD, taskRow } from '../tasks/task-tables.js';
import type { BenchOptions, Scenario } from './scenario.js';

/** A worker: where its tasks run, and how many at a time. */
interface WorkerShape {
  readonly pool: PoolKind;
  readonly concurrency: number;
  readonly prefetchMultiplier?: number;
}

const WORKERS: readonly WorkerShape[] = [
  { pool: 'async', concurrency: 100 },
  { pool: 'threads', concurrency: 2 },
  // As Celery's guide has it for short tasks.
  { pool: 'threads', concurrency: 2, prefetchMultiplier: 128 },
];
/** What is looked at without any task. */
const IDLE: WorkerShape = { pool: 'async', concurrency: 8 };

export const tasks: Scenario = {
  name: 'tasks',
  question: 'How many tasks that do nothing go from one producer process to one worker process in a second?',
  async run(options) {
    const data: { worker: WorkerShape; rounds: TaskResult[] }[] = WORKERS.map((worker) => ({ worker, rounds: [] }));
    for (let round = 1; round <= options.rounds; round++)
      for (const { worker, rounds } of data) rounds.push(await run(worker, options, round));
    const idleBytes = await idleWorkerBytes(options);
    return {
      conditions: conditions({
        window: '4 lists of 1,000',
        prefetch: '4 a slot, unless told',
        body: 'no arguments',
        priorities: 'none',
      }),
      setUp: `One process sends with sendMany, 4 lists of 1,000 tasks at once; one worker (lovage worker) runs them; every result is kept, and counted at the end. Time runs from the first call of sendMany to the last completion that the broker tells; every run has a new broker, and the workers take turns. The idle worker is one with ${IDLE.concurrency} slots of ${IDLE.pool} that has not run a task.`,
      tables: [
        {
          title: `Median of ${options.rounds} rounds`,
          head: TASK_HEAD,
          rows: data.map(({ worker, rounds }) => taskRow(workerTitle(worker), rounds)),
        },
        {
          title: 'An idle worker',
          head: ['worker', 'resident MiB'],
          rows: [[workerTitle(IDLE), mebibytes(idleBytes)]],
        },
      ],
      plots: [],
      leftOut: [],
      data: { workers: data, idleBytes },
    };
  },
};

function run(
  worker: WorkerShape,
  { build, directory, rounds, ...times }: BenchOptions,
  round: number,
): Promise<TaskResult> {
  const system = lovageTasks({ ...worker, build });
  return runTasks(system, directory, times, `${system.title}, round ${round} of ${rounds}`);
}

async function idleWorkerBytes({ build, directory }: BenchOptions): Promise<number | null> {
  const running = await lovageTasks({ ...IDLE, build }).start(directory);
  const bytes = sumOf(running.workerPids, residentBytes);
  await running.close();
  return bytes;
}
