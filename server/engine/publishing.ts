// hot path
/** PUBLISH: which of its messages are taken, their ids, and their way into the queues. */
import { type ErrorCode, PUBLISH_FLAGS, type PublishBatch, type RateTag } from '@lovage/protocol';
import type { PublishCommand, RefusedPublish } from './command.js';
import type { DedupExpiry } from './dedup-expiry.js';
import type { Deliveries } from './deliveries.js';
import type { EffectSink } from './effects.js';
import { FLAG } from './message-table.js';
import { exceededQuota } from './namespaces.js';
import type { Places } from './places.js';
import type { Producer } from './producers.js';
import { PublishAnswers } from './publish-answers.js';
import { PublishExceptions } from './publish-exceptions.js';
import type { Queue } from './queue.js';
import type { QueueRegistry } from './queue-registry.js';
import type { PublishRecord, PublishRoutes } from './record.js';
import { RoutePlanner } from './route-planner.js';
import { forEachRouted, receiptRuns } from './routes.js';
import type { Session } from './session.js';
import type { EngineState } from './state.js';

/** Ids for messages kept in memory only are set aside in the journal so many at a time. */
const IDS_AHEAD = 65_536;

export class Publishing {
  readonly #state: EngineState;
  readonly #registry: QueueRegistry;
  readonly #places: Places;
  readonly #deliveries: Deliveries;
  readonly #dedupExpiry: DedupExpiry;
  /** Queue of each target of the frame at hand. */
  readonly #targets: (Queue | null)[] = [];
  readonly #exceptions: PublishExceptions;
  readonly #planner: RoutePlanner;
  readonly #answers: PublishAnswers;
  #idsReservedBelow = 0;
  /** Why publishes are refused now, null if they are not; DISK_FULL is for those to the journal only. Set by the broker. */
  refusal: 'DISK_FULL' | 'FLOW_BLOCKED' | null = null;
  /** Whether FLOW tells when that is over, so that what is refused comes again. */
  isRefusalForNow = false;

  constructor(
    state: EngineState,
    {
      places,
      registry,
      deliveries,
      dedupExpiry,
    }: { places: Places; registry: QueueRegistry; deliveries: Deliveries; dedupExpiry: DedupExpiry },
  ) {
    this.#state = state;
    this.#places = places;
    this.#registry = registry;
    this.#deliveries = deliveries;
    this.#dedupExpiry = dedupExpiry;
    this.#exceptions = new PublishExceptions(state);
    this.#planner = new RoutePlanner(state, registry);
    this.#answers = new PublishAnswers(registry, this.#planner, this.#targets);
  }

  publish({ session: number, batch, refused = null }: PublishCommand, out: EffectSink): void {
    const session = this.#state.session(number);
    const overtakes = session.heldBack !== null && batch.problem === null && this.#overtakes(session, batch);
    this.#answers.refused = overtakes ? null : refused;
    const code = overtakes ? 'FLOW_BLOCKED' : this.#refusalOf(batch, session.namespace);
    if (code !== null) return this.#refuse(session, batch, code, out);
    const isMemory = (batch.flags & PUBLISH_FLAGS.MEMORY) !== 0;
    if (batch.exchanges.length > 0) return this.#publishRouted(session, batch, isMemory, out);
    this.#resolveTargets(session.namespace, batch, out);
    this.#exceptions.find(session.producer, batch, this.#targets);
    const { found } = this.#exceptions;
    if (found.length < batch.count * 2) this.#take(session, batch, isMemory, out);
    else this.#answers.except(session, batch, found, isMemory, out);
  }

  /**
   * Decides on messages to queues that are to be taken with the settlement of a delivery: all of them or none. Null if `takeFollow` may take them. They are of no
   * producer: who sends them again has not settled the delivery.
   */
  planFollow(
    namespace: string,
    batch: PublishBatch,
    refused: RefusedPublish | null,
    out: EffectSink,
  ): ErrorCode | null {
    this.#answers.refused = refused;
    const code = this.#refusalOf(batch, namespace) ?? refused?.code ?? null;
    if (code !== null) return code;
    this.#resolveTargets(namespace, batch, out);
    this.#exceptions.find(null, batch, this.#targets);
    const { found } = this.#exceptions;
    for (let e = 0; e < found.length; e += 2)
      if (found[e + 1] === 0) return this.#answers.whyNot(namespace, batch, found[e]!).code;
    return null;
  }

