import { whole } from '../report/format.js';
import type { BenchOptions } from './scenario.js';

export interface Points {
  /** What every run measures, and what only a full one does. */
  readonly always: readonly number[];
  readonly full: readonly number[];
}

/** Backlogs of the scenarios about long queues. */
export const BACKLOGS: Points = { always: [1_000_000], full: [10_000_000] };

/** The sizes that this run goes through, from small to large. */
export function pointsOf({ always, full }: Points, { isFull }: Pick<BenchOptions, 'isFull'>): readonly number[] {
  return (isFull ? [...always, ...full] : [...always]).sort((a, b) => a - b);
}

/** What this run leaves out, as a result says it. */
export function leftOutOf({ full }: Points, what: string, { isFull }: Pick<BenchOptions, 'isFull'>): readonly string[] {
  if (isFull || full.length === 0) return [];
  return [`${full.map(whole).join(' and ')} ${what} (--full)`];
}
