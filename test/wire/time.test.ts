/** Delayed and expiring messages (promise P7), on a clock that the test moves: never early, never after their end, and no credit held meanwhile. */
import { CLIENT_OPS, LIMITS, SERVER_OPS } from '@lovage/protocol';
import { describe, expect, test } from 'vitest';
import { BrokerProcess } from '../support/broker-process.js';
import { eventually } from '../support/deadline.js';
import { Random, seedOf } from '../support/random.js';
import { RawClient } from '../support/raw-client.js';
import { type FakeWire, SessionHarness } from '../support/session-harness.js';

const DAY_MS = 86_400_000;

interface Bench {
  readonly harness: SessionHarness;
  readonly session: Awaited<ReturnType<SessionHarness['open']>>['session'];
  readonly wire: FakeWire;
}

/** A client that consumes its own queue, with room for `prefetch`. */
async function bench(prefetch: number, settings: Record<string, number> = {}): Promise<Bench> {
  const harness = await SessionHarness.start();
  const { session, wire } = await harness.open();
  harness.send(session, [CLIENT_OPS.QUEUE_DECLARE, 1, 'q', settings]);
  harness.send(session, [CLIENT_OPS.CONSUME, 2, 1, { queues: ['q'], prefetch, ack: 'late', queueOrder: 'strict' }]);
  await harness.turn();
  return { harness, session, wire };
}

function texts(wire: FakeWire): string[] {
  return wire.deliveries.map(({ text }) => text);
}

describe('a delayed message', () => {
  test.each([1, 1_000, DAY_MS, 30 * DAY_MS, LIMITS.delayMsMax])(
    'of %i ms comes when it is due and not before',
    async (delayMs) => {
      const { harness, session, wire } = await bench(1);
      harness.publish(session, 1, [
        { queue: 'q', body: 'later', delayMs },
        { queue: 'q', body: 'now' },
      ]);
      await harness.turn();
      // The confirm does not wait, and nor does what is not delayed.
      expect(wire.fieldsOf(SERVER_OPS.CONFIRM)).toEqual([[1, 2, 1, 3]]);
      expect(texts(wire)).toEqual(['now']);
      harness.send(session, [CLIENT_OPS.ACK, 1, [1, 1]]);
      await harness.pass(delayMs - 1);
      expect(texts(wire)).toEqual(['now']);
      await harness.pass(1);
      expect(texts(wire)).toEqual(['now', 'later']);
      expect(wire.deliveries[1]).toMatchObject({ attempt: 1, redelivered: false });
    },
  );

  test('that is due takes the place that its age and priority give it', async () => {
    const { harness, session, wire } = await bench(1);
    harness.publish(session, 1, [
      { queue: 'q', body: 'first' },
      { queue: 'q', body: 'delayed', delayMs: 1_000 },
      { queue: 'q', body: 'second' },
      { queue: 'q', body: 'delayed and urgent', delayMs: 1_000, priority: 9 },
    ]);
    await harness.turn();
    await harness.pass(1_000);
    for (let tag = 1; tag <= 4; tag++) {
      harness.send(session, [CLIENT_OPS.ACK, tag, [tag, 1]]);
      await harness.turn();
    }
    expect(texts(wire)).toEqual(['first', 'delayed and urgent', 'delayed', 'second']);
  });

  test('among many comes at its own time, each of them', async () => {
    const random = new Random(seedOf('delays'));
    const { harness, session, wire } = await bench(0);
    const delays = Array.from({ length: 200 }, () => random.whole(0, 1_000));
    harness.publish(
      session,
      1,
      delays.map((delayMs, i) => ({ queue: 'q', body: `${i}`, delayMs })),
    );
    await harness.turn();
    for (let nowMs = 0; nowMs <= 1_000; nowMs += 50) {
      const due = delays.flatMap((delayMs, i) => (delayMs <= nowMs ? [i] : []));
      expect(
        texts(wire)
          .map(Number)
          .sort((a, b) => a - b),
      ).toEqual(due);
      await harness.pass(50);
    }
  });

  test('goes with a purge', async () => {
    const { harness, session, wire } = await bench(1);
    harness.publish(session, 1, [{ queue: 'q', body: 'x', delayMs: 1_000 }]);
    harness.send(session, [CLIENT_OPS.QUEUE_PURGE, 9, 'q']);
    await harness.turn();
    await harness.turn();
    expect(wire.fieldsOf(SERVER_OPS.REPLY).at(-1)).toEqual([9, { purged: 1 }]);
    await harness.pass(2_000);
    expect(texts(wire)).toEqual([]);
  });
});

