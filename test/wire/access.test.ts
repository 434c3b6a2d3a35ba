/** Tokens over the real wire: who may do what, at once and after a restart. Each test has a broker of its own. */
import { CLIENT_OPS, type TokenOptions } from '@lovage/protocol';
import { describe, expect, test } from 'vitest';
import { type Client, connect, LovageError } from '../../client-sdk/index.js';
import { BrokerProcess, startExpectingFailure } from '../support/broker-process.js';
import { atEnd } from '../support/cleanup.js';
import { RawClient } from '../support/raw-client.js';
import { tempDirectory } from '../support/temp-directory.js';

async function open(broker: BrokerProcess, token: string | null = null, namespace = 'default'): Promise<Client> {
  const client = await connect(broker.url, { token, namespace, reconnect: false });
  atEnd(() => client.terminate());
  return client;
}

/** The code that a promise is rejected with. */
async function codeOf(promise: Promise<unknown>): Promise<string> {
  const error = await promise.then(
    () => null,
    (reason: unknown) => reason,
  );
  if (error === null) return 'done';
  expect(error).toBeInstanceOf(LovageError);
  return (error as LovageError).code;
}

async function codeOfEnd(client: Client): Promise<string | undefined> {
  for await (const { state, reason } of client.status) if (state === 'closed') return reason?.code;
  return undefined;
}

/** A broker whose access is closed: the admin's client and secret. */
async function closedBroker(
  dataDir = tempDirectory(),
): Promise<{ broker: BrokerProcess; admin: Client; root: string }> {
  const broker = await BrokerProcess.start({ dataDir });
  const first = await open(broker);
  const { secret } = await first.tokens.create({ name: 'root', role: 'admin' });
  await first.close();
  return { broker, admin: await open(broker, secret), root: secret };
}

async function make(admin: Client, options: Partial<TokenOptions> & Pick<TokenOptions, 'role'>): Promise<string> {
  return (await admin.tokens.create({ name: options.role, ...options })).secret;
}

test('open access ends with the first token, for those who are there, too', async () => {
  const broker = await BrokerProcess.start();
  const [first, other] = [await open(broker), await open(broker)];
  expect(await codeOf(first.tokens.create({ name: 'a', role: 'viewer' }))).toBe('INVALID_ARGUMENT');
  expect(await codeOf(first.tokens.create({ name: 'a', role: 'admin', namespace: 'x' }))).toBe('INVALID_ARGUMENT');
  await other.queues.declare('still-open');
  const { secret, token } = await first.tokens.create({ name: 'root', role: 'admin' });
  expect(secret).toMatch(/^lvg_[\w-]{43}$/);
  expect(await codeOfEnd(other)).toBe('UNAUTHORIZED');
  expect(await first.tokens.list()).toEqual([token]);
  expect(await codeOf(open(broker))).toBe('UNAUTHORIZED');
  expect(await codeOf(open(broker, 'guess'))).toBe('UNAUTHORIZED');
  expect((await (await open(broker, secret)).queues.list()).map(({ name }) => name)).toEqual(['still-open']);
});

test('tokens and their rights outlive kill -9, and so does a revocation', async () => {
  const { broker, admin, root } = await closedBroker();
  const producer = await make(admin, { role: 'producer', write: ['orders.*'], configure: ['orders.*'] });
  const gone = await make(admin, { role: 'operator' });
  const operator = (await admin.tokens.list()).find(({ role }) => role === 'operator')!;
  await admin.tokens.revoke(operator.id);
  const before = await admin.tokens.list();
  await broker.kill();
  const again = await BrokerProcess.start({ dataDir: broker.dataDir });
  expect(await codeOf(open(again))).toBe('UNAUTHORIZED');
  expect(await codeOf(open(again, gone))).toBe('UNAUTHORIZED');
  expect(await (await open(again, root)).tokens.list()).toEqual(before);
  const client = await open(again, producer);
  await client.queues.declare('orders.eu');
  await client.publish('orders.eu', 'x');
  expect(await codeOf(client.publish('mail', 'x'))).toBe('FORBIDDEN');
});

