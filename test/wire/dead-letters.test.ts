/** Dead letters, bounds and changes of settings as clients see them, and bad input. */
import { CLIENT_OPS, LIMITS, SERVER_OPS } from '@lovage/protocol';
import { beforeAll, describe, expect, test } from 'vitest';
import { BrokerProcess } from '../support/broker-process.js';
import { eventually } from '../support/deadline.js';
import { RawClient } from '../support/raw-client.js';
import { SessionHarness } from '../support/session-harness.js';

let broker: BrokerProcess;
beforeAll(async () => {
  broker = await BrokerProcess.start();
});

/** A client in a namespace of its own. */
function connect(namespace: string): Promise<RawClient> {
  return RawClient.connect(broker.url, { hello: { namespace } });
}

describe('a dead letter', () => {
  test('is delivered with its bytes, its number and its history', async () => {
    const client = await connect('history');
    await client.declare('a', { deadLetterQueue: 'b' });
    await client.declare('b', { deadLetterQueue: 'c', attemptsMax: 1 });
    const headers = { trace: 'ab12' };
    const [id] = await client.publishTexts('a', ['hello'], { headers, priority: 7, contentType: 'text/plain' });
    await client.consume(1, ['a', 'b']);
    const [first] = await client.delivered(1);
    await client.settled(client.nack([first!.tag], { requeue: false, reason: 'no such customer' }));
    const [second] = await client.delivered(2, 1);
    await client.start([second!.tag]);
    await client.settled(client.nack([second!.tag], { requeue: true }));
    await client.consume(2, ['c']);
    const [third] = await client.delivered(3, 2);
    expect(second).toMatchObject({ id, text: 'hello', headers, priority: 7, attempt: 1, redelivered: false });
    expect(second!.deadLetters).toEqual([{ queue: 'a', reason: 'rejected', timeMs: expect.any(Number), count: 1 }]);
    expect(third).toMatchObject({ id, text: 'hello', headers, priority: 7, attempt: 1, contentType: 'text/plain' });
    expect(third!.deadLetters.map(({ queue, reason }) => [queue, reason])).toEqual([
      ['a', 'rejected'],
      ['b', 'attempts'],
    ]);
    expect(await client.inspect('b')).toMatchObject({ totals: { arrived: 1, deadLettered: 1, returned: 1 } });
    await client.ack([third!.tag]);
    expect(await client.inspect('c')).toMatchObject({ ready: 0, bytes: 0, totals: { arrived: 1, acked: 1 } });
  });

  test('of many thousands rejected in one frame is each delivered once', async () => {
    const client = await connect('many');
    await client.declare('a', { deadLetterQueue: 'b' });
    const ids = await client.publishTexts(
      'a',
      Array.from({ length: 5_000 }, (_, i) => `${i}`),
    );
    await client.consume(1, ['a'], { prefetch: 0 });
    const tags = (await client.delivered(5_000)).map(({ tag }) => tag);
    await client.settled(client.nack(tags, { requeue: false }));
    await client.consume(2, ['b'], { prefetch: 0 });
    expect((await client.delivered(10_000, 5_000)).map(({ id }) => id)).toEqual(ids);
  });

  test('of a message in memory only is one, too, and is gone after a restart', async () => {
    const own = await BrokerProcess.start();
    const client = await RawClient.connect(own.url);
    await client.declare('a', { deadLetterQueue: 'b', messagesMax: 1, overflow: 'dead-letter-head' });
    await client.publish(
      [1, 2].map((i) => ({ queue: 'a', body: `${i}` })),
      { flags: 1 },
    );
    expect(await client.inspect('b')).toMatchObject({ ready: 1, totals: { arrived: 1 } });
    await own.kill();
    const next = await BrokerProcess.start({ dataDir: own.dataDir });
    expect(await next.queue('b')).toMatchObject({ ready: 0 });
  });

  test('goes out only when its transfer is safe, behind what the consumer had before', async () => {
    const harness = await SessionHarness.start();
    const { session, wire } = await harness.open();
    harness.send(session, [CLIENT_OPS.QUEUE_DECLARE, 1, 'a', { deadLetterQueue: 'b', messageTtlMs: 100 }]);
    harness.send(session, [CLIENT_OPS.QUEUE_DECLARE, 2, 'b', null]);
    harness.send(session, [
      CLIENT_OPS.CONSUME,
      3,
      1,
      { queues: ['b'], prefetch: 0, ack: 'late', queueOrder: 'strict' },
    ]);
    harness.publish(session, 1, [{ queue: 'a', body: 'old' }]);
    await harness.turn();
    harness.clock.advance(100);
    expect(wire.deliveries).toEqual([]);
    await harness.turn();
    expect(wire.deliveries).toMatchObject([{ text: 'old', attempt: 1, redelivered: false }]);
    expect(wire.fieldsOf(SERVER_OPS.DELIVER)[0]).toMatchObject([
      1,
      [[1, 1, 0, 0, 1, false, null, null, expect.anything(), [['a', 'expired', 1_000_100, 1]]]],
    ]);
  });
});

