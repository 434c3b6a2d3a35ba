/** `npm run bench -- peers` */
import { type Command, Option } from 'commander';
import { PEERS } from '../peers/index.js';
import { reportOn } from '../report/report.js';
import { runProgram } from '../run/cleanup.js';
import { comparePeers } from '../scenarios/peers.js';
import { addBenchOptions, type BenchFlags, benchOptionsOf } from './bench-options.js';

interface PeersFlags extends BenchFlags {
  readonly only?: readonly string[];
}

export function addPeers(program: Command): void {
  const command = program
    .command('peers')
    .description('Lovage beside RabbitMQ, NATS JetStream, BullMQ and beanstalkd, on servers that it starts itself')
    .addOption(new Option('--only <names...>', 'these only').choices(PEERS.map(({ name }) => name)));
  addBenchOptions(command).action((flags: PeersFlags) => runProgram(() => compare(flags)));
}

async function compare(flags: PeersFlags): Promise<number> {
  const report = reportOn('peers', flags);
  const chosen = PEERS.filter(({ name }) => flags.only?.includes(name) ?? true);
  await report.add(await comparePeers(chosen, benchOptionsOf(flags)));
  report.end();
  return 0;
}
