/**
 * Follows a world and makes, for every prefix of the records that its engine has ever written, fresh engines from them: from the very first record
 * on, and from the latest segment whose forerunners could have been deleted by then.
 *
 *     records    c p p s | c p m r s | c p ...            c: the checkpoint that a segment begins with
 *     from 1st   ───────────────────────►                 each engine equals the live one, as it was when it
 *     from 2nd             ─────────────►                 had written the last of these records
 */
import assert from 'node:assert/strict';
import type { RateTag } from '@lovage/protocol';
import { RecordReader } from '../../server/broker/record-codec.js';
import { Engine } from '../../server/engine/engine.js';
import type { JournalRecord } from '../../server/engine/record.js';
import type { ReplayedRecord } from '../../server/journal/journal.js';
import { type DurableMessage, durableProducers, durableState } from './durable-state.js';
import { OneBuffer } from './one-buffer.js';
import { Recorder, TestLog } from './recorder.js';
import { recount } from './recount.js';
import type { World } from './world.js';

/** Records that may meet a state which has them already: replayed a second time they change nothing. */
const REPEATABLE: ReadonlySet<JournalRecord['type']> = new Set([
  'settle',
  'return',
  'session',
  'session-end',
  'queue-delete',
  'queue-settings',
  'rate-limit',
  'queue-pause',
  'ids',
  'move',
  'checkpoint',
  'exchange',
  'exchange-delete',
  'bind',
  'unbind',
  'token',
  'token-revoke',
  'namespace',
  'namespace-delete',
]);

export interface PrefixOptions {
  /** No message of the world is kept in memory only: then the counters agree exactly, too. */
  readonly isJournalOnly: boolean;
}

export class PrefixChecker {
  /** Prefixes that were replayed. */
  prefixes = 0;
  /** Those of them that began at a later segment. */
  laterStarts = 0;
  readonly #world: World;
  readonly #options: PrefixOptions;
  /** Every record, those of deleted segments, too. */
  readonly #history: ReplayedRecord[];
  readonly #buffer = new OneBuffer();
  readonly #seen = new Set<ReplayedRecord>();

  constructor(world: World, options: PrefixOptions) {
    this.#world = world;
    this.#options = options;
    this.#history = [];
    this.#gather();
  }

  /** After each step: the prefixes that it has made possible. */
  check(): void {
    const before = this.#history.length;
    this.#gather();
    // The records of one command are one batch, or a part of one: a prefix that cuts them has no live counterpart, and must only hold together.
    for (let end = before + 1; end < this.#history.length; end++) recount(this.#replayed(0, end, end % 2 === 0));
    if (this.#history.length > before) this.checkWhole();
  }

  /** All records so far. */
  checkWhole(): void {
    const end = this.#history.length;
    this.#compare(0, end);
    const later = this.#latestStart();
    if (later === 0) return;
    this.laterStarts++;
    this.#compare(later, end);
  }

  #gather(): void {
    for (const record of this.#world.log.records) {
      if (this.#seen.has(record)) continue;
      this.#seen.add(record);
      this.#history.push(record);
    }
  }

  /** Where the oldest segment begins that something alive lies in: those before it may be gone. */
  #latestStart(): number {
    const { journalUsage } = this.#world.engine.state.table;
    let segment = this.#world.log.firstSegment;
    while (segment < this.#world.log.segment && journalUsage.countOf(segment) === 0) segment++;
    return this.#history.findIndex((record) => record.segment === segment);
  }

  #replayed(from: number, to: number, repeats: boolean): Engine {
    const engine = new Engine(this.#world.options);
    const reader = new RecordReader();
    for (let i = from; i < to; i++) {
      const type = this.#buffer.show(this.#history[i]!, (shown) => {
        const record = reader.read(shown);
        engine.restore(record);
        return record.type;
      });
      const isRepeated = repeats && i > from && REPEATABLE.has(type);
      if (isRepeated) this.#buffer.show(this.#history[i]!, (shown) => engine.restore(reader.read(shown)));
    }
    this.prefixes++;
    return engine;
  }