describe('a bound', () => {
  test('rejects only what is too many, and tells which queue is full', async () => {
    const client = await connect('bound');
    await client.declare('a', { messagesMax: 2 });
    await client.declare('b');
    const answers = await client.publish(['a', 'b', 'a', 'a', 'b'].map((queue) => ({ queue, body: 'x' })));
    expect(answers.map(({ type }) => type)).toEqual(['confirm', 'confirm', 'confirm', 'reject', 'confirm']);
    expect(answers[3]).toMatchObject({ code: 'QUEUE_FULL', message: expect.stringContaining('"a" is full') });
    expect(await client.inspect('a')).toMatchObject({ ready: 2, totals: { published: 2 } });
  });

  test('that is lowered acts at once', async () => {
    const client = await connect('lowered');
    await client.declare('a');
    await client.publishTexts('a', ['1', '2', '3', '4']);
    expect(await client.merge('a', { messagesMax: 2, overflow: 'drop-head' })).toMatchObject({ version: 2 });
    expect(await client.inspect('a')).toMatchObject({ ready: 2, version: 2, totals: { evicted: 2 } });
    await client.merge('a', { messagesMax: null, overflow: null });
    await client.publishTexts('a', ['5', '6', '7']);
    expect(await client.inspect('a')).toMatchObject({ ready: 5, version: 3, settings: { messagesMax: 0 } });
  });
});

describe('a declaration', () => {
  test.each<[string, unknown, string]>([
    ['an unknown setting', { deadLetterqueue: 'b' }, 'deadLetterqueue'],
    ['a name that is none', { deadLetterQueue: 'no name' }, 'deadLetterQueue'],
    ['a number for a name', { deadLetterQueue: 7 }, 'deadLetterQueue'],
    ['the queue itself', { deadLetterQueue: 'a' }, 'deadLetterQueue'],
    ['attempts below 0', { attemptsMax: -1 }, 'attemptsMax'],
    ['too many attempts', { attemptsMax: 65_536 }, 'attemptsMax'],
    ['half a message', { messagesMax: 0.5 }, 'messagesMax'],
    ['too many messages', { messagesMax: 1_000_000_001 }, 'messagesMax'],
    ['too many bytes', { bytesMax: 10 ** 15 + 1 }, 'bytesMax'],
    ['text for bytes', { bytesMax: '1GiB' }, 'bytesMax'],
    ['an unknown overflow', { overflow: 'spill' }, 'overflow'],
    ['a number for an overflow', { overflow: 0 }, 'overflow'],
    ['dead letters to nowhere', { messagesMax: 1, overflow: 'dead-letter-head' }, 'overflow'],
    ['too long a life', { expiresAfterUnusedMs: LIMITS.delayMsMax + 1 }, 'expiresAfterUnusedMs'],
    ['a number for a switch', { singleActiveConsumer: 1 }, 'singleActiveConsumer'],
    ['backoff upside down', { backoffMsMin: 10, backoffMsMax: 5 }, 'backoffMsMax'],
  ])('with %s is refused in both modes, and changes nothing', async (_, settings, field) => {
    const client = await connect('refused');
    await client.declare('a');
    for (const mode of [null, 'check', 'merge']) {
      const answer = await client.ask(CLIENT_OPS.QUEUE_DECLARE, 'a', settings, mode);
      expect(answer).toMatchObject({ code: 'INVALID_ARGUMENT', details: { field } });
    }
    expect(await client.ask(CLIENT_OPS.QUEUE_DECLARE, 'new', settings)).toMatchObject(
      field === 'deadLetterQueue' && (settings as { deadLetterQueue: unknown }).deadLetterQueue === 'a'
        ? { result: { created: true } }
        : { code: 'INVALID_ARGUMENT' },
    );
    expect(await client.inspect('a')).toMatchObject({ version: 1 });
    await client.ask(CLIENT_OPS.QUEUE_DELETE, 'new', null);
    await client.goodbye();
  });

  test('of an unknown mode is refused, and of no text ends the connection', async () => {
    const client = await connect('mode');
    const answer = await client.ask(CLIENT_OPS.QUEUE_DECLARE, 'a', null, 'replace');
    expect(answer).toMatchObject({ code: 'INVALID_ARGUMENT', details: { field: 'mode' } });
    expect(await client.ask(CLIENT_OPS.QUEUE_DECLARE, 'a', null, 7)).toMatchObject({ code: 'BAD_FRAME' });
  });

  test('that merges makes a queue that is not there, and keeps what it does not name', async () => {
    const client = await connect('merge');
    expect(await client.merge('a', { attemptsMax: 3 })).toMatchObject({ created: true, version: 1 });
    expect(await client.merge('a', { messagesMax: 9 })).toMatchObject({
      created: false,
      version: 2,
      settings: { attemptsMax: 3, messagesMax: 9 },
    });
    expect(await client.ask(CLIENT_OPS.QUEUE_DECLARE, 'a', { attemptsMax: 3 })).toMatchObject({
      code: 'QUEUE_MISMATCH',
      details: { fields: ['messagesMax'] },
    });
    expect(await client.declare('a')).toMatchObject({ created: false, version: 2 });
  });
});

test('a queue that nobody uses goes by itself', async () => {
  const client = await connect('unused');
  await client.declare('a', { expiresAfterUnusedMs: 50 });
  await client.publishTexts('a', ['x']);
  await eventually(
    () => broker.queues('unused'),
    (queues) => queues.length === 0,
    'the end of the queue',
  );
});

test('a single active consumer is followed by the next one when its connection is lost', async () => {
  const first = await connect('single');
  const second = await connect('single');
  await first.declare('a', { singleActiveConsumer: true });
  await first.consume(1, ['a'], { prefetch: 2 });
  await second.consume(1, ['a'], { prefetch: 2 });
  await first.publishTexts('a', ['1', '2', '3']);
  expect((await first.delivered(2)).map(({ text }) => text)).toEqual(['1', '2']);
  await second.barrier();
  expect(second.deliveries).toEqual([]);
  first.terminate();
  expect((await second.delivered(2)).map(({ text }) => text)).toEqual(['1', '2']);
});
