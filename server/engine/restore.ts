/** Replay: each record does to the state what the command did that wrote it. Emits nothing. */

import { withFailure } from './attempt-log.js';
import { Consumer } from './consumer.js';
import type { Deliveries } from './deliveries.js';
import type { EffectSink } from './effects.js';
import type { Exchanges } from './exchanges.js';
import type { MessageActs } from './message-acts.js';
import { FLAG, STATE } from './message-table.js';
import type { Namespaces } from './namespaces.js';
import type { Places } from './places.js';
import type { Publishing } from './publishing.js';
import type { Queue } from './queue.js';
import type { QueueRegistry } from './queue-registry.js';
import type { Queues } from './queues.js';
import type { RateLimits } from './rate-limits.js';
import type {
  CheckpointRecord,
  CompleteRecord,
  FailureRecord,
  IdsRecord,
  JournalRecord,
  MessagePriorityRecord,
  MovedMessage,
  MoveRecord,
  PublishRecord,
  QueueDeleteRecord,
  QueuePauseRecord,
  QueueRecord,
  QueueSettingsRecord,
  ResultsEraRecord,
  ReturnRecord,
  SessionEndRecord,
  SessionRecord,
  SettleRecord,
  StartRecord,
  TransferRecord,
} from './record.js';
import type { Results } from './results.js';
import type { Session } from './session.js';
import type { Sessions } from './sessions.js';
import type { EngineState } from './state.js';
import type { Transfers } from './transfers.js';

/** Nothing that replay does may have an effect outside: this sink makes one an error. */
const SILENT = new Proxy({} as EffectSink, {
  get(_, effect): never {
    throw new Error(`Cannot replay: the engine asked for the effect "${String(effect)}", expected none`);
  },
});

/** The parts of the engine that replay works on. */
export interface RestoreParts {
  readonly namespaces: Namespaces;
  readonly places: Places;
  readonly transfers: Transfers;
  readonly registry: QueueRegistry;
  readonly queues: Queues;
  readonly sessions: Sessions;
  readonly publishing: Publishing;
  readonly deliveries: Deliveries;
  readonly exchanges: Exchanges;
  readonly messageActs: MessageActs;
  readonly results: Results;
  readonly rateLimits: RateLimits;
}

export class Restore {
  readonly #state: EngineState;
  readonly #namespaces: Namespaces;
  readonly #places: Places;
  readonly #transfers: Transfers;
  readonly #registry: QueueRegistry;
  readonly #queues: Queues;
  readonly #sessions: Sessions;
  readonly #publishing: Publishing;
  readonly #deliveries: Deliveries;
  readonly #messageActs: MessageActs;
  readonly #results: Results;
  readonly #rateLimits: RateLimits;
  readonly #targets: (Queue | null)[] = [];
  readonly #exchanges: Exchanges;
  #isStarted = false;

  constructor(state: EngineState, parts: RestoreParts) {
    this.#state = state;
    this.#namespaces = parts.namespaces;
    this.#places = parts.places;
    this.#transfers = parts.transfers;
    this.#registry = parts.registry;
    this.#queues = parts.queues;
    this.#sessions = parts.sessions;
    this.#publishing = parts.publishing;
    this.#deliveries = parts.deliveries;
    this.#exchanges = parts.exchanges;
    this.#messageActs = parts.messageActs;
    this.#results = parts.results;
    this.#rateLimits = parts.rateLimits;
  }

