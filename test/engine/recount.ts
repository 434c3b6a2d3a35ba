/** The engine's books, added up again from its columns: every counter, list, heap, timer and reference must agree. */
import assert from 'node:assert/strict';
import type { Engine } from '../../server/engine/engine.js';
import { Exchange } from '../../server/engine/exchange.js';
import { FLAG, STATE } from '../../server/engine/message-table.js';
import type { Queue } from '../../server/engine/queue.js';

const WAITING = new Set<number>([STATE.READY, STATE.RETURNED]);
const HELD = new Set<number>([STATE.LEASED, STATE.STARTED, STATE.SENDING]);

/** `isReplaying`: before `recovered`, when the engine has taken no leases of its own. */
export function recount(engine: Engine): void {
  const { state } = engine;
  const seen = new Map<Queue, { ready: number; delayed: number; leased: number; started: number; bytes: number }>();
  for (const queue of state.queues)
    if (queue !== undefined) seen.set(queue, { ready: 0, delayed: 0, leased: 0, started: 0, bytes: 0 });
  const segments = new Map<number, { count: number; bytes: number }>();
  const buckets = new Map<number, number>();
  const limited = new Map<Queue, number>();
  let timers = 0;
  let size = 0;
  const { table, leases } = state;
  table.forEach((slot) => {
    size++;
    assert.equal(table.find(table.id[slot]!), slot, 'an id finds its slot');
    timers += recountTimers(engine, slot);
    if (!table.isMemory(slot)) {
      const usage = segments.get(table.segment[slot]!) ?? { count: 0, bytes: 0 };
      usage.count++;
      usage.bytes += table.length[slot]!;
      segments.set(table.segment[slot]!, usage);
    }
    if ((table.flags[slot]! & FLAG.RATED) !== 0) {
      const bucket = table.bucket[slot]!;
      buckets.set(bucket, (buckets.get(bucket) ?? 0) + 1);
      const queue = state.queueOf(slot);
      const isHeldBack = WAITING.has(table.state[slot]!) && !table.buckets.at(bucket).isOpen;
      if (isHeldBack) limited.set(queue, (limited.get(queue) ?? 0) + 1);
    }
    if (HELD.has(table.state[slot]!))
      assert.equal(leases.slot[table.prev[slot]!], slot, 'a held message has its lease');
    if (table.state[slot] === STATE.SENDING) return;
    const counts = seen.get(state.queueOf(slot))!;
    counts.bytes += table.length[slot]!;
    if (WAITING.has(table.state[slot]!)) counts.ready++;
    else if (table.state[slot] === STATE.DELAYED) counts.delayed++;
    else if (table.state[slot] === STATE.LEASED) counts.leased++;
    else counts.started++;
  });
  assert.equal(table.size, size, 'live messages');
  assert.equal(state.timers.size, timers, 'timers in the state are the timers in the structure');
  for (const [queue, counts] of seen) {
    const { delayed, leased, started, bytes } = queue;
    assert.deepEqual({ ready: queue.ready.size, delayed, leased, started, bytes }, counts, `counts of "${queue.name}"`);
  }
  for (const queue of seen.keys())
    assert.equal(
      queue.ready.limited,
      limited.get(queue) ?? 0,
      `messages of "${queue.name}" that a rate limit holds back`,
    );
  assert.equal(table.buckets.inUse, buckets.size, 'buckets that messages bear');
  for (const [bucket, count] of buckets) assert.equal(table.buckets.at(bucket).messages, count);
  for (const [segment, { count, bytes }] of segments) {
    assert.equal(table.journalUsage.countOf(segment), count, `live messages in segment ${segment}`);
    assert.equal(table.journalUsage.bytesOf(segment), bytes, `live bytes in segment ${segment}`);
  }
  assert.equal(
    table.journalUsage.count,
    [...segments.values()].reduce((sum, { count }) => sum + count, 0),
  );
  recountSpaces(engine);
  recountDedupKeys(engine);
  recountLeases(engine);
  recountBindings(engine);
  for (const queue of state.queuesByName.values()) recountAttachments(queue);
}

/** Each attachment is in the rotation, or marked, or stands by: who is nowhere is never served again. */
function recountAttachments(queue: Queue): void {
  for (const attachment of queue.attachments) {
    const { isMarked, consumer, index, next, prev } = attachment;
    const isIdle = next !== null;
    if (isIdle) {
      assert.ok(next.prev === attachment && prev?.next === attachment, `a ring of "${queue.name}" is whole`);
      assert.ok(queue.attachments.has(next), `who has left "${queue.name}" is in no ring of it`);
    }
    assert.equal(consumer.work.has(index), isMarked, 'what a consumer asks next is marked');
    const standsBy = queue.isSingle && queue.active !== attachment;
    const places = Number(isMarked) + Number(isIdle);
    assert.equal(places, standsBy ? 0 : 1, `places of a consumer at "${queue.name}"`);
  }
}

