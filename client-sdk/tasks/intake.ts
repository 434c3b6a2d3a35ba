/**
 * What a worker takes from its queues: by one consumer, and by another one when the broker has ended that, or when the queues are to be others.
 *
 *     start ──► consuming ──a queue is gone, or the consumer──► consumes again, later and later, until it works
 *                   └────other queues──► a new consumer takes; the one before ends when what it runs is done
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { ErrorCode, LovageError } from '@lovage/protocol';
import type { Consumer } from '../consumer.js';

/** ms before it consumes again what the broker has ended: doubling from the first to the second. */
const AGAIN_MS_MIN = 100;
const AGAIN_MS_MAX = 10_000;

/** What an intake needs of its worker. */
export interface IntakeOwner {
  /** What it serves unless it is told other queues. */
  queues(): readonly string[];
  /** Handlers at once. */
  concurrency(): number;
  /** Consumes these queues; `queueGone` is called when the broker has taken one of them away. */
  consume(queues: readonly string[], queueGone: (error: LovageError) => void): Promise<Consumer>;
  /** What is known of these queues may be wrong. */
  forgetQueues(queues: readonly string[]): void;
  /** Why something is not taken any more, each reason once. */
  onError(error: LovageError): void;
  /** Whether its client is closed for good. */
  isClosed(): boolean;
  /** Nothing will be taken any more. */
  over(error: LovageError): void;
  /** Another consumer takes now. */
  changed(): void;
}

/** A consumer, and why it does not serve all of its queues any more; null if it was cancelled. */
interface Taking {
  readonly consumer: Consumer;
  readonly lost: Promise<LovageError | null>;
}

export class Intake {
  readonly #owner: IntakeOwner;
  #served: readonly string[] | null = null;
  #consumer: Consumer | null = null;
  /** Consumers of other queues than now, until what they run is done. */
  readonly #draining = new Set<Promise<void>>();
  #isStopped = false;

  constructor(owner: IntakeOwner) {
    this.#owner = owner;
  }

  get queues(): readonly string[] {
    return this.#served ?? this.#owner.queues();
  }

  /** It has begun to take. */
  get isOpen(): boolean {
    return this.#consumer !== null;
  }

  /** Deliveries here that have not begun. */
  get waiting(): number {
    return this.#consumer?.waiting ?? 0;
  }

  /** Resolves when the broker knows; rejects what `client.consume` rejects. */
  async start(): Promise<void> {
    this.#takeFrom(await this.#consume(this.queues));
  }

  /** Other queues from now on. What runs goes on, and takes its place until it is done. */
  async serve(queues: readonly string[]): Promise<void> {
    const taking = await this.#consume(queues);
    this.#served = queues;
    this.#replace(taking);
  }

  /** The worker runs another number of tasks at once. Resolves when the broker goes by the prefetch. */
  async resize(prefetch: number): Promise<void> {
    this.#consumer?.setConcurrency(this.#owner.concurrency());
    await this.#consumer?.setPrefetch(prefetch);
  }

  /** Takes nothing more, gives back what has not begun; resolves when what runs is done. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    await Promise.all([this.#consumer?.cancel(), ...this.#draining]);
  }

  async #consume(queues: readonly string[]): Promise<Taking> {
    let queueGone: (error: LovageError) => void = () => undefined;
    const gone = new Promise<LovageError>((resolve) => {
      queueGone = resolve;
    });
    const consumer = await this.#owner.consume(queues, queueGone);
    return { consumer, lost: Promise.race([gone, consumer.ended]) };
  }

  #takeFrom({ consumer, lost }: Taking): void {
    this.#consumer = consumer;
    void lost.then((error) => {
      if (error !== null && !this.#isStopped && consumer === this.#consumer) this.#interrupted(error);
    });
  }

  /** A queue was deleted or may not be read any more, so the consumer does not serve it or has ended; or the connection is over for good. */
  #interrupted(error: LovageError): void {
    this.#owner.onError(error);
    if (this.#owner.isClosed()) return this.#owner.over(error);
    void this.#consumeAgain(error.code);
  }

  /** Until it works, or the worker stops. Each reason is told once. */
  async #consumeAgain(told: ErrorCode): Promise<void> {
    let known = told;
    for (let delayMs = AGAIN_MS_MIN; ; delayMs = Math.min(AGAIN_MS_MAX, 2 * delayMs)) {
      await sleep(delayMs);
      if (this.#isStopped) return;
      try {
        this.#owner.forgetQueues(this.queues);
        return this.#replace(await this.#consume(this.queues));
      } catch (thrown) {
        const error = thrown as LovageError;
        if (this.#owner.isClosed()) return this.#interrupted(error);
        if (error.code !== known) this.#owner.onError(error);
        known = error.code;
      }
    }
  }

  #replace(taking: Taking): void {
    const { consumer } = taking;
    // It was told to stop meanwhile.
    if (this.#isStopped) return void consumer.cancel();
    const before = this.#consumer!;
    this.#takeFrom(taking);
    const drained = before.cancel().then(() => {
      this.#draining.delete(drained);
      if (this.#consumer === consumer) consumer.setConcurrency(this.#owner.concurrency());
    });
    this.#draining.add(drained);
    this.#owner.changed();
  }
}