  apply(record: JournalRecord): void {
    switch (record.type) {
      case 'publish':
        this.#publish(record);
        break;
      case 'settle':
        this.#settle(record);
        break;
      case 'start':
        this.#start(record);
        break;
      case 'return':
        this.#return(record);
        break;
      case 'move':
        this.#move(record);
        break;
      case 'transfer':
        this.#transfer(record);
        break;
      case 'complete':
        this.#complete(record);
        break;
      case 'failure':
        this.#failure(record);
        break;
      case 'message-priority':
        this.#messagePriority(record);
        break;
      case 'session':
        this.#session(record);
        break;
      case 'session-end':
        this.#sessionEnd(record);
        break;
      case 'queue':
        this.#queue(record);
        break;
      case 'queue-delete':
        this.#queueDelete(record);
        break;
      case 'queue-settings':
        this.#queueSettings(record);
        break;
      case 'queue-pause':
        this.#queuePause(record);
        break;
      case 'results-era':
        this.#resultsEra(record);
        break;
      case 'ids':
        this.#ids(record);
        break;
      case 'token':
        this.#state.tokens.add(record.token);
        break;
      case 'token-revoke':
        this.#state.tokens.remove(record.id);
        break;
      case 'namespace':
        this.#state.queuesByName.configure(record.name, record.settings);
        break;
      case 'namespace-delete':
        this.#namespaces.remove(record.name, SILENT);
        break;
      case 'checkpoint':
        this.#checkpoint(record);
        break;
      case 'exchange':
        this.#exchanges.put(record.namespace, record.name, record.kind, record.alternate);
        break;
      case 'exchange-delete':
        this.#exchanges.remove(record.namespace, record.name);
        break;
      case 'bind':
        this.#exchanges.putBinding(record.namespace, record);
        break;
      case 'unbind':
        this.#exchanges.removeBinding(record.namespace, record);
        break;
      case 'rate-limit':
        this.#rateLimits.put(record.namespace, record.name, record.declared, record.override);
        break;
      default:
        record satisfies never;
    }
    this.#isStarted = true;
  }

