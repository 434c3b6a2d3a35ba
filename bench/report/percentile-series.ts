import type { LatencyHistogram } from '../load/latency-histogram.js';
import type { Series } from './result.js';

/** Tail shares at which the curve has points: half of all messages, one in ten, ... one in ten thousand. */
const TAILS = [2, 4, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000] as const;

/** A curve of percentiles; x is 1 / (1 - share), so on a logarithmic axis each further nine takes the same room. */
export function percentileSeries(label: string, histogram: LatencyHistogram): Series {
  return { label, points: TAILS.map((tail) => [tail, histogram.percentileMs(100 - 100 / tail)] as const) };
}
