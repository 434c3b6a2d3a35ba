/** `npm run bench -- compare <git-ref>` */
import { type Command, Option } from 'commander';
import { checkOut } from '../compare/checkout.js';
import { MEASURES } from '../compare/measures.js';
import { reportOn } from '../report/report.js';
import { runProgram } from '../run/cleanup.js';
import { compareWith } from '../scenarios/compare.js';
import { addBenchOptions, type BenchFlags, benchOptionsOf } from './bench-options.js';

interface CompareFlags extends BenchFlags {
  readonly measure: readonly string[];
}

const DEFAULT_MEASURES = ['throughput-1', 'latency'];

export function addCompare(program: Command): void {
  const measures = new Option('--measure <names...>', 'what to compare them in');
  const command = program
    .command('compare')
    .description('this tree with another commit, which is built in a temporary worktree')
    .argument('<git-ref>', 'the other commit: a hash, a branch, HEAD~3')
    .addOption(measures.choices(MEASURES.map(({ name }) => name)).default(DEFAULT_MEASURES));
  addBenchOptions(command).action((ref: string, flags: CompareFlags) => runProgram(() => compare(ref, flags)));
}

async function compare(ref: string, flags: CompareFlags): Promise<number> {
  const report = reportOn('compare', flags);
  const other = await checkOut(ref, flags.dir);
  const measures = MEASURES.filter(({ name }) => flags.measure.includes(name));
  await report.add(await compareWith(other, measures, benchOptionsOf(flags)));
  report.end();
  return 0;
}
