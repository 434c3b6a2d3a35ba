/** Lovage's tasks beside those of other systems, in turns. */
import { conditions } from '../report/conditions.js';
import { short, whole } from '../report/format.js';
import type { ScenarioResult } from '../report/result.js';
import { cleanUp } from '../run/cleanup.js';
import { note } from '../run/progress.js';
import { lovageTasks } from '../tasks/lovage-tasks.js';
import { missingOf, type TaskPeer } from '../tasks/task-peers.js';
import { runTasks, type TaskResult } from '../tasks/task-run.js';
import type { TaskSystem } from '../tasks/task-system.js';
import { medianTasks, TASK_HEAD, taskRow } from '../tasks/task-tables.js';
import type { BenchOptions } from './scenario.js';

interface Measured {
  readonly system: TaskSystem;
  readonly rounds: TaskResult[];
}

export async function compareTaskPeers(peers: readonly TaskPeer[], options: BenchOptions): Promise<ScenarioResult> {
  const leftOut = peers.map(missingOf).filter((text) => text !== null);
  for (const text of leftOut) note(text);
  const lovage = measured(lovageTasks({ pool: 'async', concurrency: 100, build: options.build }));
  const others = peers.filter((peer) => missingOf(peer) === null).map(({ system }) => measured(system));
  const failed = new Set<Measured>();
  for (let round = 1; round <= options.rounds; round++) {
    await addRound(lovage, options, round);
    for (const other of others.filter((each) => !failed.has(each))) {
      try {
        await addRound(other, options, round);
      } catch (error) {
        failed.add(other);
        leftOut.push(`${other.system.title}: failed in round ${round}: ${String(error)}`);
        note(leftOut.at(-1)!);
        await cleanUp();
      }
    }
  }
  const all = [lovage, ...others.filter((each) => !failed.has(each))];
  return {
    name: 'task-peers',
    question:
      'How many tasks that do nothing go from one producer process to one worker in a second, here and elsewhere?',
    conditions: conditions({
      sync: 'see the settings',
      window: 'see the settings',
      prefetch: 'see the settings',
      body: 'no arguments',
      priorities: 'none',
    }),
    setUp: `One producer process, one worker. Time runs from the first call of the producer to the last completion; each system gets a new server, a new worker and a new producer for each of ${options.rounds} rounds, warms up, and is given about as many tasks as it does in the window; the systems take turns. ${all.map(({ system: { title, settings } }) => `${title}: ${settings}`).join(' ')}`,
    tables: [
      {
        title: `Median of ${options.rounds} rounds`,
        head: [...TASK_HEAD.with(0, 'system'), 'Lovage / it', 'version'],
        rows: all.map(({ system, rounds }) => [
          ...taskRow(system.title, rounds),
          short(medianTasks(lovage.rounds) / medianTasks(rounds)),
          rounds[0]!.version,
        ]),
      },
    ],
    plots: [],
    leftOut,
    data: all.map(({ system: { title, settings }, rounds }) => ({ title, settings, rounds })),
  };
}

function measured(system: TaskSystem): Measured {
  return { system, rounds: [] };
}

async function addRound({ system, rounds }: Measured, options: BenchOptions, round: number): Promise<void> {
  const label = `${system.title}, round ${round} of ${options.rounds}`;
  const result = await runTasks(system, options.directory, options, label);
  rounds.push(result);
  note(`${label}: ${whole(result.tasksPerSecond)} tasks/s`);
}
