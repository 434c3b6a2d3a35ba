/**
 * An engine, its journal and the reference model, taken through the same commands. After every command it compares answers, deliveries, the whole
 * state and the books, feeds a second engine with the records that were written, and compares that one, too (promise P10).
 */
import assert from 'node:assert/strict';
import {
  type CompleteBatch,
  EXCHANGE_TYPES,
  MESSAGE_STATES,
  PUBLISH_FLAGS,
  parseNamespaceSettings,
  parseTokenOptions,
  type QueueSettings,
  type Rate,
  RESULTS_QUEUE,
} from '@lovage/protocol';
import { RecordReader } from '../../server/broker/record-codec.js';
import type { Command, MessageAct } from '../../server/engine/command.js';
import { Engine } from '../../server/engine/engine.js';
import type { Queue } from '../../server/engine/queue.js';
import type { MovedMessage } from '../../server/engine/record.js';
import { ENGINE_DEFAULTS, type EngineOptions } from '../../server/engine/state.js';
import { compareLive, compareReplayed } from './compare.js';
import { completeBatch, type TestResult } from './complete-batch.js';
import { EXCHANGES, HEADERS, type Intent, KEYS, type MessageIntent, QUEUES } from './intents.js';
import type { ModelMessage, ModelQueue, ModelSession } from './model/entities.js';
import { publishBatch, type TestMessage } from './publish-batch.js';
import { type Delivered, Recorder, replayed, TestLog } from './recorder.js';
import { recount } from './recount.js';
import { ReferenceModel } from './reference-model.js';

type IntentOf<T extends Intent['type']> = Extract<Intent, { type: T }>;

export const WORLD_OPTIONS: EngineOptions = {
  ...ENGINE_DEFAULTS,
  messagesMax: 48,
  queuesMax: 5,
  exchangesMax: 5,
  bindingsMax: 12,
  graceMs: 100,
};

const PRODUCERS = [null, 'p1', 'p2'] as const;
const SETTINGS: readonly Partial<QueueSettings>[] = [
  { backoffMsMin: 30, backoffMsMax: 100, deadLetterQueue: 'q3' },
  { defaultPriority: 5, messageTtlMs: 80, deadLetterQueue: 'q3' },
  { dedupWindowMs: 100, dedupKeysMax: 2, backoffMsMin: 0, backoffMsMax: 0, attemptsMax: 2 },
  { dedupWindowMs: 0, singleActiveConsumer: true, deadLetterQueue: 'q0' },
  { messagesMax: 4, overflow: 'drop-head', deadLetterQueue: 'q0' },
  { messagesMax: 3, bytesMax: 90, overflow: 'dead-letter-head', deadLetterQueue: 'q3' },
  { messagesMax: 5, bytesMax: 120, deadLetterQueue: 'q0', expiresAfterUnusedMs: 500 },
];
/** What MERGE changes; the number of dedup keys is left alone, see `#message`. */
const CHANGES: readonly Partial<QueueSettings>[] = [
  {},
  { attemptsMax: 1, deadLetterQueue: 'q3' },
  { attemptsMax: 0 },
  { attemptsMax: 3, deadLetterQueue: 'q0' },
  { deadLetterQueue: null },
  { messagesMax: 3, overflow: 'drop-head' },
  { messagesMax: 2, overflow: 'dead-letter-head', deadLetterQueue: 'q3' },
  { messagesMax: 2, overflow: 'dead-letter-head', deadLetterQueue: 'q0' },
  { messagesMax: 4, overflow: 'reject-publish' },
  { bytesMax: 60, overflow: 'drop-head' },
  { bytesMax: 90, overflow: 'reject-publish' },
  { messagesMax: 0, bytesMax: 0, overflow: 'reject-publish' },
  { messageTtlMs: 40 },
  { messageTtlMs: 0 },
  { dedupWindowMs: 50 },
  { dedupWindowMs: 1_000 },
  { dedupWindowMs: 0 },
  { singleActiveConsumer: true },
  { singleActiveConsumer: false },
  { expiresAfterUnusedMs: 300 },
  { expiresAfterUnusedMs: 0 },
  { defaultPriority: 1, backoffMsMin: 0 },
];
const QUEUE_DEFAULTS: readonly Partial<QueueSettings>[] = [
  {},
  {},
  { attemptsMax: 1, deadLetterQueue: 'q3' },
  { overflow: 'dead-letter-head', deadLetterQueue: 'q2', messagesMax: 4 },
];
const RATE_LIMITS = ['r0', 'r1'] as const;
const RATE_KEYS = [null, 'a', 'b'] as const;
const RATES: readonly Rate[] = [
  { count: 1, perMs: 10, burst: 1 },
  { count: 3, perMs: 100, burst: 2 },
  { count: 2, perMs: 7, burst: 5 },
  { count: 1, perMs: 1_000, burst: 1 },
  { count: 1_000, perMs: 1_000, burst: 10 },
];
/** Results that the archive has taken, and how their queue was then. */
interface Slice {
  readonly queue: Queue;
  readonly era: number;
  readonly ids: readonly number[];
  readonly model: ModelQueue;
  readonly purges: number;
}

