/** Totals per second over the last ten seconds, from samples that whoever asks takes along the way. */
const WINDOW_MS = 10_000;
const SAMPLE_MS = 500;

export interface Totals {
  readonly published: number;
  readonly delivered: number;
  readonly acked: number;
}

interface Sample extends Totals {
  readonly atMs: number;
}

export class Rates {
  readonly #samples: Sample[] = [];

  /** Whether `sample` would keep one now. */
  isDue(nowMs: number): boolean {
    const last = this.#samples.at(-1);
    return last === undefined || nowMs - last.atMs >= SAMPLE_MS;
  }

  sample(nowMs: number, totals: Totals): void {
    if (!this.isDue(nowMs)) return;
    this.#samples.push({ atMs: nowMs, published: totals.published, delivered: totals.delivered, acked: totals.acked });
    while (this.#samples.length > 2 && this.#samples[1]!.atMs < nowMs - WINDOW_MS) this.#samples.shift();
  }

  /** Per second from the oldest sample of the window to now. */
  read(nowMs: number, totals: Totals): Totals {
    const first = this.#samples.find((sample) => sample.atMs >= nowMs - WINDOW_MS) ?? this.#samples.at(-1);
    const seconds = first === undefined ? 0 : (nowMs - first.atMs) / 1_000;
    if (first === undefined || seconds < 0.001) return { published: 0, delivered: 0, acked: 0 };
    return {
      published: (totals.published - first.published) / seconds,
      delivered: (totals.delivered - first.delivered) / seconds,
      acked: (totals.acked - first.acked) / seconds,
    };
  }
}