  /** The record of what was planned, to be written as a part of another one. */
  followRecord(namespace: string, batch: PublishBatch): PublishRecord {
    const record = this.#record({ namespace, producer: null }, batch, [...this.#exceptions.found], null);
    this.#state.nextId += batch.count;
    return record;
  }

  /** Puts what was planned into its queues, when the record is written; the deliveries' `flow` must follow. */
  takeFollow(record: PublishRecord, segment: number, offset: number): void {
    this.insert(record, this.#targets, segment, offset, false);
    for (const queue of this.#targets) if (queue !== null) this.#reach(queue);
  }

  /** Ids below this are not given to another message after a restart. */
  get idsBelow(): number {
    return Math.max(this.#state.nextId, this.#idsReservedBelow);
  }

  /** Puts the messages of a publish record into their queues; nothing is delivered yet. */
  insert(
    record: PublishRecord,
    targets: readonly (Queue | null)[],
    segment: number,
    offset: number,
    isMemory: boolean,
  ): void {
    const { batch, baseId, exceptions } = record;
    let nextException = 0;
    for (let i = 0; i < batch.count; i++) {
      if (exceptions[nextException] === i) {
        nextException += 2;
        continue;
      }
      this.#put(record, i, baseId + i, targets[batch.target[i]!]!, segment, offset, isMemory);
    }
  }

  /** The same of a record that has routes: a slot for each copy, all with the same bytes. Returns the number of copies. */
  insertRouted(
    record: PublishRecord,
    routes: PublishRoutes,
    segment: number,
    offset: number,
    isMemory: boolean,
  ): number {
    const { queues } = this.#state;
    return forEachRouted(record, routes, (i, firstId, indexes) => {
      for (let copy = 0; copy < indexes.length; copy++)
        this.#put(record, i, firstId + copy, queues[indexes[copy]!]!, segment, offset, isMemory);
    });
  }

  /** Puts message `i` of a record into a queue. */
  #put(
    { batch, timeMs }: PublishRecord,
    i: number,
    id: number,
    queue: Queue,
    segment: number,
    offset: number,
    isMemory: boolean,
  ): void {
    const { table, timers } = this.#state;
    const { settings } = queue;
    const length = batch.payloadLength[i]!;
    const priority = batch.priority[i]!;
    const slot = table.add(
      id,
      segment,
      offset + batch.payloadOffset[i]!,
      length,
      queue.index,
      priority < 0 ? settings.defaultPriority : priority,
      isMemory ? FLAG.MEMORY : 0,
    );
    if (batch.rates.size > 0) this.#rate(slot, batch.rates.get(i), queue.namespace);
    queue.bytes += length;
    queue.totals.published++;
    const lifeMs = batch.expiresInMs[i] || settings.messageTtlMs;
    if (lifeMs !== 0) {
      table.expiryMs[slot] = timeMs + lifeMs;
      timers.setExpiry(slot, timeMs + lifeMs);
    }
    const delayMs = batch.delayMs[i]!;
    if (delayMs > 0) this.#places.delay(slot, queue, timeMs + delayMs);
    else queue.ready.add(slot);
    if (batch.dedupKeys.size > 0) this.#rememberKey(queue, batch, i, id, timeMs, isMemory);
  }

  #rate(slot: number, rate: RateTag | undefined, namespace: string): void {
    if (rate !== undefined) this.#state.table.setRate(slot, namespace, rate, this.#state.nowMs);
  }

  /** Tells the producer's memory which sequence numbers the record took; a duplicate by key is not among them, its key will tell again. */
  remember(record: PublishRecord, producer: Producer | null, isMemory: boolean): void {
    if (producer === null) return;
    const { batch, baseId, exceptions } = record;
    producer.usedMs = Math.max(producer.usedMs, record.timeMs);
    producer.forgetThrough(batch.confirmedSeq);
    if (record.routes !== null) return this.#rememberRouted(record, record.routes, producer, isMemory);
    if (exceptions.length === 0) return producer.remember(batch.firstSeq, batch.count, baseId, isMemory);
    let from = 0;
    for (let e = 0; e <= exceptions.length; e += 2) {
      const to = e < exceptions.length ? exceptions[e]! : batch.count;
      if (to > from) producer.remember(batch.firstSeq + from, to - from, baseId + from, isMemory);
      from = to + 1;
    }
  }

  /** A message that reached no queue is not remembered: sent again, it is looked at again. */
  #rememberRouted(record: PublishRecord, routes: PublishRoutes, producer: Producer, isMemory: boolean): void {
    const runs = receiptRuns(record, routes);
    for (let r = 0; r < runs.length; r += 3)
      if (runs[r + 2] !== 0) producer.remember(record.batch.firstSeq + runs[r]!, runs[r + 1]!, runs[r + 2]!, isMemory);
  }

