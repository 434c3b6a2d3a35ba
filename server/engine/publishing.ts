// hot path
/** PUBLISH: which of its messages are taken, their ids, and their way into the queues. */
import { type ErrorCode, PUBLISH_FLAGS, type PublishBatch } from '@lovage/protocol';
import type { PublishCommand, RefusedPublish } from './command.js';
import type { Deliveries } from './deliveries.js';
import type { EffectSink } from './effects.js';
import { FLAG } from './message-table.js';
import { exceededQuota } from './namespaces.js';
import type { Places } from './places.js';
import type { Producer } from './producers.js';
import type { Queue } from './queue.js';
import type { QueueRegistry } from './queue-registry.js';
import type { PublishRecord } from './record.js';
import type { Session } from './session.js';
import type { EngineState } from './state.js';

/** Ids for messages kept in memory only are set aside in the journal so many at a time. */
const IDS_AHEAD = 65_536;

export class Publishing {
  readonly #state: EngineState;
  readonly #registry: QueueRegistry;
  readonly #places: Places;
  readonly #deliveries: Deliveries;
  /** Queue of each target of the frame at hand. */
  readonly #targets: (Queue | null)[] = [];
  /** index, id, index, id, ... of messages of the frame at hand that are not taken; id 0 means refused. */
  readonly #exceptions: number[] = [];
  /** What the door refuses of the frame at hand. */
  #refused: RefusedPublish | null = null;
  /** What the frame at hand adds to the queues that refuse what is too many. */
  readonly #claims = new Map<Queue, { messages: number; bytes: number }>();
  #idsReservedBelow = 0;
  /** Why publishes to the journal are refused now, null if they are not. Set by the broker. */
  refusal: ErrorCode | null = null;

  constructor(state: EngineState, places: Places, registry: QueueRegistry, deliveries: Deliveries) {
    this.#state = state;
    this.#places = places;
    this.#registry = registry;
    this.#deliveries = deliveries;
  }

  publish({ session: number, batch, refused = null }: PublishCommand, out: EffectSink): void {
    const session = this.#state.session(number);
    this.#refused = refused;
    const code = this.#refusalOf(batch, session.namespace);
    if (code !== null) return this.#refuse(session, batch, code, out);
    const isMemory = (batch.flags & PUBLISH_FLAGS.MEMORY) !== 0;
    this.#resolveTargets(session.namespace, batch, out);
    this.#findExceptions(session, batch);
    const exceptions = this.#exceptions;
    if (exceptions.length < batch.count * 2) {
      this.#take(session, batch, isMemory, out);
    } else {
      this.#answerExceptions(session, batch, isMemory, out);
    }
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
    const { table, timers } = this.#state;
    const { batch, baseId, exceptions, timeMs } = record;
    const flags = isMemory ? FLAG.MEMORY : 0;
    let nextException = 0;
    for (let i = 0; i < batch.count; i++) {
      if (exceptions[nextException] === i) {
        nextException += 2;
        continue;
      }
      const queue = targets[batch.target[i]!]!;
      const { settings } = queue;
      const length = batch.payloadLength[i]!;
      const priority = batch.priority[i]!;
      const slot = table.add(
        baseId + i,
        segment,
        offset + batch.payloadOffset[i]!,
        length,
        queue.index,
        priority < 0 ? settings.defaultPriority : priority,
        flags,
      );
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
      if (batch.dedupKeys.size > 0) this.#rememberKey(queue, batch, i, baseId + i, timeMs, isMemory);
    }
  }

  /** Tells the producer's memory which sequence numbers the record took; a duplicate by key is not among them, its key will tell again. */
  remember(record: PublishRecord, producer: Producer | null, isMemory: boolean): void {
    if (producer === null) return;
    const { batch, baseId, exceptions } = record;
    producer.usedMs = Math.max(producer.usedMs, record.timeMs);
    producer.forgetThrough(batch.confirmedSeq);
    if (exceptions.length === 0) return producer.remember(batch.firstSeq, batch.count, baseId, isMemory);
    let from = 0;
    for (let e = 0; e <= exceptions.length; e += 2) {
      const to = e < exceptions.length ? exceptions[e]! : batch.count;
      if (to > from) producer.remember(batch.firstSeq + from, to - from, baseId + from, isMemory);
      from = to + 1;
    }
  }

