/** SIGINT and SIGTERM: the first asks to finish, the second ends the process at once. */
import { constants } from 'node:os';

const SIGNALS = ['SIGINT', 'SIGTERM'] as const;
export type StopSignal = (typeof SIGNALS)[number];

/** Calls `stop` at the first signal. At the second the process ends with 128 + the signal's number, as shells expect. */
export function onStopSignal(stop: (signal: StopSignal) => void): void {
  let isStopping = false;
  for (const signal of SIGNALS) {
    process.on(signal, () => {
      if (isStopping) process.exit(128 + constants.signals[signal]);
      isStopping = true;
      stop(signal);
    });
  }
}
