/** A lost connection, and what the client does about it: resume inside the grace and after it, and publishes that are sent again. */
import { CLIENT_OPS, type QueueInfo } from '@lovage/protocol';
import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { BrokerProcess } from '../support/broker-process.js';
import { eventually } from '../support/deadline.js';
import { RawClient } from '../support/raw-client.js';
import { SessionHarness } from '../support/session-harness.js';

const CONSUME = { queues: ['q'], prefetch: 5, ack: 'late', queueOrder: 'strict' };

let broker: BrokerProcess;
let queue: string;
let count = 0;

beforeAll(async () => {
  broker = await BrokerProcess.start({ flags: ['--grace-ms', '60000'] });
});

beforeEach(() => {
  queue = `queue-${++count}`;
});

function info(of = broker): Promise<QueueInfo> {
  return of.queue(queue);
}

/** A client that holds five deliveries, the first two started. */
async function worker(of = broker): Promise<RawClient> {
  const client = await RawClient.connect(of.url);
  await client.declare(queue);
  await client.publishTexts(queue, ['a', 'b', 'c', 'd', 'e']);
  await client.consume(1, [queue], { prefetch: 5 });
  await client.delivered(5);
  await client.start([1, 2]);
  return client;
}

async function resume(client: RawClient, of = broker, hello: Record<string, unknown> = {}): Promise<RawClient> {
  const lastTag = client.deliveries.at(-1)?.tag ?? 0;
  const resumed = await RawClient.connect(of.url, {
    hello: { ...hello, resume: { session: client.welcome!.session, lastTag } },
  });
  resumed.nextSettleSeq = client.nextSettleSeq;
  return resumed;
}

describe('a session that is resumed inside the grace', () => {
  test('still holds what had started, and only that', async () => {
    const client = await worker();
    client.terminate();
    await eventually(info, ({ leased }) => leased === 0, 'the return of what had not started');
    expect(await info()).toMatchObject({ ready: 3, started: 2, totals: { returned: 3 } });
    const resumed = await resume(client);
    expect(resumed.welcome).toMatchObject({ resumed: true, held: [1, 2], settleSeq: 1 });
    await resumed.ack([1, 2]);
    expect(resumed.refusals).toEqual([]);
    expect(await info()).toMatchObject({ ready: 3, started: 0, totals: { acked: 2 } });
  });

  test('is told what was revoked meanwhile, and again whenever it comes back until it has answered', async () => {
    const client = await worker();
    client.terminate();
    const admin = await RawClient.connect(broker.url);
    const ids = client.deliveries.slice(0, 2).map(({ id }) => id);
    for (const [i, id] of ids.entries())
      await admin.request(CLIENT_OPS.MESSAGE_REVOKE, null, { ids: [id] }, 0, {
        body: Buffer.of(1),
        terminate: i === 1,
      });
    const told = [
      { tags: [1], terminate: false },
      { tags: [2], terminate: true },
    ];
    const first = await resume(client);
    expect(first.welcome).toMatchObject({ resumed: true, held: [1, 2] });
    await first.until(() => first.revoked.length === 2, 'REVOKED');
    expect(first.revoked).toEqual(told);
    await first.ack([1]);
    expect(first.refusals).toMatchObject([{ ranges: [1, 1], code: 'SUPERSEDED' }]);
    first.terminate();
    const second = await resume(first);
    expect(second.welcome).toMatchObject({ resumed: true, held: [2, 1] });
    await second.until(() => second.revoked.length === 1, 'REVOKED');
    expect(second.revoked).toEqual(told.slice(1));
    expect(await info()).toMatchObject({ ready: 3, started: 0, totals: { dropped: 2 } });
  });

  test('numbers its deliveries on, so that no tag means two things', async () => {
    const client = await worker();
    client.terminate();
    const resumed = await resume(client);
    await resumed.consume(1, [queue]);
    const deliveries = await resumed.delivered(3);
    expect(deliveries.map(({ tag, text, attempt, redelivered }) => ({ tag, text, attempt, redelivered }))).toEqual([
      { tag: 6, text: 'c', attempt: 1, redelivered: true },
      { tag: 7, text: 'd', attempt: 1, redelivered: true },
      { tag: 8, text: 'e', attempt: 1, redelivered: true },
    ]);
    // The answer for the old delivery of the same message has no effect.
    await resumed.ack([3]);
    expect(resumed.refusals).toEqual([{ settleSeq: 2, ranges: [3, 1], code: 'SUPERSEDED' }]);
    expect(await info()).toMatchObject({ leased: 3, started: 2, totals: { acked: 0 } });
  });

  test('sends settlements again that were not answered, to the same effect as once', async () => {
    const client = await worker();
    client.settle('ACK', [1]);
    client.terminate();
    const resumed = await resume(client);
    // Whether the first ACK arrived is told, and sending it again does no harm.
    const { settleSeq } = resumed.welcome!;
    expect([1, 2]).toContain(settleSeq);
    resumed.send([CLIENT_OPS.ACK, 2, [1, 1]]);
    await resumed.settled(2);
    expect(resumed.refusals).toEqual([]);
    expect(await info()).toMatchObject({ started: 1, totals: { acked: 1 } });
  });

  test('can lose its connection again and again', async () => {
    let client = await worker();
    for (let round = 0; round < 10; round++) {
      client.terminate();
      client = await resume(client);
      expect(client.welcome).toMatchObject({ resumed: true, held: [1, 2] });
    }
    await client.ack([1, 2]);
    expect(await info()).toMatchObject({ started: 0, totals: { acked: 2 } });
  });

  test('goes on after the broker was killed and came back, and holds what had started', async () => {
    const first = await BrokerProcess.start({ flags: ['--grace-ms', '60000'] });
    const client = await worker(first);
    await first.kill();
    const second = await BrokerProcess.start({ dataDir: first.dataDir, flags: ['--grace-ms', '60000'] });
    expect(await info(second)).toMatchObject({ ready: 3, started: 2 });
    const resumed = await resume(client, second);
    expect(resumed.welcome).toMatchObject({ resumed: true, held: [1, 2], settleSeq: null });
    await resumed.consume(1, [queue]);
    expect((await resumed.delivered(3)).map(({ tag, text, attempt }) => [tag, text, attempt])).toEqual([
      [6, 'c', 1],
      [7, 'd', 1],
      [8, 'e', 1],
    ]);
    await resumed.ack([1]);
    await resumed.settled(resumed.nack([2]));
    expect(resumed.refusals).toEqual([]);
    expect((await resumed.delivered(4))[3]).toMatchObject({ text: 'b', attempt: 2, redelivered: true });
    await second.stop();
  });
});

