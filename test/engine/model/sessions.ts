/** Sessions and their consumers, over lost connections and restarts. */

import { runs } from './answers.js';
import type { CommandOf, ModelConsumer, ModelQueue, ModelSession } from './entities.js';
import type { ModelFlow } from './flow.js';
import type { ModelMessages } from './messages.js';
import type { ModelState } from './state.js';

export class ModelSessions {
  readonly #state: ModelState;
  readonly #messages: ModelMessages;
  readonly #flow: ModelFlow;

  constructor(state: ModelState, messages: ModelMessages, flow: ModelFlow) {
    this.#state = state;
    this.#messages = messages;
    this.#flow = flow;
  }

  open({ key, namespace, producer, resumeKey, lastTag }: CommandOf<'open'>): void {
    const state = this.#state;
    const resumed = [...state.sessions.values()].find((session) => session.key === resumeKey);
    if (resumed !== undefined && resumed.namespace === namespace && resumed.producer === producer) {
      if (resumed.isAttached) this.detach(resumed);
      resumed.isAttached = true;
      resumed.heldBack = [];
      resumed.lastTag = Math.max(resumed.lastTag, lastTag);
      const { number, settleSeq } = resumed;
      const ranges = (tags: readonly number[]): number[] => runs([...tags].sort((a, b) => a - b));
      const revoked = [...resumed.calledOff];
      state.answer({
        type: 'opened',
        session: number,
        key: resumed.key,
        resumed: true,
        held: ranges([...resumed.leases.keys(), ...resumed.calledOff.keys()]),
        calledOff: ranges(revoked.flatMap(([tag, terminate]) => (terminate ? [] : [tag]))),
        terminated: ranges(revoked.flatMap(([tag, terminate]) => (terminate ? [tag] : []))),
        settleSeq,
      });
      return;
    }
    if (producer !== null) state.producer(namespace, producer);
    const number = state.nextSession++;
    state.sessions.set(number, {
      number,
      key,
      namespace,
      producer,
      consumers: new Map(),
      leases: new Map(),
      revoked: new Set(),
      calledOff: new Map(),
      forgottenTag: 0,
      lastTag: 0,
      settleSeq: 0,
      isAttached: true,
      isRecorded: false,
      graceEndMs: 0,
      graceTurn: 0,
      unsentBytes: 0,
      heldBack: [],
    });
    state.answer({
      type: 'opened',
      ...{ session: number, key, resumed: false, held: [], calledOff: [], terminated: [], settleSeq: 0 },
    });
  }

