import type { QueueSettings } from '@lovage/protocol';
import { describe, expect, test } from 'vitest';
import type { Client } from '../../client-sdk/client.js';
import { connected, outcomeOf, useVirtualTime } from './fake-broker.js';

useVirtualTime();

const REQUESTS: Readonly<Record<string, (client: Client) => Promise<unknown>>> = {
  declare: (client) => client.queues.declare('sms', { defaultPriority: 3 }),
  delete: (client) => client.queues.delete('sms', { ifEmpty: true }),
  purge: (client) => client.queues.purge('sms'),
  pause: (client) => client.queues.pause('sms'),
  resume: (client) => client.queues.resume('sms'),
  inspect: (client) => client.queues.inspect('sms'),
  list: (client) => client.queues.list({ after: 'a', limit: 5 }),
};
const REPEATABLE = ['declare', 'pause', 'resume', 'inspect', 'list'];

describe('queues', () => {
  test('say on the wire what they are asked', async () => {
    const { client, broker } = await connected();
    broker.replies = () => ({ queues: [] });
    for (const request of Object.values(REQUESTS)) void request(client);
    void client.queues.declare('mail');
    void client.queues.delete('mail');
    void client.queues.list();
    void client.queues.declare('mail', { attemptsMax: 3, messagesMax: undefined as never }, { merge: true });
    await broker.turn();
    expect(broker.socket.news()).toEqual([
      ['QUEUE_DECLARE', 1, 'sms', { defaultPriority: 3 }],
      ['QUEUE_DELETE', 2, 'sms', { ifEmpty: true, ifUnused: false }],
      ['QUEUE_PURGE', 3, 'sms'],
      ['QUEUE_PAUSE', 4, 'sms'],
      ['QUEUE_RESUME', 5, 'sms'],
      ['QUEUE_INSPECT', 6, 'sms'],
      ['QUEUE_LIST', 7, 'a', 5],
      ['QUEUE_DECLARE', 8, 'mail', null],
      ['QUEUE_DELETE', 9, 'mail', { ifEmpty: false, ifUnused: false }],
      ['QUEUE_LIST', 10, null, 1_000],
      ['QUEUE_DECLARE', 11, 'mail', { attemptsMax: 3 }, 'merge'],
    ]);
  });

  test('resolve with what the broker replies', async () => {
    const { client, broker } = await connected();
    broker.replies = (op) =>
      op === 'QUEUE_LIST' ? { queues: [{ name: 'b' }], next: 'b' } : { messages: 7, purged: 8 };
    const outcomes = [
      outcomeOf<unknown>(client.queues.delete('sms')),
      outcomeOf<unknown>(client.queues.purge('sms')),
      outcomeOf<unknown>(client.queues.pause('sms')),
      outcomeOf<unknown>(client.queues.list()),
    ];
    await broker.turn();
    expect(outcomes.map(({ value }) => value)).toEqual([
      { messages: 7, purged: 8 },
      { messages: 7, purged: 8 },
      undefined,
      [{ name: 'b' }],
    ]);
  });

  test('reject with the code, words and facts of the broker', async () => {
    const { client, broker } = await connected();
    broker.replies = null;
    const outcome = outcomeOf(client.queues.declare('sms', {}));
    await broker.turn();
    broker.socket.tell('ERROR', 1, 'QUEUE_MISMATCH', 'It differs', { fields: ['messageTtlMs'] });
    await broker.turn();
    expect(outcome.error).toMatchObject({
      code: 'QUEUE_MISMATCH',
      message: 'It differs',
      details: { fields: ['messageTtlMs'] },
    });
  });

  test.each<readonly [string, (client: Client) => Promise<unknown>, string, string]>([
    ['a name', (client) => client.queues.inspect('no name'), 'INVALID_NAME', 'queue'],
    ['a name that is no text', (client) => client.queues.pause(7 as never), 'INVALID_ARGUMENT', 'queue'],
    [
      'a setting',
      (client) => client.queues.declare('q', { defaultPriority: 256 }),
      'INVALID_ARGUMENT',
      'defaultPriority',
    ],
    [
      'an unknown setting',
      (client) => client.queues.declare('q', { ttl: 1 } as Partial<QueueSettings>),
      'INVALID_ARGUMENT',
      'ttl',
    ],
    [
      'settings that do not go together',
      (client) => client.queues.declare('q', { overflow: 'dead-letter-head' }),
      'INVALID_ARGUMENT',
      'overflow',
    ],
    [
      'itself as dead letter queue',
      (client) => client.queues.declare('q', { deadLetterQueue: 'q' }),
      'INVALID_ARGUMENT',
      'deadLetterQueue',
    ],
    ['merge', (client) => client.queues.declare('q', {}, { merge: 1 as never }), 'INVALID_ARGUMENT', 'merge'],
    ['limit 0', (client) => client.queues.list({ limit: 0 }), 'INVALID_ARGUMENT', 'limit'],
    ['limit 1,001', (client) => client.queues.list({ limit: 1_001 }), 'INVALID_ARGUMENT', 'limit'],
    ['after', (client) => client.queues.list({ after: '' }), 'INVALID_NAME', 'after'],
    ['ifEmpty', (client) => client.queues.delete('q', { ifEmpty: 'yes' as never }), 'INVALID_ARGUMENT', 'ifEmpty'],
    ['ifUnused', (client) => client.queues.delete('q', { ifUnused: 1 as never }), 'INVALID_ARGUMENT', 'ifUnused'],
  ])('refuse %s out of range', async (_, request, code, field) => {
    const { client, broker } = await connected();
    await expect(request(client)).rejects.toMatchObject({ code, details: { field } });
    await broker.turn();
    expect(broker.socket.news()).toEqual([]);
  });
});

