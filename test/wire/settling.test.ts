/** Promise P4 and the answers to deliveries: attempts, ack modes, START, ACK, NACK, RELEASE. */
import { CLIENT_OPS, type QueueInfo } from '@lovage/protocol';
import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { BrokerProcess } from '../support/broker-process.js';
import { eventually } from '../support/deadline.js';
import { RawClient } from '../support/raw-client.js';
import { SessionHarness } from '../support/session-harness.js';

let broker: BrokerProcess;
let queue: string;
let count = 0;

beforeAll(async () => {
  broker = await BrokerProcess.start({ flags: ['--grace-ms', '300'] });
});

beforeEach(() => {
  queue = `queue-${++count}`;
});

async function consumerOf(
  texts: readonly string[],
  options: Parameters<RawClient['consume']>[2] = {},
): Promise<RawClient> {
  const client = await RawClient.connect(broker.url);
  await client.declare(queue, { backoffMsMin: 0, backoffMsMax: 0 });
  await client.publishTexts(queue, texts);
  await client.consume(1, [queue], options);
  await client.delivered(Math.min(texts.length, options.prefetch || texts.length));
  return client;
}

function info(): Promise<QueueInfo> {
  return broker.queue(queue);
}

/** Attempt and mark of the next delivery of the queue. */
async function nextDelivery(): Promise<{ attempt: number; redelivered: boolean; text: string }> {
  const client = await RawClient.connect(broker.url);
  await client.consume(1, [queue], { prefetch: 1 });
  const [{ attempt, redelivered, text }] = (await client.delivered(1)) as [RawClient['deliveries'][number]];
  await client.release([1]);
  await client.goodbye();
  return { attempt, redelivered, text };
}

describe('an attempt', () => {
  test.each<[string, (client: RawClient) => Promise<unknown>, number]>([
    ['is not charged to what a lost connection never started', async (client) => client.terminate(), 1],
    [
      'is charged to what a lost connection had started, when the grace is over',
      async (client) => {
        await client.start([1]);
        client.terminate();
      },
      2,
    ],
    ['is not charged by CANCEL to what has not started', (client) => client.request(CLIENT_OPS.CANCEL, 1), 1],
    ['is not charged by GOODBYE to what has not started', (client) => client.goodbye(), 1],
    [
      'is charged by GOODBYE to what has started',
      async (client) => {
        await client.start([1]);
        await client.goodbye();
      },
      2,
    ],
    [
      'is charged by NACK without START',
      async (client) => {
        await client.settled(client.nack([1], { delayMs: 0 }));
        await client.goodbye();
      },
      2,
    ],
    [
      'is charged once by START and NACK',
      async (client) => {
        await client.start([1]);
        await client.settled(client.nack([1]));
        await client.goodbye();
      },
      2,
    ],
    [
      'is charged once by a START that is sent twice',
      async (client) => {
        await client.start([1]);
        await client.start([1]);
        await client.goodbye();
      },
      2,
    ],
  ])('%s', async (_, act, attempt) => {
    const client = await consumerOf(['x'], { prefetch: 1 });
    expect(client.deliveries[0]).toMatchObject({ attempt: 1, redelivered: false });
    // Paused, so that a returned message does not go straight back to the same consumer.
    await client.request(CLIENT_OPS.QUEUE_PAUSE, queue);
    await act(client);
    await eventually(info, ({ ready }) => ready === 1, 'the return of the message');
    const control = await RawClient.connect(broker.url);
    await control.request(CLIENT_OPS.QUEUE_RESUME, queue);
    expect(await nextDelivery()).toEqual({ attempt, redelivered: true, text: 'x' });
  });

  test('is not charged by RELEASE, however often', async () => {
    const client = await consumerOf(['x'], { prefetch: 1 });
    for (let tag = 1; tag <= 10; tag++) {
      expect((await client.delivered(tag)).at(-1)).toMatchObject({ tag, attempt: 1, redelivered: tag > 1 });
      await client.release([tag]);
    }
  });

  test('is counted up by every start, and never down', async () => {
    const client = await consumerOf(['x'], { prefetch: 1 });
    for (let tag = 1; tag <= 10; tag++) {
      expect((await client.delivered(tag)).at(-1)!.attempt).toBe(tag);
      await client.start([tag]);
      await client.settled(client.nack([tag]));
    }
  });
});

