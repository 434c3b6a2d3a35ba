/** A clock that all processes of this machine share: CLOCK_MONOTONIC, which `performance.now` and `process.hrtime` read both. */

/** Readings of both clocks; a pause of the process between the two makes their difference too small, never too large. */
const SAMPLES = 100;
const OFFSET_MS = Math.max(
  ...Array.from({ length: SAMPLES }, () => Number(process.hrtime.bigint()) / 1e6 - performance.now()),
);

/** ms since some moment that is the same for every process until the machine starts again. */
export function monotonicMs(): number {
  return OFFSET_MS + performance.now();
}
