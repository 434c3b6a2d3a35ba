/** Purges and deletes of many messages go in slices, with other work between them. */
import { CLIENT_OPS, SERVER_OPS } from '@lovage/protocol';
import { describe, expect, test } from 'vitest';
import { publishFrame } from '../support/raw-client.js';
import { SessionHarness } from '../support/session-harness.js';
import { HandHarness } from './hand-harness.js';

const SLICE = 10_000;
const MESSAGES = 45_000;
const PER_FRAME = 5_000;

/** A queue `many` with all those messages. */
async function withMany(harness: SessionHarness) {
  const { session, wire } = await harness.open();
  for (const queue of ['many', 'other']) harness.send(session, [CLIENT_OPS.QUEUE_DECLARE, 1, queue, null]);
  const messages = Array.from({ length: PER_FRAME }, () => ({ queue: 'many', body: '' }));
  for (let firstSeq = 1; firstSeq < MESSAGES; firstSeq += PER_FRAME)
    session.receive(publishFrame(messages, { firstSeq }), harness.clock.monotonicMs());
  await harness.turn();
  wire.frames.length = 0;
  const { engine } = harness.broker;
  return { session, wire, engine, left: () => engine.queueInfo('default', 'many')?.ready ?? 0 };
}

/** How many messages each slice takes, until none is left to take. */
async function slices(harness: SessionHarness, size: () => number): Promise<number[]> {
  const taken: number[] = [];
  for (let before = size(); harness.broker.engine.isSweeping; before = size()) {
    await new Promise((resolve) => setImmediate(resolve));
    if (size() < before) taken.push(before - size());
  }
  return taken;
}

describe('a purge of many messages', () => {
  test('takes them in slices of at most 10,000, a turn of the event loop each', async () => {
    const harness = await SessionHarness.start();
    const { session, left, engine } = await withMany(harness);
    harness.send(session, [CLIENT_OPS.QUEUE_PURGE, 2, 'many']);
    expect(left()).toBe(MESSAGES);
    expect(engine.isSweeping).toBe(true);
    expect(await slices(harness, left)).toEqual([SLICE, SLICE, SLICE, SLICE, MESSAGES - 4 * SLICE]);
  });

  test('lets other commands through between its slices', async () => {
    const harness = await SessionHarness.start();
    const { session, wire, left } = await withMany(harness);
    harness.send(session, [
      CLIENT_OPS.CONSUME,
      2,
      1,
      { queues: ['other'], prefetch: 10, ack: 'late', queueOrder: 'strict' },
    ]);
    await harness.turn();
    wire.frames.length = 0;
    harness.send(session, [CLIENT_OPS.QUEUE_PURGE, 3, 'many']);
    const seen: number[] = [];
    for (let seq = MESSAGES + 1; harness.broker.engine.isSweeping; seq++) {
      harness.publish(session, seq, [{ queue: 'other', body: `${seq}` }]);
      await new Promise((resolve) => setImmediate(resolve));
      if (wire.deliveries.length > seen.length) seen.push(left());
    }
    // Messages of the other queue came while the purge was under way.
    expect(seen.filter((ready) => ready > 0).length).toBeGreaterThanOrEqual(2);
    await harness.turn();
    expect(wire.fieldsOf(SERVER_OPS.REPLY)).toEqual([[3, { purged: MESSAGES }]]);
  });

  test('takes what was there when it was asked for: what is published meanwhile stays, and waits until the purge is done', async () => {
    const harness = await SessionHarness.start();
    const { session, wire, left } = await withMany(harness);
    harness.send(session, [CLIENT_OPS.QUEUE_PURGE, 2, 'many']);
    harness.publish(session, MESSAGES + 1, [{ queue: 'many', body: 'new', priority: 255 }]);
    harness.send(session, [
      CLIENT_OPS.CONSUME,
      3,
      1,
      { queues: ['many'], prefetch: 10, ack: 'late', queueOrder: 'strict' },
    ]);
    await new Promise((resolve) => setImmediate(resolve));
    expect(left()).toBeGreaterThan(1);
    expect(wire.deliveries).toEqual([]);
    await slices(harness, left);
    await harness.turn();
    expect(wire.deliveries.map(({ text }) => text)).toEqual(['new']);
  });

  test('is answered when the record of its last slice is on disk', async () => {
    const harness = await HandHarness.start();
    const client = await harness.connect();
    client.declare('q');
    for (let frame = 0; frame < 5; frame++)
      client.publish(Array.from({ length: 3_000 }, () => ({ queue: 'q', body: '' })));
    await harness.turns();
    client.heard();
    harness.journal.isHeld = true;
    client.ask(CLIENT_OPS.QUEUE_PURGE, 'q');
    while (harness.sessions.broker.engine.isSweeping) await harness.turns();
    const purged = harness.journal.recordsOf('settle');
    expect(purged.map(({ reason, ids }) => [reason, ids])).toEqual([
      ['purged', [1, 10_000]],
      ['purged', [10_001, 5_000]],
    ]);
    const lastBatch = purged.at(-1)!.batch as number;
    while (harness.journal.durableBatch < lastBatch) {
      expect(client.heard()).toEqual([]);
      await harness.release();
    }
    expect(client.heard()).toEqual(['REPLY']);
  });

  test('leaves what is with a consumer', async () => {
    const harness = await SessionHarness.start();
    const { session, wire, engine, left } = await withMany(harness);
    harness.send(session, [
      CLIENT_OPS.CONSUME,
      2,
      1,
      { queues: ['many'], prefetch: 7, ack: 'late', queueOrder: 'strict' },
    ]);
    await harness.turn();
    harness.send(session, [CLIENT_OPS.QUEUE_PURGE, 3, 'many']);
    await slices(harness, left);
    await harness.turn();
    expect(wire.fieldsOf(SERVER_OPS.REPLY).at(-1)).toEqual([3, { purged: MESSAGES - 7 }]);
    expect(engine.queueInfo('default', 'many')).toMatchObject({ ready: 0, leased: 7 });
  });
});

describe('the deletion of a queue of many messages', () => {
  test('goes in slices, without a record for each message, and its name is free at once', async () => {
    const harness = await HandHarness.start();
    const { sessions, journal } = harness;
    const { session, wire, engine } = await withMany(sessions);
    const records = journal.staged.length;
    sessions.send(session, [CLIENT_OPS.QUEUE_DELETE, 2, 'many', {}]);
    sessions.send(session, [CLIENT_OPS.QUEUE_DECLARE, 3, 'many', null]);
    const size = (): number => engine.state.table.size;
    expect((await slices(sessions, size)).every((taken) => taken <= SLICE)).toBe(true);
    await harness.turns();
    expect(size()).toBe(0);
    expect(journal.staged.slice(records)).toHaveLength(2);
    expect(wire.fieldsOf(SERVER_OPS.REPLY)).toMatchObject([
      [3, { created: true }],
      [2, { messages: MESSAGES }],
    ]);
  });
});
