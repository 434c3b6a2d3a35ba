/** Counts failed attempts per address in windows of time, so that tokens cannot be guessed at the speed of the network. */

/** Wrong tokens of one address in a window before everything from it is refused. */
const FAILURES_MAX = 10;
const WINDOW_MS = 60_000;
/** Addresses remembered; the one that failed longest ago is forgotten first. */
const ADDRESSES_MAX = 10_000;

interface Failures {
  readonly sinceMs: number;
  count: number;
}

export class AttemptLimiter {
  readonly #failures = new Map<string, Failures>();

  /** ms until this address may try again; 0 when it may now. */
  waitMs(address: string, nowMs: number): number {
    const failures = this.#current(keyOf(address), nowMs);
    return failures === null || failures.count < FAILURES_MAX ? 0 : failures.sinceMs + WINDOW_MS - nowMs;
  }

  fail(address: string, nowMs: number): void {
    const key = keyOf(address);
    const failures = this.#current(key, nowMs) ?? { sinceMs: nowMs, count: 0 };
    failures.count++;
    this.#failures.delete(key);
    this.#failures.set(key, failures);
    const [oldest] = this.#failures.keys();
    if (this.#failures.size > ADDRESSES_MAX && oldest !== undefined) this.#failures.delete(oldest);
  }

  #current(key: string, nowMs: number): Failures | null {
    const failures = this.#failures.get(key);
    return failures !== undefined && nowMs - failures.sinceMs < WINDOW_MS ? failures : null;
  }
}

/** One IPv6 user commands at least a /64, so the first four groups stand for all of it; an IPv4 address stands for itself. */
function keyOf(address: string): string {
  if (!address.includes(':') || address.includes('.')) return address;
  const [head = '', tail = ''] = address.split('::');
  const groups = head.split(':');
  const missing = address.includes('::') ? 8 - groups.length - (tail === '' ? 0 : tail.split(':').length) : 0;
  return [...groups, ...Array<string>(Math.max(0, missing)).fill('0'), ...tail.split(':')].slice(0, 4).join(':');
}