  /** A frame that names exchanges. */
  #publishRouted(session: Session, batch: PublishBatch, isMemory: boolean, out: EffectSink): void {
    const plan = this.#planner;
    const refused = plan.plan(session, batch, this.#answers.refused, out);
    if (refused !== null) {
      this.#answers.refused = refused;
      return this.#refuse(session, batch, refused.code, out);
    }
    const { lists, listOf, exceptions, copies } = plan;
    const record = this.#record(session, batch, exceptions, { lists, listOf });
    if (copies > 0) {
      this.#state.nextId += copies;
      if (isMemory) this.#reserveIds(out);
      this.#write(record, isMemory, out);
      this.remember(record, session.producer, isMemory);
    }
    const runs = receiptRuns(record, plan);
    for (let r = 0; r < runs.length; r += 3)
      out.confirm(session.number, batch.firstSeq + runs[r]!, runs[r + 1]!, runs[r + 2]!, isMemory);
    this.#answers.except(session, batch, exceptions, isMemory, out);
    if (copies > 0) this.#serve(this.#reached(record, plan), out);
  }

  /** Writes a record and puts its messages into their queues. */
  #write(record: PublishRecord, isMemory: boolean, out: EffectSink): void {
    const { memoryFrames } = this.#state.table;
    const segmentOrFrame = isMemory ? memoryFrames.add(new Uint8Array(record.batch.bytes)) : 0;
    const offset = isMemory ? 0 : out.publish(record);
    const segment = isMemory ? segmentOrFrame : out.segment;
    if (record.routes === null) this.insert(record, this.#targets, segment, offset, isMemory);
    else this.insertRouted(record, record.routes, segment, offset, isMemory);
    if (isMemory) memoryFrames.release(segment);
  }

