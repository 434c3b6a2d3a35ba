// hot path
/**
 * When the messages of an open loop are due: at equal intervals from the start, whatever happened meanwhile. After a pause all that came due in it are due
 * at once, each with its own time in the past, so that a pause is measured by every message that it held up and not by one (no coordinated omission).
 */
export class Schedule {
  readonly intervalMs: number;
  readonly #startMs: number;
  #given = 0;

  constructor(perSecond: number, startMs: number) {
    this.intervalMs = 1_000 / perSecond;
    this.#startMs = startMs;
  }

  /** The time at which the next message is due, or was; null if that is later than now. */
  next(nowMs: number): number | null {
    const dueMs = this.#startMs + this.#given * this.intervalMs;
    if (dueMs > nowMs) return null;
    this.#given++;
    return dueMs;
  }
}
