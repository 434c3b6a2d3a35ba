/** A delivery as a child sees it: what is said of it goes through the parent, which holds the connection. */
import { LIMITS } from '@lovage/protocol';
import type { CompleteOptions, NackOptions } from '../delivery.js';
import { invalidArgument } from '../errors.js';
import type { Answer, FromChild, RunRow } from './child-messages.js';
import type { TaskDelivery } from './outcome.js';
import { NAME_HEADER } from './task.js';

/** What the broker tells of a delivery, the parent tells its task. */
const NEVER = new AbortController().signal;

export class RemoteDelivery implements TaskDelivery {
  readonly #run: RunRow;
  readonly #post: (message: FromChild) => void;
  #answer: Answer | null = null;
  #headers: Record<string, unknown> | null = null;

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
    this.#post({ type: 'progress', call: this.#run[0], body: body.slice(), contentType });
  }

  log(text: string): void {
    if (typeof text !== 'string') throw invalidArgument('text', text, 'text');
    this.#post({ type: 'log', call: this.#run[0], text: text.slice(0, LIMITS.logLineLengthMax) });
  }

  ack(): Promise<void> {
    return this.#say(['ack']);
  }

  nack({ requeue = true, delayMs, reason }: NackOptions = {}): Promise<void> {
    return this.#say(['nack', requeue, delayMs, reason]);
  }

  complete(result: unknown, { contentType, ttlMs }: CompleteOptions = {}): Promise<void> {
    // A view of a larger buffer would be sent with all of it.
    return this.#say(['complete', (result as Uint8Array).slice(), contentType, ttlMs]);
  }

  /** Whether the broker takes it is the parent's affair. */
  #say(answer: Answer): Promise<void> {
    this.#answer = answer;
    return Promise.resolve();
  }
}
