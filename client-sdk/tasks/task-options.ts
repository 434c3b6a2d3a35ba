/** What a task is declared with, checked. */
import { assertName, LIMITS, parseRate, type Rate, type RateInput } from '@lovage/protocol';
import { invalidArgument } from '../errors.js';
import { flag, oneOf, whole } from '../options.js';
import type { ArgumentSchema } from './schema.js';

/** `keep`: every result is kept. `errors`: failures only. `none`: nothing. */
export const RESULT_MODES = ['keep', 'errors', 'none'] as const;
export type ResultMode = (typeof RESULT_MODES)[number];

/** When and how often a task that has failed is tried again. The wait is in the broker and holds nothing at the worker. */
export interface RetryPolicy {
  /** Attempts after the first, 0-1,000. Default 0. The queue's `attemptsMax` (20 unless declared otherwise) bounds all attempts together. */
  readonly max?: number | undefined;
  /** ms before the second attempt, 0-86,400,000, default 1,000. */
  readonly delayMs?: number | undefined;
  /** By which the wait grows from attempt to attempt, 1-100, default 2. */
  readonly factor?: number | undefined;
  /** ms that a wait has at most, default 600,000. */
  readonly maxDelayMs?: number | undefined;
  /**
   * ms from its sending after which it is not tried again, 1-315,360,000,000, by the clocks of sender and worker; an attempt that would begin later is not made.
   * Default: none.
   */
  readonly maxAgeMs?: number | undefined;
  /**
   * Each wait is a random share of what it would be, so that what has failed together does not come again together (full jitter,
   * https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/). Default true.
   */
  readonly jitter?: boolean | undefined;
  /** Whether an error is worth another attempt. Default: every one is. */
  readonly on?: ((error: unknown) => boolean) | undefined;
}

export interface TaskOptions {
  /** Where it waits. Default: what the app's `routes` say of its name, else `default`. Declared when it is first used. */
  readonly queue?: string | undefined;
  /** For listings of workers: which version of the task one has. At most 200 characters, default none. */
  readonly version?: string | undefined;
  /** 0-255, 255 most urgent. Default: that of the queue. */
  readonly priority?: number | undefined;
  /**
   * `late` (default): the function is begun again when its worker goes before it is done. `early`: begun once at most, and not before the broker has that on its disk. It is never
   * tried again; one whose worker goes has failed with TASK_CRASHED.
   */
  readonly ack?: 'late' | 'early' | undefined;
  readonly retry?: RetryPolicy | undefined;
  /**
   * How many of it may begin in a time, on all workers together: `'100/s'` (also per `m`, `h`, `d`) or `{ count, perMs, burst }`. It is declared in the broker as a rate limit
   * of the task's name when it is first sent or a worker starts, and can be changed there while tasks wait: `client.rateLimits.override`. What waits for it holds no
   * worker. A sending with `rateKey` has the rate for its key alone. Default: none.
   */
  readonly rateLimit?: RateInput | undefined;
  /** ms after which `ctx.signal` aborts with TIME_LIMIT_EXCEEDED, 1-2,147,483,647. What the function throws then counts as that. */
  readonly softTimeLimitMs?: number | undefined;
  /** ms after which the thread or process that runs it is killed, 1-2,147,483,647: it has failed with TIME_LIMIT_EXCEEDED. Only `threads` and `processes` take such a task. */
  readonly timeLimitMs?: number | undefined;
  /**
   * Attempts that may end with the death of the child that makes them (killed, out of memory, an exit), 1-1,000, default 3. Then the task goes to its queue's dead letter
   * queue; if there is none, it has failed with TASK_CRASHED. In the pools `threads` and `processes`.
   */
  readonly maxCrashes?: number | undefined;
  /** Default `keep`. */
  readonly result?: ResultMode | undefined;
  /** ms that a result is kept, 1-315,360,000,000. Default: what the queue `lovage.results` says, a day unless it was declared otherwise. */
  readonly resultTtlMs?: number | undefined;
  /** Bytes of an encoded result, 1-16,777,216, beyond which the task has failed with RESULT_TOO_LARGE. Default 1,048,576. */
  readonly resultBytesMax?: number | undefined;
  /** false: a task that has failed for good goes to its queue's dead letter queue instead of keeping its error. Default true. */
  readonly ackOnFailure?: boolean | undefined;
  /** The same for one that has failed by its time limit. Default true. */
  readonly ackOnTimeout?: boolean | undefined;
  /** Schema of the tuple of arguments, checked where it is sent and where it runs. */
  readonly schema?: ArgumentSchema | undefined;
}

