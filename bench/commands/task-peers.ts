/** `npm run bench -- task-peers` */
import { type Command, Option } from 'commander';
import { reportOn } from '../report/report.js';
import { runProgram } from '../run/cleanup.js';
import { compareTaskPeers } from '../scenarios/task-peers.js';
import { TASK_PEERS } from '../tasks/task-peers.js';
import { addBenchOptions, type BenchFlags, benchOptionsOf } from './bench-options.js';

interface TaskPeersFlags extends BenchFlags {
  readonly only?: readonly string[];
}

export function addTaskPeers(program: Command): void {
  const command = program
    .command('task-peers')
    .description('tasks of Lovage beside those of BullMQ and Celery, on servers that it starts itself')
    .addOption(new Option('--only <names...>', 'these only').choices(TASK_PEERS.map(({ name }) => name)));
  addBenchOptions(command).action((flags: TaskPeersFlags) => runProgram(() => compare(flags)));
}

async function compare(flags: TaskPeersFlags): Promise<number> {
  const report = reportOn('task-peers', flags);
  const chosen = TASK_PEERS.filter(({ name }) => flags.only?.includes(name) ?? true);
  await report.add(await compareTaskPeers(chosen, benchOptionsOf(flags)));
  report.end();
  return 0;
}