const TICKS_MAX = 40;
/** Steps from one comparison of the whole state to the next. */
const COMPARED_EACH = 4;

export class World {
  readonly options: EngineOptions;
  readonly model: ReferenceModel;
  readonly log = new TestLog();
  engine: Engine;
  /** Follows the records of the live engine. */
  #follower: Engine;
  readonly #reader = new RecordReader();
  readonly #sink: Recorder;
  /** Deliveries whose bytes have not left. */
  #unsent: Delivered[] = [];
  /** What the archive has taken, oldest first. */
  #slices: Slice[] = [];
  #nowMs = 1_000_000;
  #requests = 0;
  readonly #settleSeqs = new Map<number, number>();
  readonly #nextSeqs = new Map<string, number>();

  constructor(options: EngineOptions = WORLD_OPTIONS) {
    this.options = options;
    this.model = new ReferenceModel(options);
    this.model.engineMade = (namespace, name) => this.#sink.made.has(`${namespace} ${name}`);
    this.model.indexOf = ({ namespace, name }) => this.engine.state.queue(namespace, name)!.index;
    this.model.isLookingUp = (session) => {
      const { sessions, watches } = this.engine.state;
      return watches.lookups.sizeOf(sessions.get(session)!) > 0;
    };
    this.engine = new Engine(options);
    this.engine.archiving.begin();
    this.#follower = new Engine(options);
    this.#sink = new Recorder(this.log, () => this.engine);
    this.#sink.record(this.engine.checkpoint());
    this.tick();
  }

  /** Compares answers and deliveries of each step, and the whole state now and then: that takes five times as long as the step. */
  run(intents: readonly Intent[]): void {
    for (const [i, intent] of intents.entries()) {
      this.#do(intent);
      if (i % COMPARED_EACH === 0) this.#compare();
    }
    this.#compare();
  }

  /** The same, and the state after each. */
  step(intent: Intent): void {
    this.#do(intent);
    this.#compare();
  }

