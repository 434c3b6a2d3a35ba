/** Clients that send more than they read, or more of everything than is sensible (promises P9, P11). */
import { readFileSync } from 'node:fs';
import { CLIENT_OPS, encodeFrame, LIMITS, SERVER_OPS } from '@lovage/protocol';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { BrokerProcess } from '../support/broker-process.js';
import { Bystanders } from '../support/bystanders.js';
import { eventually } from '../support/deadline.js';
import { publishFrame, RawClient } from '../support/raw-client.js';

const CONNECTIONS_MAX = 20;
const QUEUES_MAX = 60;
const UNSENT_BYTES_MAX = 256 * 1024;
const BODY_BYTES_MAX = 65_536;

let broker: BrokerProcess;
let bystanders: Bystanders;

interface Overview {
  readonly connections: number;
  readonly sessions: number;
}

beforeAll(async () => {
  broker = await BrokerProcess.start({
    flags: [
      ...['--connections-max', `${CONNECTIONS_MAX}`, '--queues-max', `${QUEUES_MAX}`],
      ...['--unsent-bytes-max', `${UNSENT_BYTES_MAX}`, '--body-bytes-max', `${BODY_BYTES_MAX}`],
    ],
  });
  bystanders = await Bystanders.join(broker);
});

afterEach(async () => {
  await bystanders.assertUnharmed();
  expect(broker.log).not.toContain('a connection failed');
});

afterAll(() => bystanders.assertDrained());

function overview(): Promise<Overview> {
  return broker.get<Overview>('/api/v1/overview');
}

function residentBytes(): number {
  const status = readFileSync(`/proc/${broker.pid}/status`, 'utf8');
  return Number(/^VmRSS:\s+([0-9]+) kB$/m.exec(status)![1]) * 1024;
}

/** Only the bystanders are left. */
async function alone(): Promise<void> {
  await eventually(overview, ({ connections }) => connections === 2, 'the end of the other connections');
}

/** Sends the same bytes again and again, without reading, until the broker has ended the session. */
async function floodUntilEnded(client: RawClient, send: () => void): Promise<void> {
  client.pause();
  const isEnded = async (): Promise<boolean> => {
    if (client.unsentBytes < 1024 * 1024) for (let i = 0; i < 200; i++) send();
    return (await overview()).sessions === 2;
  };
  await eventually(isEnded, (ended) => ended, 'the end of a session that floods');
}

describe('a client that does not read', () => {
  test('and sends ops that do not exist is closed with SLOW_CONSUMER', async () => {
    await alone();
    const client = await RawClient.connect(broker.url, { hello: { heartbeatMs: 600_000 } });
    await floodUntilEnded(client, () => client.send([40_000, 'x'.repeat(100)]));
    client.resume();
    expect(await client.untilClosed()).toBe(4408);
    expect(client.errors.at(-1)!.code).toBe('SLOW_CONSUMER');
  });

  test('and asks for long answers is not heard until it reads, and then gets every one in order', async () => {
    await alone();
    const client = await RawClient.connect(broker.url, { hello: { heartbeatMs: 600_000 } });
    for (let i = 0; i < 50; i++) await client.declare(`${'long-name-'.repeat(19)}${i}`);
    client.pause();
    const before = residentBytes();
    // Some 50 KB each, 100 MB in all, asked for in some 30 KB.
    for (let request = 1_000; request < 3_000; request++)
      client.sendBytes(encodeFrame([CLIENT_OPS.QUEUE_LIST, request, null, 1_000]));
    await overview();
    await overview();
    expect(residentBytes() - before).toBeLessThan(50 * 1024 * 1024);
    client.resume();
    await client.until(() => client.frames.at(-1)?.fields[0] === 2_999, 'the last answer');
    const answered = client.frames.filter(({ op }) => op === SERVER_OPS.REPLY).map(({ fields }) => fields[0]);
    expect(answered.slice(-2_000)).toEqual(Array.from({ length: 2_000 }, (_, i) => 1_000 + i));
    await client.goodbye();
  });

  test('and pings is dropped', async () => {
    await alone();
    const client = await RawClient.connect(broker.url, { hello: { heartbeatMs: 600_000 } });
    await floodUntilEnded(client, () => client.ping(Buffer.alloc(120)));
    client.resume();
    await client.untilClosed();
  });

  test('gets no more deliveries than its buffers hold; the others are for those who read', async () => {
    await alone();
    const hello = { namespace: 'slow', heartbeatMs: 600_000 };
    const producer = await RawClient.connect(broker.url, { hello });
    await producer.declare('work');
    const slow = await RawClient.connect(broker.url, { hello });
    slow.pause();
    slow.sendBytes(
      encodeFrame([CLIENT_OPS.CONSUME, 1, 1, { queues: ['work'], prefetch: 0, ack: 'late', queueOrder: 'strict' }]),
    );
    await eventually(
      () => broker.queue('work', 'slow'),
      ({ consumers }) => consumers === 1,
      'the slow consumer',
    );
    // 40 MB, far above what the sockets on the way take (some 6 MB).
    const body = Buffer.alloc(60_000);
    const messages = Array.from({ length: 10 }, () => ({ queue: 'work', body }));
    for (let i = 0; i < 67; i++) await producer.publish(messages);
    const held = (await broker.queue('work', 'slow')).leased;
    expect(held).toBeGreaterThan(0);
    expect(held).toBeLessThan(400);
    const reader = await RawClient.connect(broker.url, { hello });
    await reader.consume(1, ['work'], { prefetch: 0 });
    await reader.delivered(670 - held);
    expect(await broker.queue('work', 'slow')).toMatchObject({ ready: 0, leased: 670 });
    // When it reads on after all, nothing is missing.
    slow.resume();
    await slow.delivered(held);
    await producer.request(CLIENT_OPS.QUEUE_DELETE, 'work', null);
    for (const client of [producer, slow, reader]) await client.goodbye();
  });
});

