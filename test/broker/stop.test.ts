/** A broker that is asked to stop finishes what has arrived, and starts nothing. */
import { CLIENT_OPS } from '@lovage/protocol';
import { describe, expect, test } from 'vitest';
import { HandHarness } from './hand-harness.js';

const message = { queue: 'q', body: 'x' };

async function start() {
  const harness = await HandHarness.start();
  const client = await harness.connect();
  client.declare('q');
  await harness.turns();
  client.heard();
  return { harness, client, broker: harness.sessions.broker, journal: harness.journal };
}

describe('a broker that stops', () => {
  test('commits and tells everything that has arrived before it lets go of the journal', async () => {
    const { harness, client, broker, journal } = await start();
    journal.isHeld = true;
    client.publish([message]);
    await harness.turns();
    client.publish([message]);
    let isClosed = false;
    const closed = broker.close().then(() => {
      isClosed = true;
    });
    await harness.turns();
    expect(journal.isClosed).toBe(false);
    await harness.release();
    expect(client.heard()).toEqual(['CONFIRM']);
    expect(isClosed).toBe(false);
    journal.release();
    await closed;
    expect(client.heard()).toEqual(['CONFIRM']);
    expect(journal.isClosed).toBe(true);
  });

  test('does nothing more that is due', async () => {
    const { harness, client, broker, journal } = await start();
    client.publish([{ ...message, delayMs: 1_000 }]);
    client.consume(['q']);
    await harness.turns();
    client.heard();
    await broker.close();
    const records = journal.staged.length;
    harness.sessions.clock.advance(60_000);
    broker.tick();
    await harness.turns();
    expect(client.heard()).toEqual([]);
    expect(journal.staged).toHaveLength(records);
  });

  test('closes once, however often it is asked', async () => {
    const { broker, journal } = await start();
    let closes = 0;
    const close = journal.close.bind(journal);
    journal.close = async () => {
      closes++;
      await close();
    };
    await broker.close();
    await broker.close();
    expect(closes).toBe(1);
  });

  test('waits for the copies that are under way', async () => {
    const harness = await HandHarness.start({ journal: { segmentBytes: 8_192 } });
    const { journal, sessions } = harness;
    const client = await harness.connect();
    client.declare('kept', 'gone');
    client.consume(['gone'], { ack: 'none', prefetch: 0 });
    client.publish([{ queue: 'kept', body: 'kept' }]);
    await harness.turns();
    let isReading = false;
    journal.onReplayed = () => {
      isReading = true;
    };
    while (!isReading) {
      client.publish([{ queue: 'gone', body: 'x'.repeat(1_000) }]);
      await harness.turns();
    }
    await sessions.broker.close();
    expect(journal.isClosed).toBe(true);
    expect(journal.isCommitting).toBe(false);
    // What was staged is on disk.
    expect(journal.stagedBytes).toBe(0);
    expect(journal.staged.at(-1)!.batch).toBeLessThanOrEqual(journal.durableBatch);
  });

  test('leaves a purge that is under way where it is', async () => {
    const { harness, client, broker, journal } = await start();
    for (let frame = 0; frame < 5; frame++)
      client.publish(Array.from({ length: 5_000 }, () => ({ queue: 'q', body: '' })));
    await harness.turns();
    client.heard();
    client.ask(CLIENT_OPS.QUEUE_PURGE, 'q');
    await broker.close();
    await harness.turns();
    expect(journal.stagedBytes).toBe(0);
    expect(client.heard()).toEqual([]);
  });
});

describe('a broker whose settlements wait', () => {
  test('settles all that was submitted, also what that causes', async () => {
    const { harness, client, broker, journal } = await start();
    client.consume(['q'], { prefetch: 1, ack: 'none' });
    client.publish([message, message]);
    await broker.settle();
    await harness.turns();
    expect(client.wire.deliveries.map(({ id }) => id)).toEqual([1]);
    client.settle(CLIENT_OPS.ACK, [1, 1]);
    await broker.settle();
    expect(client.wire.deliveries.map(({ id }) => id)).toEqual([1, 2]);
    expect(journal.recordsOf('settle')).toHaveLength(2);
  });
});
