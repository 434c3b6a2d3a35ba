/** What becomes of results: text in the terminal, and a file of numbers and one of plots. */
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { ROOT } from '../broker/build.js';
import { note } from '../run/progress.js';
import { htmlPage } from './html.js';
import { circumstanceLines, circumstances } from './machine.js';
import type { ScenarioResult } from './result.js';
import { terminalText } from './terminal.js';

export interface ReportTo {
  /** Of the brokers' data. */
  readonly dir?: string;
  /** Paths of the files; default: in `bench/results`, named for the time and the command. */
  readonly json?: string;
  readonly html?: string;
}

export interface Report {
  /** Prints one result, and writes the files with all there are so far. */
  add(result: ScenarioResult): Promise<void>;
  /** Says where the files are. */
  end(): void;
}

/** Prints the circumstances and begins a report. `name`: what is measured, as a part of a file's name. */
export function reportOn(name: string, { dir, json, html }: ReportTo): Report {
  const facts = circumstances(dir);
  for (const [what, value] of circumstanceLines(facts)) process.stdout.write(`${`${what}:`.padEnd(9)}${value}\n`);
  if (facts.disk === 'tmpfs') note('The data are in memory (tmpfs): syncing costs nothing there. Use --dir.');
  const path = join(ROOT, 'bench/results', `${facts.date.slice(0, 19).replaceAll(':', '-')}-${name}`);
  const files = { json: json ?? `${path}.json`, html: html ?? `${path}.html` };
  const results: ScenarioResult[] = [];
  return {
    async add(result) {
      results.push(result);
      note('');
      process.stdout.write(`${terminalText(result)}\n`);
      await write(files.json, `${JSON.stringify({ circumstances: facts, results }, null, 2)}\n`);
      await write(files.html, await htmlPage(facts, results));
    },
    end() {
      if (results.length > 0) process.stdout.write(`\nNumbers: ${files.json}\nReport:  ${files.html}\n`);
    },
  };
}

async function write(path: string, text: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, text);
}
