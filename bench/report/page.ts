/** What runs in the report: one uPlot for each entry of `PLOTS` (`ResultPlot[]`), in the `.plot` of the same index. */

export const PAGE_STYLE = `
body { font: 15px/1.5 system-ui, sans-serif; max-width: 64rem; margin: 2rem auto; padding: 0 1rem; color: #222; background: #fff; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 0 1rem; } dt { font-weight: 600; } dd { margin: 0; }
section > table { border-collapse: collapse; margin: 1rem 0; } caption { text-align: left; font-weight: 600; padding: .3rem 0; }
section > table :is(th, td) { border: 1px solid #ccc; padding: .2rem .6rem; text-align: right; }
section > table :is(th, td):first-child { text-align: left; }
.question { font-weight: 600; } .plot { margin: 1rem 0; }
`;

export const PAGE_SCRIPT = `
const COLOURS = ['#3a7d44', '#d1495b', '#30638e', '#edae49', '#7b4b94', '#00798c', '#8d6a9f', '#5c5c5c', '#b56576', '#2d6a4f'];
const number = (value) => value == null ? '' : value.toLocaleString('en-US', { maximumSignificantDigits: 4 });

function columns({ series }) {
  const xs = [...new Set(series.flatMap(({ points }) => points.map(([x]) => x)))].sort((a, b) => a - b);
  return [xs, ...series.map(({ points }) => { const at = new Map(points); return xs.map((x) => at.get(x) ?? null); })];
}

function xValues({ xLabel, xScale, names }) {
  if (xScale === 'names') return (_, splits) => splits.map((x) => names[x] ?? '');
  if (xLabel === 'percentile') return (_, splits) => splits.map((x) => x == null ? '' : 'p' + number(100 - 100 / x));
  return (_, splits) => splits.map(number);
}

/** Bars of several series stand beside each other; unit 1 is that of the x axis, where names are 1 apart. */
function barSeries(index, count) {
  const width = 0.8 / count;
  const x0 = { unit: 1, values: (u) => u.data[0].map((x) => x - 0.4 + width * index) };
  const size = { unit: 1, values: (u) => u.data[0].map(() => width * 0.92) };
  return { paths: uPlot.paths.bars({ disp: { x0, size } }), points: { show: false } };
}

/** Bars on a logarithmic scale begin at a power of ten below the smallest. */
function decades(u, min, max) {
  return [10 ** Math.floor(Math.log10(min / 2)), 10 ** Math.ceil(Math.log10(max))];
}

function options(plot) {
  const isBars = plot.xScale === 'names';
  const scale = (name) => name === 'log' ? { distr: 3 } : {};
  const values = xValues(plot);
  return {
    title: plot.title, width: Math.min(960, innerWidth - 40), height: 320,
    scales: {
      x: isBars ? { time: false, range: [-0.6, plot.names.length - 0.4] } : { time: false, ...scale(plot.xScale) },
      y: plot.yScale === 'log' ? { distr: 3, ...(isBars && { range: decades }) } : { range: (u, min, max) => [0, max * 1.05] },
    },
    axes: [
      { label: plot.xLabel, values, ...(isBars && { splits: () => plot.names.map((_, i) => i), grid: { show: false } }) },
      { label: plot.yLabel, size: 80, values: (_, splits) => splits.map(number) },
    ],
    series: [
      { label: plot.xLabel, value: (_, x) => x == null ? '' : values(_, [x])[0] },
      ...plot.series.map(({ label }, i) => ({
        label, stroke: COLOURS[i % COLOURS.length], width: 2, value: (_, y) => number(y),
        ...(isBars ? { fill: COLOURS[i % COLOURS.length], ...barSeries(i, plot.series.length) } : { spanGaps: true }),
      })),
    ],
  };
}

document.querySelectorAll('.plot').forEach((place, i) => new uPlot(options(PLOTS[i]), columns(PLOTS[i]), place));
`;
