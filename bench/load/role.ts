/** What a load process does, and what it is asked. */
import type { FrameCounts } from './frame-counter.js';

export interface Role {
  /** Connects; resolves when work could begin. */
  open(): Promise<void>;
  /** Begins; a producer with a limit may be told again, and publishes so many more. */
  start?(): void;
  /** Begins nothing new; resolves when everything that was begun is done. */
  stop?(): Promise<void>;
  close(): Promise<void>;
  /** Messages done since the beginning: confirmed ones of a producer, acknowledged ones of a consumer. */
  readonly count: number;
  /** Messages that failed. */
  readonly failed: number;
  /** Forgets what the histograms have. */
  clear?(): void;
  /** HDR histograms of ms x 1000 by name, in their compressed form. */
  histograms?(): Record<string, string>;
}

/** A look at a load process, at its own time. */
export interface Sample {
  /** ms of the clock that all processes share. */
  readonly timeMs: number;
  readonly cpuSeconds: number;
  readonly count: number;
  readonly failed: number;
  readonly frames: FrameCounts;
}

/** What a load process can be asked; see `child.ts`. */
export interface Calls {
  open: null;
  start: null;
  stop: null;
  close: null;
  clear: null;
  sample: Sample;
  histograms: Record<string, string>;
}
