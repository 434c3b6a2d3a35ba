/** Time as the journal needs it: intervals only, on the monotonic clock (rule W11). Tests hand in their own. */
export interface JournalClock {
  nowMs(): number;
  /** Calls `action` once after `ms`; returns what takes that back. Must not keep the process alive. */
  after(ms: number, action: () => void): () => void;
}

export const systemClock: JournalClock = {
  nowMs: () => performance.now(),
  after: (ms, action) => {
    const timer = setTimeout(action, ms);
    timer.unref();
    return () => clearTimeout(timer);
  },
};
