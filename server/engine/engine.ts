/**
 * The heart: queues, deliveries and their rules, synchronous and deterministic. It knows no clock, no socket and no file; what it wants written
 * or told it says to the `EffectSink`. The same commands at the same times give the same records and effects, to the byte.
 */
import type { BindingInfo, ExchangeInfo, QueueInfo } from '@lovage/protocol';
import { Access } from './access.js';
import { Archiving } from './archiving.js';
import type { Command } from './command.js';
import { DeadLetters } from './dead-letters.js';
import { DedupExpiry } from './dedup-expiry.js';
import { Deliveries } from './deliveries.js';
import type { EffectSink } from './effects.js';
import { factsOf } from './exchange.js';
import { Exchanges } from './exchanges.js';
import { Limits } from './limits.js';
import { MessageActs } from './message-acts.js';
import { MessageLists } from './message-lists.js';
import { STATE } from './message-table.js';
import { Namespaces } from './namespaces.js';
import { Places } from './places.js';
import { Publishing } from './publishing.js';
import { addTotals, clearTotals, type QueueTotals } from './queue.js';
import { QueueExpiry } from './queue-expiry.js';
import { QueueRegistry } from './queue-registry.js';
import { Queues } from './queues.js';
import { RateLimits } from './rate-limits.js';
import { Recall } from './recall.js';
import type { CheckpointRecord, JournalRecord, MovedMessage } from './record.js';
import { Restore } from './restore.js';
import { Results } from './results.js';
import { Sessions } from './sessions.js';
import { Settling } from './settling.js';
import { SingleActive } from './single-active.js';
import { ENGINE_DEFAULTS, type EngineOptions, EngineState } from './state.js';
import { Transfers } from './transfers.js';

/** Timers that one tick fires at most: some 2 ms of work. */
const TIMERS_PER_TICK = 5_000;
/** ms between two rounds of forgetting producers. */
const PRUNE_MS = 60_000;

type Handlers = { readonly [T in Command['type']]: (command: Extract<Command, { type: T }>, out: EffectSink) => void };

export class Engine {
  /** Read by the broker when it sends; written here only. */
  readonly state: EngineState;
  readonly #recall: Recall;
  readonly #limits: Limits;
  readonly #dedupExpiry: DedupExpiry;
  readonly #expiry: QueueExpiry;
  readonly #deliveries: Deliveries;
  readonly #archiving: Archiving;
  readonly #settling: Settling;
  readonly #results: Results;
  readonly #queues: Queues;
  readonly #exchanges: Exchanges;
  readonly #messageActs: MessageActs;
  readonly #messageLists: MessageLists;
  readonly #publishing: Publishing;
  readonly #sessions: Sessions;
  readonly #access: Access;
  readonly #namespaces: Namespaces;
  readonly #places: Places;
  readonly #rateLimits: RateLimits;
  readonly #restore: Restore;
  readonly #handlers: Handlers;
  #pruneAtMs = 0;