  #publish(record: PublishRecord): void {
    const { namespace, routes, segment, offset } = record;
    this.#clock(record.timeMs);
    const ids =
      routes === null ? this.#insert(record) : this.#publishing.insertRouted(record, routes, segment, offset, false);
    this.#state.nextId = Math.max(this.#state.nextId, record.baseId + ids);
    const producer =
      record.producer === null ? null : this.#state.producers.use(namespace, record.producer, record.timeMs);
    this.#publishing.remember(record, producer, false);
  }

  /** Returns how many ids the record takes. */
  #insert(record: PublishRecord): number {
    const { batch, namespace, segment, offset } = record;
    this.#targets.length = 0;
    for (const name of batch.targets) this.#targets.push(this.#state.queue(namespace, name));
    this.#publishing.insert(record, this.#targets, segment, offset, false);
    return batch.count;
  }

  #settle({ ids }: SettleRecord): void {
    for (let i = 0; i < ids.length; i += 2) {
      for (let id = ids[i]!; id < ids[i]! + ids[i + 1]!; id++) this.#remove(id);
    }
  }

  /** A settled message may be gone already, with the segment that it stood in. */
  #remove(id: number): void {
    const { table } = this.#state;
    const slot = table.find(id);
    if (slot < 0) return;
    const queue = this.#state.queueOf(slot);
    this.#takeOut(slot, queue);
    this.#places.forget(slot, queue);
  }

  /** A message that waits, or is with a handler, is in no list from now on. */
  #takeOut(slot: number, queue: Queue): void {
    if (this.#state.table.state[slot] === STATE.STARTED) this.#deliveries.endStarted(slot, queue);
    else this.#places.unlink(slot, queue);
  }

  #start({ session: number, entries }: StartRecord): void {
    const session = this.#state.sessions.get(number);
    for (let i = 0; i < entries.length; i += 3) {
      const slot = this.#state.table.find(entries[i]!);
      if (slot >= 0 && session !== undefined) {
        const { table } = this.#state;
        this.#hold(slot, session, entries[i + 1]!, entries[i + 2]!);
        table.attempts[slot] = Math.min(65_535, table.attempts[slot]! + 1);
      }
    }
  }

  /** Makes a waiting message one that a session's handler has started. */
  #hold(slot: number, session: Session, tag: number, consumerId: number): void {
    const queue = this.#state.queueOf(slot);
    this.#places.unlink(slot, queue);
    this.#state.table.dueMs[slot] = 0;
    this.#deliveries.restoreStarted(slot, queue, this.#consumer(session, consumerId), tag);
  }

  #consumer(session: Session, id: number): Consumer {
    const consumer = session.consumers.get(id) ?? new Consumer(session, id, this.#state.options.consumerBytesMax);
    session.consumers.set(id, consumer);
    return consumer;
  }

  #return({ entries }: ReturnRecord): void {
    const { table } = this.#state;
    for (let i = 0; i < entries.length; i += 3) {
      const slot = table.find(entries[i]!);
      if (slot < 0) continue;
      const queue = this.#state.queueOf(slot);
      this.#takeOut(slot, queue);
      table.attempts[slot] = entries[i + 1]!;
      this.#wait(slot, queue, entries[i + 2]!);
    }
  }

  /** Puts a message that is in no list among the waiting ones. */
  #wait(slot: number, queue: Queue, dueMs: number): void {
    this.#state.table.flags[slot]! |= FLAG.REDELIVERED;
    this.#places.put(slot, queue, dueMs);
  }

  /** A message may be gone already; one that stands in the new queue was brought there by this record before. */
  #transfer({ timeMs, reason, entries }: TransferRecord): void {
    this.#clock(timeMs);
    const { table, queues } = this.#state;
    for (let i = 0; i < entries.length; i += 3) {
      const slot = table.find(entries[i]!);
      const to = queues[entries[i + 1]!];
      if (slot < 0 || to === undefined) continue;
      const from = this.#state.queueOf(slot);
      if (from === to) continue;
      this.#takeOut(slot, from);
      this.#transfers.place(slot, from, to, reason, timeMs, entries[i + 2]!);
    }
  }

  #move({ messages, segment, offset }: MoveRecord): void {
    const { table } = this.#state;
    for (const message of messages) {
      const slot = table.find(message.id);
      if (slot >= 0) table.move(slot, segment, offset + message.offset);
      else this.#insertMoved(message, segment, offset + message.offset);
    }
  }

  #complete(record: CompleteRecord): void {
    this.#clock(record.timeMs);
    this.#results.restore(record, (slot) => {
      const queue = this.#state.queueOf(slot);
      this.#takeOut(slot, queue);
      this.#places.forget(slot, queue);
    });
    for (const id of record.settled) this.#remove(id);
    if (record.follow === null) return;
    const ids = this.#insert(record.follow);
    this.#state.nextId = Math.max(this.#state.nextId, record.follow.baseId + ids);
  }

  #failure({ timeMs, cause, reason, entries }: FailureRecord): void {
    const { table } = this.#state;
    for (let i = 0; i < entries.length; i += 2) {
      const slot = table.find(entries[i]!);
      const failure = { attempt: entries[i + 1]!, cause, timeMs, reason };
      if (slot >= 0) table.setAttemptLog(slot, withFailure(table.attemptLogOf(slot), failure));
    }
  }

  #messagePriority({ entries }: MessagePriorityRecord): void {
    for (let i = 0; i < entries.length; i += 2) {
      const slot = this.#state.table.find(entries[i]!);
      if (slot >= 0) this.#messageActs.setPriority(slot, entries[i + 1]!);
    }
  }

  /** A message whose first segment is gone: it takes its old place. */
  #insertMoved(message: MovedMessage, segment: number, offset: number): void {
    const { table, timers, queues } = this.#state;
    const queue = queues[message.queue]!;
    const slot = table.add(message.id, segment, offset, message.length, message.queue, message.priority, 0);
    queue.bytes += message.length;
    table.attempts[slot] = message.attempts;
    table.setHistory(slot, message.history);
    table.setAttemptLog(slot, message.attemptLog);
    if (message.rate !== null) table.setRate(slot, queue.namespace, message.rate, this.#state.nowMs);
    if (message.expiryMs !== 0) {
      table.expiryMs[slot] = message.expiryMs;
      timers.setExpiry(slot, message.expiryMs);
    }
    this.#wait(slot, queue, message.dueMs);
    const session = this.#state.sessions.get(message.session);
    if (session !== undefined) this.#hold(slot, session, message.tag, message.consumerId);
  }

  #session({ session: number, key, namespace, producer: name }: SessionRecord): void {
    if (this.#state.sessions.has(number)) return;
    const producer = name === null ? null : this.#state.producers.use(namespace, name, this.#state.nowMs);
    const session = this.#sessions.add(number, key, namespace, producer);
    session.isRecorded = true;
    session.isAttached = false;
    session.settleSeq = null;
    this.#state.nextSession = Math.max(this.#state.nextSession, number + 1);
  }

  #sessionEnd({ session: number }: SessionEndRecord): void {
    const session = this.#state.sessions.get(number);
    if (session !== undefined) this.#sessions.remove(session);
  }

  #queue({ index, namespace, name, settings, timeMs, era }: QueueRecord): void {
    this.#clock(timeMs);
    this.#registry.setEra(this.#registry.put(index, namespace, name, settings), era);
  }

  #queueDelete({ index }: QueueDeleteRecord): void {
    this.#queues.remove(index, SILENT);
  }

  #queueSettings({ index, settings, version, timeMs }: QueueSettingsRecord): void {
    this.#clock(timeMs);
    this.#queues.configure(index, settings, version, timeMs);
  }

  #queuePause({ index, isPaused }: QueuePauseRecord): void {
    const queue = this.#state.queues[index];
    if (queue !== undefined) queue.isPaused = isPaused;
  }

  #resultsEra({ index, era }: ResultsEraRecord): void {
    const queue = this.#state.queues[index];
    if (queue !== undefined) this.#registry.setEra(queue, era);
  }

  #ids({ below }: IdsRecord): void {
    this.#state.nextId = Math.max(this.#state.nextId, below);
  }

  /** The first record of the oldest segment that is left. Later ones say what replay knows by then. */
  #checkpoint(record: CheckpointRecord): void {
    this.#clock(record.timeMs);
    this.#state.nextId = Math.max(this.#state.nextId, record.nextId);
    this.#state.nextSession = Math.max(this.#state.nextSession, record.nextSession);
    if (this.#isStarted) return;
    for (const entry of record.queues) {
      const queue = this.#registry.put(entry.index, entry.namespace, entry.name, entry.settings);
      queue.version = entry.version;
      queue.isPaused = entry.isPaused;
      this.#registry.setEra(queue, entry.era);
      for (const [key, id, timeMs] of entry.dedup) queue.dedup.add(key, id, timeMs, false);
    }
    for (const entry of record.producers) {
      const producer = this.#state.producers.use(entry.namespace, entry.name, entry.usedMs)!;
      const { ranges } = entry;
      for (let i = 0; i < ranges.length; i += 3) producer.remember(ranges[i]!, ranges[i + 1]!, ranges[i + 2]!, false);
      producer.lastSeq = entry.lastSeq;
      producer.confirmedSeq = entry.confirmedSeq;
    }
    for (const { namespace, name, kind, alternate } of record.exchanges)
      this.#exchanges.put(namespace, name, kind, alternate);
    for (const binding of record.bindings) this.#exchanges.putBinding(binding.namespace, binding);
    for (const session of record.sessions) this.#session(session);
    for (const { name, settings } of record.namespaces) this.#state.queuesByName.configure(name, settings);
    for (const token of record.tokens) this.#state.tokens.add(token);
    for (const { namespace, name, declared, override } of record.rateLimits)
      this.#rateLimits.put(namespace, name, declared, override);
  }

  #clock(timeMs: number): void {
    this.#state.nowMs = Math.max(this.#state.nowMs, timeMs);
  }
}
