/** Answers to deliveries that a client has no right to give: each is refused with a code, and nothing in any queue changes (promises P4, P11). */
import { CLIENT_OPS, LIMITS, type QueueInfo } from '@lovage/protocol';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { BrokerProcess } from '../support/broker-process.js';
import { Bystanders } from '../support/bystanders.js';
import { RawClient } from '../support/raw-client.js';

const SETTLE_OPS = ['START', 'ACK', 'NACK', 'RELEASE'] as const;
type SettleOp = (typeof SETTLE_OPS)[number];

let broker: BrokerProcess;
let bystanders: Bystanders;
let queue: string;
let count = 0;

beforeAll(async () => {
  broker = await BrokerProcess.start();
  bystanders = await Bystanders.join(broker);
});

beforeEach(() => {
  queue = `queue-${++count}`;
});

afterEach(() => bystanders.assertUnharmed());

afterAll(() => bystanders.assertDrained());

/** Sends an answer of any kind for ranges of tags and waits until it is processed; returns what was refused of it. */
async function settle(client: RawClient, op: SettleOp, ranges: readonly number[]): Promise<(number[] | string)[]> {
  const before = client.refusals.length;
  const settleSeq = client.nextSettleSeq++;
  client.send([CLIENT_OPS[op], settleSeq, ranges, ...(op === 'NACK' ? [true, 0, null] : [])]);
  await client.settled(settleSeq);
  return client.refusals.slice(before).flatMap(({ ranges: tags, code }) => [[...tags], code]);
}

/** A client that holds one delivery that has started and one that has not, with two waiting behind them. */
async function holder(): Promise<RawClient> {
  const client = await RawClient.connect(broker.url);
  await client.declare(queue);
  await client.publishTexts(queue, ['a', 'b', 'c', 'd']);
  await client.consume(1, [queue], { prefetch: 2 });
  await client.delivered(2);
  await client.start([1]);
  return client;
}

function info(): Promise<QueueInfo> {
  return broker.queue(queue);
}

describe('an answer', () => {
  test.each(SETTLE_OPS)('%s for a tag that was never delivered is UNKNOWN_TAG and changes nothing', async (op) => {
    const client = await holder();
    const before = await info();
    expect(await settle(client, op, [3, 1])).toEqual([[3, 1], 'UNKNOWN_TAG']);
    expect(await settle(client, op, [Number.MAX_SAFE_INTEGER - 1, 1])).toEqual([
      [Number.MAX_SAFE_INTEGER - 1, 1],
      'UNKNOWN_TAG',
    ]);
    // A range that begins with good tags and reaches beyond the last one is refused whole.
    expect(await settle(client, op, [1, 0xffff_ffff])).toEqual([[1, 0xffff_ffff], 'UNKNOWN_TAG']);
    expect(await info()).toEqual(before);
  });

  test.each(SETTLE_OPS)('%s for a tag of another session is UNKNOWN_TAG and leaves it with its owner', async (op) => {
    const owner = await holder();
    const before = await info();
    const thief = await RawClient.connect(broker.url);
    expect(await settle(thief, op, [1, 2])).toEqual([[1, 2], 'UNKNOWN_TAG']);
    expect(await info()).toEqual(before);
    expect(await settle(owner, 'ACK', [1, 2])).toEqual([]);
  });

  test.each(SETTLE_OPS)('%s for a tag that is settled is ALREADY_SETTLED, and nothing comes back', async (op) => {
    const client = await holder();
    expect(await settle(client, 'ACK', [1, 1])).toEqual([]);
    await client.delivered(3);
    const before = await info();
    expect(before.totals.acked).toBe(1);
    expect(await settle(client, op, [1, 1])).toEqual([[1, 1], 'ALREADY_SETTLED']);
    expect(await info()).toEqual(before);
  });

  test('ACK for a delivery that was taken back is SUPERSEDED, and the message stays with whoever has it now', async () => {
    const slow = await holder();
    const next = await RawClient.connect(broker.url);
    await slow.request(CLIENT_OPS.CANCEL, 1);
    await next.consume(1, [queue]);
    const deliveries = await next.delivered(3);
    expect(deliveries.map(({ text, attempt }) => [text, attempt])).toEqual([
      ['b', 1],
      ['c', 1],
      ['d', 1],
    ]);
    expect(await settle(slow, 'ACK', [2, 1])).toEqual([[2, 1], 'SUPERSEDED']);
    expect(await info()).toMatchObject({ ready: 0, leased: 3, started: 1, totals: { acked: 0 } });
    // What had started goes on, and its answer counts.
    expect(await settle(slow, 'ACK', [1, 1])).toEqual([]);
    expect(await info()).toMatchObject({ leased: 3, started: 0, totals: { acked: 1 } });
  });

  test('ACK for a message whose queue was deleted is SUPERSEDED', async () => {
    const client = await holder();
    expect(await client.request(CLIENT_OPS.QUEUE_DELETE, queue, null)).toEqual({ messages: 4 });
    expect(client.cancelled).toEqual([{ consumerId: 1, code: 'QUEUE_DELETED' }]);
    expect(await settle(client, 'ACK', [1, 2])).toEqual([[1, 2], 'SUPERSEDED']);
  });

  test('RELEASE for a delivery that has started is INVALID_ARGUMENT', async () => {
    const client = await holder();
    const before = await info();
    expect(await settle(client, 'RELEASE', [1, 1])).toEqual([[1, 1], 'INVALID_ARGUMENT']);
    expect(await info()).toEqual(before);
  });

  test('with a number that was processed before has no effect and is answered again', async () => {
    const client = await holder();
    const before = await info();
    expect(client.nextSettleSeq).toBe(2);
    client.send([CLIENT_OPS.ACK, 1, [1, 2]]);
    client.send([CLIENT_OPS.NACK, 1, [1, 2], false, 0, null]);
    await client.barrier();
    // Two that are answered in one turn are answered by one frame.
    expect(client.frames.filter(({ op, fields }) => op === 70 && fields[0] === 1).length).toBeGreaterThan(1);
    expect(client.refusals).toEqual([]);
    expect(await info()).toEqual(before);
  });

  test('names as many ranges as it may, each refused for itself', async () => {
    const client = await holder();
    const before = await info();
    const ranges = Array.from({ length: LIMITS.rangesMax * 2 }, (_, i) => (i % 2 === 0 ? 3 + i : 1));
    const refused = await settle(client, 'ACK', ranges);
    expect(refused.filter((part) => part === 'UNKNOWN_TAG')).toHaveLength(LIMITS.rangesMax);
    expect(await info()).toEqual(before);
    client.send([CLIENT_OPS.ACK, 9, [...ranges, 1, 1]]);
    expect(await client.untilClosed()).toBe(4400);
  });
});

