/** Time and turns as the broker sees them; tests bring their own. */
export interface Clock {
  /** Wall clock, ms since 1970. The engine never lets it run back. */
  wallMs(): number;
  /** Monotonic ms, for intervals. */
  monotonicMs(): number;
  /** Calls back after `ms`; returns how to cancel. */
  setTimer(callback: () => void, ms: number): () => void;
  /** Calls back at the end of this turn of the event loop, when everything that has arrived is handled. */
  atTurnEnd(callback: () => void): void;
}

export const SYSTEM_CLOCK: Clock = {
  wallMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  setTimer: (callback, ms) => {
    const timer = setTimeout(callback, ms);
    return () => clearTimeout(timer);
  },
  atTurnEnd: (callback) => {
    setImmediate(callback);
  },
};