  consume(command: CommandOf<'consume'>): void {
    const { consumerId, options } = command;
    const session = this.#state.sessions.get(command.session)!;
    const queues = options.queues.map((name) => this.#state.queue(session.namespace, name));
    const held = session.consumers.get(consumerId);
    const code = held?.isActive ? 'CONSUMER_EXISTS' : this.#whyNotConsume(queues, options.exclusive);
    if (code !== null) return this.#state.fail(command, code);
    const consumer: ModelConsumer = held ?? ({ id: consumerId, session } as ModelConsumer);
    Object.assign(consumer, {
      queues,
      prefetch: options.prefetch,
      ack: options.ack,
      order: options.queueOrder,
      isExclusive: options.exclusive,
      priority: options.priority,
      isActive: true,
      turn: this.#state.nextTurn(),
    });
    session.consumers.set(consumerId, consumer);
    this.#state.gained.add(consumer);
    this.#state.reply(command, { consumerId });
    this.#flow.flow();
  }

  cancel(command: CommandOf<'cancel'>): void {
    const consumer = this.#consumer(command);
    if (consumer === null) return;
    this.#deactivate(consumer);
    this.#takeBack(consumer, false);
    this.#messages.dropIdle(consumer);
    this.#state.reply(command, { unsettled: this.#state.unsettled(consumer) });
    this.#flow.flow();
  }

  prefetch(command: CommandOf<'prefetch'>): void {
    const consumer = this.#consumer(command);
    if (consumer === null) return;
    consumer.prefetch = command.prefetch;
    this.#state.gained.add(consumer);
    this.#state.reply(command, { prefetch: command.prefetch });
    this.#flow.flow();
  }

  drained({ session: number, bytes }: CommandOf<'drained'>): void {
    const session = this.#state.sessions.get(number)!;
    session.unsentBytes = Math.max(0, session.unsentBytes - bytes);
    for (const consumer of session.consumers.values()) this.#state.gained.add(consumer);
    this.#flow.flow();
  }

  detach(session: ModelSession): void {
    this.#state.forgetWatches(session.number);
    for (const consumer of [...session.consumers.values()]) {
      this.#deactivate(consumer);
      this.#takeBack(consumer, false);
      this.#messages.dropIdle(consumer);
    }
    session.isAttached = false;
    session.unsentBytes = 0;
    this.awaitResume(session);
    this.#flow.flow();
  }

  close(session: ModelSession): void {
    this.#state.forgetWatches(session.number);
    for (const consumer of [...session.consumers.values()]) {
      this.#deactivate(consumer);
      this.#takeBack(consumer, true);
    }
    this.#state.sessions.delete(session.number);
    this.#flow.flow();
  }

  /** Ends the sessions whose grace is over. */
  expire(): void {
    const over = [...this.#state.sessions.values()].filter(
      ({ isAttached, graceEndMs }) => !isAttached && graceEndMs <= this.#state.nowMs,
    );
    for (const session of over.sort((a, b) => a.graceTurn - b.graceTurn)) this.close(session);
  }

  awaitResume(session: ModelSession): void {
    session.graceEndMs = this.#state.nowMs + this.#state.options.graceMs;
    session.graceTurn = this.#state.nextTurn();
  }

  /** What a session keeps over a restart: what had started and stands in the journal. */
  forgetUnwritten(session: ModelSession): void {
    for (const lease of [...session.leases.values()]) {
      const { message } = lease;
      if (message === null || message.state !== 'started' || !this.#state.messages.has(message.id))
        session.leases.delete(lease.tag);
    }
    for (const consumer of [...session.consumers.values()]) {
      consumer.isActive = false;
      this.#messages.dropIdle(consumer);
    }
    session.settleSeq = null;
    session.revoked = new Set();
    session.calledOff = new Map();
    session.forgottenTag = session.lastTag;
    session.lastTag = Math.max(0, ...session.leases.keys());
    session.isAttached = false;
    session.unsentBytes = 0;
  }

  /** Takes a consumer out of its queues. */
  #deactivate(consumer: ModelConsumer): void {
    if (!consumer.isActive) return;
    consumer.isActive = false;
    for (const queue of consumer.queues) {
      if (queue === null) continue;
      if (queue.active === consumer) queue.active = null;
      if (this.#state.consumersOf(queue).length === 0) queue.usedMs = this.#state.nowMs;
    }
  }

  /** What has not started goes back, and with `all` what has; a settled delivery keeps its credit until its session ends. */
  #takeBack(consumer: ModelConsumer, all: boolean): void {
    for (const lease of [...consumer.session.leases.values()]) {
      const { message } = lease;
      if (lease.consumer !== consumer) continue;
      const isUnstarted = message === null ? lease.isUnsent : message.state === 'leased';
      if (!all && !isUnstarted) continue;
      this.#messages.endLease(lease);
      consumer.session.revoked.add(lease.tag);
      if (message !== null) this.#messages.giveBack(message, 0);
    }
  }

  #consumer(command: CommandOf<'cancel' | 'prefetch'>): ModelConsumer | null {
    const consumer = this.#state.sessions.get(command.session)!.consumers.get(command.consumerId);
    if (consumer?.isActive) return consumer;
    this.#state.fail(command, 'CONSUMER_NOT_FOUND');
    return null;
  }

  #whyNotConsume(
    queues: readonly (ModelQueue | null)[],
    isExclusive: boolean,
  ): 'QUEUE_NOT_FOUND' | 'QUEUE_EXCLUSIVE' | null {
    for (const queue of queues) {
      if (queue === null) return 'QUEUE_NOT_FOUND';
      const others = this.#state.consumersOf(queue);
      if (others.some((other) => other.isExclusive) || (isExclusive && others.length > 0)) return 'QUEUE_EXCLUSIVE';
    }
    return null;
  }
}
