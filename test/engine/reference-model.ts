/**
 * What the engine promises, slow and plain: objects in maps, sorted when somebody asks. It decides nothing that the promises leave open (which of
 * several consumers gets a message): there it takes the engine's choice and says whether it was allowed.
 *
 *     a command ─► the model changes ─► it expects answers, exactly
 *                                   ─► it checks every delivery (P3, P4, P5), and asks for more until nobody can be served
 */
import assert from 'node:assert/strict';
import {
  defaultQueueSettings,
  type ErrorCode,
  PUBLISH_FLAGS,
  type PublishBatch,
  type QueueSettings,
} from '@lovage/protocol';
import type { Token } from '../../server/engine/access.js';
import type { Command, NackCommand, SettleCommand } from '../../server/engine/command.js';
import type { EngineOptions, EngineState } from '../../server/engine/state.js';
import { payloadOf } from './publish-batch.js';
import type { Delivered, Effect } from './recorder.js';

type CommandOf<T extends Command['type']> = Extract<Command, { type: T }>;
export type Answer = Exclude<Effect, { type: 'deliver' | 'recall' }>;
type State = 'waiting' | 'delayed' | 'leased' | 'started';

export interface ModelMessage {
  readonly id: number;
  readonly queue: ModelQueue;
  readonly priority: number;
  readonly expiryMs: number;
  readonly isMemory: boolean;
  readonly payload: Uint8Array;
  state: State;
  attempts: number;
  dueMs: number;
  redelivered: boolean;
  lease: ModelLease | null;
}

export interface ModelLease {
  readonly tag: number;
  readonly session: ModelSession;
  readonly consumer: ModelConsumer;
  readonly sinceMs: number;
  /** Null once the message is settled. */
  message: ModelMessage | null;
  /** Ack mode none: its bytes have not left yet. */
  isUnsent: boolean;
  isRecalled: boolean;
}

export interface ModelConsumer {
  readonly id: number;
  readonly session: ModelSession;
  /** Queues in the consumer's order; null where one was deleted. */
  queues: (ModelQueue | null)[];
  prefetch: number;
  ack: 'late' | 'early' | 'none';
  order: 'strict' | 'weighted' | 'fair';
  isExclusive: boolean;
  priority: number;
  isActive: boolean;
}

export interface ModelSession {
  readonly number: number;
  readonly key: string;
  readonly namespace: string;
  readonly producer: string | null;
  readonly consumers: Map<number, ModelConsumer>;
  readonly leases: Map<number, ModelLease>;
  revoked: Set<number>;
  /** Tags up to here are from before a restart: whether they were taken back or settled may be forgotten. */
  forgottenTag: number;
  lastTag: number;
  settleSeq: number | null;
  isAttached: boolean;
  /** Something that started here is in the journal. */
  isRecorded: boolean;
  graceEndMs: number;
  /** Which of two sessions that end in the same ms lost its connection first. */
  graceTurn: number;
  unsentBytes: number;
}

export interface ModelQueue {
  readonly namespace: string;
  readonly name: string;
  readonly settings: QueueSettings;
  /** Oldest first. */
  readonly dedup: Map<string, { id: number; timeMs: number; isMemory: boolean }>;
  isPaused: boolean;
  isDeleted: boolean;
  purgeBelowId: number;
  readonly totals: Record<
    'published' | 'delivered' | 'acked' | 'returned' | 'dropped' | 'expired' | 'purged' | 'duplicates',
    number
  >;
}

export interface ModelProducer {
  readonly taken: Map<number, { id: number; isMemory: boolean }>;
  confirmedSeq: number;
}

interface Sweep {
  readonly queue: ModelQueue;
  readonly isDelete: boolean;
  readonly session: number;
  readonly request: number;
  removed: number;
}

export class ReferenceModel {
  readonly options: EngineOptions;
  readonly queues = new Map<string, ModelQueue>();
  readonly messages = new Map<number, ModelMessage>();
  readonly sessions = new Map<number, ModelSession>();
  readonly producers = new Map<string, ModelProducer>();
  readonly tokens = new Map<string, Token>();
  sweeps: Sweep[] = [];
  nowMs = 0;
  nextId = 1;
  nextSession = 1;
  refusal: 'DISK_FULL' | null = null;
  /** What the engine said to the command at hand, still to be accounted for. */
  #told: readonly Effect[] = [];
  /** Old tags of the frame at hand that were asked for: a second time they are settled. */
  readonly #forgiven = new Set<number>();
  #deliveries: Delivered[] = [];
  #nextGraceTurn = 0;
  #answers: Answer[] = [];
  /** Queues that got messages, and consumers that got credit, in the command at hand: in which order those are served is left open. */
  readonly #touched = new Set<ModelQueue>();
  readonly #gained = new Set<ModelConsumer>();
  #yielding: ReadonlySet<ModelConsumer> = new Set();

  constructor(options: EngineOptions) {
    this.options = options;
  }