describe('ack mode', () => {
  test('late settles by ACK, with or without START', async () => {
    const client = await consumerOf(['a', 'b'], { ack: 'late' });
    await client.start([1]);
    expect(await info()).toMatchObject({ started: 1, leased: 1, totals: { acked: 0 } });
    await client.ack([1, 2]);
    expect(await info()).toMatchObject({ ready: 0, started: 0, leased: 0, bytes: 0, totals: { acked: 2 } });
    expect(client.refusals).toEqual([]);
  });

  test('early settles by START, and holds the credit until ACK', async () => {
    const client = await consumerOf(['a', 'b', 'c'], { ack: 'early', prefetch: 2 });
    await client.start([1, 2]);
    expect(await info()).toMatchObject({ ready: 1, started: 0, leased: 0, totals: { acked: 2 } });
    await client.barrier();
    expect(client.deliveries).toHaveLength(2);
    await client.ack([1]);
    await client.delivered(3);
    client.terminate();
    // What had started is gone for good, what had not is back.
    await eventually(info, ({ ready }) => ready === 1, 'the return of the third');
    expect(await nextDelivery()).toMatchObject({ text: 'c', attempt: 1 });
  });

  test('none settles when sent, and holds the credit until ACK', async () => {
    const client = await consumerOf(['a', 'b', 'c'], { ack: 'none', prefetch: 2 });
    expect(await info()).toMatchObject({ ready: 1, started: 0, leased: 0, totals: { acked: 2 } });
    await client.ack([1]);
    await client.delivered(3);
    client.terminate();
    await eventually(info, ({ consumers }) => consumers === 0, 'the end of the consumer');
    expect(await info()).toMatchObject({
      ready: 0,
      leased: 0,
      started: 0,
      bytes: 0,
      totals: { acked: 3, returned: 0 },
    });
  });
});

describe('NACK', () => {
  test('with requeue returns at once and gives the credit back', async () => {
    const client = await consumerOf(['a', 'b'], { prefetch: 1 });
    await client.settled(client.nack([1]));
    expect((await client.delivered(2))[1]).toMatchObject({ text: 'a', attempt: 2, redelivered: true });
    expect(await info()).toMatchObject({ totals: { returned: 1, dropped: 0, acked: 0 } });
  });

  test('without requeue drops for good', async () => {
    const client = await consumerOf(['a', 'b'], { prefetch: 1 });
    await client.settled(client.nack([1], { requeue: false, reason: 'no such customer: é' }));
    expect((await client.delivered(2))[1]).toMatchObject({ text: 'b' });
    await client.ack([2]);
    await client.barrier();
    expect(client.deliveries).toHaveLength(2);
    expect(await info()).toMatchObject({ ready: 0, bytes: 0, totals: { returned: 0, dropped: 1, acked: 1 } });
  });

  test('with a delay returns when it is over, not before, and holds no credit meanwhile', async () => {
    const harness = await SessionHarness.start();
    const { session, wire } = await harness.open();
    harness.send(session, [CLIENT_OPS.QUEUE_DECLARE, 1, 'q', null]);
    harness.publish(session, 1, [
      { queue: 'q', body: 'a' },
      { queue: 'q', body: 'b' },
    ]);
    harness.send(session, [
      CLIENT_OPS.CONSUME,
      2,
      1,
      { queues: ['q'], prefetch: 1, ack: 'late', queueOrder: 'strict' },
    ]);
    await harness.turn();
    harness.send(session, [CLIENT_OPS.NACK, 1, [1, 1], true, 60_000, null]);
    await harness.turn();
    expect(wire.deliveries.map(({ text }) => text)).toEqual(['a', 'b']);
    harness.send(session, [CLIENT_OPS.ACK, 2, [2, 1]]);
    await harness.turn();
    await harness.pass(59_999);
    expect(wire.deliveries).toHaveLength(2);
    await harness.pass(1);
    expect(wire.deliveries[2]).toMatchObject({ text: 'a', attempt: 2, redelivered: true });
  });

  test('with -1 waits for the backoff of the queue: doubled each time, up to its end', async () => {
    const harness = await SessionHarness.start();
    const { session, wire } = await harness.open();
    harness.send(session, [CLIENT_OPS.QUEUE_DECLARE, 1, 'q', { backoffMsMin: 1_000, backoffMsMax: 5_000 }]);
    harness.publish(session, 1, [{ queue: 'q', body: 'a' }]);
    harness.send(session, [
      CLIENT_OPS.CONSUME,
      2,
      1,
      { queues: ['q'], prefetch: 1, ack: 'late', queueOrder: 'strict' },
    ]);
    await harness.turn();
    for (const [i, waitMs] of [1_000, 2_000, 4_000, 5_000, 5_000].entries()) {
      harness.send(session, [CLIENT_OPS.NACK, i + 1, [i + 1, 1], true, -1, null]);
      await harness.turn();
      await harness.pass(waitMs - 1);
      expect(wire.deliveries).toHaveLength(i + 1);
      await harness.pass(1);
      expect(wire.deliveries).toHaveLength(i + 2);
    }
  });
});

test('SETTLED answers many frames at once, and nothing that was acked comes back', async () => {
  const texts = Array.from({ length: 500 }, (_, i) => `${i}`);
  const client = await consumerOf(texts, { prefetch: 0 });
  await client.delivered(500);
  for (let tag = 1; tag <= 500; tag++) client.settle('ACK', [tag]);
  await client.settled(500);
  client.terminate();
  await eventually(info, ({ consumers }) => consumers === 0, 'the end of the consumer');
  expect(await info()).toMatchObject({
    ready: 0,
    leased: 0,
    started: 0,
    bytes: 0,
    totals: { acked: 500, returned: 0 },
  });
});