  #compare(from: number, to: number): void {
    const { engine: live } = this.#world;
    const what = `records ${from} to ${to} of ${this.#history.length}`;
    const replayed = this.#replayed(from, to, this.prefixes % 2 === 0);
    recount(replayed);
    const expected = durableState(live);
    assert.deepEqual(durableState(replayed, live.state.nowMs), expected, what);
    this.#compareProducers(replayed, what);
    this.#compareCounters(replayed, what);
    this.#compareOrder(replayed, expected.messages, what);
  }

  /**
   * With messages in memory, the frames of those tell what was confirmed, too, and only a checkpoint keeps that: what a producer has its confirms
   * for by either engine is left out, because it will not be sent again.
   */
  #compareProducers(replayed: Engine, what: string): void {
    const { engine: live } = this.#world;
    const confirmedSeqs = new Map<string, number>();
    for (const { namespace, name, confirmedSeq } of [...live.state.producers, ...replayed.state.producers]) {
      const key = `${namespace} ${name}`;
      confirmedSeqs.set(key, Math.max(confirmedSeq, confirmedSeqs.get(key) ?? 0));
    }
    const expected = durableProducers(live, confirmedSeqs);
    assert.deepEqual(durableProducers(replayed, confirmedSeqs), expected, `producers after ${what}`);
    for (const [key, taken] of expected) {
      const [namespace, name] = key.split(' ') as [string, string];
      const { lastSeq } = replayed.state.producers.get(namespace, name)!;
      assert.ok(lastSeq >= taken.at(-1)![0], `"${name}" knows what it took after ${what}`);
    }
    if (!this.#options.isJournalOnly) return;
    for (const { namespace, name, lastSeq, confirmedSeq } of live.state.producers) {
      const found = replayed.state.producers.get(namespace, name);
      assert.deepEqual([found?.lastSeq ?? 0, found?.confirmedSeq ?? 0], [lastSeq, confirmedSeq], `"${name}", ${what}`);
    }
  }

  #compareCounters({ state }: Engine, what: string): void {
    const { state: live } = this.#world.engine;
    if (this.#options.isJournalOnly) assert.equal(state.nextId, live.nextId, `next id after ${what}`);
    else assert.ok(state.nextId >= live.nextId, `ids are not given twice after ${what}`);
    assert.ok(state.nextSession <= live.nextSession, `next session after ${what}`);
    for (const number of state.sessions.keys())
      assert.ok(number < state.nextSession, `session numbers are not used twice after ${what}`);
  }

  /** What waits goes out in its order, with its bytes and attempts, when the engine that was made from the records goes on. */
  #compareOrder(engine: Engine, messages: readonly DurableMessage[], what: string): void {
    const { nowMs } = this.#world.engine.state;
    if (messages.some((message) => isGivenUp(engine, message, nowMs)) || hasTooMany(engine)) return;
    const log = new TestLog();
    log.records = this.#history.slice();
    log.segment = this.#world.log.segment + 1;
    const sink = new Recorder(log, () => engine);
    engine.recovered(nowMs);
    engine.tick(nowMs, sink);
    const wanted = messages.filter(
      ({ queue, started, dueMs, expiryMs, rate }) =>
        started === null &&
        dueMs === 0 &&
        (expiryMs === 0 || expiryMs > nowMs) &&
        !isHeldBack(engine, queue, rate) &&
        !engine.state.queues[queue]!.isPaused &&
        !engine.state.queues[queue]!.isResults,
    );
    for (const queue of [...engine.state.queuesByName.values()]) {
      sink.take();
      // The next consumer of a queue that wants a single one stands by until the last one's work is settled.
      const standsBy = queue.isSingle && queue.leased + queue.started > 0;
      const session = openConsumer(engine, sink, nowMs, queue.namespace, queue.name);
      const delivered = sink.take().flatMap((effect) => (effect.type === 'deliver' ? [effect] : []));
      assert.ok(delivered.every((delivery) => delivery.session === session));
      assert.deepEqual(
        delivered.map(({ id, priority, attempt, payload }) => [id, priority, attempt, hex(payload)]),
        wanted
          .filter((message) => message.queue === queue.index && !standsBy)
          .map(({ id, priority, attempts }) => [id, priority, attempts + 1, hex(this.#payload(id))]),
        `deliveries of "${queue.name}" after ${what}`,
      );
    }
    recount(engine);
  }

  #payload(id: number): Uint8Array {
    return this.#world.model.messages.get(id)!.payload;
  }
}

/** After a restart each key of a rate limit begins with nothing. */
function isHeldBack({ state }: Engine, queue: number, rate: RateTag | null): boolean {
  if (rate === null) return false;
  return state.table.buckets.limits.get(`${state.queues[queue]!.namespace} ${rate.limit}`)?.rate != null;
}

/** What has expired while a consumer had it goes to another queue when the engine goes on. */
function isGivenUp({ state }: Engine, { queue, expiryMs }: DurableMessage, nowMs: number): boolean {
  return expiryMs !== 0 && expiryMs <= nowMs && state.queues[queue]!.settings.deadLetterQueue !== null;
}

/** A queue that holds too much because consumers have it evicts when the engine goes on. */
function hasTooMany({ state }: Engine): boolean {
  return [...state.queuesByName.values()].some((queue) => queue.isTooFull);
}

function openConsumer(engine: Engine, sink: Recorder, nowMs: number, namespace: string, name: string): number {
  const key = `${namespace} ${name} reader`;
  engine.apply({ type: 'open', key, namespace, producer: null, resumeKey: null, lastTag: 0 }, nowMs, sink);
  const session = engine.state.sessionsByKey.get(key)!.number;
  const options = {
    queues: [name],
    prefetch: 0,
    ack: 'late',
    queueOrder: 'strict',
    weights: [],
    exclusive: false,
    priority: 0,
  } as const;
  engine.apply({ type: 'consume', session, request: 1, consumerId: 1, options }, nowMs, sink);
  return session;
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}
