/** The one timer of a client: deadlines of publishes and requests, heartbeats, pauses between attempts. */

/** `setTimeout` above 2^31-1 ms fires after 1 ms; an hour is far below. */
const STEP_MS_MAX = 3_600_000;

/** Calls `tick` when the earliest deadline is due; `tick` does what is due and returns the next one. Times are `performance.now()`. */
export class Alarm {
  readonly #tick: (nowMs: number) => number;
  #dueMs = Number.POSITIVE_INFINITY;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(tick: (nowMs: number) => number) {
    this.#tick = tick;
  }

  /** Has `tick` called at `deadlineMs` or before. */
  at(deadlineMs: number): void {
    if (deadlineMs >= this.#dueMs) return;
    this.#dueMs = deadlineMs;
    clearTimeout(this.#timer);
    const delayMs = Math.min(Math.max(0, deadlineMs - performance.now()), STEP_MS_MAX);
    // Timers count whole ms and may fire a fraction early, so one more.
    this.#timer = setTimeout(() => this.#fire(), Math.ceil(delayMs) + 1);
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#dueMs = Number.POSITIVE_INFINITY;
  }

  #fire(): void {
    this.#dueMs = Number.POSITIVE_INFINITY;
    this.at(this.#tick(performance.now()));
  }
}
