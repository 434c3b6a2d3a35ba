/** Namespaces over the real wire: they keep apart what is in them, hold to their bounds, and go with everything in them; also through kill -9. */
import { CLIENT_OPS } from '@lovage/protocol';
import { expect, test } from 'vitest';
import { type Client, type ConnectOptions, connect, LovageError } from '../../client-sdk/index.js';
import { BrokerProcess } from '../support/broker-process.js';
import { atEnd } from '../support/cleanup.js';
import { RawClient } from '../support/raw-client.js';

async function open(broker: BrokerProcess, namespace = 'default', options: ConnectOptions = {}): Promise<Client> {
  const client = await connect(broker.url, { namespace, reconnect: false, ...options });
  atEnd(() => client.terminate());
  return client;
}

/** The code that a promise is rejected with, and the quota that its details name. */
async function failureOf(promise: Promise<unknown>): Promise<unknown> {
  const error = await promise.then(
    () => null,
    (reason: unknown) => reason,
  );
  if (error === null) return 'done';
  expect(error).toBeInstanceOf(LovageError);
  const { code, details } = error as LovageError;
  return details?.quota === undefined ? code : [code, details.quota];
}

test('queues of one name in two namespaces know nothing of each other', async () => {
  const broker = await BrokerProcess.start();
  const [one, two] = [await open(broker, 'one'), await open(broker, 'two')];
  for (const client of [one, two]) await client.queues.declare('q');
  await one.publish('q', 'x');
  await one.queues.pause('q');
  expect(await one.queues.list()).toMatchObject([{ namespace: 'one', ready: 1, isPaused: true }]);
  expect(await two.queues.list()).toMatchObject([{ namespace: 'two', ready: 0, isPaused: false }]);
  expect((await one.namespaces.list()).map(({ name, settings, messages }) => [name, settings, messages])).toEqual([
    ['one', null, 1],
    ['two', null, 0],
  ]);
});

test('bounds hold, name themselves, and outlive kill -9; what is taken out makes room', async () => {
  const broker = await BrokerProcess.start();
  const admin = await open(broker);
  const settings = { queuesMax: 2, messagesMax: 3, connectionsMax: 1 };
  const info = await admin.namespaces.set('team', settings);
  expect(info).toMatchObject({ name: 'team', settings: { ...settings, bytesMax: null }, queues: 0, messages: 0 });
  const before = await open(broker, 'team');
  await before.queues.declare('a');
  for (const body of ['1', '2']) await before.publish('a', body);
  await broker.kill();
  const again = await BrokerProcess.start({ dataDir: broker.dataDir });
  const [boss, team] = [await open(again), await open(again, 'team')];
  expect(await boss.namespaces.list()).toMatchObject([{ name: 'team', settings, queues: 1, messages: 2 }]);
  expect(await failureOf(open(again, 'team'))).toEqual(['QUOTA_EXCEEDED', 'connectionsMax']);
  await team.queues.declare('b');
  expect(await failureOf(team.queues.declare('c'))).toEqual(['QUOTA_EXCEEDED', 'queuesMax']);
  await team.queues.declare('b');
  await team.publish('b', '3');
  expect(await failureOf(team.publish('b', '4'))).toEqual(['QUOTA_EXCEEDED', 'messagesMax']);
  await boss.queues.declare('elsewhere');
  expect(await failureOf(boss.publish('elsewhere', 'x'))).toBe('done');
  await team.queues.purge('a');
  await team.close();
  const careless = await open(again, 'team', { autoDeclare: true });
  expect(await failureOf(careless.publish('c', '4'))).toEqual(['QUOTA_EXCEEDED', 'queuesMax']);
  expect(await failureOf(careless.publish('b', '4'))).toBe('done');
  // Bounds are given anew as a whole.
  await boss.namespaces.set('team', { bytesMax: 1_000 });
  for (const name of ['c', 'd']) await careless.queues.declare(name);
  expect(await failureOf(careless.publish('c', 'x'.repeat(2_000)))).toEqual(['QUOTA_EXCEEDED', 'bytesMax']);
  expect(await failureOf(careless.publish('c', 'x'.repeat(100)))).toBe('done');
});

test('defaults of a namespace are those of queues that say nothing else', async () => {
  const broker = await BrokerProcess.start();
  const team = await open(broker, 'team', { autoDeclare: true });
  await team.namespaces.set('team', {
    queueDefaults: { attemptsMax: 3, deadLetterQueue: 'dead', messageTtlMs: 60_000 },
  });
  await team.queues.declare('plain');
  await team.queues.declare('own', { attemptsMax: 5 });
  await team.publish('auto', 'x');
  await team.queues.declare('dead');
  await broker.kill();
  const again = await BrokerProcess.start({ dataDir: broker.dataDir });
  const client = await open(again, 'team');
  await client.queues.declare('later');
  const listed = await client.queues.list();
  expect(listed.map(({ name, settings }) => [name, settings.attemptsMax, settings.deadLetterQueue])).toEqual([
    ['auto', 3, 'dead'],
    ['dead', 3, null],
    ['later', 3, 'dead'],
    ['own', 5, 'dead'],
    ['plain', 3, 'dead'],
  ]);
  await (await open(again)).queues.declare('elsewhere');
  expect(await again.queue('elsewhere')).toMatchObject({ settings: { attemptsMax: 20, deadLetterQueue: null } });
});

