/** Batches gather while the disk works, and what they cause leaves in order. */
import { CLIENT_OPS, SERVER_OPS } from '@lovage/protocol';
import { describe, expect, test } from 'vitest';
import { HandHarness } from './hand-harness.js';

const message = { queue: 'q', body: 'x' };

async function withQueue(): Promise<{
  readonly harness: HandHarness;
  readonly client: Awaited<ReturnType<HandHarness['connect']>>;
}> {
  const harness = await HandHarness.start();
  const client = await harness.connect();
  client.declare('q');
  await harness.turns();
  client.heard();
  return { harness, client };
}

describe('a batch', () => {
  test('gathers whatever comes while another is on its way, in any number of turns', async () => {
    const { harness, client } = await withQueue();
    const { journal } = harness;
    journal.isHeld = true;
    client.publish([message]);
    await harness.turns();
    const underWay = journal.gatheringBatch - 1;
    for (let turn = 0; turn < 20; turn++) {
      client.publish([message]);
      await harness.turns();
    }
    expect(journal.gatheringBatch - 1).toBe(underWay);
    expect(journal.staged.filter(({ batch }) => batch === underWay + 1)).toHaveLength(20);
    await harness.release();
    expect(journal.gatheringBatch - 1).toBe(underWay + 1);
    await harness.release();
    expect(journal.isCommitting).toBe(false);
  });

  test('of settlements gathers for a moment after another batch, unless somebody waits for what is in it', async () => {
    const { harness, client } = await withQueue();
    const { journal, sessions } = harness;
    client.consume(['q'], { prefetch: 0 });
    client.publish(Array.from({ length: 9 }, () => message));
    await harness.turns();
    sessions.clock.advance(10);
    client.heard();
    // Long after the last batch the first goes at once, the others together.
    client.settle(CLIENT_OPS.ACK, [1, 1], true);
    await harness.turnsAtOnce();
    expect(client.heard()).toEqual(['SETTLED']);
    const before = journal.gatheringBatch;
    for (const tag of [2, 3, 4]) {
      client.settle(CLIENT_OPS.ACK, [tag, 1], true);
      await harness.turnsAtOnce();
    }
    expect(client.heard()).toEqual([]);
    expect(journal.gatheringBatch).toBe(before);
    sessions.clock.advance(1);
    await harness.turnsAtOnce();
    expect(client.frames()).toEqual([[SERVER_OPS.SETTLED, 4]]);
    expect(journal.gatheringBatch).toBe(before + 1);
    // A confirm is waited for, and takes what has gathered along.
    client.settle(CLIENT_OPS.ACK, [5, 1], true);
    await harness.turnsAtOnce();
    expect(client.heard()).toEqual([]);
    client.publish([message]);
    await harness.turnsAtOnce();
    expect(client.heard().sort()).toEqual(['CONFIRM', 'DELIVER', 'SETTLED']);
    // So is an answer, unless the client says that it may wait.
    client.settle(CLIENT_OPS.ACK, [8, 1]);
    await harness.turnsAtOnce();
    expect(client.heard()).toEqual(['SETTLED']);
    // What comes back is waited for, too, and a broker that stops waits for nothing.
    client.settle(CLIENT_OPS.NACK, [6, 1]);
    await harness.turnsAtOnce();
    expect(client.heard().sort()).toEqual(['DELIVER', 'SETTLED']);
    client.settle(CLIENT_OPS.ACK, [7, 1], true);
    await sessions.broker.settle();
    expect(client.heard()).toEqual(['SETTLED']);
  });

  test('is one for everything that comes in one turn', async () => {
    const { harness, client } = await withQueue();
    const { journal } = harness;
    const before = journal.staged.length;
    for (let i = 0; i < 30; i++) client.publish([message]);
    await harness.turns();
    const batches = new Set(journal.staged.slice(before).map(({ batch }) => batch));
    expect(batches.size).toBe(1);
  });

  test('lets go of its own effects only, those of the next wait for the next', async () => {
    const { harness, client } = await withQueue();
    harness.journal.isHeld = true;
    for (let batch = 0; batch < 4; batch++) {
      client.publish([message, message]);
      await harness.turns();
      if (batch === 0) continue;
      await harness.release();
      expect(client.frames()).toEqual([[SERVER_OPS.CONFIRM, batch * 2 - 1, 2, batch * 2 - 1, 0]]);
    }
    await harness.release();
    expect(client.frames()).toEqual([[SERVER_OPS.CONFIRM, 7, 2, 7, 0]]);
  });

  test('without a record takes no turn of the disk', async () => {
    const { harness, client } = await withQueue();
    harness.journal.isHeld = true;
    client.ask(CLIENT_OPS.QUEUE_INSPECT, 'q');
    await harness.turns();
    expect(harness.journal.isCommitting).toBe(false);
    expect(client.heard()).toEqual(['REPLY']);
  });

  test('of many bytes goes to an idle disk before the turn is over', async () => {
    const { harness, client } = await withQueue();
    harness.journal.isHeld = true;
    client.publish([{ queue: 'q', body: 'x'.repeat(60_000) }]);
    expect(harness.journal.isCommitting).toBe(true);
    client.publish([message]);
    await harness.turns();
    expect(client.heard()).toEqual([]);
    await harness.release();
    expect(client.frames()).toEqual([[SERVER_OPS.CONFIRM, 1, 1, 1, 0]]);
    await harness.release();
    expect(client.frames()).toEqual([[SERVER_OPS.CONFIRM, 2, 1, 2, 0]]);
  });

  test('that is on disk before the turn is over does not overtake what this turn sends without it', async () => {
    const { harness, client } = await withQueue();
    client.consume(['q'], { prefetch: 1 });
    client.publish([message, message]);
    await harness.turns();
    client.heard();
    harness.journal.isHeld = true;
    // The second message is on disk and goes out with this turn; the third is new, and its batch is done at once.
    client.settle(CLIENT_OPS.ACK, [1, 1]);
    client.ask(CLIENT_OPS.PREFETCH, 1, 5);
    client.publish([{ queue: 'q', body: 'x'.repeat(60_000) }]);
    await harness.releaseInTurn();
    await harness.turns();
    expect(client.wire.deliveries.map(({ id }) => id)).toEqual([2, 3]);
  });
});

