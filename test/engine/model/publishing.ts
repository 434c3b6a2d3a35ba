/** PUBLISH: what is taken, what is known, what is refused. */
import assert from 'node:assert/strict';
import { type ErrorCode, PUBLISH_FLAGS, type PublishBatch } from '@lovage/protocol';
import type { RefusedPublish } from '../../../server/engine/command.js';
import type { ModelExchange } from '../exchange-model.js';
import { payloadOf } from '../publish-batch.js';
import type { CommandOf, ModelProducer, ModelQueue, ModelSession } from './entities.js';
import type { ModelFlow } from './flow.js';
import type { ModelMessages } from './messages.js';
import { fitsQuotas } from './namespaces.js';
import type { ModelState } from './state.js';

/** What a frame has taken of a queue so far. */
interface Taken {
  messages: number;
  bytes: number;
}

export class ModelPublishing {
  readonly #state: ModelState;
  readonly #messages: ModelMessages;
  readonly #flow: ModelFlow;

  constructor(state: ModelState, messages: ModelMessages, flow: ModelFlow) {
    this.#state = state;
    this.#messages = messages;
    this.#flow = flow;
  }

  /** `tableSize`: slots in use before it, which decides whether there is room. */
  publish(command: CommandOf<'publish'>, tableSize: number): void {
    const { session: number, batch, refused = null } = command;
    const state = this.#state;
    const session = state.sessions.get(number)!;
    const producer = session.producer === null ? null : state.producer(session.namespace, session.producer);
    const isMemory = (batch.flags & PUBLISH_FLAGS.MEMORY) !== 0;
    const isRefused = refused !== null && refused.targets === null && batch.problem === null;
    const { heldBack } = session;
    const isBehind = heldBack.length > 0 && batch.firstSeq > Math.max(...heldBack);
    const isOvertaking = isBehind && batch.confirmedSeq < Math.min(...heldBack) && batch.problem === null;
    if (!isOvertaking && batch.problem === null) session.heldBack = [];
    const why = isRefused ? refused.code : this.#whyRefused(session.namespace, command, isMemory, tableSize);
    const code = isOvertaking ? 'FLOW_BLOCKED' : why;
    if (code !== null) {
      const isForNow = isOvertaking || (!isRefused && code === state.refusal && state.isRefusalForNow);
      for (let seq = batch.firstSeq; seq < batch.firstSeq + batch.count; seq++) {
        const before = batch.problem === null ? producer?.taken.get(seq) : undefined;
        if (before === undefined) {
          state.answer({ type: 'reject', session: number, seq, code });
          if (isForNow) session.heldBack.push(seq);
        } else state.answer({ type: 'confirm', session: number, seq, id: before.id, isMemory });
      }
      return;
    }
    const targets = batch.targets.map((name, t) => (refused?.targets?.has(t) ? null : name));
    if ((batch.flags & PUBLISH_FLAGS.AUTO_DECLARE) !== 0) {
      for (const [t, name] of targets.entries())
        if (name !== null && (batch.exchanges[t] ?? null) === null && state.queue(session.namespace, name) === null)
          this.#messages.createQueue(session.namespace, name);
    }
    if (batch.exchanges.length > 0) return this.#publishRouted(command, session, producer, isMemory);
    const baseId = state.nextId;
    // A key that a frame pushes out of the window is known to the end of the frame.
    const windows = new Map([...state.queues.values()].map((queue) => [queue, new Map(queue.dedup)]));
    const fresh: [queue: ModelQueue, i: number][] = [];
    const taken = new Map<ModelQueue, Taken>();
    for (let i = 0; i < batch.count; i++) {
      const seq = batch.firstSeq + i;
      const target = targets[batch.target[i]!]!;
      const queue = target === null ? null : state.queue(session.namespace, target);
      const before = producer?.taken.get(seq);
      const key = batch.dedupKeys.get(i);
      const twin = queue === null || key === undefined ? undefined : windows.get(queue)!.get(key);
      const reject = (why: ErrorCode): void => state.answer({ type: 'reject', session: number, seq, code: why });
      if (before !== undefined) state.answer({ type: 'confirm', session: number, seq, id: before.id, isMemory });
      else if (target === null) reject(refused!.code);
      else if (queue === null) reject(this.#whyMissing(batch));
      else if (twin !== undefined && twin.timeMs + queue.settings.dedupWindowMs > state.nowMs) {
        queue.totals.duplicates++;
        state.answer({ type: 'duplicate', session: number, seq, id: twin.id, isMemory });
      } else if (!this.#claim(queue, taken, batch.payloadLength[i]!)) reject('QUEUE_FULL');
      else {
        fresh.push([queue, i]);
        if (key !== undefined && queue.settings.dedupWindowMs > 0)
          windows.get(queue)!.set(key, { id: baseId + i, timeMs: state.nowMs, isMemory });
        producer?.taken.set(seq, { id: baseId + i, isMemory });
        state.answer({ type: 'confirm', session: number, seq, id: baseId + i, isMemory });
      }
    }
    for (const [queue, i] of fresh) this.#take(batch, i, baseId + i, queue, isMemory);
    if (fresh.length > 0) {
      state.nextId = baseId + batch.count;
      this.#use(targets, session.namespace);
    }
    if (producer !== null) producer.confirmedSeq = Math.max(producer.confirmedSeq, batch.confirmedSeq);
    this.#flow.flow();
  }

  /** Messages to queues that are taken with a settlement, all or none: why not, or what takes them. */
  follow(
    namespace: string,
    batch: PublishBatch,
    refused: RefusedPublish | null,
    tableSize: number,
  ): ErrorCode | (() => void) {
    const state = this.#state;
    const command = { type: 'publish', session: 0, batch, refused } as const;
    const code = this.#whyRefused(namespace, command, false, tableSize) ?? refused?.code ?? null;
    if (code !== null) return code;
    if ((batch.flags & PUBLISH_FLAGS.AUTO_DECLARE) !== 0)
      for (const name of batch.targets)
        if (state.queue(namespace, name) === null) this.#messages.createQueue(namespace, name);
    const windows = new Map([...state.queues.values()].map((queue) => [queue, new Map(queue.dedup)]));
    const taken = new Map<ModelQueue, Taken>();
    const fresh: [queue: ModelQueue, i: number][] = [];
    const refusals: ErrorCode[] = [];
    for (let i = 0; i < batch.count; i++) {
      const queue = state.queue(namespace, batch.targets[batch.target[i]!]!);
      const key = batch.dedupKeys.get(i);
      const twin = queue === null || key === undefined ? undefined : windows.get(queue)!.get(key);
      if (queue === null) refusals.push(this.#whyMissing(batch));
      else if (twin !== undefined && twin.timeMs + queue.settings.dedupWindowMs > state.nowMs)
        queue.totals.duplicates++;
      else if (!this.#claim(queue, taken, batch.payloadLength[i]!)) refusals.push('QUEUE_FULL');
      else {
        fresh.push([queue, i]);
        if (key !== undefined && queue.settings.dedupWindowMs > 0)
          windows.get(queue)!.set(key, { id: 0, timeMs: state.nowMs, isMemory: false });
      }
    }
    if (refusals.length > 0) return refusals[0]!;
    return () => {
      const baseId = state.nextId;
      state.nextId += batch.count;
      for (const [queue, i] of fresh) this.#take(batch, i, baseId + i, queue, false);
      this.#use(batch.targets, namespace);
    };
  }

  #whyRefused(
    namespace: string,
    command: CommandOf<'publish'>,
    isMemory: boolean,
    tableSize: number,
  ): ErrorCode | null {
    const { batch, refused = null } = command;
    if (batch.problem !== null) return batch.problem.code;
    const { refusal } = this.#state;
    if (refusal !== null && (!isMemory || refusal === 'FLOW_BLOCKED')) return refusal;
    let copies = batch.count;
    let { length: bytes } = batch.bytes;
    if (batch.exchanges.length > 0) {
      copies = 0;
      bytes = 0;
      const declares = (batch.flags & PUBLISH_FLAGS.AUTO_DECLARE) !== 0;
      for (let i = 0; i < batch.count; i++) {
        if (refused?.targets?.has(batch.target[i]!)) continue;
        const count = this.#routeOf(namespace, batch, i)?.size || (declares && this.#isDeclared(command, i) ? 1 : 0);
        copies += count;
        bytes += count * batch.payloadLength[i]!;
      }
    }
    if (tableSize + copies > this.#state.options.messagesMax) return 'TOO_MANY_MESSAGES';
    return fitsQuotas(this.#state, namespace, copies, bytes) ? null : 'QUOTA_EXCEEDED';
  }

  /** Why a message has no queue. */
  #whyMissing({ flags }: PublishBatch): ErrorCode {
    const { queues, options } = this.#state;
    if ((flags & PUBLISH_FLAGS.AUTO_DECLARE) === 0) return 'QUEUE_NOT_FOUND';
    return queues.size >= options.queuesMax ? 'TOO_MANY_QUEUES' : 'QUOTA_EXCEEDED';
  }

  /** Whether message `i` goes to a queue that the frame makes. */
  #isDeclared({ batch, refused = null }: CommandOf<'publish'>, i: number): boolean {
    const t = batch.target[i]!;
    const name = batch.targets[t]!;
    if ((batch.exchanges[t] ?? null) === null) return true;
    if (batch.exchanges[t] !== '') return false;
    return batch.targets.some((other, u) => other === name && batch.exchanges[u] === null && !refused?.targets?.has(u));
  }

  /** Names of the queues that message `i` reaches; null if its queue does not exist, none if its exchange does not. */
  #routeOf(namespace: string, batch: PublishBatch, i: number): ReadonlySet<string> | null {
    const t = batch.target[i]!;
    const name = batch.targets[t]!;
    const exchange = batch.exchanges[t] ?? null;
    const hasQueue = this.#state.queue(namespace, name) !== null;
    if (exchange === null) return hasQueue ? new Set([name]) : null;
    if (exchange === '') return new Set(hasQueue ? [name] : []);
    return this.#state.exchanges.route(namespace, exchange, name, batch.headersOf(i));
  }

  #publishRouted(
    { batch, refused = null }: CommandOf<'publish'>,
    { namespace, number }: ModelSession,
    producer: ModelProducer | null,
    isMemory: boolean,
  ): void {
    const state = this.#state;
    const windows = new Map([...state.queues.values()].map((queue) => [queue, new Map(queue.dedup)]));
    const taken = new Map<ModelQueue, Taken>();
    const copies: [queue: ModelQueue, i: number, id: number][] = [];
    for (let i = 0; i < batch.count; i++) {
      const seq = batch.firstSeq + i;
      const reject = (code: ErrorCode): void => state.answer({ type: 'reject', session: number, seq, code });
      const before = producer?.taken.get(seq);
      if (before !== undefined) {
        state.answer({ type: 'confirm', session: number, seq, id: before.id, isMemory });
        continue;
      }
      if (refused?.targets?.has(batch.target[i]!)) {
        reject(refused.code);
        continue;
      }
      const found = this.#exchangeOf(namespace, batch, i);
      if (found) found.totals.published++;
      const names = this.#routeOf(namespace, batch, i);
      if (names === null || names.size === 0) {
        if (found) found.totals.unrouted++;
        const isMandatory = (batch.flags & PUBLISH_FLAGS.MANDATORY) !== 0;
        if (names === null) reject(this.#whyMissing(batch));
        else if (found === undefined) reject('EXCHANGE_NOT_FOUND');
        else if (isMandatory) reject('UNROUTABLE');
        else state.answer({ type: 'confirm', session: number, seq, id: 0, isMemory });
        continue;
      }
      const key = batch.dedupKeys.get(i);
      const fresh: ModelQueue[] = [];
      const twins: number[] = [];
      for (const name of names) {
        const queue = state.queue(namespace, name)!;
        const twin = key === undefined ? undefined : windows.get(queue)!.get(key);
        if (twin === undefined || twin.timeMs + queue.settings.dedupWindowMs <= state.nowMs) {
          fresh.push(queue);
        } else {
          queue.totals.duplicates++;
          twins.push(twin.id);
        }
      }
      if (fresh.length === 0) {
        // Which of the first messages is told is left open.
        const told = state.told.find((effect) => effect.type === 'duplicate' && effect.seq === seq);
        assert.ok(told?.type === 'duplicate' && twins.includes(told.id), 'a duplicate is of one that is there');
        state.answer({ type: 'duplicate', session: number, seq, id: told.id, isMemory });
        continue;
      }
      const bytes = batch.payloadLength[i]!;
      // Nowhere or everywhere.
      if (fresh.some((queue) => !this.#claim(queue, new Map(taken), bytes))) {
        reject('QUEUE_FULL');
        continue;
      }
      const firstId = state.nextId;
      for (const queue of fresh.sort((a, b) => state.indexOf(a) - state.indexOf(b))) {
        const id = state.nextId++;
        this.#claim(queue, taken, bytes);
        copies.push([queue, i, id]);
        if (key !== undefined && queue.settings.dedupWindowMs > 0)
          windows.get(queue)!.set(key, { id, timeMs: state.nowMs, isMemory });
      }
      producer?.taken.set(seq, { id: firstId, isMemory });
      state.answer({ type: 'confirm', session: number, seq, id: firstId, isMemory });
    }
    for (const [queue, i, id] of copies) {
      this.#take(batch, i, id, queue, isMemory);
      queue.usedMs = state.nowMs;
    }
    if (producer !== null) producer.confirmedSeq = Math.max(producer.confirmedSeq, batch.confirmedSeq);
    this.#flow.flow();
  }

  /** The exchange of message `i`, undefined if there is none of the name, null if it is published to a queue or the default exchange. */
  #exchangeOf(namespace: string, batch: PublishBatch, i: number): ModelExchange | null | undefined {
    const name = batch.exchanges[batch.target[i]!] ?? null;
    return name === null || name === '' ? null : this.#state.exchanges.find(namespace, name);
  }

  /** Whether a queue that refuses what is too many has room for one more of the frame. */
  #claim(queue: ModelQueue, taken: Map<ModelQueue, Taken>, bytes: number): boolean {
    if (queue.settings.overflow !== 'reject-publish') return true;
    const before = taken.get(queue) ?? { messages: 0, bytes: 0 };
    if (!this.#messages.fits(queue, before.messages + 1, before.bytes + bytes)) return false;
    taken.set(queue, { messages: before.messages + 1, bytes: before.bytes + bytes });
    return true;
  }

  #use(targets: readonly (string | null)[], namespace: string): void {
    for (const name of targets) {
      const queue = name === null ? null : this.#state.queue(namespace, name);
      if (queue !== null) queue.usedMs = this.#state.nowMs;
    }
  }

  #take(batch: PublishBatch, i: number, id: number, queue: ModelQueue, isMemory: boolean): void {
    const { nowMs } = this.#state;
    const lifeMs = batch.expiresInMs[i] || queue.settings.messageTtlMs;
    const delayMs = batch.delayMs[i]!;
    this.#state.messages.set(id, {
      id,
      queue,
      priority: batch.priority[i]! < 0 ? queue.settings.defaultPriority : batch.priority[i]!,
      expiryMs: lifeMs === 0 ? 0 : nowMs + lifeMs,
      isMemory,
      payload: payloadOf(batch, i),
      state: delayMs > 0 ? 'delayed' : 'waiting',
      attempts: 0,
      dueMs: delayMs > 0 ? nowMs + delayMs : 0,
      delayTurn: this.#state.nextTurn(),
      redelivered: false,
      lease: null,
      history: [],
      attemptLog: { crashes: 0, failures: [] },
      rate: batch.rates.get(i) ?? null,
    });
    queue.totals.published++;
    this.#state.touched.add(queue);
    const key = batch.dedupKeys.get(i);
    if (key === undefined || queue.settings.dedupWindowMs === 0) return;
    queue.dedup.delete(key);
    queue.dedup.set(key, { id, timeMs: nowMs, isMemory });
    if (queue.dedup.size > queue.settings.dedupKeysMax) queue.dedup.delete([...queue.dedup.keys()][0]!);
  }
}