describe('an expiring message', () => {
  test('is delivered before its end and dropped at it', async () => {
    const { harness, session, wire } = await bench(1);
    harness.publish(session, 1, [
      { queue: 'q', body: 'holds the credit' },
      { queue: 'q', body: 'short', expiresInMs: 1_000 },
      { queue: 'q', body: 'long', expiresInMs: 1_001 },
    ]);
    await harness.turn();
    await harness.pass(1_000);
    expect(harness.broker.queueInfo('default', 'q')).toMatchObject({ ready: 1, totals: { expired: 1 } });
    harness.send(session, [CLIENT_OPS.ACK, 1, [1, 1]]);
    await harness.turn();
    expect(texts(wire)).toEqual(['holds the credit', 'long']);
    // With a consumer it is not taken away; it goes when it comes back.
    await harness.pass(5_000);
    expect(harness.broker.queueInfo('default', 'q')).toMatchObject({ leased: 1, totals: { expired: 1 } });
    harness.send(session, [CLIENT_OPS.NACK, 2, [2, 1], true, 0, null]);
    await harness.turn();
    expect(harness.broker.queueInfo('default', 'q')).toMatchObject({
      ready: 0,
      leased: 0,
      bytes: 0,
      totals: { expired: 2 },
    });
    expect(texts(wire)).toHaveLength(2);
  });

  test('takes the lifetime of its queue unless it has one of its own', async () => {
    const { harness, session, wire } = await bench(1, { messageTtlMs: 2_000 });
    harness.publish(session, 1, [
      { queue: 'q', body: 'holds the credit' },
      { queue: 'q', body: 'own', expiresInMs: 9_000 },
      { queue: 'q', body: 'of the queue' },
    ]);
    await harness.turn();
    await harness.pass(2_000);
    harness.send(session, [CLIENT_OPS.ACK, 1, [1, 1]]);
    await harness.turn();
    expect(texts(wire)).toEqual(['holds the credit', 'own']);
    harness.send(session, [CLIENT_OPS.ACK, 2, [2, 1]]);
    await harness.pass(10_000);
    expect(texts(wire)).toHaveLength(2);
  });

  test('that expires before it is due is never delivered', async () => {
    const { harness, session, wire } = await bench(1);
    harness.publish(session, 1, [{ queue: 'q', body: 'x', delayMs: 2_000, expiresInMs: 1_000 }]);
    await harness.turn();
    await harness.pass(1_000);
    await harness.pass(1_000);
    expect(texts(wire)).toEqual([]);
    expect(harness.broker.queueInfo('default', 'q')).toMatchObject({ delayed: 0, bytes: 0, totals: { expired: 1 } });
  });
});

describe('on the real wire', () => {
  test('delays are kept by the wall clock and survive a broker that is killed', async () => {
    const first = await BrokerProcess.start();
    const producer = await RawClient.connect(first.url);
    await producer.declare('q');
    const sentMs = Date.now();
    await producer.publish([
      { queue: 'q', body: 'soon', delayMs: 1_500 },
      { queue: 'q', body: 'much later', delayMs: DAY_MS },
      { queue: 'q', body: 'expires', delayMs: 1, expiresInMs: 2 },
    ]);
    await first.kill();
    const second = await BrokerProcess.start({ dataDir: first.dataDir });
    const consumer = await RawClient.connect(second.url);
    await consumer.consume(1, ['q']);
    const [delivery] = await consumer.delivered(1);
    expect(delivery).toMatchObject({ text: 'soon', attempt: 1 });
    expect(delivery!.atMs).toBeGreaterThanOrEqual(sentMs + 1_500);
    await eventually(
      () => second.queue('q'),
      ({ delayed, ready }) => delayed === 1 && ready === 0,
      'one delayed message',
    );
    expect(consumer.deliveries).toHaveLength(1);
    await second.stop();
  });
});
