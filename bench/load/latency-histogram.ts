/** Times in an HDR histogram of microseconds: 1 us to 10 minutes at three significant digits. */
import { build, decodeFromCompressedBase64, encodeIntoCompressedBase64, type Histogram } from 'hdr-histogram-js';

type Quantiles = [number, number, number, number];

export interface LatencySummary {
  readonly count: number;
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
  readonly p999: number;
  readonly max: number;
}

const US_MAX = 600_000_000;

export class LatencyHistogram {
  readonly #histogram: Histogram = build({
    lowestDiscernibleValue: 1,
    highestTrackableValue: US_MAX,
    numberOfSignificantValueDigits: 3,
    bitBucketSize: 64,
  });

  record(ms: number): void {
    this.#histogram.recordValue(Math.min(US_MAX, Math.max(0, Math.round(ms * 1_000))));
  }

  clear(): void {
    this.#histogram.reset();
  }

  /** What another process has recorded. */
  static of(encoded: string): LatencyHistogram {
    const copy = new LatencyHistogram();
    copy.#histogram.add(decodeFromCompressedBase64(encoded, 64));
    return copy;
  }

  encode(): string {
    return encodeIntoCompressedBase64(this.#histogram);
  }

  get count(): number {
    return this.#histogram.totalCount;
  }

  get maxMs(): number {
    // As precise as the other percentiles, and the same in whichever process it is asked.
    return this.percentileMs(100);
  }

  /** The usual numbers, in ms. */
  summary(): LatencySummary {
    const [p50, p90, p99, p999] = [50, 90, 99, 99.9].map((percent) => this.percentileMs(percent)) as Quantiles;
    return { count: this.count, p50, p90, p99, p999, max: this.maxMs };
  }

  /** ms that so many percent stay within; NaN when there is nothing. */
  percentileMs(percent: number): number {
    if (this.count === 0) return Number.NaN;
    return this.#histogram.getValueAtPercentile(percent) / 1_000;
  }
}
