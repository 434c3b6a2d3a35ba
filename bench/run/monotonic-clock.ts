/** A clock that all processes of this machine share: CLOCK_MONOTONIC, which `performance.now` and `process.hrtime` read both. */
const OFFSET_MS = Number(process.hrtime.bigint()) / 1e6 - performance.now();

/** ms since some moment that is the same for every process until the machine starts again. */
export function monotonicMs(): number {
  return OFFSET_MS + performance.now();
}