describe('rights', () => {
  test('of each role are those of the table', async () => {
    const { broker, admin } = await closedBroker();
    await admin.queues.declare('q');
    const acts: Record<string, (client: Client) => Promise<unknown>> = {
      tokens: (client) => client.tokens.list(),
      configure: (client) => client.queues.pause('q').then(() => client.queues.resume('q')),
      take: (client) => client.queues.declare('q'),
      write: (client) => client.publish('q', 'x'),
      read: async (client) => (await client.consume('q', () => undefined)).cancel(),
      view: (client) => client.queues.inspect('q'),
    };
    const table: Record<string, Record<string, string>> = {};
    for (const role of ['admin', 'operator', 'producer', 'consumer', 'viewer'] as const) {
      const client = await open(broker, await make(admin, { role }));
      table[role] = {};
      for (const [act, run] of Object.entries(acts)) table[role][act] = await codeOf(run(client));
    }
    const [ok, no] = ['done', 'FORBIDDEN'];
    expect(table).toEqual({
      admin: { tokens: ok, configure: ok, take: ok, write: ok, read: ok, view: ok },
      operator: { tokens: no, configure: ok, take: ok, write: ok, read: ok, view: ok },
      producer: { tokens: no, configure: no, take: ok, write: ok, read: no, view: ok },
      consumer: { tokens: no, configure: no, take: ok, write: no, read: ok, view: ok },
      viewer: { tokens: no, configure: no, take: ok, write: no, read: no, view: ok },
    });
  });

  test('that are missing for one queue of a frame leave the others of it alone', async () => {
    const { broker, admin } = await closedBroker();
    for (const name of ['a.1', 'b.1']) await admin.queues.declare(name);
    const token = await make(admin, { role: 'producer', write: ['a.*'] });
    const client = await open(broker, token);
    const codes = await Promise.all(
      ['a.1', 'b.1', 'a.1', 'nowhere'].map((queue) => codeOf(client.publish(queue, 'x'))),
    );
    expect(codes).toEqual(['done', 'FORBIDDEN', 'done', 'FORBIDDEN']);
    const raw = await RawClient.connect(broker.url, { hello: { token } });
    const answers = await raw.publish([
      { queue: 'b.1', body: 'x' },
      { queue: 'a.1', body: 'x' },
      { queue: 'a.2', body: 'x' },
    ]);
    expect(answers.map((answer) => ('code' in answer ? answer.code : answer.type))).toEqual([
      'FORBIDDEN',
      'confirm',
      'QUEUE_NOT_FOUND',
    ]);
    expect((await admin.queues.inspect('a.1')).ready).toBe(3);
    expect((await admin.queues.inspect('b.1')).ready).toBe(0);
  });

  test('to make queues are needed to have one declared by a publish', async () => {
    const { broker, admin } = await closedBroker();
    const token = await make(admin, { role: 'producer', configure: ['mine.*'] });
    const client = await connect(broker.url, { token, autoDeclare: true });
    atEnd(() => client.terminate());
    expect(await codeOf(client.publish('mine.a', 'x'))).toBe('done');
    expect(await codeOf(client.publish('other', 'x'))).toBe('FORBIDDEN');
    expect((await admin.queues.list()).map(({ name }) => name)).toEqual(['mine.a']);
  });

  test('to publish are needed to have dead letters sent to a queue', async () => {
    const { broker, admin } = await closedBroker();
    const token = await make(admin, { role: 'operator', configure: ['mine.*'], write: ['mine.*'], read: ['mine.*'] });
    const client = await open(broker, token);
    expect(await codeOf(client.queues.declare('mine.a', { deadLetterQueue: 'theirs' }))).toBe('FORBIDDEN');
    expect(await codeOf(client.queues.declare('mine.a', { deadLetterQueue: 'mine.dead' }))).toBe('done');
    expect((await admin.queues.list()).map(({ name }) => name)).toEqual(['mine.a']);
  });

  test('to an exchange are asked for the exchange, and to lead it somewhere for that, too', async () => {
    const { broker, admin } = await closedBroker();
    for (const queue of ['mine.q', 'theirs.q']) await admin.queues.declare(queue);
    for (const exchange of ['mine.x', 'theirs.x']) {
      await admin.exchanges.declare(exchange, { type: 'fanout' });
      await admin.exchanges.bind({ exchange, queue: 'theirs.q' });
    }
    const mine = ['mine.*'];
    const token = await make(admin, { role: 'operator', configure: ['*'], write: mine, read: mine });
    const client = await open(broker, token);
    expect(await codeOf(client.publish({ exchange: 'mine.x', key: 'theirs' }, 'x'))).toBe('done');
    expect(await codeOf(client.publish({ exchange: 'theirs.x', key: 'mine.q' }, 'x'))).toBe('FORBIDDEN');
    expect(await codeOf(client.publish({ exchange: '', key: 'mine.q' }, 'x'))).toBe('done');
    expect(await codeOf(client.publish({ exchange: '', key: 'theirs.q' }, 'x'))).toBe('FORBIDDEN');
    expect(await codeOf(client.exchanges.bind({ exchange: 'mine.x', queue: 'theirs.q' }))).toBe('FORBIDDEN');
    expect(await codeOf(client.exchanges.bind({ exchange: 'theirs.x', queue: 'mine.q' }))).toBe('done');
    const alternate = 'theirs.x';
    expect(await codeOf(client.exchanges.declare('mine.y', { type: 'direct', alternate }))).toBe('FORBIDDEN');
    expect((await admin.queues.inspect('theirs.q')).ready).toBe(1);
    expect((await admin.queues.inspect('mine.q')).ready).toBe(1);
  });

  test('of a namespace end at its border', async () => {
    const { broker, admin } = await closedBroker();
    const token = await make(admin, { role: 'admin', namespace: 'team', name: 'team-admin' });
    expect(await codeOf(open(broker, token))).toBe('FORBIDDEN');
    const team = await open(broker, token, 'team');
    expect(await codeOf(team.tokens.create({ name: 'a', role: 'viewer' }))).toBe('FORBIDDEN');
    await make(team, { role: 'viewer', namespace: 'team' });
    expect((await team.tokens.list()).map(({ name }) => name).sort()).toEqual(['team-admin', 'viewer']);
    const { id } = (await admin.tokens.list()).find(({ name }) => name === 'root')!;
    expect(await codeOf(team.tokens.revoke(id))).toBe('TOKEN_NOT_FOUND');
    expect(await codeOf(admin.tokens.revoke(id))).toBe('INVALID_ARGUMENT');
  });
});

