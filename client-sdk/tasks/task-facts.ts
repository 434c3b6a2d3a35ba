/** What a worker must know of a task that runs in another thread or process: plain data, without the function. */
import type { Task } from './task.js';
import type { ParsedTaskOptions } from './task-options.js';

export interface TaskFacts
  extends Pick<
    ParsedTaskOptions,
    | 'version'
    | 'ack'
    | 'rateLimit'
    | 'timeLimitMs'
    | 'maxCrashes'
    | 'result'
    | 'resultTtlMs'
    | 'ackOnFailure'
    | 'ackOnTimeout'
  > {
  readonly name: string;
  readonly queue: string;
}

export function factsOf({ name, queue, options }: Task<never[], unknown>): TaskFacts {
  const { version, ack, rateLimit, timeLimitMs, maxCrashes, result, resultTtlMs, ackOnFailure, ackOnTimeout } = options;
  return {
    name,
    queue,
    version,
    ack,
    rateLimit,
    timeLimitMs,
    maxCrashes,
    result,
    resultTtlMs,
    ackOnFailure,
    ackOnTimeout,
  };
}
