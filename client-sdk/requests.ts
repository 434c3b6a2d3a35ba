/** Requests to the broker and what became of them: each is answered once, fails with a code, or runs into its deadline. */
import { encodeFrame, LovageError } from '@lovage/protocol';
import type { SenderContext } from './channel.js';

interface PendingRequest {
  readonly what: string;
  readonly bytes: Uint8Array;
  /** Doing it twice does no harm, so it is sent again after a lost connection. */
  readonly isRepeatable: boolean;
  readonly deadlineMs: number;
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: LovageError) => void;
  isSent: boolean;
}

export class Requests {
  readonly #timeoutMs: number;
  readonly #context: SenderContext;
  #lastRequest = 0;
  #endError: LovageError | null = null;
  /** By number; all have the same time limit, so the oldest is due first. */
  readonly #pending = new Map<number, PendingRequest>();

  constructor(timeoutMs: number, context: SenderContext) {
    this.#timeoutMs = timeoutMs;
    this.#context = context;
  }

  /** A connection stands. */
  get isOpen(): boolean {
    return this.#context.channel.isOpen;
  }

  /**
   * Sends `[op, request, ...fields]`, now or when a connection stands. Rejects with the broker's error, with REQUEST_TIMEOUT, with CONNECTION_LOST
   * for one that is not repeatable and was under way, or with CLIENT_CLOSED. `what` is for messages: `declare queue "sms"`.
   */
  send(what: string, op: number, fields: readonly unknown[], isRepeatable: boolean): Promise<unknown> {
    if (this.#endError !== null) return Promise.reject(this.#endError);
    const request = ++this.#lastRequest;
    const deadlineMs = this.#context.nowMs() + this.#timeoutMs;
    return new Promise((resolve, reject) => {
      const bytes = encodeFrame([op, request, ...fields]);
      const pending = { what, bytes, isRepeatable, deadlineMs, resolve, reject, isSent: false };
      this.#pending.set(request, pending);
      this.#context.wakeAt(deadlineMs);
      if (this.#context.channel.isOpen) this.#send(pending);
    });
  }

  /** REPLY. */
  replied(request: number, result: unknown): void {
    this.#take(request)?.resolve(result);
  }

  /** ERROR with a number. */
  failed(request: number, error: LovageError): void {
    this.#take(request)?.reject(error);
  }

  /** The connection is lost: what was under way and may not be repeated has an unknown outcome. */
  disconnected(): void {
    for (const [request, pending] of this.#pending) {
      if (!pending.isSent) continue;
      pending.isSent = false;
      if (pending.isRepeatable) continue;
      this.#pending.delete(request);
      const message = `Cannot ${pending.what}: the connection was lost before the answer, so the outcome is not known`;
      pending.reject(new LovageError('CONNECTION_LOST', message));
    }
  }

  /** A connection stands. */
  welcomed(): void {
    for (const pending of this.#pending.values()) if (!pending.isSent) this.#send(pending);
  }

  /** The client is closed. */
  ended(error: LovageError): void {
    this.#endError = error;
    for (const { reject } of this.#pending.values()) reject(error);
    this.#pending.clear();
  }

  /** Fails what is past its deadline; returns the next deadline. */
  tick(nowMs: number): number {
    for (const [request, { deadlineMs, what, reject }] of this.#pending) {
      if (deadlineMs > nowMs) return deadlineMs;
      this.#pending.delete(request);
      reject(new LovageError('REQUEST_TIMEOUT', `Cannot ${what}: no answer within ${this.#timeoutMs} ms`));
    }
    return Number.POSITIVE_INFINITY;
  }

  #send(pending: PendingRequest): void {
    pending.isSent = true;
    // What was published or settled before the call comes before it.
    this.#context.channel.flush();
    this.#context.channel.send(pending.bytes);
  }

  #take(request: number): PendingRequest | undefined {
    const pending = this.#pending.get(request);
    this.#pending.delete(request);
    return pending;
  }
}
