// hot path
/**
 * Results: a message that is completed leaves its queue and stands in the queue of results with other bytes, under its old id. One record says both, so that a task is
 * never done without its result, nor has one without being done (promise P6). From there on it is a message like others: it expires, is evicted when
 * there are too many, listed, peeked at, copied forward; only nobody is delivered any.
 *
 *     STARTED in "work", payload of the PUBLISH ──COMPLETE──► READY in "lovage.results", payload of the COMPLETE
 *
 * Where no result can be kept (no room for the queue, a full disk), the message is settled all the same, and whoever watches is told.
 */
import {
  type CompleteBatch,
  type MessageWhereabouts,
  NO_FAILURES,
  type Note,
  RESULT_STATUS,
  RESULTS_QUEUE,
} from '@lovage/protocol';
import type { MessageStateCommand, NoteCommand, ResultWatchCommand } from './command.js';
import type { Deliveries } from './deliveries.js';
import type { EffectSink } from './effects.js';
import { infoOf } from './message-lists.js';
import { FLAG, STATE } from './message-table.js';
import { stateOf } from './message-walk.js';
import { bytesOf } from './notes.js';
import type { Places } from './places.js';
import type { Queue } from './queue.js';
import type { QueueRegistry } from './queue-registry.js';
import type { CompleteRecord, PublishRecord } from './record.js';
import type { Session } from './session.js';
import type { EngineState } from './state.js';

/** A day, if neither the result nor the queue says otherwise. */
const TTL_MS = 86_400_000;
/** Ids that are looked for at a time, and bytes of results behind which no more are: some 2 ms of work. */
const LOOKUPS_MAX = 1_000;
const LOOKUP_BYTES = 512 * 1024;
/** What a look into the archive counts for at least, so that a turn looks there 128 times at most (measured with a million results on a slow machine: 32 us for one that is there, 9 for one that is not). */
const ASKED_BYTES = 4_096;
/** Results of a namespace, unless its queue is declared otherwise; the oldest are the first to go. */
const RESULTS_MAX = 1_000_000;

const NOTHING_MORE = { settled: [], follow: null } as const;

export interface ResultParts {
  readonly places: Places;
  readonly registry: QueueRegistry;
  readonly deliveries: Deliveries;
}

export class Results {
  readonly #state: EngineState;
  readonly #places: Places;
  readonly #registry: QueueRegistry;
  readonly #deliveries: Deliveries;
  /** Of the frame at hand: slot, index of the result, slot, ... of messages in no list. */
  readonly #journaled: number[] = [];
  readonly #inMemory: number[] = [];
  /** No result that goes to the journal is kept now. Set by the broker. */
  isFull = false;

  constructor(state: EngineState, { places, registry, deliveries }: ResultParts) {
    this.#state = state;
    this.#places = places;
    this.#registry = registry;
    this.#deliveries = deliveries;
  }

