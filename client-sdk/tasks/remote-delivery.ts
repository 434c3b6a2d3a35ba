/** A delivery as a child sees it: what is said of it goes through the parent, which holds the connection. */
import { isErrorCode, LIMITS, LovageError } from '@lovage/protocol';
import type { AckOptions, CompleteOptions, NackOptions } from '../delivery.js';
import { invalidArgument } from '../errors.js';
import type { FollowUp } from '../follow-ups.js';
import type { Answer, ChildAnswered, ChildNotes, FromChild, RunRow } from './child-messages.js';
import type { TaskDelivery } from './outcome.js';
import { NAME_HEADER } from './task.js';

/** ms in which what a task tells of its work is gathered. */
const NOTES_MS = 50;
/** What the broker tells of a delivery, the parent tells its task. */
const NEVER = new AbortController().signal;

export class RemoteDelivery implements TaskDelivery {
  readonly #run: RunRow;
  readonly #post: (message: FromChild) => void;
  #answer: Answer | null = null;
  #progress: ChildNotes['progress'] = null;
  #log: string[] = [];
  #timer: NodeJS.Timeout | null = null;
  #headers: Record<string, unknown> | null = null;
  #asked: { readonly resolve: () => void; readonly reject: (error: LovageError) => void } | null = null;

  constructor(run: RunRow, post: (message: FromChild) => void) {
    this.#run = run;
    this.#post = post;
  }

  get id(): number {
    return this.#run[2];
  }

  get queue(): string {
    return this.#run[3];
  }

  get priority(): number {
    return this.#run[4];
  }

  get attempt(): number {
    return this.#run[5];
  }

  get headers(): Record<string, unknown> {
    this.#headers ??= this.#run[6] ?? { [NAME_HEADER]: this.#run[1] };
    return this.#headers;
  }

  get contentType(): string | null {
    return this.#run[7];
  }

  get body(): Uint8Array {
    return this.#run[8];
  }

  get signal(): AbortSignal {
    return NEVER;
  }

  /** What was said and has not been taken yet; what was told of the work goes before it. */
  takeAnswer(): Answer | null {
    if (this.#timer !== null) this.#postNotes();
    const answer = this.#answer;
    this.#answer = null;
    return answer;
  }

  progress(value: unknown, { contentType = '' }: Pick<CompleteOptions, 'contentType'> = {}): void {
    const body = value as Uint8Array;
    if (body.length > LIMITS.progressBytesMax)
      throw invalidArgument('value', body.length, `at most ${LIMITS.progressBytesMax} bytes`);
    this.#progress = [body.slice(), contentType];
    this.#postSoon();
  }

  log(text: string): void {
    if (typeof text !== 'string') throw invalidArgument('text', text, 'text');
    this.#log.push(text.slice(0, LIMITS.logLineLengthMax));
    if (this.#log.length > LIMITS.logLinesMax) this.#log.shift();
    this.#postSoon();
  }

  ack({ publish = [] }: AckOptions = {}): Promise<void> {
    return this.#settle(['ack'], publish);
  }

  nack({ requeue = true, delayMs, reason }: NackOptions = {}): Promise<void> {
    return this.#say(['nack', requeue, delayMs, reason]);
  }

  complete(result: unknown, { contentType, ttlMs, publish = [] }: CompleteOptions = {}): Promise<void> {
    // A view of a larger buffer would be sent with all of it.
    return this.#settle(['complete', (result as Uint8Array).slice(), contentType, ttlMs], publish);
  }

  /** The broker's answer to what was asked. */
  answered({ code, message, details }: ChildAnswered): void {
    const asked = this.#asked;
    this.#asked = null;
    if (code === null) asked?.resolve();
    else asked?.reject(new LovageError(isErrorCode(code) ? code : 'INTERNAL_ERROR', message, { details }));
  }

  /** However often a task tells of its work, its parent hears of it a few times a second. */
  #postSoon(): void {
    this.#timer ??= setTimeout(() => this.#postNotes(), NOTES_MS);
  }

  #postNotes(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    this.#post({ type: 'notes', call: this.#run[0], progress: this.#progress, log: this.#log });
    this.#progress = null;
    this.#log = [];
  }

  /** With something to publish it is asked and not said: whether the broker takes it matters here. */
  #settle(answer: Answer, publish: readonly FollowUp[]): Promise<void> {
    if (publish.length === 0) return this.#say(answer);
    if (this.#timer !== null) this.#postNotes();
    return new Promise((resolve, reject) => {
      this.#asked = { resolve, reject };
      // Bodies are views of larger buffers, too.
      const messages = publish.map((one) => ({ ...one, body: (one.body as Uint8Array).slice() }));
      this.#post({ type: 'ask', call: this.#run[0], answer, publish: messages });
    });
  }

  /** Whether the broker takes it is the parent's affair. */
  #say(answer: Answer): Promise<void> {
    this.#answer = answer;
    return Promise.resolve();
  }
}
