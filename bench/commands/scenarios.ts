/** `npm run bench -- [scenario...]` */
import { type Command, InvalidArgumentError } from 'commander';
import { reportOn } from '../report/report.js';
import type { ScenarioResult } from '../report/result.js';
import { runProgram } from '../run/cleanup.js';
import { SCENARIOS } from '../scenarios/index.js';
import type { Scenario } from '../scenarios/scenario.js';
import { addBenchOptions, type BenchFlags, benchOptionsOf } from './bench-options.js';

export function addScenarios(program: Command): void {
  program.argument('[scenario...]', 'what to measure (see below)', gather);
  addBenchOptions(program)
    .addHelpText('after', `\nScenarios (* without a name, these run):\n${list()}`)
    .action((scenarios: Scenario[] | undefined, flags: BenchFlags) => runProgram(() => measure(scenarios, flags)));
}

async function measure(named: readonly Scenario[] | undefined, flags: BenchFlags): Promise<number> {
  const options = benchOptionsOf(flags);
  const chosen = SCENARIOS.filter((scenario) => named?.includes(scenario) ?? (options.isFull || scenario.isDefault));
  const results: ScenarioResult[] = [];
  const report = reportOn(flags);
  for (const scenario of chosen) {
    const result = await scenario.run(options);
    results.push(result);
    report.show(result);
  }
  await report.write(results);
  return 0;
}

function gather(name: string, gathered: Scenario[] | undefined): Scenario[] {
  const found = SCENARIOS.find((scenario) => scenario.name === name);
  if (found === undefined)
    throw new InvalidArgumentError(`Expected one of ${SCENARIOS.map((scenario) => scenario.name).join(', ')}.`);
  return [...(gathered ?? []), found];
}

function list(): string {
  const width = Math.max(...SCENARIOS.map(({ name }) => name.length));
  return SCENARIOS.map(
    ({ name, question, isDefault }) => ` ${isDefault ? '*' : ' '} ${name.padEnd(width)}  ${question}`,
  ).join('\n');
}
