/** A task that was sent: what has become of it, and what came of it. */
import {
  type ErrorCode,
  type FailedAttempt,
  LovageError,
  type MessageWhereabouts,
  type Note,
  RESULTS_QUEUE,
} from '@lovage/protocol';
import type { Client } from '../client.js';
import type { RevokeOptions } from '../messages.js';
import type { WaitOptions } from '../results.js';
import type { TaskApp } from './app.js';
import { decodePayload } from './codec.js';
import { decodeFailure, FAILURE_TYPE, failureCode } from './failure.js';

export interface ResultOptions extends Pick<WaitOptions, 'timeoutMs'> {
  /** Told what the function says by `ctx.progress`: the latest there is already, and then each that arrives. If it throws, `result` rejects with that. */
  readonly onProgress?: ((value: unknown) => void) | undefined;
  /** Told the lines of `ctx.log`, in the same way. */
  readonly onLog?: ((text: string) => void) | undefined;
}

/**
 * `queued` waits for a worker, `delayed` for its time, `retrying` for its next attempt; `leased` is with a worker and has not begun, `started` has. `dead`: its queue has given it up
 * and another one keeps it. `unknown`: it never was, it kept no result, or the result has been let go.
 */
export type TaskState =
  | 'queued'
  | 'delayed'
  | 'retrying'
  | 'leased'
  | 'started'
  | 'succeeded'
  | 'failed'
  | 'revoked'
  | 'dead'
  | 'unknown';

export interface TaskStatus {
  readonly state: TaskState;
  /** Attempts that have begun. */
  readonly attempts: number;
  /** The queue that it waits in, or is in work for; null where there is none. */
  readonly queue: string | null;
  /** ms since 1970 when it is due, of one that is delayed or retrying; null otherwise. */
  readonly dueAt: number | null;
  /** Its last attempts that failed, at most five, oldest first; of one that is not done. */
  readonly failures: readonly FailedAttempt[];
  /** The latest `ctx.progress` of an attempt that runs; null if there is none. A token needs the right to read `lovage.results` to be told, and so for `log`. */
  readonly progress: unknown;
  /** The last lines of `ctx.log` of an attempt that runs. */
  readonly log: readonly string[];
}

const NOTHING_TOLD = { failures: [], progress: null, log: [] } as const;
const UNKNOWN: TaskStatus = { state: 'unknown', attempts: 0, queue: null, dueAt: null, ...NOTHING_TOLD };

/** A result is not there any more. */
const GONE: ReadonlySet<ErrorCode> = new Set(['MESSAGE_NOT_FOUND', 'QUEUE_NOT_FOUND', 'RESULT_NOT_FOUND']);

export class TaskHandle<Result = unknown> {
  /** The task's number in the broker. */
  readonly id: number;
  /** True if a task of the same dedup key was there, which this is the handle of. */
  readonly duplicate: boolean;
  readonly #app: TaskApp;

  constructor(app: TaskApp, id: number, duplicate = false) {
    this.#app = app;
    this.id = id;
    this.duplicate = duplicate;
  }

  /**
   * What the function has returned; pushed by the broker when it is there. Throws TASK_FAILED (`cause` is its error), TIME_LIMIT_EXCEEDED, RESULT_TOO_LARGE,
   * RESULT_NOT_ENCODABLE, INVALID_ARGUMENT (the arguments did not fit the schema) when it has failed for good; REVOKED; DEAD_LETTERED when its queue has given it up;
   * RESULT_NOT_FOUND when it kept none or there is none any more; RESULT_TIMEOUT.
   */
  async result({ timeoutMs, onProgress, onLog }: ResultOptions = {}): Promise<Result> {
    const client = await this.#app.client();
    const onNote = ({ progress, log }: Note): void => {
      if (progress !== null) onProgress?.(decodePayload(this.#app.codec, ...progress));
      for (const line of log) onLog?.(line);
    };
    const { contentType, body } = await client.results.wait(this.id, { timeoutMs, onNote });
    if (contentType === FAILURE_TYPE) throw decodeFailure(this.id, body);
    return decodePayload(this.#app.codec, contentType, body) as Result;
  }

  /**
   * Takes the task back for good, whatever it does: one that waits is not run any more, the function of one that runs has its `ctx.signal` aborted with REVOKED, and whatever
   * it returns or throws is not heard. Its result is REVOKED from now on, also after a restart of the broker. With `terminate` a pool that can ends the work by force.
   * `revoked` is false for one that is done already, or not there. Rejects FORBIDDEN.
   */
  async revoke({ terminate }: Pick<RevokeOptions, 'terminate'> = {}): Promise<{ readonly revoked: boolean }> {
    const client = await this.#app.client();
    try {
      await client.messages.revoke(null, { ids: [this.id] }, { terminate });
      return { revoked: true };
    } catch (error) {
      if (error instanceof LovageError && error.code === 'MESSAGE_NOT_FOUND') return { revoked: false };
      throw error;
    }
  }

  async state(): Promise<TaskStatus> {
    const client = await this.#app.client();
    const [found] = await client.results.whereabouts([this.id]);
    if (found === null || found === undefined) return UNKNOWN;
    const { attempts, dueAt, queue, note } = found;
    if (queue === RESULTS_QUEUE) return await this.#finished(attempts);
    const progress = note?.progress ? decodePayload(this.#app.codec, ...note.progress) : null;
    const { failures } = found.attemptLog;
    return { state: waitingOr(found), attempts, queue, dueAt, failures, progress, log: note?.log ?? [] };
  }

  async #finished(attempts: number): Promise<TaskStatus> {
    const client = await this.#app.client();
    try {
      const { contentType, body } = (await this.#beginning(client)) ?? (await client.results.wait(this.id));
      return { state: outcomeOf(contentType, body), attempts, queue: null, dueAt: null, ...NOTHING_TOLD };
    } catch (error) {
      // It has expired between the two questions.
      if (error instanceof LovageError && GONE.has(error.code)) return UNKNOWN;
      throw error;
    }
  }

  /** Content type and beginning of its result, which may be large; null if that does not tell, or the result is archived, where there is no looking at a part. */
  async #beginning(client: Client): Promise<{ readonly contentType: string | null; readonly body: Uint8Array } | null> {
    const { messages } = await client.messages.peek(RESULTS_QUEUE, { ids: [this.id] });
    const [found] = messages;
    if (found === undefined) return null;
    const { contentType, body, bodyBytes } = found;
    return contentType !== FAILURE_TYPE || bodyBytes === body.length ? { contentType, body } : null;
  }
}

/** State of a task that is not done. */
function waitingOr({ state, attempts, deadLetters }: MessageWhereabouts): TaskState {
  if (state === 'leased' || state === 'started') return state;
  if (deadLetters.length > 0) return 'dead';
  if (attempts > 0) return 'retrying';
  return state === 'ready' ? 'queued' : 'delayed';
}

function outcomeOf(contentType: string | null, body: Uint8Array): TaskState {
  if (contentType !== FAILURE_TYPE) return 'succeeded';
  return failureCode(body) === 'REVOKED' ? 'revoked' : 'failed';
}
