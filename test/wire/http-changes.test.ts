/** What the HTTP API changes: messages and exchanges, by the rights of a token, on a real broker. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Client, connect } from '../../client-sdk/index.js';
import { TaskApp } from '../../client-sdk/tasks/index.js';
import { BrokerProcess } from '../support/broker-process.js';
import { atEnd } from '../support/cleanup.js';

let broker: BrokerProcess;
let admin: Client;
let token: string;

beforeAll(async () => {
  broker = await BrokerProcess.start();
  const first = await connect(broker.url);
  ({ secret: token } = await first.tokens.create({ name: 'all', role: 'admin' }));
  await first.close();
  admin = await connect(broker.url, { token });
});

afterAll(() => admin.terminate());

async function ask(method: string, path: string, body?: unknown, as = token): Promise<[number, unknown]> {
  const answer = await fetch(`${broker.url.replace('ws:', 'http:')}/api/v1/${path}`, {
    method,
    headers: { authorization: `Bearer ${as}`, ...(body !== undefined && { 'content-type': 'application/json' }) },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  });
  return [answer.status, await answer.json()];
}

async function publish(queue: string, bodies: readonly string[]): Promise<number[]> {
  await admin.queues.declare(queue);
  const receipts = await admin.publishMany(
    queue,
    bodies.map((body) => ({ body })),
  );
  return receipts.map(({ id }) => id);
}

describe('messages', () => {
  test('are revoked, with a result that says so', async () => {
    const [first, second] = await publish('revoked', ['a', 'b']);
    const revoke = 'queues/default/revoked/messages/revoke';
    expect(await ask('POST', revoke, { ids: [first], dryRun: true })).toMatchObject([200, { changed: 1 }]);
    expect(await ask('POST', revoke, { ids: [first], terminate: true })).toMatchObject([200, { changed: 1 }]);
    expect(await ask('POST', revoke, { headers: { kind: 'none' } })).toMatchObject([200, { matched: 0 }]);
    expect(await ask('POST', revoke, { ids: [first] })).toMatchObject([404, { error: { code: 'MESSAGE_NOT_FOUND' } }]);
    expect((await admin.queues.inspect('revoked')).ready).toBe(1);
    const app = new TaskApp({ url: broker.url, token });
    atEnd(() => app.close());
    expect(await app.handle(first!).state()).toMatchObject({ state: 'revoked' });
    expect(await app.handle(second!).state()).toMatchObject({ state: 'queued' });
  });

  test('are listed, shown, reordered, moved and dropped', async () => {
    const [first, second, third] = await publish('q', ['a', 'b', 'c']);
    await admin.queues.declare('r');
    const messages = 'queues/default/q/messages';
    expect(await ask('GET', `${messages}?limit=2`)).toMatchObject([
      200,
      { messages: [{ id: first }, { id: second }], next: second },
    ]);
    expect(await ask('GET', `${messages}?contents=true&idMin=${third}`)).toMatchObject([
      200,
      { messages: [{ id: third, body: Buffer.from('c').toString('base64'), bodyBytes: 1 }] },
    ]);
    expect(await ask('POST', `${messages}/priority`, { ids: [third], priority: 5 })).toMatchObject([
      200,
      { changed: 1 },
    ]);
    expect((await admin.messages.list('q', { priorityMin: 5 })).messages).toHaveLength(1);
    expect(await ask('POST', `${messages}/move`, { priorityMin: 5, to: 'r', dryRun: true })).toMatchObject([
      200,
      { changed: 1 },
    ]);
    expect(await ask('POST', `${messages}/move`, { priorityMin: 5, to: 'r' })).toMatchObject([200, { changed: 1 }]);
    expect(await ask('POST', `${messages}/drop`, {})).toEqual([
      200,
      { matched: 2, changed: 2, skipped: {}, next: null },
    ]);
    expect(await ask('POST', `${messages}/drop`, { ids: [first] })).toMatchObject([
      404,
      { error: { code: 'MESSAGE_NOT_FOUND' } },
    ]);
    for (const [path, body, field] of [
      ['drop', { ids: [] }, 'ids'],
      ['drop', { ids: null }, 'ids'],
      ['drop', { ids: [1], priority: 5 }, 'priority'],
      ['drop', { colour: 1 }, 'colour'],
      ['priority', { ids: [1], priority: 300 }, 'priority'],
    ] as const)
      expect(await ask('POST', `${messages}/${path}`, body)).toMatchObject([400, { error: { details: { field } } }]);
  });

  test('are for those who may', async () => {
    await publish('secret', ['a']);
    const { secret: viewer } = await admin.tokens.create({ name: 'looks', role: 'viewer' });
    const messages = 'queues/default/secret/messages';
    expect(await ask('GET', messages, undefined, viewer)).toMatchObject([200, { messages: [{}] }]);
    for (const [method, path, body] of [
      ['GET', `${messages}?contents=true`, undefined],
      ['POST', `${messages}/drop`, {}],
      ['PUT', 'exchanges/default/x', { type: 'fanout' }],
    ] as const)
      expect(await ask(method, path, body, viewer)).toMatchObject([403, { error: { code: 'FORBIDDEN' } }]);
    expect(await admin.queues.inspect('secret')).toMatchObject({ ready: 1 });
  });
});

describe('exchanges', () => {
  test('are made, bound, unbound and deleted', async () => {
    await admin.queues.declare('eu');
    const x = 'exchanges/default/events';
    expect(await ask('PUT', x, { type: 'topic' })).toEqual([201, { created: true, type: 'topic', alternate: null }]);
    expect(await ask('PUT', x, { type: 'topic' })).toMatchObject([200, { created: false }]);
    expect(await ask('PUT', x, { type: 'direct' })).toMatchObject([409, { error: { code: 'EXCHANGE_MISMATCH' } }]);
    expect(await ask('PUT', x, { type: 'round' })).toMatchObject([400, { error: { details: { field: 'type' } } }]);
    expect(await ask('POST', `${x}/bind`, { queue: 'eu', key: 'order.*' })).toEqual([200, { created: true }]);
    await admin.publish({ exchange: 'events', key: 'order.eu' }, 'hello');
    expect(await admin.queues.inspect('eu')).toMatchObject({ ready: 1 });
    expect(await ask('POST', `${x}/unbind`, { queue: 'eu', key: 'other' })).toEqual([200, { removed: false }]);
    expect(await ask('DELETE', `${x}?ifUnused=true`)).toMatchObject([409, { error: { code: 'EXCHANGE_IN_USE' } }]);
    expect(await ask('DELETE', x)).toEqual([200, { bindings: 1 }]);
  });
});

describe('rate limits', () => {
  test('are declared, overridden, listed and deleted', async () => {
    const sms = 'rate-limits/default/sms';
    const rate = { count: 1, perMs: 1_000, burst: 1 };
    const info = { name: 'sms', namespace: 'default', rate, override: null, waiting: 0 };
    expect(await ask('PUT', sms, { count: 1, perMs: 1_000 })).toEqual([200, info]);
    const override = { count: 5, perMs: 60_000, burst: 2 };
    expect(await ask('PUT', `${sms}/override`, override)).toEqual([200, { ...info, override }]);
    expect(await ask('GET', 'rate-limits?namespace=default&limit=1')).toEqual([
      200,
      { rateLimits: [{ ...info, override }], next: null },
    ]);
    expect(await ask('DELETE', `${sms}/override`)).toEqual([200, info]);
    const { secret: viewer } = await admin.tokens.create({ name: 'looks-at-limits', role: 'viewer' });
    expect(await ask('GET', 'rate-limits', undefined, viewer)).toMatchObject([200, { rateLimits: [{ name: 'sms' }] }]);
    expect(await ask('PUT', sms, rate, viewer)).toMatchObject([403, { error: { code: 'FORBIDDEN' } }]);
    expect(await ask('DELETE', sms)).toEqual([200, { waiting: 0 }]);
    expect(await ask('DELETE', sms)).toMatchObject([404, { error: { code: 'RATE_LIMIT_NOT_FOUND' } }]);
    for (const [body, field] of [
      [{ count: 0, perMs: 1 }, 'count'],
      [{ count: 1, perMs: 1, fast: true }, 'fast'],
      [[1], 'rate'],
    ] as const)
      expect(await ask('PUT', sms, body)).toMatchObject([400, { error: { details: { field } } }]);
  });
});