test('a namespace goes with its queues, its bounds and its tokens, and does not come back', async () => {
  const broker = await BrokerProcess.start();
  const first = await open(broker);
  const { secret: token } = await first.tokens.create({ name: 'root', role: 'admin' });
  const admin = await open(broker, 'default', { token });
  await admin.namespaces.set('team', { queuesMax: 5 });
  const made = await admin.tokens.create({ name: 'worker', role: 'operator', namespace: 'team' });
  const worker = await open(broker, 'team', { token: made.secret });
  for (const name of ['a', 'b']) await worker.queues.declare(name);
  await worker.publishMany(
    'a',
    Array.from({ length: 10 }, () => ({ body: 'x' })),
  );
  const inside = await open(broker, 'team', { token });
  let cancelled: unknown = null;
  const consumer = await inside.consume('a', () => new Promise(() => undefined), { prefetch: 4 });
  void consumer.ended.then((error) => {
    cancelled = error?.code;
  });
  await admin.queues.declare('a');
  expect(await admin.namespaces.delete('team')).toEqual({ queues: 2, messages: 10 });
  for await (const { state, reason } of worker.status)
    if (state === 'closed') expect(reason?.code).toBe('UNAUTHORIZED');
  expect(await consumer.ended.then((error) => error?.code)).toBe('QUEUE_DELETED');
  expect(cancelled).toBe('QUEUE_DELETED');
  expect(await failureOf(admin.namespaces.delete('team'))).toBe('NAMESPACE_NOT_FOUND');
  await broker.kill();
  const again = await BrokerProcess.start({ dataDir: broker.dataDir });
  const boss = await open(again, 'default', { token });
  expect((await boss.namespaces.list()).map(({ name }) => name)).toEqual(['default']);
  expect((await boss.tokens.list()).map(({ name }) => name)).toEqual(['root']);
  expect(await failureOf(open(again, 'team', { token: made.secret }))).toBe('UNAUTHORIZED');
  const inTeam = await open(again, 'team', { token });
  await inTeam.queues.declare('a');
  expect(await inTeam.queues.inspect('a')).toMatchObject({ ready: 0, delayed: 0 });
});

test('admins of one namespace see it, and set and delete none; others may not look', async () => {
  const broker = await BrokerProcess.start();
  const first = await open(broker);
  const { secret: token } = await first.tokens.create({ name: 'root', role: 'admin' });
  const admin = await open(broker, 'default', { token });
  for (const name of ['one', 'two']) await admin.namespaces.set(name, {});
  const one = await admin.tokens.create({ name: 'one', role: 'admin', namespace: 'one' });
  const client = await open(broker, 'one', { token: one.secret });
  expect((await client.namespaces.list()).map(({ name }) => name)).toEqual(['one']);
  expect(await failureOf(client.namespaces.set('one', {}))).toBe('FORBIDDEN');
  expect(await failureOf(client.namespaces.delete('two'))).toBe('FORBIDDEN');
  const viewer = await open(broker, 'default', {
    token: (await admin.tokens.create({ name: 'v', role: 'viewer' })).secret,
  });
  expect(await failureOf(viewer.namespaces.list())).toBe('FORBIDDEN');
});

test('bad settings of a namespace are refused with the field, and nothing is set', async () => {
  const broker = await BrokerProcess.start();
  const raw = await RawClient.connect(broker.url);
  const bad: readonly (readonly [string, Record<string, unknown>])[] = [
    ['queuesMax', { queuesMax: 0 }],
    ['messagesMax', { messagesMax: 1.5 }],
    ['bytesMax', { bytesMax: '1' }],
    ['colour', { colour: 1 }],
    ['attemptsMax', { queueDefaults: { attemptsMax: -1 } }],
    ['overflow', { queueDefaults: { overflow: 'dead-letter-head' } }],
  ];
  for (const [field, settings] of bad) {
    const answer = await raw.ask(CLIENT_OPS.NAMESPACE_SET, 'team', settings);
    expect([settings, 'details' in answer ? answer.details : answer]).toMatchObject([settings, { field }]);
  }
  expect(await raw.request(CLIENT_OPS.NAMESPACE_LIST, null, 10)).toEqual({ namespaces: [], next: null });
});

test('namespaces are set, listed and deleted over HTTP', async () => {
  const broker = await BrokerProcess.start();
  const ask = async (method: string, path: string, body?: unknown): Promise<unknown> => {
    const answer = await fetch(`${broker.url.replace('ws:', 'http:')}/api/v1/namespaces${path}`, {
      method,
      ...(body !== undefined && { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }),
    });
    return await answer.json();
  };
  expect(await ask('PUT', '/team', { messagesMax: 9 })).toMatchObject({ name: 'team', settings: { messagesMax: 9 } });
  expect(await ask('PUT', '/team', { messagesMax: 0 })).toMatchObject({ error: { details: { field: 'messagesMax' } } });
  expect(await ask('GET', '')).toMatchObject({ namespaces: [{ name: 'team', queues: 0 }], next: null });
  expect(await ask('DELETE', '/team')).toEqual({ queues: 0, messages: 0 });
  expect(await ask('DELETE', '/team')).toMatchObject({ error: { code: 'NAMESPACE_NOT_FOUND' } });
});
