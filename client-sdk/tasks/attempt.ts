// hot path
/**
 * One attempt at one task: the function is called, and what came of it is said to the broker.
 *
 *     returned                              ──► done, with its result
 *     threw, another attempt is left        ──► back to its queue, due later
 *     threw, none is left                   ──► done, with its error; or given up by its queue (`ackOnFailure`, `ackOnTimeout`)
 *     ack mode early, and it was begun before ──► the same, without a call: whoever began it has gone
 */
import { type ErrorCode, LovageError } from '@lovage/protocol';
import type { FollowUp } from '../follow-ups.js';
import { isOver } from '../started-deliveries.js';
import type { TaskApp } from './app.js';
import { decodePayload, encodePayload } from './codec.js';
import { ActiveContext, RetryRequest } from './context.js';
import { callHook } from './hooks.js';
import { endUnknown, giveUp, reasonOf, say, type TaskDelivery } from './outcome.js';
import { checkArguments } from './schema.js';
import { SENT_HEADER, type Task } from './task.js';
import type { ParsedRetry } from './task-options.js';
import { traced } from './tracing.js';

/** An error that no other attempt would change: what was sent cannot be run, or what came of it cannot be kept. */
class Final extends Error {
  readonly code: ErrorCode;

  constructor(code: ErrorCode, cause: unknown) {
    super(code, { cause });
    this.code = code;
  }
}

/** Answers to what is published with a completion that another attempt may not get. */
const NO_ROOM: ReadonlySet<ErrorCode> = new Set([
  'FLOW_BLOCKED',
  'DISK_FULL',
  'QUEUE_FULL',
  'QUOTA_EXCEEDED',
  'TOO_MANY_MESSAGES',
]);

export class Attempt {
  readonly #app: TaskApp;
  readonly #task: Task<never[], unknown>;
  readonly #delivery: TaskDelivery;
  readonly context: ActiveContext;
  readonly #bodyBytesMax: number;
  readonly #softTimeLimitMs: number | null;

  /** `bodyBytesMax`: what the broker takes of a result. `softTimeLimitMs`: another one than that of the task. */
  constructor(
    app: TaskApp,
    task: Task<never[], unknown>,
    delivery: TaskDelivery,
    bodyBytesMax: number,
    softTimeLimitMs: number | null = task.options.softTimeLimitMs,
  ) {
    this.#softTimeLimitMs = softTimeLimitMs;
    this.#app = app;
    this.#task = task;
    this.#delivery = delivery;
    this.#bodyBytesMax = bodyBytesMax;
    this.context = new ActiveContext(app, task.name, delivery);
  }

