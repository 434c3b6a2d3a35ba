/** `npm run bench`: what Lovage can do, measured on this machine. */
import { Command } from 'commander';
import { addCompare } from './commands/compare.js';
import { addMicro } from './commands/micro.js';
import { addPeers } from './commands/peers.js';
import { addScenarios } from './commands/scenarios.js';
import { addTaskPeers } from './commands/task-peers.js';

const program = new Command('npm run bench --');
program.enablePositionalOptions();
program.description('Measures Lovage on this machine, through the public SDK, against real broker processes.');
addScenarios(program);
addPeers(program);
addTaskPeers(program);
addMicro(program);
addCompare(program);
await program.parseAsync();