  #take(session: Session, batch: PublishBatch, isMemory: boolean, out: EffectSink): void {
    const state = this.#state;
    const baseId = state.nextId;
    state.nextId += batch.count;
    if (isMemory) this.#reserveIds(out);
    const record: PublishRecord = {
      type: 'publish',
      timeMs: state.nowMs,
      baseId,
      namespace: session.namespace,
      producer: session.producer?.name ?? null,
      exceptions: this.#exceptions,
      batch,
      segment: 0,
      offset: 0,
    };
    if (isMemory) {
      this.#insertInMemory(record);
    } else {
      const offset = out.publish(record);
      this.insert(record, this.#targets, out.segment, offset, false);
    }
    this.remember(record, session.producer, isMemory);
    if (this.#exceptions.length === 0) out.confirm(session.number, batch.firstSeq, batch.count, baseId, isMemory);
    else this.#confirmAround(session, batch, baseId, isMemory, out);
    this.#serve(out);
  }

  /** Hands out what has come to the targets, when those that hold too much by now have pushed it out. */
  #serve(out: EffectSink): void {
    const { touched, grown } = this.#places;
    const { nowMs } = this.#state;
    for (const queue of this.#targets) {
      if (queue === null) continue;
      queue.usedMs = nowMs;
      if (queue.isEvicting) grown.add(queue);
    }
    if (grown.size === 0) {
      for (const queue of this.#targets) if (queue !== null) this.#deliveries.dispatch(queue, out);
      if (touched.size === 0) return;
    } else {
      for (const queue of this.#targets) if (queue !== null) touched.add(queue);
    }
    this.#deliveries.flow(out);
  }

  #insertInMemory(record: PublishRecord): void {
    const { memoryFrames } = this.#state.table;
    const frame = memoryFrames.add(new Uint8Array(record.batch.bytes));
    this.insert(record, this.#targets, frame, 0, true);
    memoryFrames.release(frame);
  }

  #refusalOf(batch: PublishBatch, namespace: string): ErrorCode | null {
    if (batch.problem !== null) return batch.problem.code;
    if (this.#refused?.targets === null) return this.#refused.code;
    const { table, options } = this.#state;
    if ((batch.flags & PUBLISH_FLAGS.MEMORY) === 0) {
      if (this.refusal !== null) return this.refusal;
    } else if (table.memoryFrames.bytes + batch.bytes.length > options.memoryBytesMax) return 'TOO_MANY_MESSAGES';
    if (table.size + batch.count > table.capacity) return 'TOO_MANY_MESSAGES';
    const exceeded = exceededQuota(this.#state, namespace, { messages: batch.count, bytes: batch.bytes.length });
    if (exceeded === null) return null;
    this.#refused = { code: 'QUOTA_EXCEEDED', message: exceeded.message, targets: null };
    return 'QUOTA_EXCEEDED';
  }

  /** REJECT is final, so what was taken before is confirmed again, whatever stands in the way of more messages now. */
  #refuse(session: Session, batch: PublishBatch, code: ErrorCode, out: EffectSink): void {
    const { problem } = batch;
    const message =
      problem === null
        ? this.#refused?.targets === null
          ? this.#refused.message
          : ''
        : `Cannot publish: field "${problem.field}" of message ${problem.index} is not allowed`;
    const { number, producer } = session;
    const { firstSeq, count } = batch;
    const isResent = problem === null && producer !== null && firstSeq <= producer.lastSeq;
    const isMemory = (batch.flags & PUBLISH_FLAGS.MEMORY) !== 0;
    let from = 0;
    for (let i = 0; isResent && i < count; i++) {
      const taken = producer.idOf(firstSeq + i);
      if (taken === 0) continue;
      if (i > from) out.reject(number, firstSeq + from, i - from, code, message);
      out.confirm(number, firstSeq + i, 1, taken, isMemory);
      from = i + 1;
    }
    if (count > from) out.reject(number, firstSeq + from, count - from, code, message);
  }

  #resolveTargets(namespace: string, batch: PublishBatch, out: EffectSink): void {
    const targets = this.#targets;
    targets.length = 0;
    const declares = (batch.flags & PUBLISH_FLAGS.AUTO_DECLARE) !== 0;
    for (const [index, name] of batch.targets.entries()) {
      if (this.#refused?.targets?.has(index)) {
        targets.push(null);
        continue;
      }
      let queue = this.#state.queue(namespace, name);
      if (queue === null && declares)
        queue = this.#registry.create(namespace, name, this.#state.defaultSettings(namespace, name), out);
      targets.push(queue);
    }
  }

  /** Fills `#exceptions`: messages whose queue is missing or full, that were taken before, or whose dedup key is in the window. */
  #findExceptions(session: Session, batch: PublishBatch): void {
    const exceptions = this.#exceptions;
    exceptions.length = 0;
    const { producer } = session;
    const isResent = producer !== null && batch.firstSeq <= producer.lastSeq;
    if (!isResent && batch.dedupKeys.size === 0 && !this.#targets.some(mayRefuse)) return;
    const keysInFrame = new Map<string, number>();
    this.#claims.clear();
    for (let i = 0; i < batch.count; i++) {
      const queue = this.#targets[batch.target[i]!]!;
      const taken = isResent ? producer.idOf(batch.firstSeq + i) : 0;
      if (taken !== 0) exceptions.push(i, taken);
      else if (queue === null) exceptions.push(i, 0);
      else this.#findException(queue, batch, i, keysInFrame);
    }
  }

  /** A duplicate, or too many for its queue. */
  #findException(queue: Queue, batch: PublishBatch, i: number, keysInFrame: Map<string, number>): void {
    const key = queue.settings.dedupWindowMs === 0 ? undefined : batch.dedupKeys.get(i);
    const nameInFrame = `${queue.index} ${key}`;
    if (key !== undefined) {
      const inFrame = keysInFrame.get(nameInFrame);
      const id = inFrame === undefined ? queue.dedup.find(key, this.#state.nowMs) : this.#state.nextId + inFrame;
      if (id !== 0) {
        queue.totals.duplicates++;
        this.#exceptions.push(i, id);
        return;
      }
    }
    if (queue.isRefusing && !this.#claim(queue, batch.payloadLength[i]!)) this.#exceptions.push(i, 0);
    else if (key !== undefined) keysInFrame.set(nameInFrame, i);
  }

  /** Takes room in a queue for one more message of the frame; false if there is none. */
  #claim(queue: Queue, bytes: number): boolean {
    const claim = this.#claims.get(queue) ?? { messages: 0, bytes: 0 };
    if (!queue.fits(claim.messages + 1, claim.bytes + bytes)) return false;
    claim.messages++;
    claim.bytes += bytes;
    this.#claims.set(queue, claim);
    return true;
  }

  #rememberKey(queue: Queue, batch: PublishBatch, i: number, id: number, timeMs: number, isMemory: boolean): void {
    const key = batch.dedupKeys.get(i);
    if (key !== undefined) queue.dedup.add(key, id, timeMs, isMemory);
  }