function recountDedupKeys({ state }: Engine): void {
  let keys = 0;
  for (const queue of state.queues) keys += queue === undefined || queue.isDeleted ? 0 : queue.dedup.size;
  assert.equal(state.dedupUsage.keys, keys, 'dedup keys of all queues');
  assert.equal(state.dedupUsage.bytes > 0, keys > 0, 'dedup keys take memory');
}

/** A binding is known at both of its ends, and nothing else is. */
function recountBindings({ state }: Engine): void {
  let count = 0;
  for (const exchange of state.exchanges.values()) {
    const exchangesTo = new Map<unknown, number>();
    for (const binding of exchange.bindings.values()) {
      count++;
      const { from, to } = binding;
      assert.equal(from, exchange, 'a binding leads from its exchange');
      assert.ok(state.bindings.has(binding) && to.incoming!.has(binding), 'a binding is known where it leads');
      if (to instanceof Exchange) exchangesTo.set(to, (exchangesTo.get(to) ?? 0) + 1);
      const there = to instanceof Exchange ? state.exchange(to.namespace, to.name) : state.queue(to.namespace, to.name);
      assert.equal(there, to, 'a binding leads to what is there');
    }
    assert.deepEqual(exchange.exchangesTo, exchangesTo);
  }
  assert.equal(state.bindings.size, count, 'each binding is in one exchange');
  const ends = [...state.exchanges.values(), ...state.queuesByName.values()];
  const incoming = ends.reduce((sum, end) => sum + (end.incoming?.size ?? 0), 0);
  assert.equal(incoming, count, 'each binding leads to one end');
}

/** What the namespaces amount to is the sum of their queues. */
function recountSpaces({ state: { queuesByName } }: Engine): void {
  const sums = new Map<string, { queues: number; messages: number; bytes: number }>();
  for (const { namespace, size, bytes } of queuesByName.values()) {
    const sum = sums.get(namespace) ?? { queues: 0, messages: 0, bytes: 0 };
    sums.set(namespace, { queues: sum.queues + 1, messages: sum.messages + size, bytes: sum.bytes + bytes });
  }
  for (const { namespace, settings, queues, messages, bytes } of queuesByName.spaces()) {
    assert.deepEqual(
      { queues, messages, bytes },
      sums.get(namespace) ?? { queues: 0, messages: 0, bytes: 0 },
      namespace,
    );
    assert.ok(queues > 0 || settings !== null, 'a namespace that nobody uses is not kept');
    sums.delete(namespace);
  }
  assert.equal(sums.size, 0, 'every namespace with queues is known');
}

/** Timers that a message has; asserts that they are those that it must have. */
function recountTimers({ state: { table, timers, nowMs } }: Engine, slot: number): number {
  const isDelayed = table.state[slot] === STATE.DELAYED;
  const isHeld = HELD.has(table.state[slot]!);
  assert.equal(timers.hasDue(slot), isDelayed, 'a delayed message has a timer, others have none');
  assert.equal(table.dueMs[slot] !== 0, isDelayed, 'a delayed message has a due time, others have none');
  const expires = table.expiryMs[slot] !== 0;
  // The expiry of a message that is with a consumer may have fired; it is looked at when the message comes back.
  if (!isHeld) assert.equal(timers.hasExpiry(slot), expires, 'a waiting message that expires has a timer');
  else if (timers.hasExpiry(slot)) assert.ok(expires);
  else if (expires && table.state[slot] !== STATE.SENDING) assert.ok(table.expiryMs[slot]! <= nowMs);
  return Number(timers.hasDue(slot)) + Number(timers.hasExpiry(slot));
}

function recountLeases({ state }: Engine): void {
  const { leases } = state;
  let count = 0;
  for (const session of state.sessions.values()) {
    const unsettled = new Map([...session.consumers.values()].map((consumer) => [consumer, 0]));
    const bytes = new Map(unsettled);
    session.tags.forEach((tag, lease) => {
      count++;
      const consumer = leases.consumer[lease]!;
      assert.equal(leases.tag[lease], tag);
      assert.equal(consumer.session, session, "a lease is its session's");
      assert.ok(unsettled.has(consumer), 'a lease has a consumer that its session knows');
      unsettled.set(consumer, unsettled.get(consumer)! + 1);
      bytes.set(consumer, bytes.get(consumer)! + leases.bytes[lease]!);
    });
    for (const [consumer, held] of unsettled) assert.equal(consumer.unsettled, held, 'credits held by a consumer');
    for (const [consumer, held] of bytes) assert.equal(consumer.unsettledBytes, held, 'bytes held by a consumer');
  }
  assert.equal(leases.size, count, 'each lease is in one session');
}
