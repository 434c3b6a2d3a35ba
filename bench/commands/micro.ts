/** `npm run bench -- micro` */
import type { Command } from 'commander';
import { reportOn } from '../report/report.js';
import { runProgram } from '../run/cleanup.js';
import { measureMicros } from '../scenarios/micro.js';
import { addBenchOptions, type BenchFlags, benchOptionsOf } from './bench-options.js';

export function addMicro(program: Command): void {
  const command = program.command('micro').description('parts by themselves: codec, ready index, journal, replay');
  addBenchOptions(command, { seconds: 1, warmUp: 0.5, rounds: 5 }).action((flags: BenchFlags) =>
    runProgram(() => measure(flags)),
  );
}

async function measure(flags: BenchFlags): Promise<number> {
  const report = reportOn('micro', flags);
  await report.add(await measureMicros(benchOptionsOf(flags)));
  report.end();
  return 0;
}
