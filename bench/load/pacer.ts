/** A thread that says "now" at fixed intervals, more exactly than a timer of the main thread can: those are whole ms, and late when it works. */
import { parentPort, workerData } from 'node:worker_threads';
import { monotonicMs } from '../run/monotonic-clock.js';

/** ms on the clock of `monotonicMs`: the first "now" is said at `startMs`. */
const { startMs, intervalMs } = workerData as { readonly startMs: number; readonly intervalMs: number };
const never = new Int32Array(new SharedArrayBuffer(4));

for (let dueMs = startMs; ; dueMs += intervalMs) {
  const leftMs = dueMs - monotonicMs();
  if (leftMs > 0) Atomics.wait(never, 0, 0, leftMs);
  parentPort!.postMessage(null);
}
