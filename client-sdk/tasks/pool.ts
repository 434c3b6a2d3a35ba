/** Where a worker's tasks run: in its own thread, or in children. */
import type { LovageError } from '@lovage/protocol';
import type { Delivery } from '../delivery.js';
import type { TaskFacts } from './task-facts.js';

export const POOLS = ['async', 'solo', 'threads', 'processes'] as const;
export type PoolKind = (typeof POOLS)[number];

/** In ms, null for none; what is not there stays as it is. */
export interface TimeLimits {
  readonly softTimeLimitMs?: number | null | undefined;
  readonly timeLimitMs?: number | null | undefined;
}

/** A task that runs now. */
export interface RunningTask {
  readonly id: number;
  readonly name: string;
  readonly queue: string;
  readonly attempt: number;
}

export interface Pool {
  /** What it can run. */
  readonly tasks: readonly TaskFacts[];
  /** Tasks that run now. */
  readonly active: number;
  /** Ready to run `size` tasks at a time. Rejects INVALID_ARGUMENT, MODULE_FAILED. */
  start(size: number, bodyBytesMax: number): Promise<void>;
  has(name: string): boolean;
  /** Of a task that it has: ack mode early. */
  isEarly(name: string): boolean;
  /** Attempts that have ended, whatever came of them. */
  readonly ended: number;
  /** What runs now, in no particular order. */
  running(): readonly RunningTask[];
  /** Of the processes or threads, where it has some. */
  readonly children: readonly number[];
  /** Runs the task of a delivery that it has; resolves when what came of it is said. Never rejects. */
  run(delivery: Delivery, name: string): Promise<void>;
  /** Runs so many at a time from now on; nothing that runs is touched. */
  resize(size: number): void;
  /** Attempts at the task that begin from now on go by these limits. Throws INVALID_ARGUMENT for a hard one that it cannot keep. */
  setTimeLimits(task: string, limits: TimeLimits): void;
  /** Loads the code anew, where it can. */
  restart(): void;
  /** What runs is told to give up. */
  abort(error: LovageError): void;
  /** What still runs goes back to its queue, and is killed where that is possible. */
  kill(): void;
  /** Nothing runs any more: the children end. */
  stop(): Promise<void>;
}

/** What a pool tells its worker of. */
export type ReportError = (error: LovageError) => void;

export function runningTask(name: string, { id, queue, attempt }: Delivery): RunningTask {
  return { id, name, queue, attempt };
}