describe('a session whose grace is over', () => {
  test('has given everything back, with the attempt charged for what had started', async () => {
    const harness = await SessionHarness.start({ engine: { graceMs: 10_000 } });
    const { session, wire } = await harness.open();
    const key = (wire.fieldsOf(64)[0]![0] as { session: string }).session;
    harness.send(session, [CLIENT_OPS.QUEUE_DECLARE, 1, 'q', null]);
    harness.publish(session, 1, [
      { queue: 'q', body: 'a' },
      { queue: 'q', body: 'b' },
    ]);
    harness.send(session, [CLIENT_OPS.CONSUME, 2, 1, CONSUME]);
    await harness.turn();
    harness.send(session, [CLIENT_OPS.START, 1, [1, 1]]);
    await harness.turn();
    session.closed();
    await harness.turn();
    const other = await harness.open();
    harness.send(other.session, [CLIENT_OPS.CONSUME, 1, 1, CONSUME]);
    await harness.turn();
    expect(other.wire.deliveries).toMatchObject([{ text: 'b', attempt: 1, redelivered: true }]);
    await harness.pass(9_999);
    expect(other.wire.deliveries).toHaveLength(1);
    await harness.pass(1);
    expect(other.wire.deliveries[1]).toMatchObject({ text: 'a', attempt: 2, redelivered: true });
    const late = await harness.open({ resume: { session: key, lastTag: 2 } });
    expect(late.wire.fieldsOf(64)[0]![0]).toMatchObject({ resumed: false, held: [], settleSeq: 0 });
    harness.send(late.session, [CLIENT_OPS.ACK, 1, [1, 1]]);
    await harness.turn();
    expect(late.wire.fieldsOf(71)).toEqual([[1, [1, 1], 'UNKNOWN_TAG']]);
  });

  test('by GOODBYE cannot be resumed', async () => {
    const client = await worker();
    await client.goodbye();
    expect(await info()).toMatchObject({ ready: 5, started: 0 });
    expect((await resume(client)).welcome).toMatchObject({ resumed: false });
  });
});