  apply(command: Command): void {
    const { size } = this.engine.state.table;
    this.model.wasLookingUp = this.#lookingUp();
    this.#sink.made.clear();
    this.engine.apply(command, this.#nowMs, this.#sink);
    const effects = this.#sink.take();
    for (const effect of effects) if (effect.type === 'deliver') this.#unsent.push(effect);
    this.model.apply(command, this.#nowMs, effects, size);
    this.model.follow(this.engine.state);
  }

  tick(): void {
    for (let ticks = 0; ticks === 0 || this.engine.nextDeadline() <= this.#nowMs; ticks++) {
      assert.ok(ticks < TICKS_MAX, 'what is due gets done');
      this.model.wasLookingUp = this.#lookingUp();
      this.#sink.made.clear();
      this.engine.tick(this.#nowMs, this.#sink);
      const effects = this.#sink.take();
      for (const effect of effects) if (effect.type === 'deliver') this.#unsent.push(effect);
      this.model.tick(this.#nowMs, effects);
      this.model.follow(this.engine.state);
    }
    for (const { number, unsentBytes } of this.#attached())
      assert.ok(
        !this.model.isLookingUp(number) || unsentBytes >= this.options.unsentBytesMax,
        'results are looked for',
      );
    assert.ok(this.engine.nextDeadline() <= this.model.nextDeadline(), 'the engine wants to be woken in time');
  }

  #do(intent: Intent): void {
    (this[intent.type] as (intent: Intent) => void)(intent);
  }

  #compare(): void {
    compareLive(this.model, this.engine);
    recount(this.engine);
    for (const record of this.log.fresh) this.#follower.restore(this.#reader.read(record));
    this.log.fresh = [];
    compareReplayed(this.model, this.engine, this.#follower);
    recount(this.#follower);
  }

  // Each intent as a command.

  open({ other, producer }: IntentOf<'open'>): void {
    if (this.#attached().length >= 5) return;
    this.apply({
      type: 'open',
      key: `k${this.model.nextSession}.${this.#requests++}`,
      namespace: other ? 'other' : 'default',
      producer: PRODUCERS[producer]!,
      resumeKey: null,
      lastTag: 0,
    });
  }

  /** The client of a session comes back, after a lost connection or before the broker knows of one. */
  again({ session, sameProducer }: IntentOf<'again'>): void {
    const all = [...this.model.sessions.values()];
    const found = all[session % Math.max(1, all.length)];
    if (found === undefined) return;
    this.apply({
      type: 'open',
      key: `k${this.model.nextSession}.${this.#requests++}`,
      namespace: found.namespace,
      producer: sameProducer ? found.producer : 'p3',
      resumeKey: found.key,
      // What the client has seen, whatever the broker remembers.
      lastTag: Math.max(found.lastTag, found.forgottenTag),
    });
  }

  detach({ session }: IntentOf<'detach'>): void {
    this.#with(session, ({ number }) => this.apply({ type: 'detach', session: number }));
  }

  close({ session }: IntentOf<'close'>): void {
    this.#with(session, ({ number }) => this.apply({ type: 'close', session: number }));
  }

  /** The bytes of a session's deliveries leave. */
  flush({ session }: IntentOf<'flush'>): void {
    this.#with(session, ({ number }) => {
      const { leases } = this.engine.state;
      for (const { lease, tag } of this.#unsent.filter((delivered) => delivered.session === number)) {
        if (leases.consumer[lease]?.session.number !== number || leases.tag[lease] !== tag) continue;
        if (leases.slot[lease]! < 0) continue;
        this.engine.sent(lease);
        this.model.sent(number, tag);
      }
      this.#unsent = this.#unsent.filter((delivered) => delivered.session !== number);
    });
  }

  declare({ session, queue, settings }: IntentOf<'declare'>): void {
    this.#with(session, ({ number }) =>
      this.apply({
        type: 'declare',
        session: number,
        request: this.#requests++,
        name: QUEUES[queue]!,
        settings: settings < 0 ? null : SETTINGS[settings]!,
        mode: 'check',
      }),
    );
  }

  /** Some settings of a queue change. */
  merge({ session, queue, change }: IntentOf<'merge'>): void {
    this.#with(session, ({ number }) =>
      this.apply({
        type: 'declare',
        session: number,
        request: this.#requests++,
        name: QUEUES[queue]!,
        settings: CHANGES[change % CHANGES.length]!,
        mode: 'merge',
      }),
    );
  }

  delete({ session, queue, ifEmpty, ifUnused }: IntentOf<'delete'>): void {
    this.#with(session, ({ number }) =>
      this.apply({
        type: 'delete',
        session: number,
        request: this.#requests++,
        name: QUEUES[queue]!,
        ifEmpty,
        ifUnused,
      }),
    );
  }

  purge(intent: IntentOf<'purge'>): void {
    this.#onQueue(intent);
  }

  pause(intent: IntentOf<'pause'>): void {
    this.#onQueue(intent);
  }

  resume(intent: IntentOf<'resume'>): void {
    this.#onQueue(intent);
  }

  inspect(intent: IntentOf<'inspect'>): void {
    this.#onQueue(intent);
  }

  list({ session, queue }: IntentOf<'list'>): void {
    this.#with(session, ({ number }) => {
      const after = queue === 0 ? null : QUEUES[queue - 1]!;
      this.apply({ type: 'list', session: number, request: this.#requests++, after, limit: 2 });
    });
  }

  exchange({ session, exchange, kind, alternate }: IntentOf<'exchange'>): void {
    this.#with(session, ({ number }) =>
      this.apply({
        type: 'exchange-declare',
        session: number,
        request: this.#requests++,
        name: EXCHANGES[exchange]!,
        kind: EXCHANGE_TYPES[kind]!,
        alternate: alternate < 0 ? null : EXCHANGES[alternate]!,
      }),
    );
  }

