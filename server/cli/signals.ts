/** SIGINT and SIGTERM: the first asks to finish, the last ends the process at once. */
import { constants } from 'node:os';

const SIGNALS = ['SIGINT', 'SIGTERM'] as const;
export type StopSignal = (typeof SIGNALS)[number];

/** Calls `stop` at the first signal. At the second the process ends with 128 + the signal's number, as shells expect. */
export function onStopSignal(stop: (signal: StopSignal) => void): void {
  onStopSignals([stop]);
}

/** The same with several steps: each signal takes the next one, and the one behind the last ends the process. */
export function onStopSignals(steps: readonly ((signal: StopSignal) => void)[]): void {
  let taken = 0;
  for (const signal of SIGNALS) {
    process.on(signal, () => {
      const step = steps[taken++];
      if (step === undefined) process.exit(128 + constants.signals[signal]);
      step(signal);
    });
  }
}