  /** Carries out a command and compares. `tableSize`: slots in use before it, which decides whether there is room. */
  apply(command: Command, nowMs: number, effects: readonly Effect[], tableSize: number): void {
    this.#begin(nowMs, effects);
    switch (command.type) {
      case 'publish':
        this.#publish(command, tableSize);
        break;
      case 'start':
      case 'ack':
      case 'nack':
      case 'release':
        this.#settle(command);
        break;
      default:
        (this[`${command.type}Command`] as (command: Command) => void)(command);
    }
    this.#end(effects);
  }

  tick(nowMs: number, effects: readonly Effect[]): void {
    this.#begin(nowMs, effects);
    for (const message of this.messages.values()) {
      if (message.state === 'delayed' && message.dueMs <= this.nowMs) this.#ready(message);
    }
    for (const message of [...this.messages.values()]) if (this.isLapsed(message)) this.expire(message);
    this.#flow();
    const over = [...this.sessions.values()].filter(
      ({ isAttached, graceEndMs }) => !isAttached && graceEndMs <= this.nowMs,
    );
    for (const session of over.sort((a, b) => a.graceTurn - b.graceTurn)) this.#close(session);
    this.#sweep();
    this.#end(effects);
  }

  /** The broker was killed and has replayed its journal. */
  crash(nowMs: number, { nextId, nextSession, sessions }: EngineState): void {
    this.#clock(nowMs);
    for (const message of [...this.messages.values()]) {
      if (message.isMemory || message.queue.isDeleted) this.messages.delete(message.id);
      else if (message.state === 'leased') {
        message.state = 'waiting';
        message.lease = null;
      }
      message.redelivered = true;
    }
    for (const session of [...this.sessions.values()]) {
      if (session.isRecorded) this.#forgetUnwritten(session);
      else this.sessions.delete(session.number);
    }
    for (const queue of this.queues.values()) {
      queue.purgeBelowId = 0;
      for (const name of Object.keys(queue.totals) as (keyof ModelQueue['totals'])[]) queue.totals[name] = 0;
      for (const [key, entry] of [...queue.dedup]) if (entry.isMemory) queue.dedup.delete(key);
    }
    for (const producer of this.producers.values())
      for (const [seq, taken] of [...producer.taken]) if (taken.isMemory) producer.taken.delete(seq);
    this.sweeps = [];
    assert.ok(nextId >= this.nextId, 'ids that were given out are not given again');
    this.nextId = nextId;
    for (const { number } of this.sessions.values())
      assert.ok(nextSession > number, 'session numbers are not used twice');
    this.nextSession = nextSession;
    for (const number of sessions.keys()) this.#awaitResume(this.sessions.get(number)!);
  }

  queue(namespace: string, name: string): ModelQueue | null {
    return this.queues.get(`${namespace} ${name}`) ?? null;
  }

  isLapsed(message: ModelMessage): boolean {
    const { state, expiryMs } = message;
    return (state === 'waiting' || state === 'delayed') && expiryMs !== 0 && expiryMs <= this.nowMs;
  }

  expire(message: ModelMessage): void {
    message.queue.totals.expired++;
    this.messages.delete(message.id);
  }

  /** ms of the earliest thing that must happen, Infinity if nothing waits. */
  nextDeadline(): number {
    let nextMs = this.sweeps.length > 0 ? this.nowMs : Number.POSITIVE_INFINITY;
    for (const { state, dueMs, expiryMs } of this.messages.values()) {
      if (state === 'delayed') nextMs = Math.min(nextMs, dueMs);
      if ((state === 'waiting' || state === 'delayed') && expiryMs !== 0) nextMs = Math.min(nextMs, expiryMs);
    }
    for (const session of this.sessions.values())
      if (!session.isAttached) nextMs = Math.min(nextMs, session.graceEndMs);
    return nextMs;
  }

  unsettled(consumer: ModelConsumer): number {
    let count = 0;
    for (const lease of consumer.session.leases.values()) if (lease.consumer === consumer) count++;
    return count;
  }

  /** The bytes of a delivery have left: of ack mode none, nothing is left to take back. */
  sent(session: number, tag: number): void {
    const lease = this.sessions.get(session)?.leases.get(tag);
    if (lease !== undefined) lease.isUnsent = false;
  }

  // Commands.

  openCommand({ key, namespace, producer, resumeKey, lastTag }: CommandOf<'open'>): void {
    const resumed = [...this.sessions.values()].find((session) => session.key === resumeKey);
    if (resumed !== undefined && resumed.namespace === namespace && resumed.producer === producer) {
      if (resumed.isAttached) this.#detach(resumed);
      resumed.isAttached = true;
      resumed.lastTag = Math.max(resumed.lastTag, lastTag);
      const held = [...resumed.leases.keys()].sort((a, b) => a - b);
      const { number, settleSeq } = resumed;
      this.#answer({ type: 'opened', session: number, key: resumed.key, resumed: true, held: runs(held), settleSeq });
      return;
    }
    if (producer !== null) this.#producer(namespace, producer);
    const number = this.nextSession++;
    this.sessions.set(number, {
      number,
      key,
      namespace,
      producer,
      consumers: new Map(),
      leases: new Map(),
      revoked: new Set(),
      forgottenTag: 0,
      lastTag: 0,
      settleSeq: 0,
      isAttached: true,
      isRecorded: false,
      graceEndMs: 0,
      graceTurn: 0,
      unsentBytes: 0,
    });
    this.#answer({ type: 'opened', session: number, key, resumed: false, held: [], settleSeq: 0 });
  }

