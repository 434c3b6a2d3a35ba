// hot path
/**
 * A consumer: the deliveries that it has got, and their handlers.
 *
 *     DELIVER -> waiting (most urgent first) --a handler is free--> running --done, ack, nack--> settled
 *                   |                                                  |
 *                   +-- RECALL, cancel, lost connection: forgotten     +-- taken back: its signal aborts
 *
 * In ack mode `none` a delivery is settled when it is sent: nobody else will get it, so what waits is kept and handled, whatever happens to the
 * connection.
 *
 *     opening     CONSUME is under way                         -> open by its REPLY, ended by its ERROR
 *     open        deliveries come; after a lost connection CONSUME is sent again
 *     cancelling  nothing new comes, what runs goes on         -> ended when the last handler is done and its answer is on disk
 *     ended
 */
import { CLIENT_OPS, type LovageError, type WireDelivery } from '@lovage/protocol';
import { ignore } from './captured-promise.js';
import { ActiveDelivery, DELIVERY_STATE, type Delivery } from './delivery.js';
import { type ConsumerOptions, parseConcurrency, parsePrefetch } from './options.js';
import type { Requests } from './requests.js';
import type { Settlements } from './settlements.js';
import { type SettlingContext, StartedDeliveries } from './started-deliveries.js';
import type { TagSet } from './tag-set.js';
import { WaitingList } from './waiting-list.js';

/** Returning settles the delivery, throwing returns it with backoff, unless it was settled by hand. */
export type Handler = (delivery: Delivery) => unknown;

/** Who works: a handler that is called, or a loop that calls `take` and is told when something has come. */
export type Work =
  | { readonly handler: Handler; readonly arrived?: never }
  | { readonly handler?: never; readonly arrived: () => void };

/** What `consume` gives. */
export interface Consumer {
  readonly queues: readonly string[];
  /** Unsettled deliveries that the broker may have out here; 0 is unlimited. */
  readonly prefetch: number;
  /** Resolves when the consumer has ended: null after `cancel`, else why (QUEUE_DELETED, CLIENT_CLOSED, what CONSUME was refused with). */
  readonly ended: Promise<LovageError | null>;
  /** Changes the prefetch, 0-65,535, and with it the concurrency unless that was given. Resolves when the broker goes by it. */
  setPrefetch(prefetch: number): Promise<void>;
  /** Deliveries here that no handler has begun. */
  readonly waiting: number;
  /** Changes how many handlers run at once, 1-65,535; those that run go on. Throws INVALID_ARGUMENT. */
  setConcurrency(concurrency: number): void;
  /** Takes no more deliveries, gives back those that have not started, and waits for those that run and for their answers. Idempotent. */
  cancel(): Promise<void>;
}

/** What a consumer needs of its client. */
export interface ConsumerContext extends SettlingContext {
  readonly requests: Requests;
  /** It has ended and nothing of it is left. */
  forget(consumer: ActiveConsumer): void;
}

export class ActiveConsumer implements Consumer {
  readonly id: number;
  readonly ended: Promise<LovageError | null>;
  readonly #options: ConsumerOptions;
  readonly #context: ConsumerContext;
  readonly #settlements: Settlements;
  readonly #work: Work;
  #state: 'opening' | 'open' | 'cancelling' | 'ended' = 'opening';
  #prefetch: number;
  /** null: it follows the prefetch. */
  #givenConcurrency: number | null;
  #concurrency: number;
  readonly #waiting = new WaitingList();
  readonly #started: StartedDeliveries;
  /** Handlers at work. */
  #running = 0;
  #isPumping = false;
  /** A CONSUME of `resubscribe` is under way. */
  #isResubscribing = false;
  #isAbandoned = false;
  #end: (error: LovageError | null) => void = () => undefined;
  #whenQuiet: (() => void)[] = [];
  #cancelled: Promise<void> | null = null;

