// hot path
/** One PUBLISH frame on its way, and the promises of its messages. */
import type { LovageError } from '@lovage/protocol';
import { capture, captured } from './captured-promise.js';
import type { Receipt } from './message.js';

type Resolve = (receipt: Receipt) => void;
type Reject = (error: LovageError) => void;

/** Messages gather in it; then it is finished, numbered when it is first sent, and kept until each message is answered. */
export class OutgoingFrame {
  readonly flags: number;
  /** When its callers are told PUBLISH_TIMEOUT. */
  readonly deadlineMs: number;
  bytes: Uint8Array | null = null;
  /** Number of its first message; 0 until it is sent. */
  firstSeq = 0;
  /** Messages that the broker has not answered. */
  unanswered = 0;
  /** Copies of it that are with the present connection and are not refused for now. */
  #copies = 0;
  /** The last message of a copy that was refused for now, -1 for none. */
  #refusedIndex = -1;
  /** True if the broker has refused it for now, and it was not sent again since. */
  isRefused = false;
  /** Callers that have not been told anything. */
  waiting = 0;
  readonly #resolves: (Resolve | null)[] = [];
  /** null once the message is answered. */
  readonly #rejects: (Reject | null)[] = [];

  constructor(flags: number, deadlineMs: number) {
    this.flags = flags;
    this.deadlineMs = deadlineMs;
  }

  get count(): number {
    return this.#rejects.length;
  }

  /** Adds a message and returns the promise of its receipt. */
  add(): Promise<Receipt> {
    const promise = new Promise<Receipt>(capture);
    this.#resolves.push(captured.resolve as Resolve);
    this.#rejects.push(captured.reject);
    this.unanswered++;
    this.waiting++;
    return promise;
  }

  /** The broker has answered message `index`: null for a duplicate answer, else what to tell its caller, who may have given up. */
  confirm(index: number, receipt: Receipt): void {
    const resolve = this.#answer(index);
    if (resolve !== null) resolve(receipt);
  }

  reject(index: number, error: LovageError): void {
    const reject = this.#rejects[index] ?? null;
    if (this.#answer(index) !== null) reject?.(error);
  }

  /** The present connection has got it. */
  sent(): void {
    this.#copies++;
    this.isRefused = false;
  }

  /** That connection is lost. */
  lost(): void {
    this.#copies = 0;
    this.#refusedIndex = -1;
    this.isRefused = false;
  }

  /**
   * Message `index` of a copy is refused for now. Copies are answered one after the other, and the messages of each in their order: when there is another on its
   * way, that one counts.
   */
  refuseForNow(index: number): void {
    if (this.#refusedIndex < 0 || index <= this.#refusedIndex) this.#copies--;
    this.#refusedIndex = index;
    this.isRefused = this.#copies === 0;
  }

  /** Every caller still waiting is told. Answers may come all the same. */
  giveUp(error: LovageError): void {
    for (let i = 0; i < this.#resolves.length; i++) {
      if (this.#resolves[i] === null) continue;
      this.#resolves[i] = null;
      this.#rejects[i]!(error);
    }
    this.waiting = 0;
  }

  /** Marks a message as answered; null if it was, or if its caller has given up. */
  #answer(index: number): Resolve | null {
    if (this.#rejects[index] === null) return null;
    this.#rejects[index] = null;
    this.unanswered--;
    const resolve = this.#resolves[index] ?? null;
    if (resolve === null) return null;
    this.#resolves[index] = null;
    this.waiting--;
    return resolve;
  }
}
