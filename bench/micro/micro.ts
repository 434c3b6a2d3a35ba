/** One part by itself, in this process, run again and again. */
import { showProgress } from '../run/progress.js';

export interface Micro {
  readonly name: string;
  /** What is counted: a message, a frame. */
  readonly unit: string;
  /** Units in one call of `run`, and bytes of each; 0 when bytes are not the point. */
  readonly unitsPerRun: number;
  readonly unitBytes: number;
  /** Makes what `run` works on. */
  open?(): Promise<void> | void;
  run(): Promise<void> | void;
  close?(): Promise<void> | void;
}

export interface MicroTimes {
  readonly warmUpMs: number;
  readonly windowMs: number;
  readonly rounds: number;
}

export interface MicroResult {
  readonly name: string;
  readonly unit: string;
  readonly unitBytes: number;
  /** Nanoseconds for a unit, one for each round. */
  readonly nanos: readonly number[];
}

/** Warms up, then runs it for the window's time in each round. At least one run a round, however long that takes. */
export async function measureMicro(micro: Micro, { warmUpMs, windowMs, rounds }: MicroTimes): Promise<MicroResult> {
  const { name, unit, unitBytes } = micro;
  showProgress(`micro: ${name}`);
  await micro.open?.();
  await runFor(micro, warmUpMs);
  const nanos: number[] = [];
  for (let round = 0; round < rounds; round++) nanos.push(await runFor(micro, windowMs));
  await micro.close?.();
  return { name, unit, unitBytes, nanos };
}

async function runFor(micro: Micro, ms: number): Promise<number> {
  const startMs = performance.now();
  for (let runs = 1; ; runs++) {
    const running = micro.run();
    // What answers at once is not made to wait for a turn of the event loop.
    if (running !== undefined) await running;
    const passedMs = performance.now() - startMs;
    if (passedMs >= ms) return (passedMs * 1e6) / (runs * micro.unitsPerRun);
  }
}
