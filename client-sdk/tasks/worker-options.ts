/** What a worker is made with, checked. */
import { availableParallelism } from 'node:os';
import { isAbsolute } from 'node:path';
import { pathToFileURL } from 'node:url';
import { assertName, type LovageError } from '@lovage/protocol';
import { invalidArgument } from '../errors.js';
import { oneOf, whole } from '../options.js';
import type { Recycling } from './child-pool.js';
import { POOLS, type PoolKind } from './pool.js';

export interface WorkerOptions {
  /** Where it takes tasks from, the first before the others. Default: the queues of the app's tasks. Declared when it starts. */
  readonly queues?: readonly string[] | undefined;
  /**
   * `async` (default): so many at a time in this thread. `solo`: one at a time. `threads`, `processes`: each in a worker thread or a child process, for itself while it
   * runs; only these kill what takes too long.
   */
  readonly pool?: PoolKind | undefined;
  /** Tasks at a time, 1-65,535; 1-1,000 in `threads` and `processes`. Default: the number of CPUs; `solo` has 1. */
  readonly concurrency?: number | undefined;
  /**
   * Tasks at a time follow the work: more as soon as something has waited for half a second while all are busy, fewer when some have idled for ten. Both in the range of
   * `concurrency`; that, or else `min`, is what it begins with. Default: none.
   */
  readonly autoscale?: { readonly min: number; readonly max: number } | undefined;
  /** Deliveries that the broker may have out here, as a multiple of the concurrency, 0-1,000; 1: no spare, 0: no bound. Default 4. */
  readonly prefetchMultiplier?: number | undefined;
  /** Tasks after which a child is replaced, 1-1,000,000,000. Default: none. */
  readonly maxTasksPerChild?: number | undefined;
  /** MiB that a child may have after a task (a process its resident set, a thread its heap and buffers), 1-1,048,576; with more it is replaced. Default: none. */
  readonly maxMemoryPerChildMb?: number | undefined;
  /** ms after which a child is replaced, 1-2,147,483,647, between two tasks. Default: none. */
  readonly maxChildAgeMs?: number | undefined;
  /**
   * Files that declare the tasks, which each child loads: absolute paths or `file:` URLs. Default: those that have called `app.task`. What such a file does behind
   * `worker.start()` is not done in children.
   */
  readonly modules?: readonly (string | URL)[] | undefined;
  /** Told of tasks that the app does not have, of children that have died, and of a consumer that the broker has ended. Default: `process.emitWarning`. */
  readonly onError?: ((error: LovageError) => void) | undefined;
}

/** `WorkerOptions` with their defaults. */
export interface ParsedWorkerOptions {
  readonly queues: readonly string[] | null;
  readonly pool: PoolKind;
  readonly concurrency: number;
  readonly autoscale: AutoscaleBounds | null;
  readonly prefetchMultiplier: number;
  readonly recycling: Recycling;
  readonly modules: readonly string[] | null;
  readonly onError: (error: LovageError) => void;
}

export interface AutoscaleBounds {
  readonly min: number;
  readonly max: number;
}

const LOCAL_MAX = 65_535;
const CHILDREN_MAX = 1_000;
const TIMER_MS_MAX = 2_147_483_647;

/** Throws INVALID_ARGUMENT with the option in `details.field`, or INVALID_NAME. */
export function parseWorkerOptions(given: WorkerOptions): ParsedWorkerOptions {
  if (typeof given !== 'object' || given === null) throw invalidArgument('options', given, 'an object');
  const { queues, onError = warn } = given;
  if (queues !== undefined && !(Array.isArray(queues) && queues.length > 0))
    throw invalidArgument('queues', queues, 'a list of one queue or more');
  for (const queue of queues ?? []) assertName(queue, 'queue');
  if (typeof onError !== 'function') throw invalidArgument('onError', onError, 'a function');
  const pool = oneOf('pool', given.pool ?? 'async', POOLS);
  const max = concurrencyMax(pool);
  const autoscale = parseAutoscale(given.autoscale, pool, max);
  const fallback = autoscale?.min ?? Math.min(max, availableParallelism());
  const concurrency = whole('concurrency', given.concurrency, { min: 1, max: LOCAL_MAX, fallback });
  if (pool === 'solo' && concurrency !== 1)
    throw invalidArgument('concurrency', concurrency, '1, because the pool is "solo"');
  if (concurrency > max) throw invalidArgument('concurrency', concurrency, `at most ${max} in the pool "${pool}"`);
  return {
    queues: queues ?? null,
    pool,
    concurrency: autoscale === null ? concurrency : Math.min(autoscale.max, Math.max(autoscale.min, concurrency)),
    autoscale,
    prefetchMultiplier: whole('prefetchMultiplier', given.prefetchMultiplier, { min: 0, max: 1_000, fallback: 4 }),
    recycling: {
      maxTasksPerChild: optional('maxTasksPerChild', given.maxTasksPerChild, 1_000_000_000),
      maxMemoryPerChildMb: optional('maxMemoryPerChildMb', given.maxMemoryPerChildMb, 1_048_576),
      maxChildAgeMs: optional('maxChildAgeMs', given.maxChildAgeMs, TIMER_MS_MAX),
    },
    modules: parseModules(given.modules),
    onError,
  };
}

/** Tasks at a time in a pool of this kind. */
export function concurrencyMax(pool: PoolKind): number {
  if (pool === 'solo') return 1;
  return pool === 'async' ? LOCAL_MAX : CHILDREN_MAX;
}

export function parseAutoscale(
  given: WorkerOptions['autoscale'],
  pool: PoolKind,
  most: number,
): AutoscaleBounds | null {
  if (given === undefined) return null;
  if (typeof given !== 'object' || given === null)
    throw invalidArgument('autoscale', given, 'an object with min and max');
  if (pool === 'solo') throw invalidArgument('autoscale', 'an object', 'none, because the pool is "solo"');
  const max = required('autoscale.max', given.max, 1, most);
  return { min: required('autoscale.min', given.min, 1, max), max };
}

function parseModules(given: WorkerOptions['modules']): readonly string[] | null {
  if (given === undefined) return null;
  if (!Array.isArray(given) || given.length === 0) throw invalidArgument('modules', given, 'one file or more');
  return given.map((file: unknown) => {
    if (file instanceof URL) return file.href;
    if (typeof file === 'string' && file.startsWith('file:')) return file;
    if (typeof file === 'string' && isAbsolute(file)) return pathToFileURL(file).href;
    throw invalidArgument('modules', file, 'an absolute path or a file: URL');
  });
}

function required(name: string, value: unknown, min: number, max: number): number {
  if (value === undefined) throw invalidArgument(name, value, `a whole number from ${min} to ${max}`);
  return whole(name, value, { min, max, fallback: min });
}

function optional(name: string, value: unknown, max: number): number | null {
  return value === undefined ? null : whole(name, value, { min: 1, max, fallback: 1 });
}

function warn(error: LovageError): void {
  process.emitWarning(error.message, { code: error.code });
}