  constructor(options: Partial<EngineOptions> = {}) {
    this.state = new EngineState({ ...ENGINE_DEFAULTS, ...options });
    const { state } = this;
    const places = new Places(state);
    this.#places = places;
    this.#expiry = new QueueExpiry(state);
    const registry = new QueueRegistry(state, this.#expiry);
    const transfers = new Transfers(state, places);
    const deadLetters = new DeadLetters(state, places, transfers, registry);
    const single = new SingleActive(state);
    const recall = new Recall(state);
    this.#limits = new Limits(state, places, deadLetters);
    this.#recall = recall;
    this.#deliveries = new Deliveries(state, { places, transfers, deadLetters, limits: this.#limits, single, recall });
    const deliveries = this.#deliveries;
    this.#results = new Results(state, { places, registry, deliveries });
    this.#archiving = new Archiving(state, places);
    this.#exchanges = new Exchanges(state);
    const exchanges = this.#exchanges;
    this.#queues = new Queues(state, { places, registry, expiry: this.#expiry, single, deliveries, exchanges });
    this.#dedupExpiry = new DedupExpiry(state);
    this.#publishing = new Publishing(state, { places, registry, deliveries, dedupExpiry: this.#dedupExpiry });
    const publishing = this.#publishing;
    this.#settling = new Settling(state, {
      places,
      deadLetters,
      single,
      deliveries,
      results: this.#results,
      publishing,
    });
    this.#sessions = new Sessions(state, deliveries, single, this.#expiry);
    this.#access = new Access(state);
    this.#rateLimits = new RateLimits(state, places, deliveries);
    this.#namespaces = new Namespaces(state, this.#queues, exchanges, this.#rateLimits);
    this.#messageActs = new MessageActs(state, {
      places,
      registry,
      deadLetters,
      deliveries,
      results: this.#results,
    });
    this.#messageLists = new MessageLists(state);
    this.#restore = new Restore(state, {
      namespaces: this.#namespaces,
      places,
      transfers,
      registry,
      queues: this.#queues,
      sessions: this.#sessions,
      publishing,
      deliveries: this.#deliveries,
      exchanges,
      messageActs: this.#messageActs,
      results: this.#results,
      rateLimits: this.#rateLimits,
    });
    this.#handlers = this.#table();
  }

  /** Carries out a command. Never throws for a client's mistake: it emits a refusal. */
  apply(command: Command, nowMs: number, out: EffectSink): void {
    this.#clock(nowMs);
    // What is due by now is done first, so that no command meets a message that has expired.
    const { timers, table, nowMs: now } = this.state;
    if (timers.next() <= now || table.buckets.next() <= now) this.#fireTimers(out);
    (this.#handlers[command.type] as (command: Command, out: EffectSink) => void)(command, out);
    this.state.watches.flush(out);
  }

  /** Does what is due. Returns the ms of the next deadline: `nowMs` if more is due already, Infinity if nothing waits. */
  tick(nowMs: number, out: EffectSink): number {
    this.#clock(nowMs);
    this.#fireTimers(out);
    this.#sessions.expire(out);
    this.#queues.expire(out);
    this.#queues.sweep(out);
    this.#dedupExpiry.look();
    this.#results.look(out);
    this.state.table.buckets.forget(this.state.nowMs);
    this.state.watches.sweep();
    this.state.watches.flush(out);
    // Last, because results that are sent may leave no room to send deliveries to whoever seemed idle before.
    this.#recall.look(out);
    if (this.state.nowMs >= this.#pruneAtMs) {
      this.state.producers.prune(this.state.nowMs);
      this.#pruneAtMs = this.state.nowMs + PRUNE_MS;
    }
    return this.nextDeadline();
  }

  /** ms of the next thing that is due: now if a purge has slices left, Infinity if nothing waits. */
  nextDeadline(): number {
    if (this.isSweeping) return this.state.nowMs;
    const { timers, table } = this.state;
    return Math.min(
      timers.next(),
      table.buckets.next(),
      this.#sessions.nextDeadline(),
      this.#recall.next(),
      this.#expiry.next(),
      this.#dedupExpiry.next(),
    );
  }

  /** True while a purge, a delete, evictions or answers to watches go on in the background: `tick` wants to be called without waiting. */
  get isSweeping(): boolean {
    return this.#queues.isSweeping || this.#limits.isBusy || this.#results.isBusy || this.state.watches.isSweeping;
  }

  /** Replays one record. Emits nothing. */
  restore(record: JournalRecord): void {
    this.#restore.apply(record);
  }

  /** After the last record: sessions wait for their clients from `nowMs` on, and what waits may have been handed out before the restart. */
  recovered(nowMs: number): void {
    this.state.producers.prune(this.state.nowMs);
    this.#clock(nowMs);
    this.state.producers.awaitReturn(this.state.nowMs);
    this.state.table.buckets.recovered(this.state.nowMs);
    this.#queues.recovered();
    for (const queue of this.state.queues) {
      if (queue === undefined) continue;
      clearTotals(queue.totals);
      this.#dedupExpiry.watch(queue);
    }
    this.#archiving.recovered();
    this.#sessions.awaitResume();
    this.#deliveries.markRedelivered();
  }

  /** Why publishes are refused from now on, null to take them again, and whether FLOW will tell. DISK_FULL is not for those that are kept in memory only. */
  refusePublishes(code: 'DISK_FULL' | 'FLOW_BLOCKED' | null, isForNow: boolean): void {
    this.#publishing.refusal = code;
    this.#publishing.isRefusalForNow = isForNow;
  }

  /** What is to be archived; written by the broker, which has the archive. */
  get archiving(): Archiving {
    return this.#archiving;
  }

  /** Whether results that go to the journal are not kept from now on, because there is no room. */
  refuseResults(isFull: boolean): void {
    this.#results.isFull = isFull;
  }

  /** A lease's bytes are with its connection. */
  sent(lease: number): void {
    this.#deliveries.sent(lease);
  }

  /** Everything that is not a message, for the head of a new segment. */
  checkpoint(): CheckpointRecord {
    const { state } = this;
    const sessions = [...state.sessions.values()].filter((session) => session.isRecorded);
    return {
      type: 'checkpoint',
      timeMs: state.nowMs,
      nextId: this.#publishing.idsBelow,
      nextSession: state.nextSession,
      queues: [...state.queuesByName.values()].map((queue) => ({
        index: queue.index,
        namespace: queue.namespace,
        name: queue.name,
        settings: queue.settings,
        version: queue.version,
        isPaused: queue.isPaused,
        era: queue.era,
        dedup: queue.dedup.entries(state.nowMs),
      })),
      sessions: sessions.map(({ number, key, namespace, producer }) => ({
        type: 'session',
        session: number,
        key,
        namespace,
        producer: producer?.name ?? null,
      })),
      producers: [...state.producers].map((producer) => ({
        namespace: producer.namespace,
        name: producer.name,
        lastSeq: producer.lastSeq,
        confirmedSeq: producer.confirmedSeq,
        usedMs: producer.usedMs,
        ranges: producer.remembered(),
      })),
      exchanges: [...state.exchanges.values()].map(({ namespace, name, type: kind, alternate }) => ({
        namespace,
        name,
        kind,
        alternate,
      })),
      bindings: [...state.bindings].map((binding) => ({ namespace: binding.from.namespace, ...factsOf(binding) })),
      tokens: [...state.tokens],
      namespaces: [...state.queuesByName.spaces()].flatMap(({ namespace: name, settings }) =>
        settings === null ? [] : [{ type: 'namespace' as const, name, settings }],
      ),
      rateLimits: [...this.#rateLimits.records()],
    };
  }

  /** What must be copied of message `id` if it is alive and lies at this place in the journal; null otherwise. */
  movable(id: number, segment: number, offset: number): Omit<MovedMessage, 'offset'> | null {
    const { table, leases, queues } = this.state;
    const slot = table.find(id);
    if (slot < 0 || table.isMemory(slot) || table.segment[slot] !== segment || table.offset[slot] !== offset)
      return null;
    const state = table.state[slot];
    const queue = queues[table.queue[slot]!]!;
    if (state === STATE.SENDING || this.state.queuesByName.get(`${queue.namespace} ${queue.name}`) !== queue)
      return null;
    const lease = state === STATE.STARTED ? table.prev[slot]! : -1;
    const consumer = lease < 0 ? null : leases.consumer[lease]!;
    return {
      id,
      queue: queue.index,
      priority: table.priority[slot]!,
      attempts: table.attempts[slot]!,
      dueMs: table.dueMs[slot]!,
      expiryMs: table.expiryMs[slot]!,
      session: consumer?.session.number ?? 0,
      tag: lease < 0 ? 0 : leases.tag[lease]!,
      consumerId: consumer?.id ?? 0,
      length: table.length[slot]!,
      history: table.historyOf(slot),
      attemptLog: table.attemptLogOf(slot),
      rate: table.rateOf(slot),
    };
  }

  /** Writes copies of messages that `movable` gave, whose payloads lie in `body`. */
  move(messages: readonly MovedMessage[], body: Uint8Array, out: EffectSink): void {
    const { table } = this.state;
    const offset = out.move({ type: 'move', messages, body, segment: 0, offset: 0 });
    for (const message of messages) table.move(table.find(message.id), out.segment, offset + message.offset);
  }

  /** Sums over all queues that are and were. */
  totals(): QueueTotals {
    const sum = { ...this.state.deletedTotals };
    for (const queue of this.state.queues) if (queue !== undefined) addTotals(sum, queue.totals);
    return sum;
  }

  messageCounts(): { ready: number; delayed: number; leased: number; started: number } {
    const sum = { ready: 0, delayed: 0, leased: 0, started: 0 };
    for (const queue of this.state.queues) {
      if (queue === undefined) continue;
      sum.ready += queue.ready.size;
      sum.delayed += queue.delayed;
      sum.leased += queue.leased;
      sum.started += queue.started;
    }
    return sum;
  }

  /** Consumers that are subscribed now. */
  consumerCount(): number {
    let count = 0;
    for (const session of this.state.sessions.values())
      for (const consumer of session.consumers.values()) if (consumer.isActive) count++;
    return count;
  }

  queueInfo(namespace: string, name: string): QueueInfo | null {
    return this.state.queue(namespace, name)?.info(this.state.nowMs) ?? null;
  }

  /** Name of the queue that a message of the namespace is in and not done yet; null if there is none. */
  queueOf(namespace: string, id: number): string | null {
    return this.#messageActs.queueOf(namespace, id);
  }

  queueInfos(namespace: string | null, after: string | null, limit: number): QueueInfo[] {
    return this.#queues.list(namespace, after, limit).queues;
  }

  /** Exchanges of one namespace (all of them when null) by name, from behind `after` on. */
  exchangeInfos(namespace: string | null, after: string | null, limit: number): ExchangeInfo[] {
    return this.#exchanges.infos(namespace, after, limit);
  }

  /** Bindings by id, from behind `after` on; null for all namespaces, for all exchanges. */
  bindingInfos(namespace: string | null, exchange: string | null, after: number, limit: number): BindingInfo[] {
    return this.#exchanges.bindingInfos(namespace, exchange, after, limit);
  }

  #clock(nowMs: number): void {
    if (nowMs > this.state.nowMs) this.state.nowMs = nowMs;
  }

  /** Messages that are due, or have expired, and rate limits that let some through again, up to so many of each. */
  #fireTimers(out: EffectSink): void {
    const { timers } = this.state;
    for (let fired = 0; fired < TIMERS_PER_TICK && timers.next() <= this.state.nowMs; fired++) {
      const timer = timers.pop();
      if (timer % 2 === 0) this.#deliveries.due(timer / 2);
      else this.#deliveries.expire((timer - 1) / 2, out);
    }
    this.state.table.buckets.open(TIMERS_PER_TICK, this.state.nowMs, this.#places.touched);
    this.#deliveries.flow(out);
  }

  #table(): Handlers {
    const sessions = this.#sessions;
    const settling = this.#settling;
    const queues = this.#queues;
    const exchanges = this.#exchanges;
    return {
      open: (command, out) => sessions.open(command, out),
      detach: (command, out) => sessions.detach(this.state.session(command.session), out),
      close: (command, out) => sessions.close(this.state.session(command.session), out),
      publish: (command, out) => this.#publishing.publish(command, out),
      consume: (command, out) => sessions.consume(command, out),
      cancel: (command, out) => sessions.cancel(command, out),
      prefetch: (command, out) => sessions.prefetch(command, out),
      start: (command, out) => settling.start(command, out),
      ack: (command, out) => settling.ack(command, out),
      nack: (command, out) => settling.nack(command, out),
      complete: (command, out) => settling.complete(command, out),
      'result-watch': (command, out) => this.#results.watch(command, out),
      'results-archived': (command, out) => this.#archiving.settle(command, out),
      'result-unwatch': (command, out) => this.#results.unwatch(command, out),
      note: (command, out) => this.#results.note(command, out),
      'message-state': (command, out) => this.#results.states(command, out),
      release: (command, out) => settling.release(command, out),
      drained: (command, out) => sessions.drained(this.state.session(command.session), command.bytes, out),
      declare: (command, out) => queues.declare(command, out),
      delete: (command, out) => queues.delete(command, out),
      purge: (command, out) => queues.purge(command, out),
      pause: (command, out) => queues.pause(command, true, out),
      resume: (command, out) => queues.pause(command, false, out),
      inspect: (command, out) => queues.inspect(command, out),
      'token-create': (command, out) => this.#access.create(command, out),
      'token-list': (command, out) => this.#access.list(command, out),
      'token-revoke': (command, out) => this.#access.revoke(command, out),
      'namespace-set': (command, out) => this.#namespaces.set(command, out),
      'namespace-list': (command, out) => this.#namespaces.list(command, out),
      'namespace-delete': (command, out) => this.#namespaces.delete(command, out),
      'message-list': (command, out) => this.#messageLists.list(command, out),
      'message-act': (command, out) => this.#messageActs.apply(command, out),
      list: (command, out) => {
        const { namespace } = this.state.session(command.session);
        out.reply(command.session, command.request, queues.list(namespace, command.after, command.limit));
      },
      'exchange-declare': (command, out) => exchanges.declare(command, out),
      'exchange-delete': (command, out) => exchanges.delete(command, out),
      'exchange-list': (command, out) => exchanges.list(command, out),
      bind: (command, out) => exchanges.bind(command, out),
      unbind: (command, out) => exchanges.unbind(command, out),
      'binding-list': (command, out) => exchanges.bindings(command, out),
      'rate-limit-declare': (command, out) => this.#rateLimits.set(command, out),
      'rate-limit-override': (command, out) => this.#rateLimits.set(command, out),
      'rate-limit-delete': (command, out) => this.#rateLimits.delete(command, out),
      'rate-limit-list': (command, out) => this.#rateLimits.list(command, out),
    };
  }
}