  detachCommand({ session }: CommandOf<'detach'>): void {
    this.#detach(this.sessions.get(session)!);
  }

  closeCommand({ session }: CommandOf<'close'>): void {
    this.#close(this.sessions.get(session)!);
  }

  consumeCommand({ session: number, request, consumerId, options }: CommandOf<'consume'>): void {
    const session = this.sessions.get(number)!;
    const queues = options.queues.map((name) => this.queue(session.namespace, name));
    const held = session.consumers.get(consumerId);
    const code = held?.isActive ? 'CONSUMER_EXISTS' : this.#whyNotConsume(queues, options.exclusive);
    if (code !== null) return this.#answer({ type: 'fail', session: number, request, code });
    const consumer: ModelConsumer = held ?? ({ id: consumerId, session } as ModelConsumer);
    Object.assign(consumer, {
      queues,
      prefetch: options.prefetch,
      ack: options.ack,
      order: options.queueOrder,
      isExclusive: options.exclusive,
      priority: options.priority,
      isActive: true,
    });
    session.consumers.set(consumerId, consumer);
    this.#answer({ type: 'reply', session: number, request, result: { consumerId } });
    this.#flow();
  }

  cancelCommand({ session: number, request, consumerId }: CommandOf<'cancel'>): void {
    const consumer = this.sessions.get(number)!.consumers.get(consumerId);
    if (!consumer?.isActive)
      return this.#answer({ type: 'fail', session: number, request, code: 'CONSUMER_NOT_FOUND' });
    consumer.isActive = false;
    this.#takeBack(consumer, false);
    this.#dropIdle(consumer);
    this.#answer({ type: 'reply', session: number, request, result: { unsettled: this.unsettled(consumer) } });
    this.#flow();
  }

  prefetchCommand({ session: number, request, consumerId, prefetch }: CommandOf<'prefetch'>): void {
    const consumer = this.sessions.get(number)!.consumers.get(consumerId);
    if (!consumer?.isActive)
      return this.#answer({ type: 'fail', session: number, request, code: 'CONSUMER_NOT_FOUND' });
    consumer.prefetch = prefetch;
    this.#answer({ type: 'reply', session: number, request, result: { prefetch } });
    this.#flow();
  }

  drainedCommand({ session: number, bytes }: CommandOf<'drained'>): void {
    const session = this.sessions.get(number)!;
    session.unsentBytes = Math.max(0, session.unsentBytes - bytes);
    for (const consumer of session.consumers.values()) this.#gained.add(consumer);
    this.#flow();
  }

  declareCommand({ session: number, request, name, settings }: CommandOf<'declare'>): void {
    const { namespace } = this.sessions.get(number)!;
    const queue = this.queue(namespace, name);
    if (queue === null) {
      const made = this.#create(namespace, name, settings ?? defaultQueueSettings());
      if (made === null) return this.#answer({ type: 'fail', session: number, request, code: 'TOO_MANY_QUEUES' });
      const result = { created: true, settings: made.settings };
      return this.#answer({ type: 'reply', session: number, request, result });
    }
    const names = Object.keys(queue.settings) as (keyof QueueSettings)[];
    if (settings !== null && names.some((field) => settings[field] !== queue.settings[field]))
      return this.#answer({ type: 'fail', session: number, request, code: 'QUEUE_MISMATCH' });
    this.#answer({ type: 'reply', session: number, request, result: { created: false, settings: queue.settings } });
  }

  deleteCommand({ session: number, request, name, ifEmpty, ifUnused }: CommandOf<'delete'>): void {
    const queue = this.#named(number, request, name);
    if (queue === null) return;
    const held = [...this.messages.values()].filter((message) => message.queue === queue);
    if (ifEmpty && held.length > 0)
      return this.#answer({ type: 'fail', session: number, request, code: 'QUEUE_NOT_EMPTY' });
    if (ifUnused && this.consumersOf(queue).length > 0)
      return this.#answer({ type: 'fail', session: number, request, code: 'QUEUE_IN_USE' });
    queue.isDeleted = true;
    this.queues.delete(`${queue.namespace} ${queue.name}`);
    const out = held.filter(({ lease }) => lease !== null);
    for (const message of out) {
      const { session, tag } = message.lease!;
      this.#endLease(message.lease!);
      session.revoked.add(tag);
      this.messages.delete(message.id);
    }
    for (const consumer of this.consumersOf(queue)) this.#loseQueue(consumer, queue);
    this.sweeps.push({ queue, isDelete: true, session: number, request, removed: out.length });
    this.#flow();
  }

  purgeCommand({ session: number, request, name }: CommandOf<'purge'>): void {
    const queue = this.#named(number, request, name);
    if (queue === null) return;
    queue.purgeBelowId = this.nextId;
    this.sweeps.push({ queue, isDelete: false, session: number, request, removed: 0 });
  }

