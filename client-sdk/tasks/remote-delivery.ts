/** A delivery as a child sees it: what is said of it goes through the parent, which holds the connection. */
import { LIMITS } from '@lovage/protocol';
import type { CompleteOptions, NackOptions } from '../delivery.js';
import { invalidArgument } from '../errors.js';
import type { Answer, ChildNotes, FromChild, RunRow } from './child-messages.js';
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

  /** Whether the broker takes it is the parent's affair. */
  #say(answer: Answer): Promise<void> {
    this.#answer = answer;
    return Promise.resolve();
  }
}
