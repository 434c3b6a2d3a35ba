/** A report as one HTML file: the plotting library and all numbers are in it, so it needs no network and no other file. */
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { conditionsLine } from './conditions.js';
import { type Circumstances, circumstanceLines } from './machine.js';
import { PAGE_SCRIPT, PAGE_STYLE } from './page.js';
import type { ResultTable, ScenarioResult } from './result.js';

export async function htmlPage(facts: Circumstances, results: readonly ScenarioResult[]): Promise<string> {
  // The only plotting library that is small enough to be in every report: uPlot, MIT, 50 KB, without dependencies.
  const library = dirname(dirname(createRequire(import.meta.url).resolve('uplot/dist/uPlot.iife.min.js')));
  const read = (file: string): Promise<string> => readFile(join(library, file), 'utf8');
  const [script, style, license] = await Promise.all([
    read('dist/uPlot.iife.min.js'),
    read('dist/uPlot.min.css'),
    read('LICENSE'),
  ]);
  const plots = results.flatMap((result) => result.plots);
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Lovage benchmarks ${escaped(facts.date)}</title>
<style>${style}${PAGE_STYLE}</style>
</head>
<body>
<h1>Lovage benchmarks</h1>
<dl>${circumstanceLines(facts)
    .map(([name, value]) => `<dt>${escaped(name)}</dt><dd>${escaped(value)}</dd>`)
    .join('')}</dl>
<nav>${results.map(({ name }) => `<a href="#${escaped(name)}">${escaped(name)}</a>`).join(' ')}</nav>
${results.map(section).join('\n')}
<!-- ${license.replaceAll('--', '- -')} -->
<script>${script}</script>
<script>const PLOTS = ${inScript(plots)};
${PAGE_SCRIPT}</script>
</body>
</html>
`;
}

function section({ name, question, conditions, setUp, tables, plots, leftOut }: ScenarioResult): string {
  return `<section>
<h2 id="${escaped(name)}">${escaped(name)}</h2>
<p class="question">${escaped(question)}</p>
<p class="conditions">${escaped(conditionsLine(conditions))}</p>
<p>${escaped(setUp)}</p>
${tables.map(tableHtml).join('\n')}
${plots.map(() => '<div class="plot"></div>').join('\n')}
${leftOut.map((what) => `<p>Left out: ${escaped(what)}</p>`).join('\n')}
</section>`;
}

function tableHtml({ title, head, rows }: ResultTable): string {
  const line = (tag: string, cells: readonly (string | number)[]): string =>
    `<tr>${cells.map((cell) => `<${tag}>${escaped(String(cell))}</${tag}>`).join('')}</tr>`;
  return `<table><caption>${escaped(title)}</caption><thead>${line('th', head)}</thead><tbody>${rows
    .map((cells) => line('td', cells))
    .join('')}</tbody></table>`;
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('"', '&quot;');
}

/** JSON that cannot end the script it stands in. */
function inScript(value: unknown): string {
  return JSON.stringify(value).replaceAll('<', '\\u003c');
}
