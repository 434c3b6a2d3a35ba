/**
 * How many tasks run at a time, by how much waits and for how long. It grows by as much as waits, at most to the double, once something has waited for
 * `GROW_AFTER_MS` while all places were busy; it shrinks by what has idled all through `SHRINK_AFTER_MS`, so that only idle places go.
 */
import type { AutoscaleBounds } from './worker-options.js';

/** What it looks at. */
export interface Load {
  readonly size: number;
  readonly active: number;
  /** Tasks that no place is free for, here and at the broker. */
  readonly waiting: number;
}

const GROW_AFTER_MS = 500;
const SHRINK_AFTER_MS = 10_000;

export class Autoscaler {
  readonly bounds: AutoscaleBounds;
  /** Since when something waits while all are busy; null if that is not so. */
  #waitingSinceMs: number | null = null;
  /** Since when some idle, and how many all the time since. */
  #idleSinceMs: number | null = null;
  #idle = 0;

  constructor(bounds: AutoscaleBounds) {
    this.bounds = bounds;
  }

  /** The size from now on, `nowMs` being ms of any clock. */
  look({ size, active, waiting }: Load, nowMs: number): number {
    const { min, max } = this.bounds;
    const within = Math.min(max, Math.max(min, size));
    if (within !== size) return within;
    const idle = size - active;
    if (idle > 0) return this.#shrunk(size, idle, nowMs);
    this.#idleSinceMs = null;
    if (waiting === 0) {
      this.#waitingSinceMs = null;
      return size;
    }
    this.#waitingSinceMs ??= nowMs;
    if (nowMs - this.#waitingSinceMs < GROW_AFTER_MS) return size;
    this.#waitingSinceMs = null;
    return Math.min(max, size + Math.min(waiting, size));
  }

  #shrunk(size: number, idle: number, nowMs: number): number {
    this.#waitingSinceMs = null;
    if (this.#idleSinceMs === null) {
      this.#idleSinceMs = nowMs;
      this.#idle = idle;
    }
    this.#idle = Math.min(this.#idle, idle);
    if (nowMs - this.#idleSinceMs < SHRINK_AFTER_MS) return size;
    this.#idleSinceMs = null;
    return Math.max(this.bounds.min, size - this.#idle);
  }
}
