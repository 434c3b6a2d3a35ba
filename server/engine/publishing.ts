// hot path
/** PUBLISH: which of its messages are taken, their ids, and their way into the queues. */
import { defaultQueueSettings, type ErrorCode, PUBLISH_FLAGS, type PublishBatch } from '@lovage/protocol';
import type { PublishCommand, RefusedPublish } from './command.js';
import type { Deliveries } from './deliveries.js';
import type { EffectSink } from './effects.js';
import { FLAG } from './message-table.js';
import type { Producer } from './producers.js';
import type { Queue } from './queue.js';
import type { Queues } from './queues.js';
import type { PublishRecord } from './record.js';
import type { Session } from './session.js';
import type { EngineState } from './state.js';

/** Ids for messages kept in memory only are set aside in the journal so many at a time. */
const IDS_AHEAD = 65_536;

export class Publishing {
  readonly #state: EngineState;
  readonly #queues: Queues;
  readonly #deliveries: Deliveries;
  /** Queue of each target of the frame at hand. */
  readonly #targets: (Queue | null)[] = [];
  /** index, id, index, id, ... of messages of the frame at hand that are not taken; id 0 means refused. */
  readonly #exceptions: number[] = [];
  /** What the door refuses of the frame at hand. */
  #refused: RefusedPublish | null = null;
  #idsReservedBelow = 0;
  /** Why publishes to the journal are refused now, null if they are not. Set by the broker. */
  refusal: ErrorCode | null = null;

  constructor(state: EngineState, queues: Queues, deliveries: Deliveries) {
    this.#state = state;
    this.#queues = queues;
    this.#deliveries = deliveries;
  }

  publish({ session: number, batch, refused = null }: PublishCommand, out: EffectSink): void {
    const session = this.#state.session(number);
    this.#refused = refused;
    const code = this.#refusalOf(batch);
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
      if (delayMs > 0) this.#deliveries.delay(slot, queue, timeMs + delayMs);
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
    for (const queue of this.#targets) if (queue !== null) this.#deliveries.dispatch(queue, out);
  }

  #insertInMemory(record: PublishRecord): void {
    const { memoryFrames } = this.#state.table;
    const frame = memoryFrames.add(new Uint8Array(record.batch.bytes));
    this.insert(record, this.#targets, frame, 0, true);
    memoryFrames.release(frame);
  }

  #refusalOf(batch: PublishBatch): ErrorCode | null {
    if (batch.problem !== null) return batch.problem.code;
    if (this.#refused?.targets === null) return this.#refused.code;
    const { table, options } = this.#state;
    if ((batch.flags & PUBLISH_FLAGS.MEMORY) === 0) {
      if (this.refusal !== null) return this.refusal;
    } else if (table.memoryFrames.bytes + batch.bytes.length > options.memoryBytesMax) return 'TOO_MANY_MESSAGES';
    return table.size + batch.count > table.capacity ? 'TOO_MANY_MESSAGES' : null;
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
    for (const name of batch.targets) {
      if (this.#refused?.targets?.has(name)) {
        targets.push(null);
        continue;
      }
      let queue = this.#state.queue(namespace, name);
      if (queue === null && declares) queue = this.#queues.create(namespace, name, defaultQueueSettings(), out);
      targets.push(queue);
    }
  }

  /** Fills `#exceptions`: messages whose queue is missing, that were taken before, or whose dedup key is in the window. */
  #findExceptions(session: Session, batch: PublishBatch): void {
    const exceptions = this.#exceptions;
    exceptions.length = 0;
    const { producer } = session;
    const isResent = producer !== null && batch.firstSeq <= producer.lastSeq;
    if (!isResent && batch.dedupKeys.size === 0 && !this.#targets.includes(null)) return;
    const keysInFrame = new Map<string, number>();
    for (let i = 0; i < batch.count; i++) {
      const queue = this.#targets[batch.target[i]!]!;
      const taken = isResent ? producer.idOf(batch.firstSeq + i) : 0;
      if (taken !== 0) exceptions.push(i, taken);
      else if (queue === null) exceptions.push(i, 0);
      else this.#findDuplicate(queue, batch, i, keysInFrame);
    }
  }

  #findDuplicate(queue: Queue, batch: PublishBatch, i: number, keysInFrame: Map<string, number>): void {
    const key = batch.dedupKeys.get(i);
    if (key === undefined || queue.settings.dedupWindowMs === 0) return;
    const nameInFrame = `${queue.index} ${key}`;
    const inFrame = keysInFrame.get(nameInFrame);
    const id = inFrame === undefined ? queue.dedup.find(key, this.#state.nowMs) : this.#state.nextId + inFrame;
    if (id === 0) {
      keysInFrame.set(nameInFrame, i);
      return;
    }
    queue.totals.duplicates++;
    this.#exceptions.push(i, id);
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
      if (id === 0) this.#rejectOne(session, seq, batch.targets[batch.target[exceptions[e]!]!]!, out);
      else if (producer !== null && producer.idOf(seq) === id) out.confirm(session.number, seq, 1, id, isMemory);
      else out.duplicate(session.number, seq, id, isMemory);
    }
  }

  #rejectOne(session: Session, seq: number, target: string, out: EffectSink): void {
    const refused = this.#refused;
    if (refused?.targets?.has(target)) out.reject(session.number, seq, 1, refused.code, refused.message);
    else out.reject(session.number, seq, 1, 'QUEUE_NOT_FOUND', `Cannot publish: queue "${target}" does not exist`);
  }

  #reserveIds(out: EffectSink): void {
    if (this.#state.nextId <= this.#idsReservedBelow) return;
    this.#idsReservedBelow = this.#state.nextId + IDS_AHEAD;
    out.record({ type: 'ids', below: this.#idsReservedBelow });
  }
}