  exchangeDelete({ session, exchange, ifUnused }: IntentOf<'exchangeDelete'>): void {
    const name = EXCHANGES[exchange]!;
    this.#with(session, ({ number }) =>
      this.apply({ type: 'exchange-delete', session: number, request: this.#requests++, name, ifUnused }),
    );
  }

  bind({ type, session, exchange, to, bindingKey, headers, any }: IntentOf<'bind'>): void {
    const isToQueue = to < QUEUES.length;
    this.#with(session, ({ number }) =>
      this.apply({
        type,
        session: number,
        request: this.#requests++,
        binding: {
          exchange: EXCHANGES[exchange]!,
          to: isToQueue ? 'queue' : 'exchange',
          name: isToQueue ? QUEUES[to]! : EXCHANGES[to - QUEUES.length]!,
          key: KEYS[bindingKey]!,
          headers: HEADERS[headers] ?? null,
          match: HEADERS[headers] === undefined ? null : any ? 'any' : 'all',
        },
      }),
    );
  }

  unbind(intent: IntentOf<'unbind'>): void {
    this.bind(intent);
  }

  exchanges({ session, exchange }: IntentOf<'exchanges'>): void {
    const after = exchange === 0 ? null : EXCHANGES[exchange - 1]!;
    const name = EXCHANGES[exchange]!;
    this.#with(session, ({ number }) => {
      this.apply({ type: 'exchange-list', session: number, request: this.#requests++, after, limit: 2 });
      this.apply({
        type: 'binding-list',
        session: number,
        request: this.#requests++,
        exchange: name,
        after: 0,
        limit: 100,
      });
    });
  }