  pauseCommand({ session, request, name }: CommandOf<'pause'>): void {
    this.#pause(session, request, name, true);
  }

  resumeCommand({ session, request, name }: CommandOf<'resume'>): void {
    this.#pause(session, request, name, false);
  }

  inspectCommand({ session, request, name }: CommandOf<'inspect'>): void {
    const queue = this.#named(session, request, name);
    if (queue !== null) this.#answer({ type: 'reply', session, request, result: this.info(queue) });
  }

  listCommand({ session, request, after, limit }: CommandOf<'list'>): void {
    const { namespace } = this.sessions.get(session)!;
    const found = [...this.queues.values()]
      .filter((queue) => queue.namespace === namespace && (after === null || queue.name > after))
      .sort((a, b) => (a.name < b.name ? -1 : 1));
    const page = found.slice(0, limit);
    const next = found.length > limit ? page.at(-1)!.name : null;
    const result = { queues: page.map((queue) => this.info(queue)), next };
    this.#answer({ type: 'reply', session, request, result });
  }

  'token-createCommand'({ session, request, id, hash, secret, fields }: CommandOf<'token-create'>): void {
    const isBroad = fields.role === 'admin' && fields.namespace === null;
    const isFirst = this.tokens.size === 0;
    if ((fields.expiresAt !== null && fields.expiresAt <= this.nowMs) || (isFirst && !isBroad))
      return this.#answer({ type: 'fail', session, request, code: 'INVALID_ARGUMENT' });
    const info = { id, ...fields, createdAt: this.nowMs };
    this.tokens.set(id, { ...info, hash });
    if (isFirst) this.#answer({ type: 'accessClosed', session });
    this.#answer({ type: 'reply', session, request, result: { token: info, secret } });
  }

  'token-listCommand'({ session, request, namespace, after, limit }: CommandOf<'token-list'>): void {
    const found = [...this.tokens.values()]
      .filter((token) => (namespace === null || token.namespace === namespace) && (after === null || token.id > after))
      .sort((a, b) => (a.id < b.id ? -1 : 1));
    const page = found.slice(0, limit).map(({ hash: _, ...info }) => info);
    const next = found.length > limit ? page.at(-1)!.id : null;
    this.#answer({ type: 'reply', session, request, result: { tokens: page, next } });
  }

  'token-revokeCommand'({ session, request, namespace, id }: CommandOf<'token-revoke'>): void {
    const token = this.tokens.get(id);
    if (token === undefined || (namespace !== null && token.namespace !== namespace))
      return this.#answer({ type: 'fail', session, request, code: 'TOKEN_NOT_FOUND' });
    const makers = [...this.tokens.values()].filter(
      (other) =>
        other.role === 'admin' &&
        other.namespace === null &&
        (other === token || other.expiresAt === null || other.expiresAt > this.nowMs),
    );
    if (makers.includes(token) && makers.length === 1)
      return this.#answer({ type: 'fail', session, request, code: 'INVALID_ARGUMENT' });
    this.tokens.delete(id);
    this.#answer({ type: 'revoked', id });
    this.#answer({ type: 'reply', session, request, result: { id } });
  }

  /** As QUEUE_INSPECT tells it. */
  info(queue: ModelQueue): Record<string, unknown> {
    const counts = { waiting: 0, delayed: 0, leased: 0, started: 0 };
    let bytes = 0;
    for (const message of this.messages.values()) {
      if (message.queue !== queue) continue;
      counts[message.state]++;
      bytes += message.payload.length;
    }
    const { name, namespace, isPaused, settings, totals } = queue;
    const { waiting: ready, delayed, leased, started } = counts;
    const consumers = this.consumersOf(queue).length;
    return {
      name,
      namespace,
      isPaused,
      settings,
      ready,
      delayed,
      leased,
      started,
      bytes,
      consumers,
      totals: { ...totals },
    };
  }

  consumersOf(queue: ModelQueue): ModelConsumer[] {
    const found: ModelConsumer[] = [];
    for (const session of this.sessions.values())
      for (const consumer of session.consumers.values())
        if (consumer.isActive && consumer.queues.includes(queue)) found.push(consumer);
    return found;
  }

