// hot path
/**
 * `client.results`: what came of messages that were completed. The broker pushes each result when it is on its disk; what is asked for in one turn goes in one frame.
 *
 *     wait(7), wait(8) ──RESULT_WATCH [7, 8]──► broker ──RESULT [[8, ...]]──► ... ──RESULT [[7, ...]]──►
 *
 * After a lost connection everything that is still waited for is asked for again.
 */
import {
  CLIENT_OPS,
  LIMITS,
  LovageError,
  type MessageWhereabouts,
  type Note,
  RESULT_STATUS,
  type WireResult,
} from '@lovage/protocol';
import { capture, captured, ignore } from './captured-promise.js';
import { invalidArgument } from './errors.js';
import { whole } from './options.js';
import type { Requests } from './requests.js';

/** What a handler has completed a message with. */
export interface StoredResult {
  readonly id: number;
  readonly contentType: string | null;
  readonly body: Uint8Array;
}

export interface WaitOptions {
  /** ms, 1-2,147,483,647. Default: as long as it takes. */
  readonly timeoutMs?: number | undefined;
  /** Told what the handler tells before it is done: what there is already, and then each note. If it throws, that is what the promise rejects with. */
  readonly onNote?: ((note: Note) => void) | undefined;
}

interface Waiter {
  readonly resolve: (result: StoredResult) => void;
  readonly reject: (error: unknown) => void;
  readonly onNote: ((note: Note) => void) | null;
  timer: ReturnType<typeof setTimeout> | null;
}

const TIMEOUT = { min: 1, max: 2_147_483_647, fallback: 0 } as const;

export class Results {
  readonly #requests: Requests;
  readonly #waiters = new Map<number, Waiter[]>();
  /** Asked for in this turn. */
  #asking: number[] = [];

  constructor(requests: Requests) {
    this.#requests = requests;
  }

  /**
   * The result of a message, when there is one. Rejects RESULT_NOT_FOUND (there is no message and no result of this id, or none is left), DEAD_LETTERED
   * (its queue has given it up; `details.reason`), RESULT_TIMEOUT, FORBIDDEN (a token needs the right to read `lovage.results`), QUOTA_EXCEEDED beyond 1,000,000 at a time, CLIENT_CLOSED, INVALID_ARGUMENT.
   */
  wait(id: number, { timeoutMs, onNote }: WaitOptions = {}): Promise<StoredResult> {
    if (!Number.isSafeInteger(id) || id < 1)
      return Promise.reject(invalidArgument('id', id, 'the id of a message, a whole number from 1'));
    const ms = whole('timeoutMs', timeoutMs, TIMEOUT);
    const promise = new Promise<StoredResult>(capture);
    const waiter: Waiter = {
      resolve: captured.resolve as (result: StoredResult) => void,
      reject: captured.reject as (error: unknown) => void,
      onNote: onNote ?? null,
      timer: null,
    };
    if (ms > 0) waiter.timer = setTimeout(() => this.#timeOut(id, waiter, ms), ms);
    const others = this.#waiters.get(id);
    if (others !== undefined) {
      others.push(waiter);
      return promise;
    }
    this.#waiters.set(id, [waiter]);
    this.#ask(id);
    return promise;
  }

  /** Where messages are, in the order of their ids (at most 1,000); null for one that is not there. A result stands in the queue `lovage.results`. */
  async whereabouts(ids: readonly number[]): Promise<(MessageWhereabouts | null)[]> {
    const reply = await this.#requests.send('look for messages', CLIENT_OPS.MESSAGE_STATE, [ids], true);
    return (reply as { readonly messages: (MessageWhereabouts | null)[] }).messages;
  }

  /** RESULT. */
  received({ id, status, contentType, body, reason }: WireResult): void {
    const waiters = this.#take(id);
    for (const waiter of waiters) {
      if (status === RESULT_STATUS.DONE) waiter.resolve({ id, contentType, body: body! });
      else waiter.reject(status === RESULT_STATUS.DEAD ? deadLettered(id, reason) : notFound(id));
    }
  }

  /** NOTED. */
  noted(id: number, note: Note): void {
    for (const { onNote, reject } of this.#waiters.get(id) ?? []) {
      try {
        onNote?.(note);
      } catch (error) {
        reject(error);
      }
    }
  }

  /** A connection stands. */
  welcomed(): void {
    for (const id of this.#waiters.keys()) this.#ask(id);
  }

  /** The client is closed. */
  ended(error: LovageError): void {
    for (const id of [...this.#waiters.keys()]) for (const { reject } of this.#take(id)) reject(error);
  }

  #ask(id: number): void {
    if (this.#asking.push(id) === 1) queueMicrotask(() => this.#send());
  }

  #send(): void {
    const asking = this.#asking;
    this.#asking = [];
    for (let from = 0; from < asking.length; from += LIMITS.resultsMax) {
      const ids = asking.slice(from, from + LIMITS.resultsMax);
      // Without a connection `welcomed` asks for all of them.
      if (!this.#requests.isOpen) continue;
      this.#requests.send('watch for results', CLIENT_OPS.RESULT_WATCH, [ids], false).catch((error: LovageError) => {
        if (error.code === 'CONNECTION_LOST') return;
        for (const id of ids) for (const { reject } of this.#take(id)) reject(error);
      });
    }
  }

  #timeOut(id: number, waiter: Waiter, ms: number): void {
    const waiters = (this.#waiters.get(id) ?? []).filter((other) => other !== waiter);
    if (waiters.length > 0) this.#waiters.set(id, waiters);
    else this.#waiters.delete(id);
    if (waiters.length === 0 && this.#requests.isOpen)
      this.#requests.send('watch for results', CLIENT_OPS.RESULT_UNWATCH, [[id]], false).catch(ignore);
    const message = `Cannot tell the result of message ${id}: there is none after ${ms} ms`;
    waiter.reject(new LovageError('RESULT_TIMEOUT', message, { details: { id } }));
  }

  #take(id: number): readonly Waiter[] {
    const waiters = this.#waiters.get(id) ?? [];
    this.#waiters.delete(id);
    for (const { timer } of waiters) if (timer !== null) clearTimeout(timer);
    return waiters;
  }
}

function notFound(id: number): LovageError {
  const message = `Cannot tell the result of message ${id}: there is no message and no result of this id`;
  return new LovageError('RESULT_NOT_FOUND', message, { details: { id } });
}

function deadLettered(id: number, reason: string | null): LovageError {
  const message = `Cannot tell the result of message ${id}: its queue has given it up (${reason})`;
  return new LovageError('DEAD_LETTERED', message, { details: { id, reason } });
}