  #record(
    { namespace, producer }: Pick<Session, 'namespace' | 'producer'>,
    batch: PublishBatch,
    exceptions: readonly number[],
    routes: PublishRoutes | null,
  ): PublishRecord {
    const { nowMs: timeMs, nextId: baseId } = this.#state;
    return {
      type: 'publish',
      timeMs,
      baseId,
      namespace,
      producer: producer?.name ?? null,
      exceptions,
      batch,
      routes,
      segment: 0,
      offset: 0,
    };
  }

  #take(session: Session, batch: PublishBatch, isMemory: boolean, out: EffectSink): void {
    const baseId = this.#state.nextId;
    const record = this.#record(session, batch, this.#exceptions.found, null);
    this.#state.nextId += batch.count;
    if (isMemory) this.#reserveIds(out);
    this.#write(record, isMemory, out);
    this.remember(record, session.producer, isMemory);
    this.#answers.confirm(session, batch, baseId, this.#exceptions.found, isMemory, out);
    this.#serve(this.#targets, out);
  }

  /** Hands out what has come to the targets, when those that hold too much by now have pushed it out. */
  #serve(queues: readonly (Queue | null)[], out: EffectSink): void {
    const { touched, grown } = this.#places;
    const { nowMs } = this.#state;
    for (const queue of queues) {
      if (queue === null) continue;
      queue.usedMs = nowMs;
      if (queue.isEvicting) grown.add(queue);
    }
    if (grown.size === 0) {
      for (const queue of queues) if (queue !== null) this.#deliveries.dispatch(queue, out);
      if (touched.size === 0) return;
    } else {
      for (const queue of queues) if (queue !== null) touched.add(queue);
    }
    this.#deliveries.flow(out);
  }

  /** Messages have come to a queue, which is served with the next `flow`. */
  #reach(queue: Queue): void {
    const { touched, grown } = this.#places;
    queue.usedMs = this.#state.nowMs;
    if (queue.isEvicting) grown.add(queue);
    touched.add(queue);
  }

  /** The queues that got copies. */
  #reached(record: PublishRecord, routes: PublishRoutes): Queue[] {
    const indexes = new Set<number>();
    forEachRouted(record, routes, (_, __, list) => {
      for (const index of list) indexes.add(index);
    });
    return [...indexes].map((index) => this.#state.queues[index]!);
  }

  #refusalOf(batch: PublishBatch, namespace: string): ErrorCode | null {
    if (batch.problem !== null) return batch.problem.code;
    const { refused } = this.#answers;
    if (refused?.targets === null) return refused.code;
    const { table, options } = this.#state;
    if ((batch.flags & PUBLISH_FLAGS.MEMORY) === 0) {
      if (this.refusal !== null) return this.refusal;
    } else if (this.refusal === 'FLOW_BLOCKED') return this.refusal;
    else if (table.memoryFrames.bytes + batch.bytes.length > options.memoryBytesMax) return 'TOO_MANY_MESSAGES';
    if (!table.buckets.fit(namespace, batch)) return 'TOO_MANY_RATE_LIMITS';
    // Of a frame that names exchanges the copies are counted when they are known.
    if (batch.exchanges.length > 0) return null;
    if (table.size + batch.count > table.capacity) return 'TOO_MANY_MESSAGES';
    const exceeded = exceededQuota(this.#state, namespace, { messages: batch.count, bytes: batch.bytes.length });
    if (exceeded === null) return null;
    this.#answers.refused = exceeded;
    return exceeded.code;
  }

  /**
   * What a client had sent before it heard that an earlier frame of it was refused for now is not taken before that one: all of it comes again, in its
   * order. That begins with a number that was refused; or the client says that the first of them will not come again.
   */
  #overtakes(session: Session, { firstSeq, confirmedSeq }: PublishBatch): boolean {
    const { from, to } = session.heldBack!;
    if (firstSeq > to && confirmedSeq < from) return true;
    session.heldBack = null;
    return false;
  }

  #refuse(session: Session, batch: PublishBatch, code: ErrorCode, out: EffectSink): void {
    const isForNow =
      batch.problem === null && (session.heldBack !== null || (code === this.refusal && this.isRefusalForNow));
    this.#answers.refuse(session, batch, code, isForNow, out);
  }

  #resolveTargets(namespace: string, batch: PublishBatch, out: EffectSink): void {
    const targets = this.#targets;
    targets.length = 0;
    const declares = (batch.flags & PUBLISH_FLAGS.AUTO_DECLARE) !== 0;
    for (const [t, name] of batch.targets.entries()) {
      if (this.#answers.refused?.targets?.has(t)) {
        targets.push(null);
        continue;
      }
      let queue = this.#state.queue(namespace, name);
      if (queue === null && declares)
        queue = this.#registry.create(namespace, name, this.#state.defaultSettings(namespace, name), out);
      targets.push(queue);
    }
  }

  #rememberKey(queue: Queue, batch: PublishBatch, i: number, id: number, timeMs: number, isMemory: boolean): void {
    const key = batch.dedupKeys.get(i);
    if (key === undefined) return;
    queue.dedup.add(key, id, timeMs, isMemory);
    this.#dedupExpiry.watch(queue);
  }

  #reserveIds(out: EffectSink): void {
    if (this.#state.nextId <= this.#idsReservedBelow) return;
    this.#idsReservedBelow = this.#state.nextId + IDS_AHEAD;
    out.record({ type: 'ids', below: this.#idsReservedBelow });
  }
}