  /** Never rejects: what goes wrong with telling the broker is the broker's to mend, by another attempt. */
  async run(): Promise<void> {
    const softTimeLimitMs = this.#softTimeLimitMs;
    const { options } = this.#task;
    if (options.ack === 'early' && this.#delivery.attempt > 1)
      return giveUp(this.#delivery, options, 'TASK_CRASHED', endUnknown());
    const timer = softTimeLimitMs === null ? null : setTimeout(() => this.#timeOut(softTimeLimitMs), softTimeLimitMs);
    try {
      const value = await this.#call();
      const after = this.#app.hooks?.after;
      if (after !== undefined) await callHook('after', () => after(this.context, value));
      await this.#succeeded(value);
    } catch (error) {
      await this.#failed(error);
    } finally {
      this.context.takeFollowUps();
      if (timer !== null) clearTimeout(timer);
    }
  }

  async #call(): Promise<unknown> {
    const args = await this.#arguments();
    const before = this.#app.hooks?.before;
    if (before !== undefined) await callHook('before', () => before(this.context, args));
    const fn = this.#task.fn as (...given: unknown[]) => unknown;
    return await traced(this.context, () => fn(this.context, ...args));
  }

  async #arguments(): Promise<unknown[]> {
    const { contentType, body } = this.#delivery;
    const { schema } = this.#task.options;
    try {
      const args = decodePayload(this.#app.codec, contentType, body);
      if (!Array.isArray(args)) throw new LovageError('BAD_FRAME', 'Cannot read the arguments: expected an array');
      return schema === null ? args : await checkArguments(this.#task.name, schema, args);
    } catch (error) {
      throw new Final('INVALID_ARGUMENT', error);
    }
  }

  #timeOut(limitMs: number): void {
    const message = `Task "${this.#task.name}" has run for ${limitMs} ms, expected less (softTimeLimitMs)`;
    this.context.abort(new LovageError('TIME_LIMIT_EXCEEDED', message, { details: { limitMs } }));
  }

  async #succeeded(value: unknown): Promise<void> {
    const { result, resultTtlMs } = this.#task.options;
    const publish = this.context.takeFollowUps();
    if (result !== 'keep') return await this.#settle(publish, this.#delivery.ack({ publish }));
    const { codec } = this.#app;
    let body: Uint8Array;
    try {
      body = encodePayload(codec, value);
    } catch (error) {
      throw new Final('RESULT_NOT_ENCODABLE', error);
    }
    const bytesMax = Math.min(this.#task.options.resultBytesMax, this.#bodyBytesMax);
    if (body.length > bytesMax) {
      const message = `The result has ${body.length} bytes, expected at most ${bytesMax}`;
      throw new Final('RESULT_TOO_LARGE', new Error(message));
    }
    const { contentType } = codec;
    const options = { contentType, ttlMs: resultTtlMs ?? undefined, publish };
    await this.#settle(publish, this.#delivery.complete(body, options));
  }

  /**
   * Without anything to publish nobody waits. With it the answer decides: what is refused is an attempt that has failed, unless the broker had no room just then, for which
   * no task is to blame: then it is begun again after the queue's backoff, if it may be.
   */
  async #settle(publish: readonly FollowUp[], answer: Promise<void>): Promise<void> {
    if (publish.length === 0) return say(answer);
    try {
      await answer;
    } catch (error) {
      const refused = error as LovageError;
      if (isOver(refused)) return;
      if (this.#task.options.ack === 'early' || !NO_ROOM.has(refused.code)) throw refused;
      say(this.#delivery.nack({ reason: reasonOf(refused) }));
    }
  }

  async #failed(error: unknown): Promise<void> {
    const { ack } = this.#task.options;
    // The worker stops: another one begins it anew.
    if (ack === 'late' && this.context.abortError?.code === 'CLIENT_CLOSED')
      return say(this.#delivery.nack({ delayMs: 0 }));
    const cause = error instanceof RetryRequest || error instanceof Final ? (error.cause ?? error) : error;
    const delayMs = ack === 'early' ? null : this.#retryDelay(error, cause);
    const { retried, failed } = this.#app.hooks ?? {};
    if (delayMs !== null) {
      if (retried !== undefined) await callHook('retried', () => retried(this.context, cause, delayMs));
      return say(this.#delivery.nack({ delayMs, reason: reasonOf(cause) }));
    }
    if (failed !== undefined) await callHook('failed', () => failed(this.context, cause));
    giveUp(this.#delivery, this.#task.options, this.#codeOf(error), cause);
  }

  #codeOf(error: unknown): ErrorCode {
    if (error instanceof Final) return error.code;
    return this.context.abortError?.code === 'TIME_LIMIT_EXCEEDED' ? 'TIME_LIMIT_EXCEEDED' : 'TASK_FAILED';
  }

  /** ms before the attempt behind this one, null if there is to be none. */
  #retryDelay(error: unknown, cause: unknown): number | null {
    const { retry } = this.#task.options;
    const { attempt, headers } = this.#delivery;
    if (error instanceof Final || attempt > retry.max || !this.#isWorthRetry(error, cause, retry)) return null;
    const asked = error instanceof RetryRequest ? error.delayMs : null;
    const delayMs = asked ?? waitMs(retry, attempt);
    const sentMs = headers[SENT_HEADER];
    const isTooOld =
      retry.maxAgeMs !== null && typeof sentMs === 'number' && Date.now() + delayMs - sentMs > retry.maxAgeMs;
    return isTooOld ? null : delayMs;
  }

  #isWorthRetry(error: unknown, cause: unknown, { on }: ParsedRetry): boolean {
    // Whoever asks for another attempt by hand has decided.
    if (error instanceof RetryRequest) return true;
    try {
      return on(cause);
    } catch {
      return false;
    }
  }
}

/** ms before the attempt behind this one. */
function waitMs({ delayMs, factor, maxDelayMs, jitter }: ParsedRetry, attempt: number): number {
  const most = Math.min(maxDelayMs, delayMs * factor ** (attempt - 1));
  return Math.round(jitter ? Math.random() * most : most);
}
