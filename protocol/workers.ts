/** Workers as the broker knows them: what they announce, and what they can be told to do. */

/** What a worker says of itself, for as long as its connection stands. */
export interface WorkerFacts {
  /** Of its machine. */
  readonly host: string;
  readonly pid: number;
  /** Of the app, null for none. */
  readonly version: string | null;
  /** `async`, `solo`, `threads`, `processes`. */
  readonly pool: string;
  /** Tasks at a time. */
  readonly concurrency: number;
  readonly queues: readonly string[];
  /** What it can run, each with its version or null. */
  readonly tasks: readonly (readonly [name: string, version: string | null])[];
  /** Tasks that it was given and does not have: queue, name, how often. The last ones. */
  readonly unknown: readonly (readonly [queue: string, task: string, count: number])[];
}

/** A worker of a listing. */
export interface WorkerInfo extends WorkerFacts {
  /** Names it until its connection ends. */
  readonly id: string;
  /** Of its client, null for none. */
  readonly clientName: string | null;
  /** ms since 1970 when it was announced. */
  readonly since: number;
}

export interface WorkerList {
  readonly workers: readonly WorkerInfo[];
  /** Queues with tasks that a worker was given and no worker that is there now can run. */
  readonly stranded: readonly { readonly queue: string; readonly task: string; readonly count: number }[];
}

/** What a worker can be told to do. README.md says what each takes and answers. */
export const WORKER_ACTIONS = [
  'ping',
  'stats',
  'active',
  'reserved',
  'registered',
  'resize',
  'autoscale',
  'restart',
  'add-queue',
  'cancel-queue',
  'time-limit',
  'shutdown',
] as const;
export type WorkerAction = (typeof WORKER_ACTIONS)[number];