  #publish({ session: number, batch, refused = null }: CommandOf<'publish'>, tableSize: number): void {
    const session = this.sessions.get(number)!;
    const producer = session.producer === null ? null : this.#producer(session.namespace, session.producer);
    const isMemory = (batch.flags & PUBLISH_FLAGS.MEMORY) !== 0;
    const isRefused = refused !== null && refused.targets === null && batch.problem === null;
    const code = isRefused ? refused.code : this.#whyRefused(batch, isMemory, tableSize);
    if (code !== null) {
      for (let seq = batch.firstSeq; seq < batch.firstSeq + batch.count; seq++) {
        const before = batch.problem === null ? producer?.taken.get(seq) : undefined;
        if (before === undefined) this.#answer({ type: 'reject', session: number, seq, code });
        else this.#answer({ type: 'confirm', session: number, seq, id: before.id, isMemory });
      }
      return;
    }
    if ((batch.flags & PUBLISH_FLAGS.AUTO_DECLARE) !== 0) {
      for (const name of batch.targets)
        if (this.queue(session.namespace, name) === null && !refused?.targets?.has(name))
          this.#create(session.namespace, name, defaultQueueSettings());
    }
    const baseId = this.nextId;
    // A key that a frame pushes out of the window is known to the end of the frame.
    const windows = new Map([...this.queues.values()].map((queue) => [queue, new Map(queue.dedup)]));
    for (let i = 0; i < batch.count; i++) {
      const seq = batch.firstSeq + i;
      const target = batch.targets[batch.target[i]!]!;
      const isForbidden = refused?.targets?.has(target) === true;
      const queue = isForbidden ? null : this.queue(session.namespace, target);
      const before = producer?.taken.get(seq);
      const key = batch.dedupKeys.get(i);
      const twin = queue === null || key === undefined ? undefined : windows.get(queue)!.get(key);
      if (before !== undefined) this.#answer({ type: 'confirm', session: number, seq, id: before.id, isMemory });
      else if (queue === null)
        this.#answer({
          type: 'reject',
          session: number,
          seq,
          code: isForbidden ? refused!.code : 'QUEUE_NOT_FOUND',
        });
      else if (twin !== undefined && twin.timeMs + queue.settings.dedupWindowMs > this.nowMs) {
        queue.totals.duplicates++;
        this.#answer({ type: 'duplicate', session: number, seq, id: twin.id, isMemory });
      } else {
        this.#take(batch, i, baseId + i, queue, isMemory);
        if (key !== undefined && queue.settings.dedupWindowMs > 0) windows.get(queue)!.set(key, queue.dedup.get(key)!);
        this.nextId = baseId + batch.count;
        producer?.taken.set(seq, { id: baseId + i, isMemory });
        this.#answer({ type: 'confirm', session: number, seq, id: baseId + i, isMemory });
      }
    }
    if (producer !== null) producer.confirmedSeq = Math.max(producer.confirmedSeq, batch.confirmedSeq);
    this.#flow();
  }

  #whyRefused(batch: PublishBatch, isMemory: boolean, tableSize: number): ErrorCode | null {
    if (batch.problem !== null) return batch.problem.code;
    if (!isMemory && this.refusal !== null) return this.refusal;
    return tableSize + batch.count > this.options.messagesMax ? 'TOO_MANY_MESSAGES' : null;
  }

  #take(batch: PublishBatch, i: number, id: number, queue: ModelQueue, isMemory: boolean): void {
    const lifeMs = batch.expiresInMs[i] || queue.settings.messageTtlMs;
    const delayMs = batch.delayMs[i]!;
    this.messages.set(id, {
      id,
      queue,
      priority: batch.priority[i]! < 0 ? queue.settings.defaultPriority : batch.priority[i]!,
      expiryMs: lifeMs === 0 ? 0 : this.nowMs + lifeMs,
      isMemory,
      payload: payloadOf(batch, i),
      state: delayMs > 0 ? 'delayed' : 'waiting',
      attempts: 0,
      dueMs: delayMs > 0 ? this.nowMs + delayMs : 0,
      redelivered: false,
      lease: null,
    });
    queue.totals.published++;
    this.#touched.add(queue);
    const key = batch.dedupKeys.get(i);
    if (key === undefined || queue.settings.dedupWindowMs === 0) return;
    queue.dedup.delete(key);
    queue.dedup.set(key, { id, timeMs: this.nowMs, isMemory });
    if (queue.dedup.size > queue.settings.dedupKeysMax) queue.dedup.delete([...queue.dedup.keys()][0]!);
  }

  #settle(command: SettleCommand | NackCommand): void {
    const session = this.sessions.get(command.session)!;
    const { settleSeq, ranges } = command;
    const released = new Set<ModelConsumer>();
    if (session.settleSeq === null || settleSeq > session.settleSeq) {
      for (let i = 0; i < ranges.length; i += 2) {
        const first = ranges[i]!;
        const count = ranges[i + 1]!;
        if (first + count - 1 > session.lastTag) {
          this.#answer({
            type: 'refused',
            session: session.number,
            settleSeq,
            firstTag: first,
            count,
            code: 'UNKNOWN_TAG',
          });
          continue;
        }
        for (let tag = first; tag < first + count; tag++) this.#settleTag(session, command, tag, released);
      }
      session.settleSeq = settleSeq;
    }
    this.#answer({ type: 'settled', session: session.number, settleSeq });
    this.#yielding = released;
    this.#flow();
    this.#yielding = new Set();
    this.#flow();
  }

  #settleTag(
    session: ModelSession,
    command: SettleCommand | NackCommand,
    tag: number,
    released: Set<ModelConsumer>,
  ): void {
    const lease = session.leases.get(tag);
    const refuse = (code: 'SUPERSEDED' | 'ALREADY_SETTLED' | 'INVALID_ARGUMENT'): void =>
      this.#answer({
        type: 'refused',
        session: session.number,
        settleSeq: command.settleSeq,
        firstTag: tag,
        count: 1,
        code,
      });
    if (lease === undefined) {
      const isKnown = session.revoked.delete(tag);
      const isSuperseded = isKnown || this.#isToldSuperseded(session, tag);
      if (isKnown) this.#forgiven.add(tag);
      return refuse(isSuperseded ? 'SUPERSEDED' : 'ALREADY_SETTLED');
    }
    const { message, consumer } = lease;
    if (command.type === 'start') return this.#start(lease);
    if (command.type === 'release' && message?.state === 'started') return refuse('INVALID_ARGUMENT');
    this.#endLease(lease);
    if (command.type === 'release') released.add(consumer);
    if (message === null) return;
    if (command.type === 'release') this.#giveBack(message, 0);
    else if (command.type === 'nack') this.#nack(message, command);
    else this.#done(message, 'acked');
  }

  #isToldSuperseded(session: ModelSession, tag: number): boolean {
    if (tag > session.forgottenTag || this.#forgiven.has(tag)) return false;
    this.#forgiven.add(tag);
    return this.#told.some(
      (effect) =>
        effect.type === 'refused' &&
        effect.code === 'SUPERSEDED' &&
        effect.firstTag <= tag &&
        tag < effect.firstTag + effect.count,
    );
  }

  #start(lease: ModelLease): void {
    const { message, consumer, session } = lease;
    if (message === null || message.state !== 'leased') return;
    message.state = 'started';
    message.attempts++;
    if (consumer.ack === 'early') {
      this.#done(message, 'acked');
      lease.message = null;
    } else if (!message.isMemory) {
      session.isRecorded = true;
    }
  }

  #nack(message: ModelMessage, { requeue, delayMs }: NackCommand): void {
    if (!requeue) return this.#done(message, 'dropped');
    if (message.state === 'leased') message.attempts++;
    const { backoffMsMin, backoffMsMax } = message.queue.settings;
    const backoffMs = Math.min(backoffMsMax, backoffMsMin * 2 ** (message.attempts - 1));
    this.#giveBack(message, delayMs >= 0 ? delayMs : backoffMs);
  }

  #giveBack(message: ModelMessage, delayMs: number): void {
    message.lease = null;
    message.redelivered = true;
    message.queue.totals.returned++;
    if (delayMs > 0) {
      message.state = 'delayed';
      message.dueMs = this.nowMs + delayMs;
    } else {
      this.#ready(message);
    }
    if (this.isLapsed(message)) this.expire(message);
  }

  #ready(message: ModelMessage): void {
    message.state = 'waiting';
    message.dueMs = 0;
    this.#touched.add(message.queue);
  }

  #done(message: ModelMessage, reason: 'acked' | 'dropped'): void {
    message.queue.totals[reason]++;
    this.messages.delete(message.id);
  }

  #endLease(lease: ModelLease): void {
    lease.session.leases.delete(lease.tag);
    if (lease.message !== null) lease.message.lease = null;
    this.#gained.add(lease.consumer);
    this.#dropIdle(lease.consumer);
  }

  #dropIdle(consumer: ModelConsumer): void {
    if (!consumer.isActive && this.unsettled(consumer) === 0) consumer.session.consumers.delete(consumer.id);
  }

  /** What has not started goes back, and with `all` what has; a settled delivery keeps its credit until its session ends. */
  #takeBack(consumer: ModelConsumer, all: boolean): void {
    for (const lease of [...consumer.session.leases.values()]) {
      const { message } = lease;
      if (lease.consumer !== consumer) continue;
      const isUnstarted = message === null ? lease.isUnsent : message.state === 'leased';
      if (!all && !isUnstarted) continue;
      this.#endLease(lease);
      consumer.session.revoked.add(lease.tag);
      if (message !== null) this.#giveBack(message, 0);
    }
  }

  #detach(session: ModelSession): void {
    for (const consumer of [...session.consumers.values()]) {
      consumer.isActive = false;
      this.#takeBack(consumer, false);
      this.#dropIdle(consumer);
    }
    session.isAttached = false;
    session.unsentBytes = 0;
    this.#awaitResume(session);
    this.#flow();
  }

  #close(session: ModelSession): void {
    for (const consumer of [...session.consumers.values()]) {
      consumer.isActive = false;
      this.#takeBack(consumer, true);
    }
    this.sessions.delete(session.number);
    this.#flow();
  }

  /** What a session keeps over a restart: what had started and stands in the journal. */
  #forgetUnwritten(session: ModelSession): void {
    for (const lease of [...session.leases.values()]) {
      const { message } = lease;
      if (message === null || message.state !== 'started' || !this.messages.has(message.id))
        session.leases.delete(lease.tag);
    }
    for (const consumer of [...session.consumers.values()]) {
      consumer.isActive = false;
      this.#dropIdle(consumer);
    }
    session.settleSeq = null;
    session.revoked = new Set();
    session.forgottenTag = session.lastTag;
    session.lastTag = Math.max(0, ...session.leases.keys());
    session.isAttached = false;
    session.unsentBytes = 0;
  }

  #awaitResume(session: ModelSession): void {
    session.graceEndMs = this.nowMs + this.options.graceMs;
    session.graceTurn = this.#nextGraceTurn++;
  }

  #pause(session: number, request: number, name: string, isPaused: boolean): void {
    const queue = this.#named(session, request, name);
    if (queue === null) return;
    queue.isPaused = isPaused;
    this.#answer({ type: 'reply', session, request, result: { isPaused } });
    this.#flow();
  }

  #sweep(): void {
    const sweep = this.sweeps.shift();
    if (sweep === undefined) return;
    const { queue, isDelete, session, request } = sweep;
    for (const message of [...this.messages.values()]) {
      if (message.queue !== queue || message.lease !== null) continue;
      if (!isDelete && message.id >= queue.purgeBelowId) continue;
      this.messages.delete(message.id);
      queue.totals.purged++;
      sweep.removed++;
    }
    if (!isDelete && !this.sweeps.some((other) => other.queue === queue)) queue.purgeBelowId = 0;
    this.#flow();
    const result = isDelete ? { messages: sweep.removed } : { purged: sweep.removed };
    this.#answer({ type: 'reply', session, request, result });
  }

  #whyNotConsume(
    queues: readonly (ModelQueue | null)[],
    isExclusive: boolean,
  ): 'QUEUE_NOT_FOUND' | 'QUEUE_EXCLUSIVE' | null {
    for (const queue of queues) {
      if (queue === null) return 'QUEUE_NOT_FOUND';
      const others = this.consumersOf(queue);
      if (others.some((other) => other.isExclusive) || (isExclusive && others.length > 0)) return 'QUEUE_EXCLUSIVE';
    }
    return null;
  }

  #loseQueue(consumer: ModelConsumer, queue: ModelQueue): void {
    consumer.queues = consumer.queues.map((other) => (other === queue ? null : other));
    if (consumer.queues.some((other) => other !== null)) return;
    consumer.isActive = false;
    this.#dropIdle(consumer);
    this.#answer({
      type: 'cancelled',
      session: consumer.session.number,
      consumerId: consumer.id,
      code: 'QUEUE_DELETED',
    });
  }

  #create(namespace: string, name: string, settings: QueueSettings): ModelQueue | null {
    if (this.queues.size >= this.options.queuesMax) return null;
    const totals = {
      published: 0,
      delivered: 0,
      acked: 0,
      returned: 0,
      dropped: 0,
      expired: 0,
      purged: 0,
      duplicates: 0,
    };
    const queue = {
      namespace,
      name,
      settings,
      dedup: new Map(),
      isPaused: false,
      isDeleted: false,
      purgeBelowId: 0,
      totals,
    };
    this.queues.set(`${namespace} ${name}`, queue);
    return queue;
  }

  #named(session: number, request: number, name: string): ModelQueue | null {
    const queue = this.queue(this.sessions.get(session)!.namespace, name);
    if (queue === null) this.#answer({ type: 'fail', session, request, code: 'QUEUE_NOT_FOUND' });
    return queue;
  }

  #producer(namespace: string, name: string): ModelProducer {
    const key = `${namespace} ${name}`;
    const producer = this.producers.get(key) ?? { taken: new Map(), confirmedSeq: 0 };
    this.producers.set(key, producer);
    return producer;
  }

  // Deliveries.

  /** Takes the engine's deliveries until nobody can be served. */
  #flow(): void {
    while (this.#someoneCanBeServed()) {
      const delivered = this.#deliveries.shift();
      assert.ok(delivered !== undefined, 'a message waits and a consumer has credit: expected a delivery');
      this.#deliver(delivered);
    }
  }

  #someoneCanBeServed(): boolean {
    for (const session of this.sessions.values())
      for (const consumer of session.consumers.values())
        if (this.hasCredit(consumer)) for (const queue of consumer.queues) if (this.#next(queue) !== null) return true;
    return false;
  }

  hasCredit(consumer: ModelConsumer): boolean {
    const { isActive, prefetch, session } = consumer;
    if (!isActive || this.#yielding.has(consumer) || session.unsentBytes >= this.options.unsentBytesMax) return false;
    return prefetch === 0 || this.unsettled(consumer) < prefetch;
  }

  /** What a queue has to deliver: the highest priority, and in it the smallest id (P3). */
  #next(queue: ModelQueue | null): ModelMessage | null {
    if (queue === null || queue.isPaused || queue.purgeBelowId > 0) return null;
    let best: ModelMessage | null = null;
    for (const message of this.messages.values()) {
      if (message.queue !== queue || message.state !== 'waiting' || this.isLapsed(message)) continue;
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
    const session = this.sessions.get(delivered.session);
    const consumer = session?.consumers.get(delivered.consumerId);
    assert.ok(session !== undefined && consumer !== undefined, 'a delivery goes to a consumer that is there');
    const queue = consumer.queues[delivered.queueIndex] ?? null;
    const message = this.#next(queue);
    assert.equal(delivered.id, message?.id, 'a delivery is the next message of its queue (P3)');
    assert.ok(message !== null && queue !== null);
    assert.ok(this.hasCredit(consumer), 'a delivery has a credit (P5)');
    this.#checkTurn(consumer, queue, delivered.queueIndex);
    const { attempt, priority, redelivered, tag, payload } = delivered;
    assert.equal(attempt, message.attempts + 1, 'a delivery tells its attempt (P4)');
    assert.equal(priority, message.priority);
    assert.equal(redelivered, message.redelivered);
    assert.deepEqual(payload, message.payload, 'a delivery has the bytes that were published');
    assert.equal(tag, session.lastTag + 1, 'tags rise by one');
    session.lastTag = tag;
    session.unsentBytes += message.payload.length;
    queue.totals.delivered++;
    this.#lease(message, consumer, tag);
  }

  #lease(message: ModelMessage, consumer: ModelConsumer, tag: number): void {
    const { session } = consumer;
    const isNone = consumer.ack === 'none';
    const lease: ModelLease = {
      tag,
      session,
      consumer,
      sinceMs: this.nowMs,
      message: isNone ? null : message,
      isUnsent: isNone,
      isRecalled: false,
    };
    session.leases.set(tag, lease);
    if (isNone) return this.#done(message, 'acked');
    message.state = 'leased';
    message.lease = lease;
  }

  /** Consumers of a higher priority go first, and in strict order the first queue that has messages. */
  #checkTurn(consumer: ModelConsumer, queue: ModelQueue, queueIndex: number): void {
    for (const other of this.consumersOf(queue)) {
      if (other.priority <= consumer.priority || this.#gained.has(other) || !this.hasCredit(other)) continue;
      assert.fail(`consumer ${consumer.id} was served before consumer ${other.id} of a higher priority`);
    }
    if (consumer.order !== 'strict') return;
    for (const earlier of consumer.queues.slice(0, queueIndex)) {
      if (earlier === null || this.#touched.has(earlier)) continue;
      assert.equal(
        this.#next(earlier),
        null,
        `queue "${queue.name}" was served before "${earlier.name}" in strict order`,
      );
    }
  }

  #checkRecall({ session: number, tag }: Extract<Effect, { type: 'recall' }>): void {
    const lease = this.sessions.get(number)?.leases.get(tag);
    const { message } = lease ?? {};
    assert.ok(lease !== undefined && message?.state === 'leased', 'a recall asks for a delivery that has not started');
    assert.ok(!lease.isRecalled, 'a delivery is recalled once');
    lease.isRecalled = true;
    const next = this.#next(message.queue);
    const isUrgent = next !== null && next.priority > message.priority;
    const isIdle =
      next === null &&
      this.nowMs - lease.sinceMs >= 20 &&
      this.consumersOf(message.queue).some((other) => other !== lease.consumer && this.hasCredit(other));
    assert.ok(isUrgent || isIdle, 'a recall has a reason');
  }

  // What was said and what was expected.

  #begin(nowMs: number, effects: readonly Effect[]): void {
    this.#clock(nowMs);
    this.#touched.clear();
    this.#forgiven.clear();
    this.#gained.clear();
    this.#told = effects;
    this.#deliveries = effects.filter((effect) => effect.type === 'deliver');
    this.#answers = [];
  }

  #end(effects: readonly Effect[]): void {
    assert.deepEqual(this.#deliveries, [], 'nothing is delivered that should not be');
    for (const effect of effects) if (effect.type === 'recall') this.#checkRecall(effect);
    const answers = effects.filter((effect) => effect.type !== 'deliver' && effect.type !== 'recall');
    assert.deepEqual(sorted(answers.flatMap(spread)), sorted(this.#answers.flatMap(spread)));
  }

  #answer(answer: Answer): void {
    this.#answers.push(answer);
  }

  #clock(nowMs: number): void {
    this.nowMs = Math.max(this.nowMs, nowMs);
  }
}

