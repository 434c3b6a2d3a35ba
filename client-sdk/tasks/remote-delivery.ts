/** A delivery as a child sees it: what is said of it goes through the parent, which holds the connection. */

import { LIMITS } from '@lovage/protocol';
import type { CompleteOptions, NackOptions } from '../delivery.js';
import { invalidArgument } from '../errors.js';
import type { Answer, ChildRun, FromChild } from './child-messages.js';
import type { TaskDelivery } from './outcome.js';

/** What the broker tells of a delivery, the parent tells its task. */
const NEVER = new AbortController().signal;

export class RemoteDelivery implements TaskDelivery {
  readonly #run: ChildRun;
  readonly #post: (message: FromChild) => void;
  #answer: Answer | null = null;

  constructor(run: ChildRun, post: (message: FromChild) => void) {
    this.#run = run;
    this.#post = post;
  }

  get id(): number {
    return this.#run.id;
  }

  get queue(): string {
    return this.#run.queue;
  }

  get priority(): number {
    return this.#run.priority;
  }

  get attempt(): number {
    return this.#run.attempt;
  }

  get headers(): Record<string, unknown> {
    return this.#run.headers;
  }

  get contentType(): string | null {
    return this.#run.contentType;
  }

  get body(): Uint8Array {
    return this.#run.body;
  }

  get signal(): AbortSignal {
    return NEVER;
  }

  /** What was said and has not been taken yet. */
  takeAnswer(): Answer | null {
    const answer = this.#answer;
    this.#answer = null;
    return answer;
  }

  progress(value: unknown, { contentType = '' }: Pick<CompleteOptions, 'contentType'> = {}): void {
    const body = value as Uint8Array;
    if (body.length > LIMITS.progressBytesMax)
      throw invalidArgument('value', body.length, `at most ${LIMITS.progressBytesMax} bytes`);
    this.#post({ type: 'progress', call: this.#run.call, body: body.slice(), contentType });
  }

  log(text: string): void {
    if (typeof text !== 'string') throw invalidArgument('text', text, 'text');
    this.#post({ type: 'log', call: this.#run.call, text: text.slice(0, LIMITS.logLineLengthMax) });
  }

  ack(): Promise<void> {
    return this.#say({ verb: 'ack' });
  }

  nack({ requeue = true, delayMs, reason }: NackOptions = {}): Promise<void> {
    return this.#say({ verb: 'nack', requeue, delayMs, reason });
  }

  complete(result: unknown, { contentType, ttlMs }: CompleteOptions = {}): Promise<void> {
    // A view of a larger buffer would be sent with all of it.
    return this.#say({ verb: 'complete', body: (result as Uint8Array).slice(), contentType, ttlMs });
  }

  /** Whether the broker takes it is the parent's affair. */
  #say(answer: Answer): Promise<void> {
    this.#answer = answer;
    return Promise.resolve();
  }
}
