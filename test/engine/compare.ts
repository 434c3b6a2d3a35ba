/** Engine and model side by side: everything that can be observed of the state, live and after a replay. */
import assert from 'node:assert/strict';
import type { Engine } from '../../server/engine/engine.js';
import { STATE } from '../../server/engine/message-table.js';
import { durableRouting } from './durable-state.js';
import type { ModelMessage, ModelProducer, ModelQueue } from './model/entities.js';
import type { ReferenceModel } from './reference-model.js';

const STATES: Record<number, ModelMessage['state']> = {
  [STATE.READY]: 'waiting',
  [STATE.RETURNED]: 'waiting',
  [STATE.DELAYED]: 'delayed',
  [STATE.LEASED]: 'leased',
  [STATE.STARTED]: 'started',
};

/** The live engine. */
export function compareLive(model: ReferenceModel, engine: Engine): void {
  compareTokens(model, engine);
  compareMessages(model, engine);
  compareQueues(model, engine);
  compareSessions(model, engine);
  compareExchanges(model, engine);
  compareRateLimits(model, engine);
  assert.equal(engine.state.nextId, model.nextId, 'next id');
  assert.equal(engine.state.nextSession, model.nextSession, 'next session');
}

function compareMessages(model: ReferenceModel, { state }: Engine): void {
  const { table, leases } = state;
  for (const message of model.messages.values()) {
    const slot = table.find(message.id);
    assert.ok(slot >= 0, `message ${message.id} is ${message.state}`);
    const queue = state.queueOf(slot);
    const lease = message.lease === null ? -1 : table.prev[slot]!;
    assert.deepEqual(
      {
        queue: `${queue.namespace} ${queue.name}`,
        state: STATES[table.state[slot]!],
        priority: table.priority[slot],
        attempts: table.attempts[slot],
        dueMs: table.dueMs[slot],
        expiryMs: table.expiryMs[slot],
        length: table.length[slot],
        isMemory: table.isMemory(slot),
        history: table.historyOf(slot),
        attemptLog: table.attemptLogOf(slot),
        rate: table.rateOf(slot),
        tag: lease < 0 ? 0 : leases.tag[lease],
        session: lease < 0 ? 0 : leases.consumer[lease]!.session.number,
      },
      {
        queue: `${message.queue.namespace} ${message.queue.name}`,
        state: message.state,
        priority: message.priority,
        attempts: message.attempts,
        dueMs: message.dueMs,
        expiryMs: message.expiryMs,
        length: message.payload.length,
        isMemory: message.isMemory,
        history: message.history,
        attemptLog: message.attemptLog,
        rate: message.rate,
        tag: message.lease?.tag ?? 0,
        session: message.lease?.session.number ?? 0,
      },
      `message ${message.id}`,
    );
  }
  let live = 0;
  table.forEach((slot) => {
    if (table.state[slot] !== STATE.SENDING) live++;
  });
  assert.equal(live, model.messages.size, 'no message but those of the model');
}

function compareQueues(model: ReferenceModel, engine: Engine): void {
  assert.deepEqual([...engine.state.queuesByName.keys()].sort(), [...model.queues.keys()].sort());
  for (const queue of model.queues.values()) {
    assert.deepEqual(engine.queueInfo(queue.namespace, queue.name), model.info(queue));
  }
}

function compareTokens(model: ReferenceModel, { state }: Engine): void {
  const byId = (a: { id: string }, b: { id: string }): number => (a.id < b.id ? -1 : 1);
  assert.deepEqual([...state.tokens].sort(byId), [...model.tokens.values()].sort(byId), 'tokens');
  const settings = [...state.queuesByName.spaces()].filter((space) => space.settings !== null);
  assert.deepEqual(new Map(settings.map((space) => [space.namespace, space.settings])), model.namespaces, 'namespaces');
  for (const token of model.tokens.values()) assert.equal(state.tokens.find(token.hash)?.id, token.id);
}

function compareRateLimits(model: ReferenceModel, { state }: Engine): void {
  const found = [...state.table.buckets.limits].filter(([, limit]) => limit.isSet);
  const expected = [...model.rateLimits].filter(([, limit]) => (limit.override ?? limit.declared) !== null);
  const rates = (all: readonly [string, { declared: unknown; override: unknown }][]): Map<string, unknown> =>
    new Map(all.map(([at, { declared, override }]) => [at, { declared, override }]));
  assert.deepEqual(rates(found), rates(expected), 'rate limits');
  assert.equal(state.table.buckets.limitsSet, found.length);
}

function compareExchanges({ exchanges: model }: ReferenceModel, engine: Engine): void {
  const found = engine
    .exchangeInfos(null, null, 1_000)
    .map(({ namespace, name, totals }) => ({ namespace, name, totals }));
  const expected = model.exchanges.map(({ namespace, name, totals }) => ({ namespace, name, totals }));
  const text = (all: readonly unknown[]): string[] => all.map((one) => JSON.stringify(one)).sort();
  assert.deepEqual(text(found), text(expected));
  assert.equal(engine.state.bindings.size, model.bindings.length);
}

