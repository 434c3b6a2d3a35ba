/** What a task's function gets first: who it is, which attempt this is, and how to give up or to try again. */
import { LovageError } from '@lovage/protocol';
import { invalidArgument } from '../errors.js';
import type { FollowUp } from '../follow-ups.js';
import type { TaskApp } from './app.js';
import { encodePayload } from './codec.js';
import type { TaskDelivery } from './outcome.js';

export interface RetryOptions {
  /** ms before the next attempt, 0-315,360,000,000. Default: what the task's retry policy says. */
  readonly delayMs?: number | undefined;
  /** Why; what the task has failed with when no attempt is left. */
  readonly cause?: unknown;
}

export interface TaskContext {
  /** The task's number, the same in every attempt: that of its handle. */
  readonly id: number;
  readonly name: string;
  readonly queue: string;
  readonly priority: number;
  /** 1 for the first. */
  readonly attempt: number;
  /** What the sender gave. */
  readonly headers: Readonly<Record<string, unknown>>;
  /**
   * Aborts when going on is in vain, with a LovageError as its reason: TIME_LIMIT_EXCEEDED, REVOKED (`details.terminate`), SUPERSEDED (the broker took the task back),
   * CONNECTION_LOST, CLIENT_CLOSED (the worker stops).
   */
  readonly signal: AbortSignal;
  readonly app: TaskApp;
  /**
   * Tells whoever waits for the result how far it is: any value that the app's codec encodes in at most 65,536 bytes; the latest counts. Sent ten times a second at most, the last
   * one always; kept in the broker's memory until the attempt is over. Throws INVALID_ARGUMENT.
   */
  progress(value: unknown): void;
  /** Adds a line for people to read, cut at 1,000 characters; the last 100 of an attempt are kept, as its progress is. Throws INVALID_ARGUMENT. */
  log(text: string): void;
  /** Ends this attempt and asks for another one. When none of the task's `retry.max` is left (there is none by default), the task has failed with `cause`. */
  retry(options?: RetryOptions): never;
}

/** Thrown by `ctx.retry`. */
export class RetryRequest extends Error {
  readonly delayMs: number | null;

  constructor({ delayMs, cause }: RetryOptions = {}) {
    super('the task asked for another attempt, and none was left (retry.max)', { cause });
    if (delayMs !== undefined && !(Number.isSafeInteger(delayMs) && delayMs >= 0))
      throw invalidArgument('delayMs', delayMs, 'a whole number from 0');
    this.name = 'RetryRequest';
    this.delayMs = delayMs ?? null;
  }
}

export class ActiveContext implements TaskContext {
  readonly app: TaskApp;
  readonly name: string;
  readonly #delivery: TaskDelivery;
  #controller: AbortController | null = null;
  #abortError: LovageError | null = null;
  /** Null when it is too late to send anything with the completion. */
  #followUps: FollowUp[] | null = [];

  constructor(app: TaskApp, name: string, delivery: TaskDelivery) {
    this.app = app;
    this.name = name;
    this.#delivery = delivery;
  }

  get id(): number {
    return this.#delivery.id;
  }

  get queue(): string {
    return this.#delivery.queue;
  }

  get priority(): number {
    return this.#delivery.priority;
  }

  get attempt(): number {
    return this.#delivery.attempt;
  }

  get headers(): Readonly<Record<string, unknown>> {
    return this.#delivery.headers;
  }

  get signal(): AbortSignal {
    if (this.#controller === null) {
      const controller = new AbortController();
      this.#controller = controller;
      const { signal } = this.#delivery;
      if (this.#abortError !== null) controller.abort(this.#abortError);
      else if (signal.aborted) controller.abort(signal.reason);
      else signal.addEventListener('abort', () => controller.abort(signal.reason), { once: true });
    }
    return this.#controller.signal;
  }

  /** Why it was told to give up, null if it was not. */
  get abortError(): LovageError | null {
    return this.#abortError;
  }

  abort(error: LovageError): void {
    this.#abortError ??= error;
    this.#controller?.abort(this.#abortError);
  }

  /** Sends a message with the completion of this attempt. Throws INVALID_ARGUMENT when that is over. */
  follow(message: FollowUp): void {
    if (this.#followUps === null) throw invalidArgument('ctx', this.name, 'the context of an attempt that goes on');
    this.#followUps.push(message);
  }

  /** What is to be sent with it; nothing can be added from now on. */
  takeFollowUps(): readonly FollowUp[] {
    const taken = this.#followUps ?? [];
    this.#followUps = null;
    return taken;
  }

  progress(value: unknown): void {
    const { codec } = this.app;
    let body: Uint8Array;
    try {
      body = encodePayload(codec, value);
    } catch (cause) {
      const message = 'Cannot accept "value": expected one that the codec of the app can encode';
      throw new LovageError('INVALID_ARGUMENT', message, { cause, details: { field: 'value' } });
    }
    this.#delivery.progress(body, { contentType: codec.contentType });
  }

  log(text: string): void {
    this.#delivery.log(text);
  }

  retry(options?: RetryOptions): never {
    throw new RetryRequest(options);
  }
}