describe('a token that ends', () => {
  test('by revocation closes its sessions at once, and their deliveries return without a grace', async () => {
    const { broker, admin } = await closedBroker();
    await admin.queues.declare('q');
    await admin.publish('q', 'x');
    const made = await admin.tokens.create({ name: 'worker', role: 'consumer' });
    const worker = await open(broker, made.secret);
    let started: () => void = () => undefined;
    const isStarted = new Promise<void>((resolve) => {
      started = resolve;
    });
    await worker.consume('q', () => new Promise(() => started()));
    await isStarted;
    const ended = codeOfEnd(worker);
    await admin.tokens.revoke(made.token.id);
    expect(await ended).toBe('UNAUTHORIZED');
    expect(await admin.queues.inspect('q')).toMatchObject({
      ready: 1,
      delayed: 0,
      started: 0,
      leased: 0,
      consumers: 0,
    });
    expect(await codeOf(open(broker, made.secret))).toBe('UNAUTHORIZED');
  });

  test('by its time closes its sessions with TOKEN_EXPIRED, and opens none', async () => {
    const { broker, admin } = await closedBroker();
    const secret = await make(admin, { role: 'viewer', expiresAt: Date.now() + 700 });
    expect(await codeOfEnd(await open(broker, secret))).toBe('TOKEN_EXPIRED');
    expect(await codeOf(open(broker, secret))).toBe('TOKEN_EXPIRED');
    expect((await admin.tokens.list()).length).toBe(2);
  });
});

test('quotas of a token bound its connections and the rate of its publishes', async () => {
  const { broker, admin } = await closedBroker();
  await admin.queues.declare('q');
  const token = await make(admin, { role: 'producer', connectionsMax: 1, publishRateMax: 10 });
  const client = await open(broker, token);
  expect(await codeOf(open(broker, token))).toBe('QUOTA_EXCEEDED');
  await client.publishMany(
    'q',
    Array.from({ length: 100 }, () => ({ body: 'x' })),
  );
  expect(await codeOf(client.publish('q', 'x'))).toBe('QUOTA_EXCEEDED');
  await client.close();
  expect(await codeOf(open(broker, token))).toBe('done');
});