function compareSessions(model: ReferenceModel, { state }: Engine): void {
  assert.deepEqual([...state.sessions.keys()].sort(), [...model.sessions.keys()].sort());
  for (const expected of model.sessions.values()) {
    const session = state.sessions.get(expected.number)!;
    const tags: number[] = [];
    session.tags.forEach((tag) => {
      tags.push(tag);
    });
    const consumers = [...session.consumers.values()].map(({ id, isActive, unsettled }) => ({
      id,
      isActive,
      unsettled,
    }));
    assert.deepEqual(
      {
        tags: tags.sort((a, b) => a - b),
        lastTag: session.lastTag,
        settleSeq: session.settleSeq,
        isAttached: session.isAttached,
        isRecorded: session.isRecorded,
        unsentBytes: session.unsentBytes,
        consumers: consumers.sort((a, b) => a.id - b.id),
      },
      {
        tags: [...expected.leases.keys()].sort((a, b) => a - b),
        lastTag: expected.lastTag,
        settleSeq: expected.settleSeq,
        isAttached: expected.isAttached,
        isRecorded: expected.isRecorded,
        unsentBytes: expected.unsentBytes,
        consumers: [...expected.consumers.values()]
          .map((consumer) => ({ id: consumer.id, isActive: consumer.isActive, unsettled: model.unsettled(consumer) }))
          .sort((a, b) => a.id - b.id),
      },
      `session ${expected.number}`,
    );
  }
}

/** A replayed engine, before `recovered`, against the durable part of the model; `live` tells where the bytes lie (P10). */
export function compareReplayed(model: ReferenceModel, live: Engine, replayed: Engine): void {
  const durable = [...model.messages.values()].filter((message) => !message.isMemory && !message.queue.isDeleted);
  const { table } = replayed.state;
  for (const message of durable) compareDurable(message, live, replayed);
  assert.equal(table.size, durable.length, 'replay has no message but those that live');
  for (const queue of model.queues.values()) {
    const found = replayed.state.queue(queue.namespace, queue.name);
    assert.ok(found !== null, `queue "${queue.name}" is there after replay`);
    assert.equal(found.index, live.state.queue(queue.namespace, queue.name)!.index);
    assert.deepEqual({ ...found.settings }, { ...queue.settings });
    assert.equal(found.version, queue.version);
    assert.equal(found.isPaused, queue.isPaused);
    compareDedup(queue, found.dedup, model.nowMs);
  }
  assert.equal(replayed.state.queuesByName.size, model.queues.size);
  assert.deepEqual(durableRouting(replayed.state), durableRouting(live.state), 'exchanges and bindings after replay');
  const recorded = [...model.sessions.values()].filter((session) => session.isRecorded);
  assert.deepEqual(
    [...replayed.state.sessions.values()]
      .map(({ number, key, namespace, producer }) => ({ number, key, namespace, producer: producer?.name ?? null }))
      .sort((a, b) => a.number - b.number),
    recorded.map(({ number, key, namespace, producer }) => ({ number, key, namespace, producer })),
    'sessions that may be resumed after a restart',
  );
  for (const [name, producer] of model.producers) compareProducer(name, producer, replayed);
  compareTokens(model, replayed);
  compareRateLimits(model, replayed);
}

function compareDurable(message: ModelMessage, live: Engine, replayed: Engine): void {
  const { table, leases } = replayed.state;
  const slot = table.find(message.id);
  assert.ok(slot >= 0, `message ${message.id} is there after replay`);
  const liveSlot = live.state.table.find(message.id);
  const isStarted = message.state === 'started';
  const lease = isStarted ? table.prev[slot]! : -1;
  assert.deepEqual(
    {
      isStarted: table.state[slot] === STATE.STARTED,
      priority: table.priority[slot],
      attempts: table.attempts[slot],
      expiryMs: table.expiryMs[slot],
      segment: table.segment[slot],
      offset: table.offset[slot],
      length: table.length[slot],
      queue: table.queue[slot],
      history: table.historyOf(slot),
      attemptLog: table.attemptLogOf(slot),
      rate: table.rateOf(slot),
      tag: lease < 0 ? 0 : leases.tag[lease],
      consumer: lease < 0 ? 0 : leases.consumer[lease]!.id,
      session: lease < 0 ? 0 : leases.consumer[lease]!.session.number,
    },
    {
      isStarted,
      priority: message.priority,
      attempts: message.attempts,
      expiryMs: message.expiryMs,
      segment: live.state.table.segment[liveSlot],
      offset: live.state.table.offset[liveSlot],
      length: message.payload.length,
      queue: live.state.table.queue[liveSlot],
      history: message.history,
      attemptLog: message.attemptLog,
      rate: message.rate,
      tag: isStarted ? message.lease!.tag : 0,
      consumer: isStarted ? message.lease!.consumer.id : 0,
      session: isStarted ? message.lease!.session.number : 0,
    },
    `message ${message.id} after replay`,
  );
  // A due time that has come writes no record: replay finds it in the past.
  const dueMs = table.dueMs[slot]!;
  if (message.state === 'delayed') assert.equal(dueMs, message.dueMs, `message ${message.id} is due as before`);
  else assert.ok(dueMs <= live.state.nowMs, `message ${message.id} does not wait longer than before`);
}

function compareDedup(queue: ModelQueue, found: { find(key: string, nowMs: number): number }, nowMs: number): void {
  for (const [key, { id, timeMs, isMemory }] of queue.dedup) {
    if (timeMs + queue.settings.dedupWindowMs <= nowMs) continue;
    assert.equal(found.find(key, nowMs), isMemory ? 0 : id, `dedup key "${key}" of "${queue.name}" after replay`);
  }
}

function compareProducer(name: string, producer: ModelProducer, replayed: Engine): void {
  const [namespace, producerName] = name.split(' ') as [string, string];
  const found = replayed.state.producers.get(namespace, producerName);
  for (const [seq, { id, isMemory }] of producer.taken) {
    if (seq <= producer.confirmedSeq) continue;
    assert.equal(found?.idOf(seq) ?? 0, isMemory ? 0 : id, `publish ${seq} of "${producerName}" after replay`);
  }
}