  constructor(id: number, options: ConsumerOptions, work: Work, context: ConsumerContext) {
    this.id = id;
    this.#options = options;
    this.#work = work;
    this.#context = context;
    this.#settlements = context.settlements;
    this.#prefetch = options.fields.prefetch;
    this.#givenConcurrency = options.concurrency;
    this.#concurrency = this.#concurrencyOf(this.#prefetch);
    this.#started = new StartedDeliveries(options, context, {
      mayGather: () => this.#waiting.size > 2 * this.#concurrency,
      removed: () => {
        if (this.#state === 'ended') this.#forgetIfDone();
      },
    });
    this.ended = new Promise((resolve) => {
      this.#end = resolve;
    });
  }

  get queues(): readonly string[] {
    return this.#options.fields.queues;
  }

  get prefetch(): number {
    return this.#prefetch;
  }

  get waiting(): number {
    return this.#waiting.size;
  }

  /** Deliveries that hold a credit, as far as is known here. */
  get unsettled(): number {
    return this.#waiting.size + this.#started.size;
  }

  /** First CONSUME. Rejects with what it was refused with. */
  async open(): Promise<void> {
    try {
      await this.#consume(true);
      if (this.#state === 'opening') this.#state = 'open';
    } catch (error) {
      this.#refused(error as LovageError);
      throw error;
    }
  }

  /** CONSUME again, on a new connection or because the broker does not know the consumer. */
  resubscribe(): void {
    if (this.#state !== 'open' || this.#isResubscribing) return;
    this.#isResubscribing = true;
    this.#consume(false).then(
      () => {
        this.#isResubscribing = false;
      },
      (error: LovageError) => {
        this.#isResubscribing = false;
        // Lost once more: the next connection brings another try. Or the broker knows the consumer after all.
        if (error.code !== 'CONNECTION_LOST' && error.code !== 'CONSUMER_EXISTS') this.#refused(error);
      },
    );
  }

  async setPrefetch(prefetch: number): Promise<void> {
    this.#prefetch = parsePrefetch(prefetch);
    this.#concurrency = this.#concurrencyOf(prefetch);
    const what = `set the prefetch of the consumer of ${this.#names}`;
    await this.#context.requests.send(what, CLIENT_OPS.PREFETCH, [this.id, prefetch], true);
    this.#pump();
  }

  setConcurrency(concurrency: number): void {
    this.#givenConcurrency = parseConcurrency(concurrency);
    this.#concurrency = this.#concurrencyOf(this.#prefetch);
    this.#pump();
  }

  cancel(): Promise<void> {
    this.#cancelled ??= this.#cancel();
    return this.#cancelled;
  }

  /** A delivery has come. One that the broker sent before it heard of a cancel goes back by that cancel, unless it was settled by being sent. */
  deliver(wire: WireDelivery): void {
    if (this.#state === 'cancelling' || this.#state === 'ended') {
      if (!this.#started.isSettledWhenSent) return;
      if (this.#state === 'ended' || this.#work.handler === undefined) return this.#settlements.ack(wire.tag);
    }
    const delivery = new ActiveDelivery(wire, this.#started);
    if (this.#isGivenBack(delivery)) return;
    if (this.#running < this.#concurrency && this.#waiting.size === 0) this.#run(delivery);
    else this.#waiting.add(delivery);
    this.#work.arrived?.();
  }

  /** Asks whether it is wanted at all. One that is settled by being sent cannot go back. */
  #isGivenBack(delivery: ActiveDelivery): boolean {
    const { giveBack } = this.#options;
    if (giveBack === null || this.#started.isSettledWhenSent) return false;
    const delayMs = giveBack(delivery);
    if (delayMs === null) return false;
    delivery.state = DELIVERY_STATE.LOST;
    this.#settlements.release(delivery.tag, delayMs);
    return true;
  }

  /** Starts the most urgent of those that wait, for a loop; null if none does. */
  take(): ActiveDelivery | null {
    const delivery = this.#waiting.take();
    if (delivery !== null) this.#started.begin(delivery);
    return delivery;
  }

  /** RECALL: what has not started goes back. */
  recall(tags: TagSet): void {
    if (this.#waiting.size === 0 || this.#started.isSettledWhenSent) return;
    for (const delivery of this.#waiting.remove(({ tag }) => tags.has(tag))) {
      delivery.state = DELIVERY_STATE.LOST;
      this.#settlements.release(delivery.tag);
    }
  }

  /** REVOKED: the broker has taken these back for good, also from their handlers. */
  revoked(tags: TagSet, error: LovageError): void {
    for (const delivery of this.#waiting.remove(({ tag }) => tags.has(tag))) delivery.state = DELIVERY_STATE.LOST;
    this.#started.lose(tags, error);
  }

  /** The connection is lost: the broker gives what has not started to others. */
  disconnected(): void {
    if (!this.#started.isSettledWhenSent) this.#forgetWaiting();
  }

  /**
   * The session goes on and holds these tags; all other deliveries were taken back. With null the session is over. `error` is what
   * handlers are told.
   */
  resumed(held: TagSet | null, error: LovageError): void {
    if (this.#started.isSettledWhenSent) this.#detachWaiting(held);
    else this.#forgetWaiting();
    this.#started.resumed(held, error);
    this.#pump();
  }

  /** REFUSED: these deliveries were started in vain. */
  refused(tags: TagSet, error: LovageError): void {
    this.#started.lose(tags, error);
  }

  /** Every tag that is in use here and not settled: with a handler, or waiting. */
  heldTags(): number[] {
    const tags: number[] = [];
    this.#started.each(({ tag }) => tags.push(tag));
    this.#waiting.each(({ tag, state }) => {
      if (state === DELIVERY_STATE.WAITING) tags.push(tag);
    });
    return tags;
  }

  /** The broker has taken one of its queues from it. The others are still its own. */
  queueGone(error: LovageError): void {
    if (this.#state === 'opening' || this.#state === 'open') this.#report(error, null);
  }

  /** The broker has ended it. What runs goes on. */
  end(error: LovageError): void {
    this.#finish(error);
  }

  /** The client is at its end: nobody will hear what handlers do from here on, and nobody waits for them. */
  abandon(error: LovageError): void {
    this.#isAbandoned = true;
    this.#finish(error);
    this.#started.loseAll(error);
    this.#wakeQuiet();
  }

  get #names(): string {
    const { queues } = this;
    return `queue "${queues[0]}"${queues.length > 1 ? ` and ${queues.length - 1} more` : ''}`;
  }

  /** A loop takes for itself. */
  #concurrencyOf(prefetch: number): number {
    if (this.#work.handler === undefined) return 0;
    return this.#givenConcurrency ?? (prefetch === 0 ? Number.POSITIVE_INFINITY : prefetch);
  }

  #consume(isRepeatable: boolean): Promise<unknown> {
    const options = { ...this.#options.fields, prefetch: this.#prefetch };
    return this.#context.requests.send(`consume ${this.#names}`, CLIENT_OPS.CONSUME, [this.id, options], isRepeatable);
  }

  async #cancel(): Promise<void> {
    if (this.#state !== 'ended') await this.#unsubscribe();
    await this.#quiet();
    await this.#settlements.whenAnswered();
    this.#finish(null);
  }

  /** A lost connection does that as well: nobody sends CONSUME again. */
  async #unsubscribe(): Promise<void> {
    this.#state = 'cancelling';
    // A loop that is left takes nothing any more, a handler works off what is its own.
    if (!this.#started.isSettledWhenSent || this.#work.handler === undefined) this.#forgetWaiting();
    this.#settlements.tellStarts();
    const { requests } = this.#context;
    const what = `cancel the consumer of ${this.#names}`;
    if (requests.isOpen) await requests.send(what, CLIENT_OPS.CANCEL, [this.id], false).catch(ignore);
  }

  #quiet(): Promise<void> {
    if (this.#isQuiet) return Promise.resolve();
    return new Promise((resolve) => this.#whenQuiet.push(resolve));
  }

  get #isQuiet(): boolean {
    return this.#isAbandoned || (this.#running === 0 && this.#waiting.size === 0);
  }

  #wakeQuiet(): void {
    for (const resolve of this.#whenQuiet.splice(0)) resolve();
  }

  /** CONSUME has failed. */
  #refused(error: LovageError): void {
    // The broker may carry out what it has not answered in time.
    if (error.code === 'REQUEST_TIMEOUT')
      this.#context.requests.send('cancel', CLIENT_OPS.CANCEL, [this.id], false).catch(ignore);
    this.#finish(error);
  }

  #finish(error: LovageError | null): void {
    if (this.#state === 'ended') return;
    this.#state = 'ended';
    this.#forgetWaiting();
    this.#end(error);
    this.#forgetIfDone();
  }

  #run(delivery: ActiveDelivery): void {
    this.#started.begin(delivery);
    this.#running++;
    let promise: Promise<unknown> | null;
    try {
      promise = promiseOf(this.#work.handler?.(delivery));
    } catch (error) {
      return this.#threw(delivery, error);
    }
    if (promise === null) return this.#returned(delivery);
    promise.then(
      () => this.#returned(delivery),
      (error: unknown) => this.#threw(delivery, error),
    );
  }

  /** A settlement that is under way and that nobody has awaited may be refused yet: then the handler has failed. */
  #returned(delivery: ActiveDelivery): void {
    if (delivery.pending === null) return this.#done(delivery);
    delivery.pending.then(
      () => this.#done(delivery),
      (error: unknown) => this.#failed(delivery, error),
    );
  }

  #threw(delivery: ActiveDelivery, error: unknown): void {
    if (delivery.pending === null) return this.#failed(delivery, error);
    const failed = (): void => this.#failed(delivery, error);
    delivery.pending.then(failed, failed);
  }

  #done(delivery: ActiveDelivery): void {
    this.#started.done(delivery);
    this.#free();
  }

  #failed(delivery: ActiveDelivery, error: unknown): void {
    this.#started.failed(delivery, error);
    this.#report(error, delivery);
    this.#free();
  }

  #report(error: unknown, delivery: Delivery | null): void {
    // Whoever is told of a failure has nobody to tell of his own.
    try {
      promiseOf(this.#options.onError?.(error, delivery))?.catch(ignore);
    } catch {
      // So that is the end of it.
    }
  }

  /** A handler is done. */
  #free(): void {
    this.#running--;
    this.#pump();
    if (this.#whenQuiet.length > 0 && this.#isQuiet) this.#wakeQuiet();
    if (this.#state === 'ended') this.#forgetIfDone();
  }

  #pump(): void {
    if (this.#isPumping || this.#waiting.size === 0) return;
    this.#isPumping = true;
    while (this.#running < this.#concurrency) {
      const delivery = this.#waiting.take();
      if (delivery === null) break;
      this.#run(delivery);
    }
    this.#isPumping = false;
  }

  #forgetWaiting(): void {
    if (this.#waiting.size === 0) return;
    for (const delivery of this.#waiting.remove(() => true)) {
      // One that is settled goes nowhere, but its credit does.
      if (this.#started.isSettledWhenSent && delivery.state === DELIVERY_STATE.WAITING)
        this.#settlements.ack(delivery.tag);
      delivery.state = DELIVERY_STATE.LOST;
    }
  }

  /** What the session does not hold any more holds no credit either. */
  #detachWaiting(held: TagSet | null): void {
    this.#waiting.each((delivery) => {
      if (held === null || !held.has(delivery.wire.tag)) delivery.state = DELIVERY_STATE.DETACHED;
    });
  }

  #forgetIfDone(): void {
    if (this.#running === 0 && this.#started.size === 0) this.#context.forget(this);
  }
}

/** What a handler returns, if it is a promise or the like. May throw. */
function promiseOf(value: unknown): Promise<unknown> | null {
  if (value instanceof Promise) return value;
  const isThenable = typeof value === 'object' && value !== null && 'then' in value && typeof value.then === 'function';
  return isThenable ? Promise.resolve(value) : null;
}
