/** A delivery as a child sees it: what is said of it goes through the parent, which holds the connection. */
import type { CompleteOptions, NackOptions } from '../delivery.js';
import type { Answer, ChildRun } from './child-messages.js';
import type { TaskDelivery } from './outcome.js';

/** What the broker tells of a delivery, the parent tells its task. */
const NEVER = new AbortController().signal;

export class RemoteDelivery implements TaskDelivery {
  readonly #run: ChildRun;
  #answer: Answer | null = null;

  constructor(run: ChildRun) {
    this.#run = run;
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