  #confirmAround(session: Session, batch: PublishBatch, baseId: number, isMemory: boolean, out: EffectSink): void {
    const exceptions = this.#exceptions;
    let from = 0;
    for (let e = 0; e <= exceptions.length; e += 2) {
      const to = e < exceptions.length ? exceptions[e]! : batch.count;
      if (to > from) out.confirm(session.number, batch.firstSeq + from, to - from, baseId + from, isMemory);
      from = to + 1;
    }
    this.#answerExceptions(session, batch, isMemory, out);
  }

  #answerExceptions(session: Session, batch: PublishBatch, isMemory: boolean, out: EffectSink): void {
    const exceptions = this.#exceptions;
    const { producer } = session;
    for (let e = 0; e < exceptions.length; e += 2) {
      const seq = batch.firstSeq + exceptions[e]!;
      const id = exceptions[e + 1]!;
      if (id === 0) this.#rejectOne(session, batch, exceptions[e]!, out);
      else if (producer !== null && producer.idOf(seq) === id) out.confirm(session.number, seq, 1, id, isMemory);
      else out.duplicate(session.number, seq, id, isMemory);
    }
  }

  /** What was not taken and was no duplicate is refused by the door, or has no queue, or a full one. */
  #rejectOne({ number }: Session, batch: PublishBatch, i: number, out: EffectSink): void {
    const refused = this.#refused;
    const target = batch.target[i]!;
    const queue = this.#targets[target]!;
    const name = batch.targets[target]!;
    const seq = batch.firstSeq + i;
    if (refused?.targets?.has(target)) return out.reject(number, seq, 1, refused.code, refused.message);
    if (queue === null)
      return out.reject(number, seq, 1, 'QUEUE_NOT_FOUND', `Cannot publish: queue "${name}" does not exist`);
    const { messagesMax, bytesMax } = queue.settings;
    const room = [messagesMax > 0 ? `${messagesMax} messages` : '', bytesMax > 0 ? `${bytesMax} bytes` : ''];
    const message = `Cannot publish: queue "${name}" is full, expected room within ${room.filter(Boolean).join(' and ')}`;
    out.reject(number, seq, 1, 'QUEUE_FULL', message);
  }

  #reserveIds(out: EffectSink): void {
    if (this.#state.nextId <= this.#idsReservedBelow) return;
    this.#idsReservedBelow = this.#state.nextId + IDS_AHEAD;
    out.record({ type: 'ids', below: this.#idsReservedBelow });
  }
}

/** Whether a message to this target may be refused. */
function mayRefuse(queue: Queue | null): boolean {
  return queue === null || queue.isRefusing;
}