describe('a producer', () => {
  const hello = { producer: 'orders-1' };
  const messages = (texts: readonly string[]) => texts.map((body) => ({ queue, body }));

  test('that sends again what was confirmed is told the first ids, and nothing is stored twice', async () => {
    const first = await RawClient.connect(broker.url, { hello: { producer: queue } });
    await first.declare(queue);
    const ids = await first.publishTexts(queue, ['a', 'b', 'c']);
    first.terminate();
    const second = await RawClient.connect(broker.url, { hello: { producer: queue } });
    // b and c again, and one that is new, in one frame.
    const answers = await second.publish(messages(['b', 'c', 'd']), { firstSeq: 2 });
    expect(answers).toMatchObject([
      { type: 'confirm', id: ids[1] },
      { type: 'confirm', id: ids[2] },
      { type: 'confirm' },
    ]);
    expect(await info()).toMatchObject({ ready: 4, totals: { published: 4 } });
  });

  test('that sends a frame twice on one connection is confirmed twice and stored once', async () => {
    const client = await RawClient.connect(broker.url, { hello: { producer: queue } });
    await client.declare(queue);
    client.sendPublish(messages(['a', 'b']), { firstSeq: 1 });
    client.sendPublish(messages(['a', 'b']), { firstSeq: 1 });
    await client.until(() => client.answerCounts.get(2) === 2, 'both confirms');
    expect(await info()).toMatchObject({ ready: 2 });
  });

  test('is another one in another namespace, and under another name', async () => {
    const one = await RawClient.connect(broker.url, { hello: { producer: queue } });
    await one.declare(queue);
    await one.publishTexts(queue, ['a']);
    const other = await RawClient.connect(broker.url, { hello: { producer: `${queue}-2` } });
    await other.publishTexts(queue, ['a']);
    const elsewhere = await RawClient.connect(broker.url, { hello: { producer: queue, namespace: 'elsewhere' } });
    await elsewhere.declare(queue);
    await elsewhere.publishTexts(queue, ['a']);
    expect(await info()).toMatchObject({ ready: 2 });
    expect(await broker.queue(queue, 'elsewhere')).toMatchObject({ ready: 1 });
  });

  test('is known after the broker was killed', async () => {
    const first = await BrokerProcess.start();
    const client = await RawClient.connect(first.url, { hello });
    await client.declare(queue);
    const ids = await client.publishTexts(queue, ['a', 'b']);
    await first.kill();
    const second = await BrokerProcess.start({ dataDir: first.dataDir });
    const again = await RawClient.connect(second.url, { hello });
    expect(await again.publish(messages(['a', 'b', 'c']), { firstSeq: 1 })).toMatchObject([
      { type: 'confirm', id: ids[0] },
      { type: 'confirm', id: ids[1] },
      { type: 'confirm' },
    ]);
    expect(await info(second)).toMatchObject({ ready: 3 });
    await second.stop();
  });

  test('that gave up a rejected number may use it again', async () => {
    const client = await RawClient.connect(broker.url, { hello: { producer: queue } });
    expect(await client.publish(messages(['a']), { firstSeq: 1 })).toMatchObject([{ code: 'QUEUE_NOT_FOUND' }]);
    await client.declare(queue);
    expect(await client.publish(messages(['a']), { firstSeq: 1 })).toMatchObject([{ type: 'confirm' }]);
    expect(await info()).toMatchObject({ ready: 1 });
  });
});

describe('a dedup key', () => {
  test('is a DUPLICATE of the first message, even after that one is settled', async () => {
    const client = await RawClient.connect(broker.url);
    await client.declare(queue);
    const [id] = await client.publishTexts(queue, ['a'], { dedupKey: 'order:17' });
    await client.consume(1, [queue]);
    await client.delivered(1);
    await client.ack([1]);
    const answers = await client.publish([
      { queue, body: 'b', dedupKey: 'order:17' },
      { queue, body: 'c', dedupKey: 'order:18' },
      { queue, body: 'd', dedupKey: 'order:18' },
      { queue, body: 'e' },
    ]);
    expect(answers.map(({ type }) => type)).toEqual(['duplicate', 'confirm', 'duplicate', 'confirm']);
    expect(answers[0]).toMatchObject({ id });
    expect((answers[2] as { id: number }).id).toBe((answers[1] as { id: number }).id);
    await client.delivered(3);
    expect(client.deliveries.map(({ text }) => text)).toEqual(['a', 'c', 'e']);
  });

  test('is forgotten when its window is over, and with a window of 0 at once', async () => {
    const harness = await SessionHarness.start();
    const { session, wire } = await harness.open();
    harness.send(session, [CLIENT_OPS.QUEUE_DECLARE, 1, 'q', { dedupWindowMs: 5_000 }]);
    harness.send(session, [CLIENT_OPS.QUEUE_DECLARE, 2, 'never', { dedupWindowMs: 0 }]);
    const twice = async (seq: number, name: string): Promise<void> => {
      harness.publish(session, seq, [{ queue: name, body: '', dedupKey: 'k' }]);
      await harness.turn();
    };
    await twice(1, 'q');
    await harness.pass(4_999);
    await twice(2, 'q');
    await harness.pass(1);
    await twice(3, 'q');
    await twice(4, 'never');
    await twice(5, 'never');
    expect(wire.fieldsOf(67).map(([seq]) => seq)).toEqual([2]);
  });
});