describe('a client that wants too much', () => {
  test('of connections is told so, and room is there again when some are closed', async () => {
    await alone();
    const sockets = await Promise.all(
      Array.from({ length: CONNECTIONS_MAX + 10 }, () => RawClient.connect(broker.url, { hello: null })),
    );
    await eventually(
      () => sockets.filter(({ isOpen }) => !isOpen).length,
      (closed) => closed === 12,
      'the end of those that are too many',
    );
    for (const { closed, errors } of sockets.filter(({ isOpen }) => !isOpen)) {
      expect(closed).toEqual({ code: 4411, reason: 'TOO_MANY_CONNECTIONS' });
      expect(errors.map(({ code }) => code)).toEqual(['TOO_MANY_CONNECTIONS']);
    }
    for (const socket of sockets) socket.terminate();
    await alone();
    const client = await RawClient.connect(broker.url);
    await client.goodbye();
  });

  test('of queues is told so, by declaration and by publish', async () => {
    const client = await RawClient.connect(broker.url, { hello: { namespace: 'greedy' } });
    const codes: string[] = [];
    for (let i = 0; i < QUEUES_MAX; i++) {
      const answer = await client.ask(CLIENT_OPS.QUEUE_DECLARE, `q${i}`, null);
      if ('code' in answer) codes.push(answer.code);
    }
    expect(codes.length).toBeGreaterThan(0);
    expect(new Set(codes)).toEqual(new Set(['TOO_MANY_QUEUES']));
    const [answer] = await client.publish([{ queue: 'one-more', body: 'x' }], { flags: 2 });
    expect(answer).toMatchObject({ type: 'reject', code: 'TOO_MANY_QUEUES' });
    const { queues } = await client.request<{ queues: { name: string }[] }>(CLIENT_OPS.QUEUE_LIST, null, 1_000);
    for (const { name } of queues) await client.request(CLIENT_OPS.QUEUE_DELETE, name, null);
  });

  test('of publishes at once has all of them answered', async () => {
    const client = await RawClient.connect(broker.url, { hello: { namespace: 'greedy' } });
    await client.declare('burst');
    for (let i = 0; i < 2_000; i++) client.sendPublish([{ queue: 'burst', body: Buffer.alloc(10_000) }]);
    await client.until(() => client.answers.size === 2_000, 'the confirms');
    expect(await client.request(CLIENT_OPS.QUEUE_PURGE, 'burst')).toEqual({ purged: 2_000 });
  });
});

describe('a message in fragments', () => {
  test('is taken as one', async () => {
    const client = await RawClient.connect(broker.url, { hello: { namespace: 'pieces' } });
    await client.declare('q');
    const frame = publishFrame([{ queue: 'q', body: 'in pieces' }], { firstSeq: 1 });
    client.sendFragments([...frame].map((byte) => Buffer.of(byte)));
    await client.until(() => client.answers.has(1), 'the confirm');
    await client.consume(1, ['q']);
    expect((await client.delivered(1))[0]!.text).toBe('in pieces');
  });

  test('of more than 16,384 ends the connection', async () => {
    const client = await RawClient.connect(broker.url);
    client.sendFragments(Array.from({ length: 20_000 }, () => Buffer.of(0)));
    expect([1006, 1008]).toContain(await client.untilClosed());
  });

  test('that together are too large ends the connection with 1009', async () => {
    const client = await RawClient.connect(broker.url);
    const part = Buffer.alloc(64 * 1024);
    const parts = Math.ceil((BODY_BYTES_MAX + LIMITS.frameOverheadBytes) / part.length) + 1;
    client.sendFragments(Array.from({ length: parts }, () => part));
    expect(await client.untilClosed()).toBe(1009);
  });
});