describe('a request', () => {
  test('goes out at once, behind what was published before it', async () => {
    const { client, broker } = await connected();
    outcomeOf(client.publish('sms', 'x'));
    outcomeOf(client.queues.inspect('sms'));
    expect(broker.socket.news().map(([op]) => op)).toEqual(['PUBLISH', 'QUEUE_INSPECT']);
  });

  test.each(Object.keys(REQUESTS))(
    '%s, under way when the connection is lost, is sent again if that does no harm',
    async (name) => {
      const { client, broker } = await connected();
      broker.replies = null;
      const outcome = outcomeOf(REQUESTS[name]!(client));
      await broker.turn();
      const [frame] = broker.socket.news();
      await broker.reconnect();
      if (REPEATABLE.includes(name)) {
        expect(outcome.state).toBe('pending');
        expect(broker.socket.news().slice(1)).toEqual([frame]);
        broker.socket.tell('REPLY', 1, { queues: [] });
        await broker.turn();
        expect(outcome.state).toBe('resolved');
      } else {
        expect(outcome.error).toMatchObject({ code: 'CONNECTION_LOST' });
        expect(broker.socket.news().map(([op]) => op)).toEqual(['HELLO']);
      }
    },
  );

  test.each(Object.keys(REQUESTS))('%s, asked while disconnected, waits for the connection', async (name) => {
    const { client, broker } = await connected();
    broker.isUp = false;
    broker.socket.close();
    const outcome = outcomeOf(REQUESTS[name]!(client));
    broker.replies = () => ({ queues: [] });
    await broker.pass(1_000);
    expect(outcome.state).toBe('pending');
    broker.isUp = true;
    await broker.pass(10_000);
    expect(outcome.state).toBe('resolved');
  });

  test('runs into REQUEST_TIMEOUT, connected or not, and a late answer harms nobody', async () => {
    const { client, broker } = await connected({ requestTimeoutMs: 1_000 });
    broker.replies = null;
    const first = outcomeOf(client.queues.inspect('a'));
    await broker.pass(600);
    const second = outcomeOf(client.queues.inspect('b'));
    await broker.pass(402);
    expect(first.error).toMatchObject({ code: 'REQUEST_TIMEOUT' });
    expect(first.error!.message).toBe('Cannot inspect queue "a": no answer within 1000 ms');
    expect(second.state).toBe('pending');
    broker.socket.tell('REPLY', 1, {});
    broker.isUp = false;
    broker.socket.close();
    await broker.pass(602);
    expect(second.error).toMatchObject({ code: 'REQUEST_TIMEOUT' });
    broker.isUp = true;
    await broker.untilSockets(2);
    expect(broker.socket.news().map(([op]) => op)).toEqual(['HELLO']);
  });
});
