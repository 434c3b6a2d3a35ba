/** Rows of what systems that run tasks have given. */
import { mebibytes, percent, short, whole } from '../report/format.js';
import { median, spread } from '../run/statistics.js';
import type { TaskResult } from './task-run.js';

export const TASK_HEAD: readonly string[] = [
  'worker',
  'tasks /s',
  'spread',
  'results kept',
  'broker cores',
  'worker cores',
  'producer cores',
  'worker MiB',
];

/** Medians of the rounds of one worker. */
export function taskRow(name: string, rounds: readonly TaskResult[]): string[] {
  const middle = (read: (result: TaskResult) => number | null): number =>
    median(rounds.map((result) => read(result) ?? Number.NaN));
  return [
    name,
    whole(medianTasks(rounds)),
    percent(spread(rounds.map(({ tasksPerSecond }) => tasksPerSecond))),
    rounds.every(({ kept }) => kept !== null) ? 'all' : 'ignored',
    short(middle(({ brokerCores }) => brokerCores)),
    short(middle(({ workerCores }) => workerCores)),
    short(middle(({ producerCores }) => producerCores)),
    mebibytes(middle(({ workerBytes }) => workerBytes)),
  ];
}

export function medianTasks(rounds: readonly TaskResult[]): number {
  return median(rounds.map(({ tasksPerSecond }) => tasksPerSecond));
}