  /** Message of the frame at hand, which is in no list any more, has the result of this index. `flush` must follow. */
  add(slot: number, index: number): void {
    (this.#state.table.isMemory(slot) ? this.#inMemory : this.#journaled).push(slot, index);
  }

  /** Writes and keeps what was added. */
  flush(namespace: string, batch: CompleteBatch, out: EffectSink): void {
    const journaled = this.#journaled;
    const inMemory = this.#inMemory;
    if (journaled.length === 0 && inMemory.length === 0) return;
    const told = this.#watched();
    const to = this.#queue(namespace, out);
    if (to === null || this.isFull) this.#settle(journaled);
    else if (journaled.length > 0) this.#write(journaled, to, batch, out);
    if (to === null) this.#settle(inMemory);
    else if (inMemory.length > 0) this.#keepInMemory(inMemory, to, batch);
    this.#deliveries.flushSettled(out);
    this.#end(told, batch, out);
  }

  /**
   * Writes and keeps the one that was added, with what is published along with it: one record for all of it, whether a result is kept or not. Returns where the frame lies
   * in the segment.
   */
  flushFollowed(namespace: string, batch: CompleteBatch, follow: PublishRecord, out: EffectSink): number {
    const told = batch.payloadLength[0] === 0 ? [] : this.#watched();
    const journaled = this.#journaled;
    const inMemory = this.#inMemory;
    const to = batch.payloadLength[0] === 0 ? null : this.#queue(namespace, out);
    const isKept = to !== null && (journaled.length === 0 || !this.isFull);
    const settled = isKept ? [] : journaled.slice(0, 1).map((slot) => this.#state.table.id[slot]!);
    const offset = this.#write(isKept ? journaled : [], to, batch, out, { settled, follow });
    if (isKept && inMemory.length > 0) this.#keepInMemory(inMemory, to, batch);
    if (!isKept) for (const [slot] of [journaled, inMemory]) if (slot !== undefined) this.#forget(slot);
    this.#end(told, batch, out);
    return offset;
  }

  /** The frame is done: whoever watches is told, now that the records are written that say so. */
  #end(told: readonly number[], batch: CompleteBatch, out: EffectSink): void {
    this.#journaled.length = 0;
    this.#inMemory.length = 0;
    for (let t = 0; t < told.length; t += 2) this.#state.watches.done(told[t]!, payloadOf(batch, told[t + 1]!), out);
  }

  #forget(slot: number): void {
    this.#places.forget(slot, this.#state.queueOf(slot));
  }

  /** Replay: the messages of a record stand in the queue of results. */
  restore({ queue: index, entries, batch, segment, offset }: CompleteRecord, takeOut: (slot: number) => void): void {
    const { table, queues, timers } = this.#state;
    const to = queues[index];
    if (to === undefined) return;
    for (let e = 0; e < entries.length; e += 5) {
      const i = entries[e]!;
      const id = entries[e + 1]!;
      const old = table.find(id);
      if (old >= 0) takeOut(old);
      const length = batch.payloadLength[i]!;
      const at = offset + batch.payloadOffset[i]!;
      const slot = table.add(id, segment, at, length, index, entries[e + 2]!, FLAG.TRANSFERRED);
      table.attempts[slot] = entries[e + 3]!;
      const expiryMs = entries[e + 4]!;
      table.expiryMs[slot] = expiryMs;
      if (expiryMs !== 0) timers.setExpiry(slot, expiryMs);
      to.bytes += length;
      to.ready.add(slot);
    }
  }

  watch({ session: number, request, ids }: ResultWatchCommand, out: EffectSink): void {
    const { watches } = this.#state;
    const session = this.#state.session(number);
    if (!watches.hasRoom(session, ids.length)) {
      const message = `Cannot watch for ${ids.length} more results: expected fewer at a time`;
      return out.fail(number, request, 'QUOTA_EXCEEDED', message, { quota: 'resultWatchesMax' });
    }
    out.reply(number, request, null);
    // Whoever waits for its turn, or for room, goes on waiting.
    const isFirst = watches.lookups.sizeOf(session) === 0;
    watches.ask(session, ids);
    if (isFirst && session.isWritable) this.#lookUp(session, out);
  }

  /** True while results are asked for and there is room to tell them: `look` wants to be called without waiting. */
  get isBusy(): boolean {
    return this.#state.watches.lookups.isBusy;
  }

  /** Looks for a slice of what the session asks for whose turn it is. */
  look(out: EffectSink): void {
    const session = this.#state.watches.lookups.next();
    if (session !== null) this.#lookUp(session, out);
  }

  unwatch({ session: number, request, ids }: ResultWatchCommand, out: EffectSink): void {
    const session = this.#state.session(number);
    this.#state.watches.remove(session, ids);
    out.reply(number, request, null);
  }

  /**
   * A handler tells of its delivery: kept until that is over, and told to whoever watches. Who does not read fast enough misses some. What is settled already has nothing to tell.
   */
  note({ session: number, tag, note }: NoteCommand, out: EffectSink): void {
    const { table, leases, notes, watches } = this.#state;
    const lease = this.#state.session(number).tags.get(tag);
    const slot = lease < 0 ? -1 : leases.slot[lease]!;
    if (slot < 0 || (table.state[slot] !== STATE.LEASED && table.state[slot] !== STATE.STARTED)) return;
    const id = table.id[slot]!;
    notes.add(id, note);
    for (const session of watches.of(id)) if (session.isWritable) this.#tellNote(session, id, note, out);
  }