describe('what a turn sends without the disk', () => {
  test('may cause more to send: credit of bytes that a cancelled consumer gives back goes to another of its session', async () => {
    const harness = await HandHarness.start({ engine: { unsentBytesMax: 1_000 } });
    const client = await harness.connect();
    client.declare('large', 'small');
    const large = { queue: 'large', body: 'x'.repeat(600) };
    client.publish([large, large, large, { queue: 'small', body: 'x' }]);
    await harness.turns();
    client.heard();
    // Two large ones are decided for the first consumer, so that the second gets nothing. Then the first is cancelled before a byte has left.
    client.consume(['large'], {}, 1);
    client.consume(['small'], {}, 2);
    client.ask(CLIENT_OPS.CANCEL, 1);
    await harness.turns();
    expect(client.wire.deliveries.map(({ id }) => id)).toEqual([4]);
    expect(harness.sessions.failures).toEqual([]);
  });
});

describe('a journal that has failed', () => {
  test('lets nothing go any more that rests on it', async () => {
    const { harness, client } = await withQueue();
    client.consume(['q']);
    await harness.turns();
    client.heard();
    harness.journal.isHeld = true;
    client.publish([message]);
    await harness.turns();
    harness.journal.fail();
    client.publish([message]);
    client.declare('other');
    client.ask(CLIENT_OPS.QUEUE_INSPECT, 'q');
    harness.sessions.clock.advance(60_000);
    await harness.turns();
    expect(client.heard()).toEqual([]);
  });
});

describe('publishes on a full disk', () => {
  test('are refused with DISK_FULL, settlements and messages in memory go through', async () => {
    const { harness, client } = await withQueue();
    client.consume(['q']);
    client.publish([message]);
    await harness.turns();
    client.heard();
    harness.journal.isFull = true;
    client.publish([message, message]);
    client.settle(CLIENT_OPS.ACK, [1, 1]);
    await harness.turns();
    expect(client.frames().map(([op, seq, count, code]) => [op, seq, count, code])).toEqual([
      [SERVER_OPS.REJECT, 2, 2, 'DISK_FULL'],
      [SERVER_OPS.SETTLED, 1, undefined, undefined],
    ]);
    harness.journal.isFull = false;
    client.publish([message]);
    await harness.turns();
    expect(client.heard()).toContain('CONFIRM');
  });

  test('are judged by their own size', async () => {
    const { harness, client } = await withQueue();
    client.publish([{ queue: 'q', body: 'x'.repeat(5_000) }]);
    expect(harness.journal.roomAsked.at(-1)).toBeGreaterThan(5_000);
    expect(harness.journal.roomAsked.at(-1)).toBeLessThan(5_100);
  });
});