test('wrong tokens shut their address out, on the socket and over HTTP together', async () => {
  const { broker, admin, root } = await closedBroker();
  const over = async (token: string): Promise<number> => {
    const url = `${broker.url.replace('ws:', 'http:')}/api/v1/overview`;
    return (await fetch(url, { headers: { authorization: `Bearer ${token}` } })).status;
  };
  for (let i = 0; i < 5; i++) expect(await codeOf(open(broker, `guess ${i}`))).toBe('UNAUTHORIZED');
  for (let i = 0; i < 5; i++) expect(await over(`guess${i}`)).toBe(401);
  expect(await codeOf(open(broker, 'guess'))).toBe('TOO_MANY_ATTEMPTS');
  expect(await over('guess')).toBe(429);
  expect(await codeOf(open(broker))).toBe('TOO_MANY_ATTEMPTS');
  // Whoever is in stays in, and a token that nobody can guess is let in: others may be behind the same proxy.
  expect(await codeOf(admin.queues.list())).toBe('done');
  expect(await codeOf(open(broker, root))).toBe('done');
  expect(await over(root)).toBe(200);
});

test('tokens are made, listed and revoked over HTTP, by an admin and by no page of another site', async () => {
  const { broker, admin, root } = await closedBroker();
  const url = `${broker.url.replace('ws:', 'http:')}/api/v1/tokens`;
  const ask = async (
    method: string,
    path: string,
    token: string,
    body?: unknown,
    more: Record<string, string> = {},
  ) => {
    const headers = {
      authorization: `Bearer ${token}`,
      ...(body !== undefined && { 'content-type': 'application/json' }),
    };
    const answer = await fetch(url + path, {
      method,
      headers: { ...headers, ...more },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
    return { status: answer.status, body: (await answer.json()) as Record<string, never> };
  };
  const made = await ask('POST', '', root, { name: 'v', role: 'viewer', namespace: 'team' });
  expect(made).toMatchObject({ status: 201, body: { token: { name: 'v' }, secret: expect.stringMatching(/^lvg_/) } });
  const { secret, token } = made.body as unknown as { secret: string; token: { id: string } };
  expect((await ask('GET', '', root)).body).toEqual({ tokens: await admin.tokens.list(), next: null });
  expect((await ask('GET', '', secret)).body).toMatchObject({ error: { code: 'FORBIDDEN' } });
  expect((await ask('POST', '', root, { name: 'v', role: 'king' })).body).toMatchObject({
    error: { code: 'INVALID_ARGUMENT', details: { field: 'role' } },
  });
  const origin = { origin: 'https://elsewhere.example' };
  expect((await ask('POST', '', root, { name: 'v', role: 'viewer' }, origin)).status).toBe(403);
  for (const path of ['/../overview', '/../../../metrics', '/../queues?namespace=default', '/../queues/default/q'])
    expect((await ask('GET', path, secret)).body).toMatchObject({ error: { code: 'FORBIDDEN' } });
  expect((await ask('GET', '/../queues', secret)).body).toEqual({ queues: [], next: null });
  const viewer = await open(broker, secret, 'team');
  expect((await ask('DELETE', `/${token.id}`, root)).body).toEqual({ id: token.id });
  expect(await codeOfEnd(viewer)).toBe('UNAUTHORIZED');
  expect((await ask('DELETE', `/${token.id}`, root)).status).toBe(404);
});

test('bad options of a token are refused with the field, and nothing is made', async () => {
  const { broker, admin, root } = await closedBroker();
  const raw = await RawClient.connect(broker.url, { hello: { token: root } });
  const bad: readonly (readonly [string, Record<string, unknown>])[] = [
    ['role', { name: 'a', role: 'king' }],
    ['name', { name: 'no name', role: 'viewer' }],
    ['colour', { name: 'a', role: 'viewer', colour: 'red' }],
    ['write', { name: 'a', role: 'viewer', write: ['*'] }],
    ['read', { name: 'a', role: 'producer', read: ['*'] }],
    ['write', { name: 'a', role: 'producer', write: ['a b'] }],
    ['write', { name: 'a', role: 'producer', write: 'a' }],
    ['read', { name: 'a', role: 'admin', read: ['a'] }],
    ['configure', { name: 'a', role: 'operator', configure: Array.from({ length: 33 }, () => 'a') }],
    ['expiresAt', { name: 'a', role: 'viewer', expiresAt: 1 }],
    ['connectionsMax', { name: 'a', role: 'viewer', connectionsMax: 0 }],
    ['publishRateMax', { name: 'a', role: 'viewer', publishRateMax: 1.5 }],
  ];
  for (const [field, options] of bad) {
    const answer = await raw.ask(CLIENT_OPS.TOKEN_CREATE, options);
    expect([options, 'details' in answer ? answer.details : answer]).toMatchObject([options, { field }]);
  }
  expect(await admin.tokens.list()).toHaveLength(1);
});

test('a broker beyond loopback starts with stored tokens, and not without any', async () => {
  const flags = ['--host', '0.0.0.0'];
  const refused = await startExpectingFailure({ flags });
  expect([refused.exit.code, refused.stderr]).toEqual([2, expect.stringContaining('without a token')]);
  const { broker, root } = await closedBroker();
  await broker.stop();
  const again = await BrokerProcess.start({ dataDir: broker.dataDir, flags });
  const url = again.url.replace('0.0.0.0', '127.0.0.1');
  const client = await connect(url, { token: root });
  expect(await client.queues.list()).toEqual([]);
  await client.close();
  expect(await codeOf(connect(url))).toBe('UNAUTHORIZED');
});

test('every administrative act is one line of the log, with who, from where and what became of it, and without any token', async () => {
  const { broker, admin, root } = await closedBroker();
  const secret = await make(admin, { role: 'consumer', name: 'worker' });
  const worker = await open(broker, secret);
  await admin.queues.declare('q');
  await admin.queues.declare('q');
  expect(await codeOf(worker.queues.delete('q'))).toBe('FORBIDDEN');
  expect(await codeOf(admin.queues.purge('nowhere'))).toBe('QUEUE_NOT_FOUND');
  await admin.publish('q', 'x');
  const url = `${broker.url.replace('ws:', 'http:')}/api/v1/tokens`;
  const { id } = (await admin.tokens.list()).find(({ name }) => name === 'worker')!;
  await fetch(`${url}/${id}`, { method: 'DELETE', headers: { authorization: `Bearer ${root}` } });
  await broker.stop();
  const lines = broker.log
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { audit?: Record<string, unknown> })
    .flatMap(({ audit }) => (audit === undefined ? [] : [audit]));
  expect(lines.map(({ act, target, who, outcome }) => [act, target, who, outcome])).toEqual([
    ['TOKEN_CREATE', 'root', '(no token)', 'done'],
    ['TOKEN_CREATE', 'worker', 'root', 'done'],
    ['QUEUE_DECLARE', 'q', 'root', 'done'],
    ['QUEUE_DELETE', 'q', 'worker', 'FORBIDDEN'],
    ['QUEUE_PURGE', 'nowhere', 'root', 'QUEUE_NOT_FOUND'],
    ['TOKEN_REVOKE', id, 'root', 'done'],
  ]);
  for (const line of lines) expect(line).toMatchObject({ namespace: 'default', address: '127.0.0.1' });
  expect(lines[3]!.token).toBe(id);
  expect(broker.log).not.toContain('lvg_');
  for (const hidden of [root, secret]) expect(broker.log).not.toContain(hidden);
});

test('queues are made, changed, emptied and deleted over HTTP, by the rights of the token', async () => {
  const { broker, admin, root } = await closedBroker();
  const token = await make(admin, { role: 'operator', configure: ['mine.*'], write: ['mine.*'], namespace: 'team' });
  const ask = async (method: string, path: string, body?: unknown, secret = token): Promise<unknown[]> => {
    const answer = await fetch(`${broker.url.replace('ws:', 'http:')}/api/v1/queues/${path}`, {
      method,
      headers: {
        authorization: `Bearer ${secret}`,
        ...(body !== undefined && { 'content-type': 'application/json' }),
      },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
    return [answer.status, await answer.json()];
  };
  expect(await ask('PUT', 'team/mine.a')).toMatchObject([201, { created: true }]);
  expect(await ask('PUT', 'team/mine.a', {})).toMatchObject([200, { created: false }]);
  expect(await ask('PUT', 'team/mine.a', { settings: { attemptsMax: 3 } })).toMatchObject([
    409,
    { error: { code: 'QUEUE_MISMATCH' } },
  ]);
  const merge = { settings: { attemptsMax: 3 }, mode: 'merge' };
  expect(await ask('PUT', 'team/mine.a', merge)).toMatchObject([200, { settings: { attemptsMax: 3 }, version: 2 }]);
  const client = await open(broker, token, 'team');
  await client.publish('mine.a', 'x');
  expect(await ask('DELETE', 'team/mine.a?ifEmpty=true')).toMatchObject([409, { error: { code: 'QUEUE_NOT_EMPTY' } }]);
  expect(await ask('POST', 'team/mine.a/pause')).toEqual([200, { isPaused: true }]);
  expect(await ask('POST', 'team/mine.a/purge')).toEqual([200, { purged: 1 }]);
  expect(await ask('POST', 'team/mine.a/resume')).toEqual([200, { isPaused: false }]);
  for (const [method, path, body, details] of [
    ['PUT', 'team/theirs', {}, { right: 'configure', name: 'theirs' }],
    ['PUT', 'team/mine.b', { settings: { deadLetterQueue: 'theirs' } }, { right: 'write', name: 'theirs' }],
    ['DELETE', 'default/mine.a', undefined, { namespace: 'default' }],
  ] as const)
    expect(await ask(method, path, body)).toMatchObject([403, { error: { code: 'FORBIDDEN', details } }]);
  for (const [path, body, field] of [
    ['team/mine.b', { colour: 1 }, 'colour'],
    ['team/mine.b', { settings: { attemptsMax: -1 } }, 'attemptsMax'],
    ['team/mine.b', { settings: 7 }, 'settings'],
    ['team/mine.b', { mode: 'maybe' }, 'mode'],
  ] as const)
    expect(await ask('PUT', path, body)).toMatchObject([
      400,
      { error: { code: 'INVALID_ARGUMENT', details: { field } } },
    ]);
  expect(await ask('DELETE', 'team/mine.a?ifEmpty=perhaps')).toMatchObject([
    400,
    { error: { details: { field: 'ifEmpty' } } },
  ]);
  expect(await ask('DELETE', 'team/mine.a', undefined, root)).toEqual([200, { messages: 0 }]);
  expect(await ask('DELETE', 'team/mine.a', undefined, root)).toMatchObject([
    404,
    { error: { code: 'QUEUE_NOT_FOUND' } },
  ]);
});

test('results are for those who may read them, and told to nobody else', async () => {
  const { broker, admin } = await closedBroker();
  await admin.queues.declare('q');
  await admin.consume('q', (delivery) => delivery.complete('secret'));
  const { id } = await admin.publish('q', 'x');
  expect(Buffer.from((await admin.results.wait(id)).body).toString()).toBe('secret');
  const blind = await open(broker, await make(admin, { role: 'consumer', name: 'blind', read: ['q'] }));
  expect(await codeOf(blind.results.wait(id, { timeoutMs: 20_000 }))).toBe('FORBIDDEN');
  const reader = await open(broker, await make(admin, { role: 'consumer', name: 'reader', read: ['lovage.results'] }));
  expect(await codeOf(reader.results.wait(id))).toBe('done');
});

test('revoking needs the right to configure the queue that a message is in, also when only its id is said', async () => {
  const { broker, admin } = await closedBroker();
  for (const queue of ['mine', 'theirs']) await admin.queues.declare(queue);
  const [mine, theirs] = [await admin.publish('mine', 'x'), await admin.publish('theirs', 'x')];
  const token = { role: 'producer', name: 'cleaner', configure: ['mine'] } as const;
  const cleaner = await open(broker, await make(admin, token));
  expect(await codeOf(cleaner.messages.revoke('theirs', {}))).toBe('FORBIDDEN');
  expect(await codeOf(cleaner.messages.revoke(null, { ids: [mine.id, theirs.id] }))).toBe('FORBIDDEN');
  expect(await admin.queues.inspect('mine')).toMatchObject({ ready: 1 });
  expect(await cleaner.messages.revoke(null, { ids: [mine.id, 999_999] })).toMatchObject({ changed: 1 });
  expect(await codeOf(cleaner.messages.revoke(null, { ids: [999_999] }))).toBe('MESSAGE_NOT_FOUND');
  expect(await admin.queues.inspect('theirs')).toMatchObject({ ready: 1 });
  expect(broker.log).toMatch(/"act":"MESSAGE_REVOKE".*"outcome":"FORBIDDEN"/);
});
