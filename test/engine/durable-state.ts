/**
 * What of an engine's state has to outlive the broker, as plain values in a fixed order, so that two engines can be compared: one that lives, and
 * one that was made from its records (promise P10).
 */
import type { AttemptLog, DeadLetter, NamespaceSettings, QueueSettings, RateTag } from '@lovage/protocol';
import type { Token } from '../../server/engine/access.js';
import type { Engine } from '../../server/engine/engine.js';
import { factsOf } from '../../server/engine/exchange.js';
import { STATE } from '../../server/engine/message-table.js';
import type { RateLimitRecord } from '../../server/engine/record.js';

export interface DurableMessage {
  readonly id: number;
  readonly queue: number;
  readonly priority: number;
  readonly attempts: number;
  /** 0 when it has come: that writes no record, and a replayed engine finds it in the past. */
  readonly dueMs: number;
  readonly expiryMs: number;
  readonly segment: number;
  readonly offset: number;
  readonly length: number;
  readonly history: readonly DeadLetter[];
  readonly attemptLog: AttemptLog;
  readonly rate: RateTag | null;
  /** Session, consumer and tag of the handler that has begun. */
  readonly started: readonly number[] | null;
}

export interface DurableQueue {
  readonly index: number;
  readonly namespace: string;
  readonly name: string;
  readonly settings: QueueSettings;
  readonly version: number;
  readonly isPaused: boolean;
  readonly era: number;
  /** Messages and their bytes. */
  readonly count: number;
  readonly bytes: number;
  /** Key, id and ms of the window, oldest first. */
  readonly dedup: readonly (readonly [string, number, number])[];
}

export interface DurableState {
  /** By queue, and in a queue in the order in which they go out. */
  readonly messages: readonly DurableMessage[];
  readonly queues: readonly DurableQueue[];
  readonly exchanges: readonly { readonly name: string; readonly type: string; readonly alternate: string | null }[];
  /** Each as text, because their order is not kept. */
  readonly bindings: readonly string[];
  /** Sessions that can be resumed after a restart. */
  readonly sessions: readonly { readonly number: number; readonly key: string; readonly producer: string | null }[];
  /** By id. */
  readonly tokens: readonly Token[];
  /** By name; the bytes of messages in memory only are left out. */
  readonly namespaces: readonly { readonly name: string; readonly settings: NamespaceSettings | null }[];
  /** By namespace and name. */
  readonly rateLimits: readonly RateLimitRecord[];
}

export function durableState(engine: Engine, nowMs = engine.state.nowMs): DurableState {
  const { state } = engine;
  const checkpoint = engine.checkpoint();
  const messages = durableMessages(state, nowMs);
  const queues = [...state.queuesByName.values()].map((queue): DurableQueue => {
    const own = messages.filter((message) => message.queue === queue.index);
    return {
      index: queue.index,
      namespace: queue.namespace,
      name: queue.name,
      settings: { ...queue.settings },
      version: queue.version,
      isPaused: queue.isPaused,
      era: queue.era,
      count: own.length,
      bytes: own.reduce((sum, { length }) => sum + length, 0),
      dedup: queue.dedup.entries(nowMs),
    };
  });
  const sessions = [...state.sessions.values()]
    .filter((session) => session.isRecorded)
    .map(({ number, key, namespace, producer }) => ({ number, key, namespace, producer: producer?.name ?? null }));
  return {
    messages,
    queues: queues.sort((a, b) => a.index - b.index),
    ...durableRouting(state),
    sessions: sessions.sort((a, b) => a.number - b.number),
    tokens: [...state.tokens].sort((a, b) => (a.id < b.id ? -1 : 1)),
    namespaces: [...state.queuesByName.spaces()]
      .map(({ namespace: name, settings }) => ({ name, settings }))
      .sort((a, b) => (a.name < b.name ? -1 : 1)),
    rateLimits: [...checkpoint.rateLimits].sort((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1)),
  };
}

/** Exchanges, and bindings as text; the order of neither is kept. */
export function durableRouting(state: Engine['state']): Pick<DurableState, 'exchanges' | 'bindings'> {
  return {
    exchanges: [...state.exchanges.values()]
      .map(({ namespace, name, type, alternate }) => ({ name: `${namespace} ${name}`, type, alternate }))
      .sort((a, b) => (a.name < b.name ? -1 : 1)),
    bindings: [...state.bindings]
      .map((binding) => `${binding.from.namespace} ${JSON.stringify(factsOf(binding))}`)
      .sort(),
  };
}

function durableMessages(state: Engine['state'], nowMs: number): DurableMessage[] {
  const { table, leases } = state;
  const messages: DurableMessage[] = [];
  table.forEach((slot) => {
    if (table.isMemory(slot) || table.state[slot] === STATE.SENDING) return;
    const queue = state.queueOf(slot);
    // What is left of a queue that is being deleted.
    if (state.queue(queue.namespace, queue.name) !== queue) return;
    const lease = table.state[slot] === STATE.STARTED ? table.prev[slot]! : -1;
    const consumer = lease < 0 ? null : leases.consumer[lease]!;
    const dueMs = table.dueMs[slot]!;
    messages.push({
      id: table.id[slot]!,
      queue: queue.index,
      priority: table.priority[slot]!,
      attempts: table.attempts[slot]!,
      dueMs: dueMs > nowMs ? dueMs : 0,
      expiryMs: table.expiryMs[slot]!,
      segment: table.segment[slot]!,
      offset: table.offset[slot]!,
      length: table.length[slot]!,
      history: table.historyOf(slot),
      attemptLog: table.attemptLogOf(slot),
      rate: table.rateOf(slot),
      started: consumer === null ? null : [consumer.session.number, consumer.id, leases.tag[lease]!],
    });
  });
  return messages.sort((a, b) => a.queue - b.queue || b.priority - a.priority || a.id - b.id);
}

/** Seq and id of every publish above `confirmedSeqs` that is in the journal, by the producer's namespace and name. */
export function durableProducers(
  { state }: Engine,
  confirmedSeqs: ReadonlyMap<string, number>,
): Map<string, [seq: number, id: number][]> {
  const found = new Map<string, [number, number][]>();
  for (const producer of state.producers) {
    const name = `${producer.namespace} ${producer.name}`;
    const confirmedSeq = confirmedSeqs.get(name) ?? 0;
    const taken: [number, number][] = [];
    const ranges = producer.remembered();
    for (let i = 0; i < ranges.length; i += 3)
      for (let seq = ranges[i]!; seq < ranges[i]! + ranges[i + 1]!; seq++)
        if (seq > confirmedSeq) taken.push([seq, producer.idOf(seq)]);
    if (taken.length > 0)
      found.set(
        name,
        taken.sort((a, b) => a[0] - b[0]),
      );
  }
  return found;
}