/** Numbers in rising order as `first, count` pairs. */
export function runs(numbers: readonly number[]): number[] {
  const pairs: number[] = [];
  for (const number of numbers) {
    const last = pairs.length - 2;
    if (last >= 0 && pairs[last]! + pairs[last + 1]! === number) pairs[last + 1]!++;
    else pairs.push(number, 1);
  }
  return pairs;
}

/** A refusal tag by tag: how they are gathered is left open. */
function spread(answer: Answer): Answer[] {
  if (answer.type !== 'refused' || answer.count === 1 || answer.count > 1_000) return [answer];
  return Array.from({ length: answer.count }, (_, i) => ({ ...answer, firstTag: answer.firstTag + i, count: 1 }));
}

/** Answers to one frame come in any order, but what a settlement refuses comes before it is said to be settled. */
function sorted(answers: readonly Answer[]): Answer[] {
  const rank = (answer: Answer): string => {
    if (answer.type === 'confirm' || answer.type === 'duplicate' || answer.type === 'reject')
      return `publish ${String(answer.seq).padStart(12)}`;
    if (answer.type === 'refused') return `refused ${String(answer.firstTag).padStart(12)}`;
    if (answer.type === 'cancelled') return `cancelled ${answer.session} ${answer.consumerId}`;
    return answer.type;
  };
  return [...answers].sort((a, b) => (rank(a) < rank(b) ? -1 : rank(a) > rank(b) ? 1 : 0));
}
