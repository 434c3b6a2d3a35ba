/** `npm run bench -- [scenario...]` */
import { type Command, InvalidArgumentError } from 'commander';
import { short } from '../report/format.js';
import { reportOn } from '../report/report.js';
import { cleanUp, runProgram } from '../run/cleanup.js';
import { note } from '../run/progress.js';
import { SCENARIOS } from '../scenarios/index.js';
import type { Scenario } from '../scenarios/scenario.js';
import { addBenchOptions, type BenchFlags, benchOptionsOf } from './bench-options.js';

interface ScenariosFlags extends BenchFlags {
  readonly full?: true;
}

export function addScenarios(program: Command): void {
  program.argument('[scenario...]', 'what to measure (see below)', gather);
  addBenchOptions(program)
    .option('--full', 'all sizes: takes half an hour, some gigabytes of memory and disk')
    .addHelpText('after', `\nScenarios (all of them, without a name):\n${list()}`)
    .action((scenarios: Scenario[] | undefined, flags: ScenariosFlags) => runProgram(() => measure(scenarios, flags)));
}

/** One after the other. What fails is told, and the rest goes on. */
async function measure(named: readonly Scenario[] | undefined, flags: ScenariosFlags): Promise<number> {
  const options = benchOptionsOf(flags, flags.full === true);
  const isAll = named === undefined || named.length === 0;
  const chosen = SCENARIOS.filter((scenario) => isAll || named.includes(scenario));
  const report = reportOn(isAll ? 'all' : chosen.map(({ name }) => name).join('-'), flags);
  const failed: string[] = [];
  const startMs = performance.now();
  for (const scenario of chosen) {
    const { name, question } = scenario;
    try {
      await report.add({ name, question, ...(await scenario.run(options)) });
    } catch (error) {
      failed.push(name);
      note(`${name} failed: ${error instanceof Error ? error.stack : String(error)}`);
      await cleanUp();
    }
  }
  report.end();
  process.stdout.write(`\nTook ${short((performance.now() - startMs) / 60_000)} min.`);
  if (isAll) process.stdout.write(` ${NOT_HERE}`);
  process.stdout.write('\n');
  if (failed.length > 0) note(`Failed: ${failed.join(', ')}`);
  return failed.length > 0 ? 1 : 0;
}

const NOT_HERE = 'Other brokers, single parts and other commits have commands of their own: peers, micro, compare.';

function gather(name: string, gathered: Scenario[] | undefined): Scenario[] {
  const found = SCENARIOS.find((scenario) => scenario.name === name);
  if (found === undefined)
    throw new InvalidArgumentError(`Expected one of ${SCENARIOS.map((scenario) => scenario.name).join(', ')}.`);
  return [...(gathered ?? []), found];
}

function list(): string {
  const width = Math.max(...SCENARIOS.map(({ name }) => name.length));
  return SCENARIOS.map(({ name, question }) => `  ${name.padEnd(width)}  ${question}`).join('\n');
}
