/** From the opening of the socket to WELCOME, and everything that can go wrong on that way (protocol/README.md, Connection). */
import { CLIENT_OPS, LIMITS, SUBPROTOCOL } from '@lovage/protocol';
import { afterEach, beforeAll, describe, expect, test } from 'vitest';
import { BrokerProcess } from '../support/broker-process.js';
import { Bystanders } from '../support/bystanders.js';
import { RawClient } from '../support/raw-client.js';

const TOKEN = 'correct-horse-battery-staple';

let broker: BrokerProcess;
let bystanders: Bystanders;

beforeAll(async () => {
  broker = await BrokerProcess.start({ flags: ['--heartbeat-ms', '30000', '--grace-ms', '7000'] });
  bystanders = await Bystanders.join(broker);
});

afterEach(() => bystanders.assertUnharmed());

/** Sends a first frame and returns the error code and the close code that come of it. */
async function firstFrame(fields: readonly unknown[], url = broker.url): Promise<{ code: unknown; close: number }> {
  const client = await RawClient.connect(url, { hello: null });
  client.send(fields);
  const close = await client.untilClosed();
  expect(client.welcome).toBeNull();
  return { code: client.errors[0]?.code, close };
}

describe('handshake', () => {
  test('is answered with WELCOME that tells session, limits and times', async () => {
    const beforeMs = Date.now();
    const client = await RawClient.connect(broker.url);
    expect(client.welcome).toEqual({
      version: 1,
      session: expect.stringMatching(/^[A-Za-z0-9_-]{22}$/),
      resumed: false,
      held: [],
      settleSeq: 0,
      serverTime: expect.any(Number),
      heartbeatMs: 30_000,
      graceMs: 7_000,
      durability: 'disk',
      limits: {
        bodyBytesMax: LIMITS.bodyBytesMax,
        headerBytesMax: LIMITS.headerBytesMax,
        frameBytesMax: LIMITS.bodyBytesMax + LIMITS.frameOverheadBytes,
      },
    });
    expect(client.welcome!.serverTime).toBeGreaterThanOrEqual(beforeMs - 1);
    expect(client.welcome!.serverTime).toBeLessThanOrEqual(Date.now() + 1);
  });

  test('gives every session a key of its own and takes the heartbeat that is asked for', async () => {
    const [one, other] = await Promise.all([
      RawClient.connect(broker.url, { hello: { heartbeatMs: 100_000 } }),
      RawClient.connect(broker.url),
    ]);
    expect(one.welcome!.session).not.toBe(other.welcome!.session);
    expect(one.welcome!.heartbeatMs).toBe(100_000);
  });

  test('passes over unknown fields and unknown keys', async () => {
    const client = await RawClient.connect(broker.url, { hello: null });
    client.send([
      CLIENT_OPS.HELLO,
      { version: 1, favouriteColour: 'green', client: { name: 'a', shoe: 42 } },
      'more',
      [1],
    ]);
    await client.until(() => client.welcome !== null, 'WELCOME');
  });

  test.each([
    ['anything but HELLO first', [CLIENT_OPS.QUEUE_LIST, 1, null, 10], 'HELLO_EXPECTED', 4402],
    ['an unknown op first', [4_000], 'HELLO_EXPECTED', 4402],
    ['an op of the broker first', [64, {}], 'HELLO_EXPECTED', 4402],
    ['a version that does not exist', [CLIENT_OPS.HELLO, { version: 2 }], 'VERSION_UNSUPPORTED', 4405],
    ['version 0', [CLIENT_OPS.HELLO, { version: 0 }], 'VERSION_UNSUPPORTED', 4405],
    ['no version', [CLIENT_OPS.HELLO, {}], 'BAD_FRAME', 4400],
    ['a version of text', [CLIENT_OPS.HELLO, { version: '1' }], 'BAD_FRAME', 4400],
    ['no map', [CLIENT_OPS.HELLO], 'BAD_FRAME', 4400],
    ['a list for a map', [CLIENT_OPS.HELLO, [1]], 'BAD_FRAME', 4400],
    ['a token that is no text', [CLIENT_OPS.HELLO, { version: 1, token: 7 }], 'BAD_FRAME', 4400],
    ['a resume that is no map', [CLIENT_OPS.HELLO, { version: 1, resume: 'me' }], 'BAD_FRAME', 4400],
    ['a frame above 16 KiB', [CLIENT_OPS.HELLO, { version: 1, token: 'x'.repeat(17_000) }], 'FRAME_TOO_LARGE', 1009],
  ])('refuses %s', async (_, fields, code, close) => {
    expect(await firstFrame(fields)).toEqual({ code, close });
  });

  test.each([
    ['a client name with a blank', { client: { name: 'my program' } }, 'INVALID_NAME'],
    ['a namespace with a line break', { namespace: 'a\nb' }, 'INVALID_NAME'],
    ['a producer of 201 characters', { producer: 'p'.repeat(201) }, 'INVALID_NAME'],
    ['a heartbeat below the lowest', { heartbeatMs: 99 }, 'INVALID_ARGUMENT'],
    ['a heartbeat above the highest', { heartbeatMs: 600_001 }, 'INVALID_ARGUMENT'],
  ])('answers %s and lets HELLO be sent again', async (_, fields, code) => {
    const client = await RawClient.connect(broker.url, { hello: null });
    client.send([CLIENT_OPS.HELLO, { version: 1, ...fields }]);
    await client.until(() => client.errors.length > 0, 'the error');
    expect(client.errors[0]!.code).toBe(code);
    client.send([CLIENT_OPS.HELLO, { version: 1 }]);
    await client.until(() => client.welcome !== null, 'WELCOME');
  });

  test('refuses a second HELLO', async () => {
    const client = await RawClient.connect(broker.url);
    client.send([CLIENT_OPS.HELLO, { version: 1 }]);
    expect(await client.untilClosed()).toBe(4404);
    expect(client.errors.map(({ code }) => code)).toEqual(['HELLO_REPEATED']);
  });

  test('refuses text frames, before HELLO and after', async () => {
    for (const hello of [null, {}]) {
      const client = await RawClient.connect(broker.url, { hello });
      client.sendText('[1,{"version":1}]');
      expect(await client.untilClosed()).toBe(4401);
      expect(client.errors.map(({ code }) => code)).toEqual(['TEXT_FRAME']);
    }
  });

  test('treats a resume of an unknown session as a new session', async () => {
    const client = await RawClient.connect(broker.url, { hello: { resume: { session: 'nobody', lastTag: 9 } } });
    expect(client.welcome).toMatchObject({ resumed: false, held: [], settleSeq: 0 });
  });

  test('closes with 1000 after GOODBYE', async () => {
    const client = await RawClient.connect(broker.url);
    expect(await client.goodbye()).toBe(1000);
    expect(client.errors).toEqual([]);
  });

  test('lets a client in that offers no subprotocol, and selects ours among several', async () => {
    const several = await RawClient.connect(broker.url, { protocols: ['amqp', SUBPROTOCOL] });
    expect(several.welcome).not.toBeNull();
  });

  test.each([
    ['a path that is not the door', '/elsewhere', {}, 404],
    ['a page of another site', '', { origin: 'http://evil.example' }, 403],
    ['an Origin that is no URL', '', { origin: 'null' }, 403],
    ['a Host that is not this machine', '', { headers: { host: 'evil.example' } }, 403],
  ])('does not upgrade %s', async (_, path, socket, status) => {
    const refused = RawClient.connect(broker.url, { path, socket, hello: null });
    await expect(refused).rejects.toThrow(`Unexpected server response: ${status}`);
  });
});

