/** Deliveries: the model takes the engine's choice of who gets a message, and says whether it was allowed (P3, P4, P5). */
import assert from 'node:assert/strict';
import { RESULTS_QUEUE } from '@lovage/protocol';
import type { Delivered, Effect } from '../recorder.js';
import type { ModelConsumer, ModelLease, ModelMessage, ModelQueue } from './entities.js';
import type { ModelMessages } from './messages.js';
import type { ModelState } from './state.js';

export class ModelFlow {
  readonly #state: ModelState;
  readonly #messages: ModelMessages;
  /** Deliveries that each consumer is asked to share by the command at hand. */
  readonly #shared = new Map<ModelConsumer, number>();

  constructor(state: ModelState, messages: ModelMessages) {
    this.#state = state;
    this.#messages = messages;
  }

  /** Bounds first, then who is to be served alone; then it takes the engine's deliveries until nobody can be served. */
  flow(): void {
    this.#messages.enforce();
    for (const queue of this.#state.queues.values()) this.#promote(queue);
    while (this.#someoneCanBeServed()) {
      const delivered = this.#state.deliveries.shift();
      assert.ok(delivered !== undefined, 'a message waits and a consumer has credit: expected a delivery');
      this.#deliver(delivered);
    }
  }

  /** Before the recalls of a command are checked. */
  beginRecalls(): void {
    this.#shared.clear();
  }

  checkRecall({ session: number, tag }: Extract<Effect, { type: 'recall' }>): void {
    if (this.#state.calledBack.delete(`${number} ${tag}`)) return;
    const lease = this.#state.sessions.get(number)?.leases.get(tag);
    const { message } = lease ?? {};
    assert.ok(lease !== undefined && message?.state === 'leased', 'a recall asks for a delivery that has not started');
    assert.ok(!lease.isRecalled, 'a delivery is recalled once');
    lease.isRecalled = true;
    if (this.#isUrgent(lease, message)) return;
    assert.equal(this.#next(message.queue), null, 'a delivery is shared when nothing waits');
    assert.ok(this.#state.nowMs - lease.sinceMs >= 20, 'a delivery that is shared has stood for 20 ms');
    const { consumer } = lease;
    const asked = (this.#shared.get(consumer) ?? 0) + 1;
    this.#shared.set(consumer, asked);
    const pending = [...consumer.session.leases.values()].filter(
      (other) => other.consumer === consumer && other.isRecalled && other.message?.state === 'leased',
    );
    assert.equal(pending.length, asked, 'who has not answered is not asked to share');
    const unsettled = (other: ModelConsumer): number => this.#state.unsettled(other);
    const others = this.#state
      .consumersOf(message.queue)
      .filter((other) => other !== consumer && this.#isIdle(other) && this.#mayTake(other, message.queue));
    assert.ok(
      others.some((idle) => unsettled(consumer) - asked >= unsettled(idle) + asked),
      'a delivery goes to an idle consumer that holds less, and does not come back for that',
    );
  }

  /** Something waits that is more urgent to this consumer. */
  #isUrgent({ consumer }: ModelLease, { queue, priority }: Pick<ModelMessage, 'queue' | 'priority'>): boolean {
    const at = consumer.queues.indexOf(queue);
    return consumer.queues.some((other, index) => {
      const next = this.#next(other);
      if (next === null) return false;
      return other === queue ? next.priority > priority : consumer.order === 'strict' && index < at;
    });
  }

  /** It has credit, and nothing that it could start. */
  #isIdle(consumer: ModelConsumer): boolean {
    if (!this.#state.hasCredit(consumer)) return false;
    for (const lease of consumer.session.leases.values())
      if (lease.consumer === consumer && !lease.hasStarted) return false;
    return true;
  }

  /** Of a single active consumer's queue, the next one follows when nobody else has anything of it: the highest priority, then the first that came. */
  #promote(queue: ModelQueue): void {
    if (!queue.settings.singleActiveConsumer || queue.active !== null) return;
    const holders = this.#state.messagesOf(queue).flatMap(({ lease }) => (lease === null ? [] : [lease.consumer]));
    const candidates = this.#state
      .consumersOf(queue)
      .filter((consumer) => holders.every((holder) => holder === consumer));
    queue.active = candidates.sort((a, b) => b.priority - a.priority || a.turn - b.turn)[0] ?? null;
  }

  #mayTake(consumer: ModelConsumer, queue: ModelQueue | null): boolean {
    return queue === null || !queue.settings.singleActiveConsumer || queue.active === consumer;
  }

  #someoneCanBeServed(): boolean {
    for (const session of this.#state.sessions.values())
      for (const consumer of session.consumers.values())
        if (this.#state.hasCredit(consumer))
          for (const queue of consumer.queues)
            if (this.#mayTake(consumer, queue) && this.#next(queue) !== null) return true;
    return false;
  }

  /** What a queue has to deliver: the highest priority, and in it the smallest id (P3). */
  #next(queue: ModelQueue | null): ModelMessage | null {
    if (queue === null || queue.isPaused || queue.purgeBelowId > 0 || queue.name === RESULTS_QUEUE) return null;
    let best: ModelMessage | null = null;
    for (const message of this.#state.messages.values()) {
      if (message.queue !== queue || message.state !== 'waiting' || this.#state.isLapsed(message)) continue;
      if (!this.#state.rates.isOpen(message)) continue;
      if (
        best === null ||
        message.priority > best.priority ||
        (message.priority === best.priority && message.id < best.id)
      )
        best = message;
    }
    return best;
  }

  #deliver(delivered: Delivered): void {
    const session = this.#state.sessions.get(delivered.session);
    const consumer = session?.consumers.get(delivered.consumerId);
    assert.ok(session !== undefined && consumer !== undefined, 'a delivery goes to a consumer that is there');
    const queue = consumer.queues[delivered.queueIndex] ?? null;
    const message = this.#next(queue);
    assert.equal(delivered.id, message?.id, 'a delivery is the next message of its queue (P3)');
    assert.ok(message !== null && queue !== null);
    assert.ok(this.#state.hasCredit(consumer), 'a delivery has a credit (P5)');
    assert.ok(this.#mayTake(consumer, queue), 'a delivery goes to the active consumer');
    this.#checkTurn(consumer, queue, delivered.queueIndex);
    const { attempt, priority, redelivered, tag, payload, history } = delivered;
    assert.equal(attempt, message.attempts + 1, 'a delivery tells its attempt (P4)');
    assert.equal(priority, message.priority);
    assert.equal(redelivered, message.redelivered);
    assert.deepEqual(history, message.history, 'a delivery tells which queues have given the message up');
    assert.deepEqual(payload, message.payload, 'a delivery has the bytes that were published');
    assert.equal(tag, session.lastTag + 1, 'tags rise by one');
    session.lastTag = tag;
    session.unsentBytes += message.payload.length;
    queue.totals.delivered++;
    this.#state.rates.spend(message);
    this.#lease(message, consumer, tag);
  }

  #lease(message: ModelMessage, consumer: ModelConsumer, tag: number): void {
    const { session } = consumer;
    const isNone = consumer.ack === 'none';
    const lease: ModelLease = {
      tag,
      session,
      consumer,
      sinceMs: this.#state.nowMs,
      bytes: message.payload.length,
      message: isNone ? null : message,
      isUnsent: isNone,
      isRecalled: false,
      hasStarted: false,
      note: null,
    };
    session.leases.set(tag, lease);
    if (isNone) return this.#messages.acked(message);
    message.state = 'leased';
    message.lease = lease;
  }

  /** Consumers of a higher priority go first, and in strict order the first queue that has messages. */
  #checkTurn(consumer: ModelConsumer, queue: ModelQueue, queueIndex: number): void {
    for (const other of this.#state.consumersOf(queue)) {
      if (other.priority <= consumer.priority || this.#state.gained.has(other)) continue;
      if (!this.#mayTake(other, queue) || !this.#state.hasCredit(other)) continue;
      assert.fail(`consumer ${consumer.id} was served before consumer ${other.id} of a higher priority`);
    }
    if (consumer.order !== 'strict') return;
    for (const earlier of consumer.queues.slice(0, queueIndex)) {
      if (earlier === null || this.#state.touched.has(earlier) || !this.#mayTake(consumer, earlier)) continue;
      assert.equal(
        this.#next(earlier),
        null,
        `queue "${queue.name}" was served before "${earlier.name}" in strict order`,
      );
    }
  }
}
