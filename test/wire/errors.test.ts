/**
 * The closed table of errors (protocol/errors.ts), provoked one by one: whoever adds a code that the broker or the command raises adds its
 * provocation here, or this file does not compile. The codes that only the SDK raises are provoked in test/client-sdk.
 */
import { writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { CLIENT_OPS, ERRORS, type ErrorCode, encodeFrame, LIMITS, PUBLISH_FLAGS, SERVER_OPS } from '@lovage/protocol';
import { beforeAll, describe, expect, test } from 'vitest';
import { openDatabase } from '../../server/archive/database.js';
import { openArchive } from '../../server/archive/index.js';
import { MemoryJournal } from '../../server/journal/index.js';
import { BrokerProcess, type Finished, runCommand, startExpectingFailure } from '../support/broker-process.js';
import { atEnd } from '../support/cleanup.js';
import { damage } from '../support/data-directory.js';
import { RawClient } from '../support/raw-client.js';
import { SessionHarness } from '../support/session-harness.js';
import { tempDirectory } from '../support/temp-directory.js';

type By<W extends 'broker' | 'client' | 'command'> = {
  [C in ErrorCode]: (typeof ERRORS)[C]['by'] extends W ? C : never;
}[ErrorCode];

/** What a client has seen: the code, in whichever frame, and the close code, null while the connection goes on. */
interface Seen {
  readonly code: unknown;
  readonly close: number | null;
}

const MESSAGES_MAX = 1_000;
const BODY_BYTES_MAX = 4_096;
const HEADER_BYTES_MAX = 256;
const TOKEN = 'open-sesame';

let broker: BrokerProcess;

beforeAll(async () => {
  broker = await BrokerProcess.start({
    variables: { LOVAGE_TOKEN: TOKEN },
    flags: [
      ...['--messages-max', `${MESSAGES_MAX}`],
      ...['--body-bytes-max', `${BODY_BYTES_MAX}`, '--header-bytes-max', `${HEADER_BYTES_MAX}`],
    ],
  });
  const client = await connect();
  await client.declare('q');
  await client.goodbye();
});

function connect(hello: Record<string, unknown> | null = {}): Promise<RawClient> {
  return RawClient.connect(broker.url, { hello: hello && { token: TOKEN, ...hello } });
}

/** What comes of one frame that ends the connection. */
async function fatal(bytes: Uint8Array, hello: Record<string, unknown> | null = {}): Promise<Seen> {
  const client = await connect(hello);
  client.sendBytes(bytes);
  return ending(client);
}

async function ending(client: RawClient): Promise<Seen> {
  const close = await client.untilClosed();
  return { code: client.errors.at(-1)?.code, close };
}

/** The answer to a request, after others that prepare it. */
async function request(
  op: number,
  fields: readonly unknown[],
  prepare?: (client: RawClient) => unknown,
): Promise<Seen> {
  const client = await connect();
  await prepare?.(client);
  const answer = await client.ask(op, ...fields);
  const seen = { code: 'code' in answer ? answer.code : 'REPLY', close: client.closed?.code ?? null };
  await client.goodbye();
  return seen;
}

/** The answer to one publish. */
async function publish(message: Partial<Parameters<RawClient['publish']>[0][number]>): Promise<Seen> {
  const client = await connect();
  const [answer] = await client.publish([{ queue: 'q', body: 'x', ...message }], { flags: PUBLISH_FLAGS.MEMORY });
  return { code: answer!.type === 'reject' ? answer!.code : answer!.type, close: client.closed?.code ?? null };
}

/** Why a second answer to a delivery was refused, after the first one. */
async function refused(first: (client: RawClient) => Promise<unknown>): Promise<Seen> {
  const client = await connect({ namespace: 'refused' });
  await client.declare('r');
  await client.publishTexts('r', ['x']);
  await client.consume(1, ['r']);
  await client.delivered(1);
  await first(client);
  await client.ack([client.deliveries[0]!.tag]);
  await client.request(CLIENT_OPS.QUEUE_DELETE, 'r', null);
  return { code: client.refusals[0]?.code, close: client.closed?.code ?? null };
}

async function inHarness(
  options: Parameters<typeof SessionHarness.start>[0],
  act: (harness: SessionHarness, open: Awaited<ReturnType<SessionHarness['open']>>) => unknown,
): Promise<Seen> {
  const harness = await SessionHarness.start(options);
  const connection = await harness.open();
  await act(harness, connection);
  await harness.turn();
  const { wire } = connection;
  return { code: wire.errorCode, close: wire.closedWith?.code ?? null };
}

function exchange(client: RawClient, name: string, type: string): Promise<unknown> {
  return client.request(CLIENT_OPS.EXCHANGE_DECLARE, name, { type });
}

async function tooManyConsumers(): Promise<Seen> {
  return inHarness({}, (harness, { session }) => {
    const options = { queues: ['q'], prefetch: 1, ack: 'late', queueOrder: 'strict' };
    harness.send(session, [CLIENT_OPS.QUEUE_DECLARE, 1, 'q', null]);
    for (let i = 0; i <= LIMITS.consumersMax; i++) harness.send(session, [CLIENT_OPS.CONSUME, 1, i, options]);
  });
}

const BROKER: Readonly<Record<By<'broker'>, () => Promise<Seen>>> = {
  BAD_FRAME: () => fatal(Buffer.of(0xc1)),
  TEXT_FRAME: async () => {
    const client = await connect();
    client.sendText('hello');
    return ending(client);
  },
  FRAME_TOO_LARGE: () => fatal(Buffer.alloc(LIMITS.helloBytesMax + 1), null),
  HELLO_EXPECTED: () => fatal(encodeFrame([CLIENT_OPS.GOODBYE]), null),
  HELLO_TIMEOUT: async () => {
    const harness = await SessionHarness.start();
    const { session, wire } = harness.connect();
    harness.clock.advance(LIMITS.helloTimeoutMs + 1);
    session.sweep(harness.clock.monotonicMs());
    return { code: wire.errorCode, close: wire.closedWith?.code ?? null };
  },
  HELLO_REPEATED: () => fatal(encodeFrame([CLIENT_OPS.HELLO, { version: 1 }])),
  VERSION_UNSUPPORTED: () => fatal(encodeFrame([CLIENT_OPS.HELLO, { version: 2, token: TOKEN }]), null),
  UNAUTHORIZED: () => fatal(encodeFrame([CLIENT_OPS.HELLO, { version: 1, token: 'guess' }]), null),
  HEARTBEAT_LOST: async () => ending(await connect({ heartbeatMs: LIMITS.heartbeatMsMin })),
  SLOW_CONSUMER: () =>
    inHarness({}, (harness, { session, wire }) => {
      wire.bufferedBytes = 100 * 1024 * 1024;
      session.sweep(harness.clock.monotonicMs());
    }),
  SESSION_TAKEN_OVER: async () => {
    const client = await connect();
    await connect({ resume: { session: client.welcome!.session, lastTag: 0 } });
    return ending(client);
  },
  SHUTTING_DOWN: async () => {
    const other = await BrokerProcess.start();
    const client = await RawClient.connect(other.url);
    expect(await other.stop()).toEqual({ code: 0, signal: null });
    return ending(client);
  },
  TOO_MANY_CONNECTIONS: async () => {
    const other = await BrokerProcess.start({ flags: ['--connections-max', '1'] });
    await RawClient.connect(other.url);
    return ending(await RawClient.connect(other.url, { hello: null }));
  },
  INTERNAL_ERROR: () =>
    inHarness({}, (harness, { session }) => {
      const submit = harness.broker.submit.bind(harness.broker);
      harness.broker.submit = () => {
        harness.broker.submit = submit;
        throw new TypeError('a bug');
      };
      harness.send(session, [CLIENT_OPS.QUEUE_LIST, 1, null, 1]);
    }),
  TOKEN_EXPIRED: async () => {
    const harness = await SessionHarness.start();
    await harness.makeToken({ role: 'admin' });
    const token = await harness.makeToken({ role: 'viewer', expiresAt: harness.clock.wallMs() + 1_000 });
    const { wire } = await harness.open({ token });
    await harness.pass(1_000);
    return { code: wire.errorCode, close: wire.closedWith?.code ?? null };
  },
  TOO_MANY_ATTEMPTS: async () => {
    const harness = await SessionHarness.start({ token: TOKEN });
    for (let i = 0; i < 10; i++) await harness.open({ token: `guess ${i}` });
    const { wire } = await harness.open({ token: TOKEN });
    return { code: wire.errorCode, close: wire.closedWith?.code ?? null };
  },
  UNKNOWN_OP: async () => {
    const client = await connect();
    client.send([63]);
    await client.until(() => client.errors.length > 0, 'the error');
    return { code: client.errors[0]!.code, close: client.closed?.code ?? null };
  },
  INVALID_NAME: () => request(CLIENT_OPS.QUEUE_INSPECT, ['no name']),
  INVALID_ARGUMENT: () => request(CLIENT_OPS.QUEUE_LIST, [null, 0]),
  QUEUE_NOT_FOUND: () => request(CLIENT_OPS.QUEUE_INSPECT, ['nowhere']),
  QUEUE_MISMATCH: () => request(CLIENT_OPS.QUEUE_DECLARE, ['q', { defaultPriority: 7 }]),
  QUEUE_FULL: async () => {
    const client = await connect();
    await client.declare('narrow', { messagesMax: 1 });
    const answers = await client.publish([1, 2].map((i) => ({ queue: 'narrow', body: `${i}` })));
    return { code: (answers[1] as { code?: unknown }).code, close: client.closed?.code ?? null };
  },
  QUEUE_NOT_EMPTY: () =>
    request(CLIENT_OPS.QUEUE_DELETE, ['q', { ifEmpty: true }], (client) => client.publishTexts('q', ['x'])),
  QUEUE_IN_USE: () => request(CLIENT_OPS.QUEUE_DELETE, ['q', { ifUnused: true }], (client) => client.consume(1, ['q'])),
  QUEUE_EXCLUSIVE: () =>
    request(CLIENT_OPS.CONSUME, [2, { queues: ['q'], prefetch: 1, ack: 'late', queueOrder: 'strict' }], (client) =>
      client.consume(1, ['q'], { exclusive: true }),
    ),
  QUEUE_DELETED: async () => {
    const client = await connect();
    await client.declare('gone');
    await client.consume(1, ['gone']);
    await client.request(CLIENT_OPS.QUEUE_DELETE, 'gone', null);
    return { code: client.cancelled[0]?.code, close: client.closed?.code ?? null };
  },
  CONSUMER_EXISTS: () =>
    request(CLIENT_OPS.CONSUME, [1, { queues: ['q'], prefetch: 1, ack: 'late', queueOrder: 'strict' }], (client) =>
      client.consume(1, ['q']),
    ),
  CONSUMER_NOT_FOUND: () => request(CLIENT_OPS.CANCEL, [1]),
  TOO_MANY_QUEUES: () =>
    inHarness({ engine: { queuesMax: 1 } }, (harness, { session }) => {
      for (const name of ['a', 'b']) harness.send(session, [CLIENT_OPS.QUEUE_DECLARE, 1, name, null]);
    }),
  EXCHANGE_NOT_FOUND: () => request(CLIENT_OPS.EXCHANGE_DELETE, ['nowhere', null]),
  EXCHANGE_MISMATCH: () =>
    request(CLIENT_OPS.EXCHANGE_DECLARE, ['x', { type: 'topic' }], (client) => exchange(client, 'x', 'direct')),
  EXCHANGE_IN_USE: () =>
    request(CLIENT_OPS.EXCHANGE_DELETE, ['used', { ifUnused: true }], async (client) => {
      await exchange(client, 'used', 'fanout');
      await client.request(CLIENT_OPS.BIND, { exchange: 'used', queue: 'q' });
    }),
  BINDING_CYCLE: () =>
    request(CLIENT_OPS.BIND, [{ exchange: 'tail', toExchange: 'head' }], async (client) => {
      await exchange(client, 'tail', 'fanout');
      await exchange(client, 'head', 'fanout');
      await client.request(CLIENT_OPS.BIND, { exchange: 'head', toExchange: 'tail' });
    }),
  UNROUTABLE: async () => {
    const client = await connect();
    await exchange(client, 'nothing', 'direct');
    const message = { queue: 'key', exchange: 'nothing', body: 'x' };
    const [answer] = await client.publish([message], { flags: PUBLISH_FLAGS.MANDATORY });
    return { code: answer!.type === 'reject' ? answer!.code : answer!.type, close: client.closed?.code ?? null };
  },
  TOO_MANY_EXCHANGES: () =>
    inHarness({ engine: { exchangesMax: 1 } }, (harness, { session }) => {
      for (const name of ['a', 'b']) harness.send(session, [CLIENT_OPS.EXCHANGE_DECLARE, 1, name, { type: 'direct' }]);
    }),
  TOO_MANY_BINDINGS: () =>
    inHarness({ engine: { bindingsMax: 1 } }, (harness, { session }) => {
      harness.send(session, [CLIENT_OPS.EXCHANGE_DECLARE, 1, 'x', { type: 'direct' }]);
      harness.send(session, [CLIENT_OPS.QUEUE_DECLARE, 2, 'q', null]);
      for (const key of ['a', 'b']) harness.send(session, [CLIENT_OPS.BIND, 3, { exchange: 'x', queue: 'q', key }]);
    }),
  TOO_MANY_CONSUMERS: tooManyConsumers,
  TOO_MANY_RATE_LIMITS: () =>
    inHarness({}, (harness, { session }) => {
      const rate = { count: 1, perMs: 1_000 };
      for (let i = 0; i <= LIMITS.rateLimitsMax; i++)
        harness.send(session, [CLIENT_OPS.RATE_LIMIT_DECLARE, 1, `r${i}`, rate]);
    }),
  TOO_MANY_MESSAGES: async () => {
    const client = await connect();
    const messages = Array.from({ length: MESSAGES_MAX + 1 }, () => ({ queue: 'q', body: '' }));
    const answers = await client.publish(messages);
    return { code: (answers[0] as { code?: unknown }).code, close: client.closed?.code ?? null };
  },
  TOO_MANY_PRODUCERS: async () => {
    const harness = await SessionHarness.start({ engine: { producersMax: 1 } });
    await harness.open({ producer: 'a' });
    const { wire } = await harness.open({ producer: 'b' });
    return { code: wire.errorCode, close: wire.closedWith?.code ?? null };
  },
  BODY_TOO_LARGE: () => publish({ body: Buffer.alloc(BODY_BYTES_MAX + 1) }),
  HEADERS_TOO_LARGE: () => publish({ headers: { a: 'x'.repeat(HEADER_BYTES_MAX) } }),
  DISK_FULL: async () => {
    const journal = new MemoryJournal();
    Object.defineProperty(journal, 'hasRoom', { value: () => false });
    const harness = await SessionHarness.start({ journal });
    const { session, wire } = await harness.open();
    harness.send(session, [CLIENT_OPS.QUEUE_DECLARE, 1, 'q', null]);
    harness.send(session, [CLIENT_OPS.PUBLISH, 1, 0, 0, [[0, null, 0, 0, null, null, null, Buffer.of(1)]], ['q']]);
    await harness.turn();
    return { code: wire.fieldsOf(SERVER_OPS.REJECT)[0]?.[2], close: wire.closedWith?.code ?? null };
  },
  FLOW_BLOCKED: async () => {
    const flow = { memoryBytesMax: 100, diskFreeBytesMin: 0, diskFreeBytes: () => Number.POSITIVE_INFINITY };
    const harness = await SessionHarness.start({ flow });
    const { session, wire } = await harness.open();
    harness.send(session, [CLIENT_OPS.QUEUE_DECLARE, 1, 'q', null]);
    for (const seq of [1, 2]) harness.publish(session, seq, [{ queue: 'q', body: Buffer.alloc(100) }]);
    await harness.turn();
    return { code: wire.fieldsOf(SERVER_OPS.REJECT)[0]?.[2], close: wire.closedWith?.code ?? null };
  },
  FORBIDDEN: async () => {
    const harness = await SessionHarness.start();
    await harness.makeToken({ role: 'admin' });
    const { session, wire } = await harness.open({ token: await harness.makeToken({ role: 'viewer' }) });
    harness.send(session, [CLIENT_OPS.QUEUE_DECLARE, 1, 'q', null]);
    await harness.turn();
    return { code: wire.errorCode, close: wire.closedWith?.code ?? null };
  },
  WORKER_NOT_FOUND: () => request(CLIENT_OPS.WORKER_CONTROL, ['1.1', 'ping', {}]),
  NAMESPACE_NOT_FOUND: () => request(CLIENT_OPS.NAMESPACE_DELETE, ['none']),
  MESSAGE_NOT_FOUND: () =>
    request(CLIENT_OPS.MESSAGE_DROP, ['of-messages', { ids: [1] }, 0, {}], (client) => client.declare('of-messages')),
  TOKEN_NOT_FOUND: () => request(CLIENT_OPS.TOKEN_REVOKE, ['none']),
  RATE_LIMIT_NOT_FOUND: () => request(CLIENT_OPS.RATE_LIMIT_DELETE, ['nothing']),
  QUOTA_EXCEEDED: async () => {
    const harness = await SessionHarness.start();
    await harness.makeToken({ role: 'admin' });
    const token = await harness.makeToken({ role: 'viewer', connectionsMax: 1 });
    await harness.open({ token });
    const { wire } = await harness.open({ token });
    return { code: wire.errorCode, close: wire.closedWith?.code ?? null };
  },
  UNKNOWN_TAG: () => refused((client) => client.ack([99])),
  ALREADY_SETTLED: () => refused((client) => client.ack([client.deliveries[0]!.tag])),
  SUPERSEDED: () => refused((client) => client.request(CLIENT_OPS.CANCEL, 1)),
};

const COMMAND: Readonly<Record<By<'command'>, () => Promise<Finished>>> = {
  INVALID_SETTING: () => startExpectingFailure({ flags: ['--heartbeat-ms', '1'] }),
  DATA_DIR_LOCKED: () => startExpectingFailure({ dataDir: broker.dataDir }),
  JOURNAL_MISSING: () => runCommand(['journal', 'verify', tempDirectory(), '--json']),
  JOURNAL_DAMAGED: async () => {
    const first = await BrokerProcess.start();
    const client = await RawClient.connect(first.url);
    await client.declare('q');
    await client.publishTexts('q', ['a']);
    await client.publishTexts('q', ['b']);
    await first.stop();
    damage(first.dataDir);
    return startExpectingFailure({ dataDir: first.dataDir });
  },
  ARCHIVE_DAMAGED: async () => {
    const dataDir = tempDirectory();
    writeFileSync(join(dataDir, 'archive.sqlite'), 'what is no database, and longer than the head of one: '.repeat(20));
    return await startExpectingFailure({ dataDir });
  },
  ARCHIVE_TOO_NEW: async () => {
    const dataDir = tempDirectory();
    const archive = openArchive({ directory: dataDir, onReadFailure: () => undefined });
    await archive.close();
    const database = openDatabase(join(dataDir, 'archive.sqlite'));
    database.pragma('user_version = 1000');
    database.close();
    return await startExpectingFailure({ dataDir });
  },
  ADDRESS_IN_USE: async () => {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    atEnd(() => {
      server.close();
    });
    const { port } = server.address() as { port: number };
    return await runCommand(['start', '--port', `${port}`, '--data-dir', tempDirectory(), '--json']);
  },
};

/** INVALID_SETTING is wrong usage; the others are failures. */
const EXIT_CODES: Readonly<Record<By<'command'>, number>> = {
  INVALID_SETTING: 2,
  DATA_DIR_LOCKED: 1,
  JOURNAL_MISSING: 1,
  JOURNAL_DAMAGED: 1,
  ARCHIVE_DAMAGED: 1,
  ARCHIVE_TOO_NEW: 1,
  ADDRESS_IN_USE: 1,
};

const CODES = Object.keys(ERRORS) as ErrorCode[];

describe('every error that the broker raises', () => {
  test("is provoked here, and every other is the command's or the SDK's", () => {
    const by = (who: string): string[] => CODES.filter((code) => ERRORS[code].by === who).sort();
    expect(Object.keys(BROKER).sort()).toEqual(by('broker'));
    expect(Object.keys(COMMAND).sort()).toEqual(by('command'));
    expect(by('client')).toEqual([
      'CLIENT_CLOSED',
      'CONNECTION_LOST',
      'CONNECT_FAILED',
      'DEAD_LETTERED',
      'MODULE_FAILED',
      'PUBLISH_BUFFER_FULL',
      'PUBLISH_TIMEOUT',
      'REQUEST_TIMEOUT',
      'RESULT_NOT_ENCODABLE',
      'RESULT_NOT_FOUND',
      'RESULT_TIMEOUT',
      'RESULT_TOO_LARGE',
      'REVOKED',
      'TASK_CRASHED',
      'TASK_EXISTS',
      'TASK_FAILED',
      'TIME_LIMIT_EXCEEDED',
    ]);
  });

  test.each(Object.entries(BROKER))(
    '%s is seen by the client that provokes it, with its close code',
    async (code, provoke) => {
      expect(await provoke()).toEqual({ code, close: ERRORS[code as ErrorCode].close });
    },
  );
});

describe('every error that the command raises', () => {
  test.each(Object.entries(COMMAND))('%s is told on standard error, without a stack', async (code, provoke) => {
    const { exit, stderr } = await provoke();
    expect(exit.code).toBe(EXIT_CODES[code as By<'command'>]);
    const told = JSON.parse(stderr.trim().split('\n').at(-1)!) as { error: { code: string; message: string } };
    expect(told.error.code).toBe(code);
    expect(stderr).not.toContain('    at ');
  });
});

test('close codes are those of applications, or of WebSocket itself, and each belongs to one error', () => {
  const closes = CODES.map((code) => ERRORS[code].close).filter((close) => close !== null);
  expect(new Set(closes).size).toBe(closes.length);
  for (const close of closes) expect(close === 1009 || (close >= 4_400 && close <= 4_500)).toBe(true);
});