describe('handshake with a token', () => {
  let guarded: BrokerProcess;
  beforeAll(async () => {
    guarded = await BrokerProcess.start({ variables: { LOVAGE_TOKEN: TOKEN } });
  });

  test('lets the right token in', async () => {
    const client = await RawClient.connect(guarded.url, { hello: { token: TOKEN } });
    expect(client.welcome).not.toBeNull();
  });

  test.each([
    ['no token', {}],
    ['nil', { token: null }],
    ['an empty one', { token: '' }],
    ['a wrong one', { token: `${TOKEN}!` }],
    ['a prefix', { token: TOKEN.slice(0, -1) }],
    ['one in another case', { token: TOKEN.toUpperCase() }],
  ])('refuses %s', async (_, fields) => {
    const answer = await firstFrame([CLIENT_OPS.HELLO, { version: 1, ...fields }], guarded.url);
    expect(answer).toEqual({ code: 'UNAUTHORIZED', close: 4406 });
  });

  test('does not take the token from the address', async () => {
    const refused = RawClient.connect(guarded.url, { path: `/?token=${encodeURIComponent(TOKEN)}`, hello: null });
    await expect(refused).rejects.toThrow('Unexpected server response: 404');
  });

  test('never says the token, not even in the log', () => {
    expect(guarded.log).not.toContain(TOKEN);
  });
});
