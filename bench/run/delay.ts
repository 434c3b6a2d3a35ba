import { setTimeout as delay } from 'node:timers/promises';
import { showProgress } from './progress.js';

const STEP_MS = 200;

/** Waits, and shows how long it still takes. */
export async function waitShowing(label: string, ms: number): Promise<void> {
  const endMs = performance.now() + ms;
  for (let leftMs = ms; leftMs > 0; leftMs = endMs - performance.now()) {
    showProgress(`${label}: ${Math.ceil(leftMs / 1_000)} s left`);
    await delay(Math.min(STEP_MS, leftMs));
  }
}

/** Asks again and again until `check` says true. Throws when nothing is reached within `timeoutMs`. */
export async function until(
  what: string,
  timeoutMs: number,
  check: () => Promise<boolean> | boolean,
  stepMs: number = STEP_MS,
): Promise<void> {
  const endMs = performance.now() + timeoutMs;
  while (!(await check())) {
    if (performance.now() > endMs) throw new Error(`Cannot see ${what}: not there after ${timeoutMs} ms`);
    await delay(stepMs);
  }
}
