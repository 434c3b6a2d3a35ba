import type { BenchOptions } from './scenario.js';

const MILLION = 1_000_000;

/** Messages that wait in the scenarios about long queues. */
export function backlogSizes({ isFull }: BenchOptions): readonly number[] {
  return isFull ? [MILLION, 10 * MILLION] : [MILLION];
}
