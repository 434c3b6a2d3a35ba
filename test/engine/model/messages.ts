/** What happens to one message: it comes back, is given up, goes to another queue, or is done with. And the bounds of queues. */
import type { DeadLetterReason } from '@lovage/protocol';
import { noTotals } from '../../../server/engine/queue.js';
import type { ModelConsumer, ModelLease, ModelMessage, ModelQueue } from './entities.js';
import { defaultsOf, isFullOfQueues } from './namespaces.js';
import type { ModelState } from './state.js';

const DROPPED_AS = { rejected: 'dropped', expired: 'expired', limit: 'evicted', attempts: 'exhausted' } as const;

export class ModelMessages {
  readonly #state: ModelState;

  constructor(state: ModelState) {
    this.#state = state;
  }

  /** Makes a queue with version 1; null if there are too many. */
  createQueue(namespace: string, name: string, settings = defaultsOf(this.#state, namespace, name)): ModelQueue | null {
    const state = this.#state;
    if (state.queues.size >= state.options.queuesMax || isFullOfQueues(state, namespace)) return null;
    const queue: ModelQueue = {
      namespace,
      name,
      settings: { ...settings },
      version: 1,
      index: -1,
      active: null,
      usedMs: state.nowMs,
      dedup: new Map(),
      isPaused: false,
      isDeleted: false,
      purgeBelowId: 0,
      purges: 0,
      totals: noTotals(),
    };
    state.queues.set(`${namespace} ${name}`, queue);
    return queue;
  }

  /** Whether there is a queue of the name, or could be. */
  mayMake(namespace: string, name: string): boolean {
    const state = this.#state;
    const isFull = state.queues.size >= state.options.queuesMax || isFullOfQueues(state, namespace);
    return state.queue(namespace, name) !== null || !isFull;
  }

  ready(message: ModelMessage): void {
    message.state = 'waiting';
    message.dueMs = 0;
    this.#state.touched.add(message.queue);
  }

  /** An unsettled message comes back. */
  giveBack(message: ModelMessage, delayMs: number): void {
    const { nowMs } = this.#state;
    const { queue, attempts } = message;
    const { attemptsMax } = queue.settings;
    const wasStarted = message.state === 'started';
    message.lease = null;
    if (!wasStarted) this.#state.rates.refund(message);
    message.redelivered = true;
    queue.totals.returned++;
    if (delayMs > 0) this.delay(message, nowMs + delayMs);
    else this.ready(message);
    if (this.#state.isLapsed(message)) this.giveUp(message, 'expired');
    else if (wasStarted && attemptsMax > 0 && attempts >= attemptsMax) this.giveUp(message, 'attempts');
  }

  delay(message: ModelMessage, dueMs: number): void {
    message.state = 'delayed';
    message.dueMs = dueMs;
    message.delayTurn = this.#state.nextTurn();
  }

  /** To the dead letter queue if there is one for it, else it is gone. */
  giveUp(message: ModelMessage, reason: DeadLetterReason): void {
    const to = this.#deadLetterQueueOf(message, reason);
    if (to === null) return this.drop(message, reason);
    const { nowMs } = this.#state;
    const from = message.queue;
    from.totals.deadLettered++;
    if (!this.#state.died.has(message.id)) this.#state.died.set(message.id, reason);
    const isSame = (entry: { queue: string; reason: string }): boolean =>
      entry.queue === from.name && entry.reason === reason;
    const count = 1 + (message.history.find(isSame)?.count ?? 0);
    message.history = message.history.filter((entry) => !isSame(entry));
    message.history.push({ queue: from.name, reason, timeMs: nowMs, count });
    if (message.history.length > 16) message.history.shift();
    this.arrive(message, to);
  }

  /** It stands in another queue, and begins anew there. */
  arrive(message: ModelMessage, to: ModelQueue): void {
    const { nowMs } = this.#state;
    to.totals.arrived++;
    to.usedMs = nowMs;
    message.queue = to;
    message.attempts = 0;
    message.lease = null;
    message.expiryMs = to.settings.messageTtlMs === 0 ? 0 : nowMs + to.settings.messageTtlMs;
    this.ready(message);
  }

  drop(message: ModelMessage, reason: DeadLetterReason): void {
    message.queue.totals[DROPPED_AS[reason]]++;
    this.#state.messages.delete(message.id);
  }

  acked(message: ModelMessage): void {
    message.queue.totals.acked++;
    this.#state.messages.delete(message.id);
  }

  endLease(lease: ModelLease): void {
    lease.session.leases.delete(lease.tag);
    if (lease.message !== null) lease.message.lease = null;
    this.#state.gained.add(lease.consumer);
    this.dropIdle(lease.consumer);
  }

  /** A consumer that is over is forgotten when it holds nothing any more. */
  dropIdle(consumer: ModelConsumer): void {
    if (!consumer.isActive && this.#state.unsettled(consumer) === 0) consumer.session.consumers.delete(consumer.id);
  }

  /** What is due and what has expired by now. */
  time(): void {
    const state = this.#state;
    for (const message of state.messages.values())
      if (message.state === 'delayed' && message.dueMs <= state.nowMs) this.ready(message);
    for (const message of [...state.messages.values()]) if (state.isLapsed(message)) this.giveUp(message, 'expired');
  }

  /** No queue that evicts holds too much while something waits in it. */
  enforce(): void {
    for (;;) {
      const full = [...this.#state.queues.values()].filter((queue) => this.#victim(queue) !== null);
      const queue = full.sort((a, b) => a.index - b.index)[0];
      if (queue === undefined) return;
      for (let victim = this.#victim(queue); victim !== null; victim = this.#victim(queue)) this.#evict(victim);
    }
  }

  /** Whether so many messages and bytes more are within the bounds of a queue. */
  fits(queue: ModelQueue, messages: number, bytes: number): boolean {
    const held = this.#state.messagesOf(queue);
    const { messagesMax, bytesMax } = queue.settings;
    const size = held.reduce((sum, { payload }) => sum + payload.length, 0);
    return (messagesMax === 0 || held.length + messages <= messagesMax) && (bytesMax === 0 || size + bytes <= bytesMax);
  }

  #evict(message: ModelMessage): void {
    if (this.#state.isLapsed(message)) this.giveUp(message, 'expired');
    else if (message.queue.settings.overflow === 'drop-head') this.drop(message, 'limit');
    else this.giveUp(message, 'limit');
  }

  /** Lowest priority, then oldest; if none is ready, the one that was delayed last. */
  #victim(queue: ModelQueue): ModelMessage | null {
    if (queue.settings.overflow === 'reject-publish' || this.fits(queue, 0, 0)) return null;
    const held = this.#state.messagesOf(queue);
    const ready = held.filter(({ state }) => state === 'waiting');
    if (ready.length > 0) return ready.sort((a, b) => a.priority - b.priority || a.id - b.id)[0]!;
    const delayed = held.filter(({ state }) => state === 'delayed');
    return delayed.sort((a, b) => b.delayTurn - a.delayTurn)[0] ?? null;
  }

  #deadLetterQueueOf({ queue, history }: ModelMessage, reason: DeadLetterReason): ModelQueue | null {
    const name = queue.settings.deadLetterQueue;
    if (name === null || queue.isDeleted) return null;
    if (reason !== 'rejected' && (history.length >= 16 || history.some((entry) => entry.queue === name))) return null;
    const found = this.#state.queue(queue.namespace, name);
    if (found !== null) return found;
    if (this.#state.engineMade(queue.namespace, name)) return this.createQueue(queue.namespace, name);
    this.#state.deniedIn = queue.namespace;
    return null;
  }
}