  /** Where messages are, by id; null for one that is not there. */
  states({ session: number, request, ids, withNotes }: MessageStateCommand, out: EffectSink): void {
    const { namespace } = this.#state.session(number);
    const messages = ids.map((id): MessageWhereabouts | null => {
      const slot = this.#find(namespace, id);
      return slot < 0 ? null : { ...infoOf(this.#state.table, slot), queue: this.#state.queueOf(slot).name };
    });
    // Notes may be long, so that one request tells those of one message.
    const note = withNotes && ids.length === 1 ? this.#state.notes.of(ids[0]!) : null;
    const [only] = messages;
    if (note !== null && only !== null && only !== undefined) messages[0] = { ...only, note };
    out.whereabouts(number, request, ids, messages, this.#state.queue(namespace, RESULTS_QUEUE));
  }

  /** Deliveries may have taken the room for which it stood in line: it has its turn all the same. */
  #lookUp(session: Session, out: EffectSink): void {
    const { lookups } = this.#state.watches;
    let bytesLeft = LOOKUP_BYTES;
    for (let count = 0; count < LOOKUPS_MAX && bytesLeft > 0; count++) {
      const id = lookups.take(session);
      if (id === 0) return;
      bytesLeft -= this.#tell(session, id, out);
    }
    if (session.isWritable) lookups.resume(session);
  }

  /** What came of a message, if anything did; else it is watched for. Returns the bytes of what is told. */
  #tell(session: Session, id: number, out: EffectSink): number {
    const { table, watches } = this.#state;
    const slot = this.#find(session.namespace, id);
    if (slot < 0) return this.#tellArchived(session, id, out);
    if (this.#state.queueOf(slot).isResults) {
      const bytes = table.length[slot]!;
      session.unsentBytes += bytes;
      out.storedResult(session.number, id, slot);
      return bytes;
    }
    const reason = table.historyOf(slot).at(-1)?.reason;
    if (reason !== undefined) {
      out.resultEnded(session.number, id, RESULT_STATUS.DEAD, reason);
      return 0;
    }
    watches.add(session, id);
    const note = this.#state.notes.of(id);
    return note === null ? 0 : this.#tellNote(session, id, note, out);
  }

  /** Of a message that is not here: it may have a result that was archived while this namespace had the queue that it has now. */
  #tellArchived(session: Session, id: number, out: EffectSink): number {
    const queue = this.#state.queue(session.namespace, RESULTS_QUEUE);
    if (queue === null) {
      out.resultEnded(session.number, id, RESULT_STATUS.NOT_THERE, null);
      return 0;
    }
    const bytes = out.archivedResult(session.number, id, queue);
    session.unsentBytes += bytes;
    return Math.max(ASKED_BYTES, bytes);
  }