export interface ParsedRetry {
  readonly max: number;
  readonly delayMs: number;
  readonly factor: number;
  readonly maxDelayMs: number;
  readonly maxAgeMs: number | null;
  readonly jitter: boolean;
  readonly on: (error: unknown) => boolean;
}

/** `TaskOptions` with their defaults; null where there is none. */
export interface ParsedTaskOptions {
  readonly queue: string | null;
  readonly version: string | null;
  readonly priority: number | null;
  readonly ack: 'late' | 'early';
  readonly retry: ParsedRetry;
  readonly rateLimit: Rate | null;
  readonly softTimeLimitMs: number | null;
  readonly timeLimitMs: number | null;
  readonly maxCrashes: number;
  readonly result: ResultMode;
  readonly resultTtlMs: number | null;
  readonly resultBytesMax: number;
  readonly ackOnFailure: boolean;
  readonly ackOnTimeout: boolean;
  readonly schema: ArgumentSchema | null;
}

const TIMER_MS_MAX = 2_147_483_647;
const DAY_MS = 86_400_000;

/** Throws INVALID_ARGUMENT with the option in `details.field`. */
export function parseTaskOptions(given: TaskOptions): ParsedTaskOptions {
  if (typeof given !== 'object' || given === null) throw invalidArgument('options', given, 'an object');
  const { queue, schema } = given;
  if (queue !== undefined) assertName(queue, 'queue');
  if (schema !== undefined && typeof schema?.['~standard']?.validate !== 'function')
    throw invalidArgument('schema', schema, 'a schema that has the Standard Schema interface');
  const ack = oneOf('ack', given.ack ?? 'late', ['late', 'early']);
  const softTimeLimitMs = optional('softTimeLimitMs', given.softTimeLimitMs, 1, TIMER_MS_MAX);
  const timeLimitMs = optional('timeLimitMs', given.timeLimitMs, 1, TIMER_MS_MAX);
  if (timeLimitMs !== null && softTimeLimitMs !== null && softTimeLimitMs > timeLimitMs)
    throw invalidArgument('softTimeLimitMs', softTimeLimitMs, `at most the ${timeLimitMs} of timeLimitMs`);
  return {
    queue: queue ?? null,
    version: parseVersion(given.version),
    priority: optional('priority', given.priority, 0, LIMITS.priorityMax),
    ack,
    retry: parseRetry(given.retry ?? {}),
    rateLimit: given.rateLimit === undefined ? null : parseRate(given.rateLimit),
    softTimeLimitMs,
    timeLimitMs,
    maxCrashes: whole('maxCrashes', given.maxCrashes, { min: 1, max: 1_000, fallback: 3 }),
    result: oneOf('result', given.result ?? 'keep', RESULT_MODES),
    resultTtlMs: optional('resultTtlMs', given.resultTtlMs, 1, LIMITS.delayMsMax),
    resultBytesMax: whole('resultBytesMax', given.resultBytesMax, {
      min: 1,
      max: LIMITS.bodyBytesMax,
      fallback: 1_048_576,
    }),
    ackOnFailure: flag('ackOnFailure', given.ackOnFailure ?? true),
    ackOnTimeout: flag('ackOnTimeout', given.ackOnTimeout ?? true),
    schema: schema ?? null,
  };
}

function parseRetry(given: RetryPolicy): ParsedRetry {
  if (typeof given !== 'object' || given === null) throw invalidArgument('retry', given, 'an object');
  const { factor = 2, on = () => true } = given;
  if (typeof factor !== 'number' || !(factor >= 1 && factor <= 100))
    throw invalidArgument('retry.factor', factor, 'a number from 1 to 100');
  if (typeof on !== 'function') throw invalidArgument('retry.on', on, 'a function');
  return {
    max: whole('retry.max', given.max, { min: 0, max: 1_000, fallback: 0 }),
    delayMs: whole('retry.delayMs', given.delayMs, { min: 0, max: DAY_MS, fallback: 1_000 }),
    factor,
    maxDelayMs: whole('retry.maxDelayMs', given.maxDelayMs, { min: 0, max: LIMITS.delayMsMax, fallback: 600_000 }),
    maxAgeMs: optional('retry.maxAgeMs', given.maxAgeMs, 1, LIMITS.delayMsMax),
    jitter: flag('retry.jitter', given.jitter ?? true),
    on,
  };
}

function parseVersion(version: unknown): string | null {
  if (version === undefined) return null;
  if (typeof version === 'string' && version.length <= LIMITS.nameLengthMax) return version;
  throw invalidArgument('version', version, `at most ${LIMITS.nameLengthMax} characters`);
}

function optional(name: string, value: unknown, min: number, max: number): number | null {
  return value === undefined ? null : whole(name, value, { min, max, fallback: min });
}
