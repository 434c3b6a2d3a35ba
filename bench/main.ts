/** `npm run bench`: what Lovage can do, measured on this machine. */
import { Command } from 'commander';
import { addPeers } from './commands/peers.js';
import { addScenarios } from './commands/scenarios.js';

const program = new Command('npm run bench --');
program.enablePositionalOptions();
program.description('Measures Lovage on this machine, through the public SDK, against real broker processes.');
addScenarios(program);
addPeers(program);
await program.parseAsync();
