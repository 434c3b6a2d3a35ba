/** A result in the terminal. */
import Table from 'cli-table3';
import { conditionsLine } from './conditions.js';
import type { ResultTable, ScenarioResult } from './result.js';

const PLAIN = { head: [], border: [], compact: true } as const;
const WRAP_AT = 110;

export function terminalText(result: ScenarioResult): string {
  const { name, question, setUp, tables, leftOut } = result;
  return [
    `\n${name}: ${question}`,
    conditionsLine(result.conditions),
    wrapped(setUp),
    ...tables.map(tableText),
    ...leftOut.map((what) => wrapped(`Left out: ${what}`)),
  ].join('\n');
}

/** A table of text with a frame; every column but the first is aligned to the right. */
export function tableText({ title, head, rows }: ResultTable): string {
  const table = new Table({
    head: [...head],
    colAligns: head.map((_, i) => (i === 0 ? 'left' : 'right')),
    style: { ...PLAIN, head: [...PLAIN.head], border: [...PLAIN.border] },
  });
  for (const row of rows) table.push([...row]);
  return title === '' ? table.toString() : `${title}\n${table.toString()}`;
}

function wrapped(text: string): string {
  const lines: string[] = [''];
  for (const word of text.split(' ')) {
    if (lines.at(-1)!.length + word.length > WRAP_AT) lines.push('');
    lines[lines.length - 1] += lines.at(-1) === '' ? word : ` ${word}`;
  }
  return lines.join('\n');
}
