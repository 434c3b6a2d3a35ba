import { runInNewContext } from 'node:vm';
import { describe, expect, test } from 'vitest';
import { htmlPage } from '../../bench/report/html.js';
import { circumstanceLines, circumstances } from '../../bench/report/machine.js';
import { PAGE_SCRIPT } from '../../bench/report/page.js';
import type { ResultPlot } from '../../bench/report/result.js';
import { terminalText } from '../../bench/report/terminal.js';
import { scenarioResult } from './results.js';

const FACTS = {
  date: '2026-01-02T03:04:05.000Z',
  command: 'npm run bench -- throughput',
  commit: '0123456789ab',
  node: 'v20.19.0',
  system: 'A system (Linux 6.1)',
  cpu: 'A processor',
  cores: 2,
  memoryGib: 8,
  disk: 'ext4',
} as const;

const LINES: ResultPlot = {
  title: 'Lines',
  xLabel: 'queues',
  yLabel: 'a second',
  xScale: 'log',
  yScale: 'linear',
  series: [
    { label: 'one', points: [[1, 10]] },
    {
      label: 'other',
      points: [
        [100, 30],
        [10, 20],
      ],
    },
  ],
};
const BARS: ResultPlot = {
  title: 'Bars',
  xLabel: 'system',
  yLabel: 'ms',
  xScale: 'names',
  yScale: 'log',
  names: ['a', 'b'],
  series: [
    {
      label: 'p50',
      points: [
        [0, 1],
        [1, 2],
      ],
    },
  ],
};

interface Drawn {
  readonly options: {
    readonly title: string;
    readonly scales: { readonly x: { readonly distr?: number }; readonly y: { readonly distr?: number } };
    readonly axes: readonly { readonly values: (u: null, splits: readonly number[]) => string[] }[];
  };
  readonly data: readonly (readonly (number | null)[])[];
}

/** Runs the page's script with a library that only notes what it is asked to draw. */
function drawn(plots: readonly ResultPlot[]): Drawn[] {
  const found: Drawn[] = [];
  class Library {
    static readonly paths = { bars: () => null };

    constructor(options: Drawn['options'], data: Drawn['data']) {
      found.push({ options, data });
    }
  }
  const places = {
    forEach(draw: (place: null, i: number) => void): void {
      for (let i = 0; i < plots.length; i++) draw(null, i);
    },
  };
  runInNewContext(PAGE_SCRIPT, {
    PLOTS: plots,
    uPlot: Library,
    innerWidth: 1_000,
    document: { querySelectorAll: () => places },
  });
  return found;
}

describe('the text of a result', () => {
  const text = terminalText(scenarioResult({ leftOut: ['10,000,000 messages (--full)'] }));

  test('has question, conditions, set-up, table, and what was left out', () => {
    for (const part of ['example: How fast?', 'It was measured.', 'Rates', 'rate /s', 'Left out: 10,000,000 messages'])
      expect(text).toContain(part);
  });

  test('names sync class, window, prefetch and body size', () => {
    expect(text).toContain('sync always | window 1,000 | prefetch 1,000 | body 256 B');
  });
});

describe('the report', () => {
  test('is one file that needs no other and no network', async () => {
    const page = await htmlPage(FACTS, [scenarioResult({ plots: [LINES] })]);
    expect(page).not.toMatch(/<(script|link|img)[^>]*\s(src|href)=/);
    expect(page).not.toMatch(/@import|url\(/);
    expect(page).toContain('var uPlot=');
    expect(page).toContain('The MIT License');
  });

  test('has machine, versions, commit and command in it', async () => {
    const page = await htmlPage(FACTS, [scenarioResult()]);
    for (const [name, value] of circumstanceLines(FACTS)) {
      expect(page).toContain(`<dt>${name}</dt>`);
      expect(page).toContain(value);
    }
  });

  test('shows what stands in results as text, also in its script', async () => {
    const plots = [{ ...LINES, title: '</script><b>' }];
    const page = await htmlPage(FACTS, [scenarioResult({ question: '<b>&"?', plots })]);
    expect(page).toContain('&lt;b>&amp;&quot;?');
    expect(page).not.toContain('</script><b>');
  });

  test('has a place for every plot, of all results in order', async () => {
    const results = [scenarioResult({ plots: [LINES, BARS] }), scenarioResult({ name: 'second', plots: [LINES] })];
    const page = await htmlPage(FACTS, results);
    expect(page.match(/<div class="plot"><\/div>/g)).toHaveLength(3);
    expect(page.indexOf('id="example"')).toBeLessThan(page.indexOf('id="second"'));
  });
});

describe('a plot', () => {
  test('has the x values of all series in order, and gaps where a series has none', () => {
    const [lines] = drawn([LINES]);
    expect(lines!.data.map((column) => [...column])).toEqual([
      [1, 10, 100],
      [10, null, null],
      [null, 20, 30],
    ]);
    expect(lines!.options.scales.x.distr).toBe(3);
    expect(lines!.options.scales.y.distr).toBeUndefined();
  });

  test('of bars has their names along the axis', () => {
    const [bars] = drawn([BARS]);
    expect([...bars!.options.axes[0]!.values(null, [0, 1])]).toEqual(['a', 'b']);
    expect(bars!.options.scales.y.distr).toBe(3);
  });

  test('of percentiles names them', () => {
    const [percentiles] = drawn([{ ...LINES, xLabel: 'percentile' }]);
    const labels = percentiles!.options.axes[0]!.values(null, [2, 100, 1_000]);
    expect([...labels]).toEqual(['p50', 'p99', 'p99.9']);
  });
});

describe('the circumstances', () => {
  test('name this machine and this commit', () => {
    const facts = circumstances();
    expect(facts.node).toBe(process.version);
    expect(facts.cores).toBeGreaterThan(0);
    expect(facts.memoryGib).toBeGreaterThan(0);
    expect(facts.command).toMatch(/^npm run bench --/);
    expect(facts.commit).toMatch(/^([0-9a-f]{12}( with changes)?|unknown)$/);
  });
});