  #tellNote(session: Session, id: number, note: Note, out: EffectSink): number {
    const bytes = bytesOf(note);
    session.unsentBytes += bytes;
    out.noted(session.number, id, note, bytes);
    return bytes;
  }

  /** Slot of a message of the namespace, -1 if there is none. */
  #find(namespace: string, id: number): number {
    const { table } = this.#state;
    const slot = table.find(id);
    return slot >= 0 && stateOf(table, slot) !== null && this.#state.queueOf(slot).namespace === namespace ? slot : -1;
  }

  /** The namespace's queue of results, made when it is needed; null if there is no room for one. */
  #queue(namespace: string, out: EffectSink): Queue | null {
    const found = this.#state.queue(namespace, RESULTS_QUEUE);
    if (found !== null) return found;
    const settings = {
      ...this.#state.defaultSettings(namespace, RESULTS_QUEUE),
      messageTtlMs: TTL_MS,
      messagesMax: RESULTS_MAX,
      bytesMax: 0,
      overflow: 'drop-head',
      deadLetterQueue: null,
      expiresAfterUnusedMs: 0,
    } as const;
    return this.#registry.create(namespace, RESULTS_QUEUE, settings, out);
  }

  /** Id and index of the results of the frame at hand, if anybody watches for any. */
  #watched(): number[] {
    const { table, watches } = this.#state;
    const found: number[] = [];
    if (watches.isIdle) return found;
    for (const entries of [this.#journaled, this.#inMemory])
      for (let e = 0; e < entries.length; e += 2) found.push(table.id[entries[e]!]!, entries[e + 1]!);
    return found;
  }

  /** Without a result. */
  #settle(entries: readonly number[]): void {
    for (let e = 0; e < entries.length; e += 2) this.#deliveries.settle(entries[e]!);
  }

  /** `entries`, as `#journaled`, are kept in `to`. Returns where the frame lies in the segment. */
  #write(
    entries: readonly number[],
    to: Queue | null,
    batch: CompleteBatch,
    out: EffectSink,
    more: Pick<CompleteRecord, 'settled' | 'follow'> = NOTHING_MORE,
  ): number {
    const { table, nowMs } = this.#state;
    const facts: number[] = [];
    for (let e = 0; e < entries.length; e += 2) {
      const slot = entries[e]!;
      const i = entries[e + 1]!;
      facts.push(
        i,
        table.id[slot]!,
        table.priority[slot]!,
        table.attempts[slot]!,
        this.#expiryMs(to!, batch.ttlMs[i]!),
      );
    }
    const offset = out.complete({
      type: 'complete',
      timeMs: nowMs,
      queue: to?.index ?? 0,
      entries: facts,
      ...more,
      batch,
      segment: 0,
      offset: 0,
    });
    for (let e = 0; e < entries.length; e += 2)
      this.#place(entries[e]!, entries[e + 1]!, to!, batch, out.segment, offset);
    return offset;
  }

  #keepInMemory(entries: readonly number[], to: Queue, batch: CompleteBatch): void {
    const { memoryFrames } = this.#state.table;
    const frame = memoryFrames.add(new Uint8Array(batch.bytes));
    for (let e = 0; e < entries.length; e += 2) this.#place(entries[e]!, entries[e + 1]!, to, batch, frame, 0);
    memoryFrames.release(frame);
  }

  #place(slot: number, i: number, to: Queue, batch: CompleteBatch, segment: number, offset: number): void {
    const { table, timers, nowMs } = this.#state;
    const from = this.#state.queueOf(slot);
    from.bytes -= table.length[slot]!;
    table.replace(slot, segment, offset + batch.payloadOffset[i]!, batch.payloadLength[i]!);
    to.bytes += table.length[slot]!;
    table.queue[slot] = to.index;
    table.flags[slot]! |= FLAG.TRANSFERRED;
    table.setHistory(slot, []);
    table.setAttemptLog(slot, NO_FAILURES);
    table.clearRate(slot);
    if (table.expiryMs[slot] !== 0) timers.clearExpiry(slot);
    const expiryMs = this.#expiryMs(to, batch.ttlMs[i]!);
    table.expiryMs[slot] = expiryMs;
    if (expiryMs !== 0) timers.setExpiry(slot, expiryMs);
    to.ready.add(slot);
    this.#state.arrivals.add(to, table.id[slot]!, nowMs);
    to.totals.arrived++;
    to.usedMs = nowMs;
    if (to.isEvicting) this.#places.grown.add(to);
  }

  #expiryMs({ settings: { messageTtlMs } }: Queue, ttlMs: number): number {
    const lifeMs = ttlMs || messageTtlMs;
    return lifeMs === 0 ? 0 : this.#state.nowMs + lifeMs;
  }
}

function payloadOf(batch: CompleteBatch, i: number): Uint8Array {
  const start = batch.payloadOffset[i]!;
  return batch.bytes.subarray(start, start + batch.payloadLength[i]!);
}
