/** The `lovage` command: what it is called, what it takes, and the commands under it. */
import { Command } from 'commander';
import { VERSION } from '../app/version.js';
import { addConsume } from './consume.js';
import { addExchanges } from './exchanges.js';
import { addJournal } from './journal.js';
import { addMessages } from './messages.js';
import { addNamespaces } from './namespaces.js';
import { addPublish } from './publish.js';
import { addQueues } from './queues.js';
import { addRateLimits } from './rate-limits.js';
import { addStart } from './start.js';
import { addStatus } from './status.js';
import { addTasks } from './tasks.js';
import { addTokens } from './tokens.js';
import { addWorker } from './worker.js';
import { addWorkers } from './workers.js';

const COMMANDS: readonly ((program: Command) => void)[] = [
  addStart,
  addPublish,
  addConsume,
  addWorker,
  addWorkers,
  addTasks,
  addQueues,
  addExchanges,
  addRateLimits,
  addMessages,
  addTokens,
  addNamespaces,
  addStatus,
  addJournal,
];

const EXIT_CODES = `
Settings come from flags, then LOVAGE_* variables, then the file given with --config, then defaults.
Exit codes: 0 done, 1 failed, 2 wrong usage, 74 the disk failed under the journal.`;

/** A fresh program; nothing of it ends the process or writes to standard error, that is main's. */
export function createProgram(): Command {
  const program = new Command('lovage')
    .description('a message broker and task queue in one process')
    .version(VERSION)
    .showSuggestionAfterError()
    .helpCommand('help [command]', 'show how a command is used')
    .addHelpText('after', EXIT_CODES);
  for (const add of COMMANDS) add(program);
  quiet(program);
  return program;
}

/** Errors are thrown instead of printed, in every command. */
function quiet(command: Command): void {
  command.exitOverride().configureOutput({ writeErr: () => undefined });
  for (const child of command.commands) quiet(child);
}
