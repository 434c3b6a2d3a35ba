/** How long to wait before the next attempt to connect. */

/** Bounds of the wait, in ms. */
export interface BackoffOptions {
  readonly delayMsMin: number;
  readonly delayMsMax: number;
}

/**
 * Exponential backoff with full jitter: attempt n (from 0) waits a random time from 0 to min(delayMsMax, delayMsMin * 2^n) ms, so that the clients
 * of a broker that restarts do not come back all at once (AWS Architecture Blog, "Exponential Backoff And Jitter", 2015). `random` gives 0 to 1.
 */
export function backoffMs({ delayMsMin, delayMsMax }: BackoffOptions, attempt: number, random: number): number {
  return Math.floor(random * Math.min(delayMsMax, delayMsMin * 2 ** Math.min(attempt, 31)));
}
