/** The clock of a broker under test: the time stands still until it is moved. Intervals that only measure (syncs, rates) go by real time. */
import type { Clock } from '../broker/clock.js';

interface Timer {
  readonly atMs: number;
  readonly callback: () => void;
}

export class TestClock implements Clock {
  #nowMs: number;
  readonly #timers = new Set<Timer>();
  /** How often somebody has asked for the time: a broker does so with everything that it is told. */
  reads = 0;

  constructor(nowMs: number) {
    this.#nowMs = nowMs;
  }

  get nowMs(): number {
    return this.#nowMs;
  }

  wallMs(): number {
    this.reads++;
    return this.#nowMs;
  }

  monotonicMs(): number {
    return performance.now();
  }

  setTimer(callback: () => void, ms: number): () => void {
    const timer = { atMs: this.#nowMs + ms, callback };
    this.#timers.add(timer);
    return () => this.#timers.delete(timer);
  }

  atTurnEnd(callback: () => void): void {
    setImmediate(callback);
  }

  /** ms of the next timer, Infinity if there is none. */
  next(): number {
    let nextMs = Number.POSITIVE_INFINITY;
    for (const { atMs } of this.#timers) nextMs = Math.min(nextMs, atMs);
    return nextMs;
  }

  /** It is `nowMs` from now on; what is due is called. */
  moveTo(nowMs: number): void {
    this.#nowMs = nowMs;
    for (const timer of [...this.#timers]) {
      if (timer.atMs > nowMs || !this.#timers.delete(timer)) continue;
      timer.callback();
    }
  }
}
