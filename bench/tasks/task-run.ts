/** How many tasks a second go through a system: from the first call of the producer to the last completion. */
import { setTimeout as delay } from 'node:timers/promises';
import { monotonicMs } from '../run/monotonic-clock.js';
import { cpuSeconds, residentBytes, sumOf } from '../run/process-usage.js';
import { showProgress } from '../run/progress.js';
import type { RunningTasks, TaskSystem } from './task-system.js';

export interface TaskResult {
  readonly version: string;
  /** Tasks of the measured part; all of them were completed. */
  readonly tasks: number;
  readonly seconds: number;
  readonly tasksPerSecond: number;
  /** Results that are kept of warm-up and measured part, null where they are ignored; otherwise as many as tasks, else the run has failed. */
  readonly kept: number | null;
  readonly brokerCores: number | null;
  readonly workerCores: number | null;
  readonly producerCores: number | null;
  /** Of the worker and its children, after the last task. */
  readonly workerBytes: number | null;
}

export interface TaskTimes {
  readonly warmUpMs: number;
  /** About how long the measured tasks take. */
  readonly windowMs: number;
}

/** Of the warm-up's first step; each further one has twice as many. */
const FIRST_TASKS = 500;
/** Results that a namespace keeps by default: with more the oldest would go, and not all could be counted. */
const RESULTS_MAX = 1_000_000;
/** Between two looks at what is completed. */
const LOOK_MS = 10;
/** Without any completion. */
const STUCK_MS = 30_000;

/** Starts the system, warms it up, and sends as many tasks as it will do in the window, going by the end of the warm-up. Rejects when results are missing. */
export async function runTasks(
  system: TaskSystem,
  directory: string | undefined,
  { warmUpMs, windowMs }: TaskTimes,
  label: string,
): Promise<TaskResult> {
  const running = await system.start(directory);
  const result = await Promise.race([measure(running, { warmUpMs, windowMs }, label), running.died]);
  await running.close();
  return result;
}

async function measure(running: RunningTasks, { warmUpMs, windowMs }: TaskTimes, label: string): Promise<TaskResult> {
  const warmEndMs = monotonicMs() + warmUpMs;
  let total = 0;
  let perSecond = 0;
  for (let count = FIRST_TASKS; perSecond === 0 || (monotonicMs() < warmEndMs && count < RESULTS_MAX / 4); count *= 2) {
    const seconds = await through(running, count, total, `${label}, warm-up`);
    total += count;
    perSecond = count / seconds;
  }
  const wanted = Math.max(FIRST_TASKS, Math.round((perSecond * windowMs) / 1_000));
  const tasks = Math.min(wanted, RESULTS_MAX - total);
  const before = usage(running);
  const seconds = await through(running, tasks, total, label);
  const after = usage(running);
  total += tasks;
  const kept = await running.kept();
  if (kept !== null && kept !== total) throw new Error(`Cannot see all results: ${kept}, expected ${total}`);
  const cores = (who: keyof Usage): number | null =>
    before[who] === null || after[who] === null ? null : (after[who] - before[who]) / seconds;
  return {
    version: running.version,
    tasks,
    seconds,
    tasksPerSecond: tasks / seconds,
    kept,
    brokerCores: cores('broker'),
    workerCores: cores('worker'),
    producerCores: cores('producer'),
    workerBytes: sumOf(running.workerPids, residentBytes),
  };
}

/** Sends so many tasks, and answers how many seconds passed until all were completed. `earlier`: what was completed before. */
async function through(running: RunningTasks, count: number, earlier: number, label: string): Promise<number> {
  const sent = running.send(count);
  let [done, changedMs, endMs] = [earlier, monotonicMs(), 0];
  while (done < earlier + count) {
    await delay(LOOK_MS);
    const now = await running.completed();
    endMs = monotonicMs();
    if (now > done) [done, changedMs] = [now, endMs];
    if (endMs - changedMs > STUCK_MS) throw new Error(`Cannot see all tasks completed: ${done - earlier} of ${count}`);
    showProgress(`${label}: ${done - earlier} of ${count} tasks`);
  }
  return (endMs - (await sent)) / 1_000;
}

interface Usage {
  readonly broker: number | null;
  readonly worker: number | null;
  readonly producer: number | null;
}

/** CPU seconds so far. */
function usage({ brokerPids, workerPids, producerPids }: RunningTasks): Usage {
  const [broker, worker, producer] = [brokerPids, workerPids, producerPids].map((pids) => sumOf(pids, cpuSeconds));
  return { broker: broker!, worker: worker!, producer: producer! };
}