  publish(intent: IntentOf<'publish'>): void {
    this.#with(intent.session, (session) => {
      const name = session.producer === null ? `#${session.number}` : `${session.namespace} ${session.producer}`;
      const nextSeq = this.#nextSeqs.get(name) ?? 1;
      const confirmed = this.model.producers.get(name)?.confirmedSeq ?? 0;
      const firstSeq = Math.max(confirmed + 1, nextSeq - intent.back);
      const batch = publishBatch({
        firstSeq,
        confirmedSeq: intent.confirm ? firstSeq - 1 : confirmed,
        flags:
          (intent.memory ? PUBLISH_FLAGS.MEMORY : 0) |
          (intent.autoDeclare ? PUBLISH_FLAGS.AUTO_DECLARE : 0) |
          (intent.mandatory ? PUBLISH_FLAGS.MANDATORY : 0),
        bodyBytesMax: intent.tooLarge ? 10 : 1_000,
        messages: intent.messages.map((message) => this.#message(session, message, intent.memory)),
      });
      this.#nextSeqs.set(name, Math.max(nextSeq, firstSeq + batch.count));
      const targets = intent.refused === 1 ? new Set([0]) : null;
      const refused = intent.refused === 0 ? null : ({ code: 'FORBIDDEN', message: 'no', targets } as const);
      this.apply({ type: 'publish', session: session.number, batch, refused });
    });
  }

  consume({ session, consumer, queues, prefetch, ack, order, exclusive, priority }: IntentOf<'consume'>): void {
    this.#with(session, ({ number }) =>
      this.apply({
        type: 'consume',
        session: number,
        request: this.#requests++,
        consumerId: consumer,
        options: {
          queues: queues.map((queue) => QUEUES[queue]!),
          prefetch,
          ack,
          queueOrder: order,
          weights: order === 'weighted' ? queues.map((queue) => queue + 1) : [],
          exclusive,
          priority,
        },
      }),
    );
  }

  cancel({ session, consumer }: IntentOf<'cancel'>): void {
    this.#with(session, ({ number }) =>
      this.apply({ type: 'cancel', session: number, request: this.#requests++, consumerId: consumer }),
    );
  }

  prefetch({ session, consumer, prefetch }: IntentOf<'prefetch'>): void {
    this.#with(session, ({ number }) =>
      this.apply({ type: 'prefetch', session: number, request: this.#requests++, consumerId: consumer, prefetch }),
    );
  }

  settle({ session: index, op, from, count, second, again, requeue, delayMs, ...how }: IntentOf<'settle'>): void {
    this.#with(index, (session) => {
      const tags = this.#tagsToSettle(session);
      const ranges = [tags[from % tags.length]!, count];
      if (second >= 0) ranges.push(tags[second % tags.length]!, 1);
      const last = this.#settleSeqs.get(session.number) ?? 0;
      const settleSeq = again ? Math.max(1, last) : last + 1;
      this.#settleSeqs.set(session.number, settleSeq);
      if (op === 'complete')
        return this.apply({
          type: op,
          session: session.number,
          batch: this.#completed(settleSeq, ranges, count, requeue, this.#follow(session, how)),
        });
      if (op === 'nack')
        this.apply({
          ...{ type: op, session: session.number, settleSeq, ranges, requeue, delayMs, cause: how.cause },
          // Long ones of an odd length are cut in the middle of a character.
          reason: how.reason < 0 ? null : `${'x'.repeat(how.reason % 2)}${'\u{1f9f1}'.repeat(how.reason)}`,
        });
      else if (op === 'release' && delayMs > 0)
        this.apply({ type: op, session: session.number, settleSeq, ranges, delayMs });
      else this.apply({ type: op, session: session.number, settleSeq, ranges });
    });
  }

  watch({ session, from, count, stop }: IntentOf<'watch'>): void {
    this.#with(session, ({ number }) => {
      const known = [...this.model.messages.keys()];
      const ids = Array.from({ length: count }, (_, i) => known[(from + i) % Math.max(1, known.length)] ?? 1);
      const type = stop ? 'result-unwatch' : 'result-watch';
      this.apply({ type, session: number, request: this.#requests++, ids: [...new Set(ids)] });
      const request = (): number => this.#requests++;
      this.apply({
        type: 'message-state',
        session: number,
        request: request(),
        ids: [...new Set(ids), 1],
        withNotes: true,
      });
      this.apply({ type: 'message-state', session: number, request: request(), ids: [ids[0] ?? 1], withNotes: !stop });
    });
  }

  /** A handler tells of its delivery, or of one that it does not have. */
  note({ session: index, from, step, lines }: IntentOf<'note'>): void {
    this.#with(index, (session) => {
      const tags = this.#tagsToSettle(session);
      const progress = step < 0 ? null : ([step === 0 ? null : 'text/plain', Buffer.from(`${step}`)] as const);
      const log = Array.from({ length: lines }, (_, i) => `line ${i} of ${this.#requests}`);
      const tag = tags[from % tags.length]!;
      this.apply({ type: 'note', session: session.number, tag, note: { progress, log } });
    });
  }

  drained({ session, share }: IntentOf<'drained'>): void {
    this.#with(session, ({ number, unsentBytes }) =>
      this.apply({ type: 'drained', session: number, bytes: Math.ceil(unsentBytes * share) }),
    );
  }

  token({ session, token, role, inOther, expiresInMs }: IntentOf<'token'>): void {
    this.#with(session, ({ number }) => {
      // A hash is never drawn twice.
      const id = this.model.tokens.has(`t${token}`) ? `t${token}.${this.#requests}` : `t${token}`;
      if (this.model.tokens.size >= 12) return;
      this.apply({
        type: 'token-create',
        session: number,
        request: this.#requests++,
        id,
        hash: `hash of ${id}`,
        secret: `secret of ${id}`,
        fields: parseTokenOptions({
          name: `n${token}`,
          role,
          namespace: inOther ? 'other' : null,
          expiresAt: expiresInMs === 0 ? null : this.#nowMs + expiresInMs,
          ...(role === 'producer' && { write: ['a.*', 'b*c'] }),
        }),
      });
    });
  }

  revoke({ session, token, inOther }: IntentOf<'revoke'>): void {
    this.#with(session, ({ number }) => {
      const id = [...this.model.tokens.keys()][token] ?? 'nothing';
      const namespace = inOther ? 'other' : null;
      this.apply({ type: 'token-revoke', session: number, request: this.#requests++, namespace, id });
    });
  }

  tokens({ session, token, inOther }: IntentOf<'tokens'>): void {
    this.#with(session, ({ number }) => {
      const after = token === 0 ? null : `t${token}`;
      const namespace = inOther ? 'other' : null;
      this.apply({ type: 'token-list', session: number, request: this.#requests++, namespace, after, limit: 2 });
    });
  }

  setNamespace({ session, inOther, queuesMax, messagesMax, bytesMax, defaults }: IntentOf<'setNamespace'>): void {
    this.#with(session, ({ number }) => {
      const queueDefaults = QUEUE_DEFAULTS[defaults]!;
      this.apply({
        type: 'namespace-set',
        session: number,
        request: this.#requests++,
        name: inOther ? 'other' : 'default',
        settings: parseNamespaceSettings({ queuesMax, messagesMax, bytesMax, queueDefaults }),
      });
    });
  }

  rateLimit({ session, limit, what, rate }: IntentOf<'rateLimit'>): void {
    this.#with(session, ({ number }) => {
      const asked = { session: number, request: this.#requests++ };
      const name = RATE_LIMITS[limit]!;
      if (what === 'delete') return this.apply({ type: 'rate-limit-delete', ...asked, name });
      if (what === 'list') return this.apply({ type: 'rate-limit-list', ...asked, after: null, limit: 1 });
      if (what === 'declare')
        return this.apply({ type: 'rate-limit-declare', ...asked, name, rate: RATES[Math.max(0, rate)]! });
      this.apply({ type: 'rate-limit-override', ...asked, name, rate: rate < 0 ? null : RATES[rate]! });
    });
  }

  namespaces({ session, inOther }: IntentOf<'namespaces'>): void {
    this.#with(session, ({ number }) => {
      const only = inOther ? 'other' : null;
      this.apply({ type: 'namespace-list', session: number, request: this.#requests++, only, after: null, limit: 1 });
    });
  }

  deleteNamespace({ session, inOther }: IntentOf<'deleteNamespace'>): void {
    // A queue that dead letters have made by now would be gone before the model can see whether there was room for it.
    this.tick();
    this.#with(session, ({ number }) => {
      const name = inOther ? 'other' : 'default';
      this.apply({ type: 'namespace-delete', session: number, request: this.#requests++, name });
    });
  }

  messages(intent: IntentOf<'messages'>): void {
    const { session, queue, picks, state, priorityMin, after, limit, peek, headers = 0 } = intent;
    this.#with(session, ({ number }) =>
      this.apply({
        type: 'message-list',
        session: number,
        request: this.#requests++,
        queue: QUEUES[queue]!,
        ids: this.#picked(picks),
        filter: { state: MESSAGE_STATES[state], priorityMin, headers: HEADERS[headers] },
        after,
        limit: picks.length > 0 ? 100 : limit,
        withBodies: peek,
      }),
    );
  }

  act(intent: IntentOf<'act'>): void {
    const { session, queue, picks, state, priorityMin, act, to, force, dryRun, headers = 0 } = intent;
    const ACTS: readonly MessageAct[] = [
      { act: 'drop', force },
      { act: 'move', to: QUEUES[to]!, force },
      { act: 'priority', priority: to },
      { act: 'retry' },
      { act: 'redrive' },
      { act: 'revoke', terminate: force, result: completeBatch(1, [[1, 'revoked']]) },
    ];
    // The door refuses a move from a queue to itself.
    if (act === 1 && to === queue) return;
    this.#with(session, ({ number }) =>
      this.apply({
        type: 'message-act',
        session: number,
        request: this.#requests++,
        // What is revoked by its id may be in any queue.
        queue: act === 5 && picks.length > 1 ? null : QUEUES[queue]!,
        ids: this.#picked(picks),
        filter: { state: MESSAGE_STATES[state], priorityMin, headers: HEADERS[headers] },
        after: 0,
        dryRun,
        ...ACTS[act]!,
      }),
    );
  }

  /** Ids of messages that there are, -1 for one that there never will be; null if none is picked. */
  #picked(picks: readonly number[]): number[] | null {
    if (picks.length === 0) return null;
    const ids = [...this.model.messages.keys()];
    return picks.map((pick) => (pick < 0 ? 2 ** 50 : (ids[pick] ?? 2 ** 51 + pick)));
  }

  advance({ ms }: IntentOf<'advance'>): void {
    this.#nowMs += ms;
    this.tick();
  }

  /** Time goes on and the timer is late: the next command comes first. */
  late({ ms }: IntentOf<'late'>): void {
    this.#nowMs += ms;
  }

  full({ isFull, isBlocked = false, isForNow = false }: IntentOf<'full'>): void {
    this.model.refusal = isBlocked ? 'FLOW_BLOCKED' : isFull ? 'DISK_FULL' : null;
    this.model.isRefusalForNow = isBlocked || isForNow;
    this.engine.refusePublishes(this.model.refusal, this.model.isRefusalForNow);
  }

  archive({ inOther, what, most }: IntentOf<'archive'>): void {
    const namespace = inOther ? 'other' : 'default';
    if (what === 'take') return this.#take(namespace, most);
    if (what === 'purge') {
      const session = this.#attached().find((attached) => attached.namespace === namespace);
      if (session === undefined) return;
      return this.apply({ type: 'purge', session: session.number, request: this.#requests++, name: RESULTS_QUEUE });
    }
    const slice = this.#slices.shift();
    if (slice === undefined) return;
    const { queue, era, ids } = slice;
    if (what === 'refused') return this.engine.archiving.giveBack(queue, ids);
    this.model.isArchiveCurrent = isCurrent(slice, this.model);
    this.apply({ type: 'results-archived', queue: queue.index, era, ids });
  }

  /** All that may be archived is taken, once, until it is stored or not. */
  #take(namespace: string, most: number): void {
    const queue = this.engine.state.queue(namespace, RESULTS_QUEUE);
    const model = this.model.queue(namespace, RESULTS_QUEUE);
    if (queue === null || model === null) return;
    const isTaken = (id: number): boolean => this.#slices.some((slice) => slice.ids.includes(id));
    const expected = [...this.model.messages.values()]
      .filter((message) => message.queue === model && isArchivable(message) && !isTaken(message.id))
      .map(({ id }) => id);
    const room = { most, untilMs: Number.MAX_SAFE_INTEGER, bytesMax: Number.MAX_SAFE_INTEGER };
    const { table } = this.engine.state;
    const ids = this.engine.archiving.take(queue, room, () => true).map((slot) => table.id[slot]!);
    assert.equal(ids.length, Math.min(most, expected.length), 'as many are archived as may be');
    for (const id of ids) assert.ok(expected.includes(id), `result ${id} may be archived`);
    if (ids.length > 0) this.#slices.push({ queue, era: queue.era, ids, model, purges: model.purges });
  }

  /** A new segment begins. */
  roll(): void {
    this.log.roll();
    this.#sink.record(this.engine.checkpoint());
  }

  /** What lives in the first segment is copied to the end, as housekeeping does. */
  copy(): void {
    const { firstSegment, segment } = this.log;
    if (firstSegment === segment) return;
    const messages: MovedMessage[] = [];
    const bodies: Uint8Array[] = [];
    let offset = 0;
    const written = new Map<number, number>();
    this.engine.state.table.forEach((slot) => {
      const { table } = this.engine.state;
      if (table.isMemory(slot) || table.segment[slot] !== firstSegment) return;
      const message = this.engine.movable(table.id[slot]!, firstSegment, table.offset[slot]!);
      if (message === null) return;
      // Copies of one message keep sharing its bytes.
      const at = written.get(table.offset[slot]!) ?? offset;
      messages.push({ ...message, offset: at });
      if (at < offset) return;
      written.set(table.offset[slot]!, offset);
      bodies.push(this.log.read(firstSegment, table.offset[slot]!, message.length));
      offset += message.length;
    });
    if (messages.length > 0) this.engine.move(messages, Buffer.concat(bodies), this.#sink);
  }

  /** Dead segments go, and what is left of the journal still makes the same state. */
  reclaim(): void {
    let below = this.log.firstSegment;
    while (below < this.log.segment && this.engine.state.table.journalUsage.countOf(below) === 0) below++;
    this.log.reclaim(below);
    this.engine.state.table.journalUsage.forgetBelow(below);
    this.log.fresh = [];
    this.#follower = replayed(this.log, this.options);
  }

  crash(): void {
    this.engine = replayed(this.log, this.options);
    this.engine.archiving.begin();
    this.#slices = [];
    const bounds = new Map([...this.model.sessions.values()].map(({ number, lastTag }) => [number, lastTag]));
    this.engine.recovered(this.#nowMs);
    this.engine.refusePublishes(this.model.refusal, this.model.isRefusalForNow);
    this.model.crash(this.#nowMs, this.engine.state);
    this.model.follow(this.engine.state);
    for (const session of this.model.sessions.values()) {
      // Tags that were settled are forgotten with their segments: the client's HELLO tells the highest one again.
      const { lastTag } = this.engine.state.sessions.get(session.number)!;
      assert.ok(lastTag >= session.lastTag && lastTag <= bounds.get(session.number)!);
      session.lastTag = lastTag;
    }
    this.#unsent = [];
    // Replay is deterministic: a second one makes the same.
    this.#follower = replayed(this.log, this.options);
    this.log.fresh = [];
    this.tick();
  }

  #lookingUp(): Set<number> {
    const { sessions, watches } = this.engine.state;
    return new Set(
      [...sessions.values()].filter((session) => watches.lookups.sizeOf(session) > 0).map(({ number }) => number),
    );
  }

  #attached(): ModelSession[] {
    return [...this.model.sessions.values()].filter((session) => session.isAttached);
  }

  #with(index: number, act: (session: ModelSession) => void): void {
    const sessions = this.#attached();
    if (sessions.length > 0) act(sessions[index % sessions.length]!);
  }

  #onQueue({ type, session, queue }: IntentOf<'purge'>): void {
    this.#with(session, ({ number }) =>
      this.apply({ type, session: number, request: this.#requests++, name: QUEUES[queue]! } as Command),
    );
  }

  #message(session: ModelSession, intent: MessageIntent, isMemory: boolean): TestMessage {
    const queue = QUEUES[intent.queue]!;
    // A key of a message in memory could push out one that is in the journal, and after a restart that one would be known again.
    const keysMax =
      intent.exchange === undefined ? (this.model.queue(session.namespace, queue)?.settings.dedupKeysMax ?? 100) : 2;
    const { exchange, routingKey, headers, rate = -1, rateKey = 0 } = intent;
    return {
      queue: exchange === undefined ? queue : KEYS[routingKey ?? 0]!,
      exchange: exchange === undefined ? undefined : EXCHANGES[exchange],
      headers: HEADERS[headers ?? 0],
      priority: intent.priority,
      delayMs: intent.delayMs,
      expiresInMs: intent.expiresInMs,
      dedupKey: intent.key < 0 || (isMemory && keysMax < 10) ? null : `key${intent.key}`,
      body: 'x'.repeat(intent.bytes),
      rate: rate < 0 ? null : { limit: RATE_LIMITS[rate]!, key: RATE_KEYS[rateKey]! },
    };
  }

  /** What the session holds, some that it does not hold any more, and one that it was never given. */
  /** Results for the tags of ranges, some of which are kept for a short time. */
  #completed(
    settleSeq: number,
    ranges: readonly number[],
    life: number,
    isKept: boolean,
    follow: Uint8Array | null,
  ): CompleteBatch {
    const results: TestResult[] = [];
    for (let i = 0; i < ranges.length; i += 2)
      for (let tag = ranges[i]!; tag < ranges[i]! + ranges[i + 1]!; tag++)
        results.push([tag, isKept ? `result of ${tag}` : null, life === 1 ? 0 : 30 * life]);
    // Of several tags only now and then: it is refused.
    return completeBatch(settleSeq, results, results.length === 1 || settleSeq % 8 === 0 ? follow : null);
  }

  /** What is published with a settlement; to an exchange only now and then, because it is refused. */
  #follow(
    session: ModelSession,
    { follow = [], autoDeclare = false }: Pick<IntentOf<'settle'>, 'follow' | 'autoDeclare'>,
  ): Uint8Array | null {
    if (follow.length === 0) return null;
    const messages = follow.map((intent) => {
      const isRouted = intent.routingKey === 5;
      return this.#message(session, isRouted ? intent : { ...intent, exchange: undefined }, false);
    });
    return publishBatch({ firstSeq: 1, flags: autoDeclare ? PUBLISH_FLAGS.AUTO_DECLARE : 0, messages }).bytes;
  }

  #tagsToSettle({ leases, lastTag }: ModelSession): number[] {
    const held = [...leases.keys()].sort((a, b) => a - b);
    const stale: number[] = [];
    for (let tag = lastTag; tag > 0 && stale.length < 2; tag--) if (!leases.has(tag)) stale.push(tag);
    return [...held, ...stale, lastTag + 1];
  }
}

/** A result that stays, as it came. */
function isArchivable({ id, queue, state, history, attemptLog, rate }: ModelMessage): boolean {
  const isPlain = history.length === 0 && attemptLog.failures.length === 0 && rate === null;
  return state === 'waiting' && isPlain && id >= queue.purgeBelowId;
}

/** The queue was neither purged nor deleted since. */
function isCurrent({ model, purges }: Slice, { queues }: ReferenceModel): boolean {
  return [...queues.values()].includes(model) && model.purges === purges;
}
