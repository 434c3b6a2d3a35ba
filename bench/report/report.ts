/** What becomes of results: text in the terminal, and files if asked for. */
import { writeFile } from 'node:fs/promises';
import { note } from '../run/progress.js';
import { htmlPage } from './html.js';
import { circumstanceLines, circumstances } from './machine.js';
import type { ScenarioResult } from './result.js';
import { terminalText } from './terminal.js';

export interface ReportTo {
  readonly dir?: string;
  readonly json?: string;
  readonly html?: string;
}

export interface Report {
  /** Prints one result. */
  show(result: ScenarioResult): void;
  /** Writes the files. */
  write(results: readonly ScenarioResult[]): Promise<void>;
}

/** Prints the circumstances and begins a report. */
export function reportOn({ dir, json, html }: ReportTo): Report {
  const facts = circumstances(dir);
  for (const [name, value] of circumstanceLines(facts)) process.stdout.write(`${`${name}:`.padEnd(9)}${value}\n`);
  if (facts.disk === 'tmpfs') note('The data are in memory (tmpfs): syncing costs nothing there. Use --dir.');
  return {
    show(result) {
      note('');
      process.stdout.write(`${terminalText(result)}\n`);
    },
    async write(results) {
      if (json !== undefined) await writeFile(json, `${JSON.stringify({ circumstances: facts, results }, null, 2)}\n`);
      if (html !== undefined) await writeFile(html, await htmlPage(facts, results));
    },
  };
}