describe('a session', () => {
  test('is not resumed with a wrong key, from another namespace or by another producer', async () => {
    const owner = await RawClient.connect(broker.url, { hello: { producer: 'p' } });
    const { session } = owner.welcome!;
    for (const hello of [
      { producer: 'p', resume: { session: `${session}x`, lastTag: 0 } },
      { producer: 'p', namespace: 'other', resume: { session, lastTag: 0 } },
      { producer: 'q', resume: { session, lastTag: 0 } },
      { resume: { session, lastTag: 0 } },
    ]) {
      const other = await RawClient.connect(broker.url, { hello });
      expect(other.welcome!.resumed).toBe(false);
      expect(other.welcome!.session).not.toBe(session);
    }
    await owner.barrier();
    expect(owner.errors).toEqual([]);
  });

  test('that is resumed while its connection stands ends the old connection with SESSION_TAKEN_OVER', async () => {
    const old = await holder();
    const resumed = await RawClient.connect(broker.url, {
      hello: { resume: { session: old.welcome!.session, lastTag: 2 } },
    });
    expect(await old.untilClosed()).toBe(4409);
    expect(old.errors.map(({ code }) => code)).toEqual(['SESSION_TAKEN_OVER']);
    // What had started is held, what had not went back.
    expect(resumed.welcome).toMatchObject({ resumed: true, held: [1, 1], settleSeq: 1 });
    expect(await info()).toMatchObject({ ready: 3, leased: 0, started: 1 });
    resumed.nextSettleSeq = 2;
    expect(await settle(resumed, 'ACK', [1, 2])).toEqual([[2, 1], 'SUPERSEDED']);
    expect(await info()).toMatchObject({ ready: 3, started: 0, totals: { acked: 1 } });
  });

  test('sees nothing of another namespace', async () => {
    await holder();
    const stranger = await RawClient.connect(broker.url, { hello: { namespace: 'elsewhere' } });
    const before = await info();
    for (const op of ['QUEUE_INSPECT', 'QUEUE_PURGE', 'QUEUE_DELETE', 'QUEUE_PAUSE', 'QUEUE_RESUME'] as const)
      expect(await stranger.ask(CLIENT_OPS[op], queue)).toMatchObject({ code: 'QUEUE_NOT_FOUND' });
    expect(await stranger.request(CLIENT_OPS.QUEUE_LIST, null, 10)).toEqual({ queues: [], next: null });
    await expect(stranger.consume(1, [queue])).rejects.toThrow('QUEUE_NOT_FOUND');
    expect(await stranger.publish([{ queue, body: 'x' }])).toMatchObject([{ type: 'reject', code: 'QUEUE_NOT_FOUND' }]);
    expect(await info()).toEqual(before);
  });
});
