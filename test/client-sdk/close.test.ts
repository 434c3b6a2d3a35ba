import { describe, expect, test, vi } from 'vitest';
import type { Delivery } from '../../client-sdk/delivery.js';
import { deferred } from './deferred.js';
import { connected, outcomeOf, useVirtualTime } from './fake-broker.js';

useVirtualTime();

describe('close', () => {
  test('cancels, waits for handlers, their publishes and all answers, and says GOODBYE last', async () => {
    const { client, broker } = await connected();
    const gate = deferred();
    void client.consume('sms', async () => {
      await gate.promise;
      await client.publish('next', 'x');
    });
    await broker.turn();
    broker.socket.deliver(1, { tag: 1 });
    const published = outcomeOf(client.publish('sms', 'y'));
    const closed = outcomeOf(client.close());
    expect(client.close()).toBe(client.close());
    await broker.turn();
    await expect(client.consume('sms', () => undefined)).rejects.toMatchObject({ code: 'CLIENT_CLOSED' });
    gate.resolve();
    await broker.turn();
    broker.socket.tell('CONFIRM', 1, 2, 1, 0);
    await broker.turn();
    expect(published.state).toBe('resolved');
    expect(broker.socket.all('GOODBYE')).toEqual([]);
    broker.socket.tell('SETTLED', 2);
    await broker.turn();
    expect(broker.socket.news().map(([op]) => op)).toEqual([
      'CONSUME',
      'PUBLISH',
      'START',
      'CANCEL',
      'PUBLISH',
      'ACK',
      'GOODBYE',
    ]);
    expect(closed.state).toBe('pending');
    broker.socket.close(1000);
    await broker.turn();
    expect(closed.state).toBe('resolved');
    expect(client.status.current).toEqual({ state: 'closed', reason: null, blocked: null });
    await expect(client.publish('sms', 'x')).rejects.toMatchObject({ code: 'CLIENT_CLOSED' });
    await expect(client.queues.inspect('sms')).rejects.toMatchObject({ code: 'CLIENT_CLOSED' });
    await client.close();
    client.terminate();
    expect(vi.getTimerCount()).toBe(0);
  });

  test('does not wait for ever for a broker that does not close', async () => {
    const { client, broker } = await connected();
    const closed = outcomeOf(client.close());
    await broker.pass(4_990);
    expect(closed.state).toBe('pending');
    await broker.pass(20);
    expect(closed.state).toBe('resolved');
    expect(broker.socket.isTerminated).toBe(true);
    expect(vi.getTimerCount()).toBe(0);
  });

  test('does not wait for ever for confirms that do not come', async () => {
    const { client, broker } = await connected({ publishTimeoutMs: 1_000 });
    const published = outcomeOf(client.publish('sms', 'x'));
    const closed = outcomeOf(client.close());
    await broker.pass(1_010);
    expect(published.error).toMatchObject({ code: 'PUBLISH_TIMEOUT' });
    expect(broker.socket.all('GOODBYE')).toHaveLength(1);
    broker.socket.close(1000);
    await broker.turn();
    expect(closed.state).toBe('resolved');
  });

  test('while reconnecting, with nothing to wait for, is over at once', async () => {
    const { client, broker } = await connected();
    void client.consume('sms', () => undefined);
    await broker.turn();
    broker.isUp = false;
    broker.socket.close();
    const closed = outcomeOf(client.close());
    await broker.turn();
    expect(closed.state).toBe('resolved');
    expect(client.status.current.state).toBe('closed');
    expect(vi.getTimerCount()).toBe(0);
  });

  test('while reconnecting waits for what is unanswered, but not longer than its time limits', async () => {
    const { client, broker } = await connected({ publishTimeoutMs: 2_000, requestTimeoutMs: 1_000 });
    void client.consume('sms', () => undefined);
    await broker.turn();
    broker.socket.deliver(1, { tag: 1 });
    await broker.turn();
    broker.isUp = false;
    broker.socket.close();
    const published = outcomeOf(client.publish('sms', 'x'));
    const closed = outcomeOf(client.close());
    await broker.pass(900);
    expect(closed.state).toBe('pending');
    await broker.pass(2_200);
    expect(closed.state).toBe('resolved');
    expect(published.error).toMatchObject({ code: 'PUBLISH_TIMEOUT' });
  });

  test('while reconnecting succeeds when the connection comes back in time', async () => {
    const { client, broker } = await connected();
    broker.isUp = false;
    broker.socket.close();
    const published = outcomeOf(client.publish('sms', 'x'));
    const closed = outcomeOf(client.close());
    await broker.pass(500);
    broker.isUp = true;
    broker.confirms = true;
    await broker.pass(5_000);
    expect(published.state).toBe('resolved');
    broker.socket.close(1000);
    await broker.turn();
    expect(closed.state).toBe('resolved');
  });

  test('may be called in a handler, which must not await it', async () => {
    const { client, broker } = await connected();
    broker.settles = true;
    const closed = deferred();
    void client.consume('sms', () => {
      client.close().then(closed.resolve, closed.reject);
    });
    await broker.turn();
    broker.socket.deliver(1, { tag: 1 }, { tag: 2 });
    await broker.turn();
    expect(broker.socket.all('ACK').map(({ fields }) => fields[1])).toEqual([[1, 1]]);
    broker.socket.close(1000);
    await closed.promise;
  });

  test('is what `await using` does', async () => {
    const { client, broker } = await connected();
    const over = (async () => {
      await using mine = client;
      expect(mine.status.current.state).toBe('connected');
    })();
    await broker.turn();
    expect(broker.socket.all('GOODBYE')).toHaveLength(1);
    broker.socket.close(1000);
    await over;
  });

  test('ends at once when terminate or a final error comes while it waits for a handler', async () => {
    for (const end of ['terminate', 'error'] as const) {
      const { client, broker } = await connected();
      void client.consume('sms', () => new Promise(() => undefined));
      await broker.turn();
      broker.socket.deliver(1, { tag: 1 });
      broker.replies = end === 'error' ? null : broker.replies;
      const closed = outcomeOf(client.close());
      await broker.turn();
      expect(closed.state).toBe('pending');
      if (end === 'terminate') client.terminate();
      else broker.socket.close(4406);
      await broker.turn();
      expect(closed.state).toBe('resolved');
    }
  });
});

describe('terminate', () => {
  test('drops the socket, rejects everything with CLIENT_CLOSED and aborts handlers', async () => {
    const { client, broker } = await connected();
    const seen: Delivery[] = [];
    const consuming = client.consume('sms', (delivery) => {
      seen.push(delivery);
      return new Promise(() => undefined);
    });
    await broker.turn();
    const consumer = await consuming;
    broker.socket.deliver(1, { tag: 1 }, { tag: 2 });
    broker.replies = null;
    const settled = outcomeOf(seen[0]!.ack());
    const outcomes = [
      outcomeOf<unknown>(client.publish('sms', 'sent')),
      outcomeOf<unknown>(client.queues.inspect('sms')),
      outcomeOf<unknown>(client.publish('sms', 'unsent')),
    ];
    client.terminate();
    client.terminate();
    await broker.turn();
    expect(broker.socket.isTerminated).toBe(true);
    for (const { error } of [settled, ...outcomes]) expect(error).toMatchObject({ code: 'CLIENT_CLOSED' });
    expect(seen[1]!.signal.reason).toMatchObject({ code: 'CLIENT_CLOSED' });
    await expect(seen[1]!.ack()).rejects.toMatchObject({ code: 'CLIENT_CLOSED' });
    expect(await consumer.ended).toMatchObject({ code: 'CLIENT_CLOSED' });
    await consumer.cancel();
    await client.close();
    expect(vi.getTimerCount()).toBe(0);
    expect(broker.sockets).toHaveLength(1);
  });

  test('may be called in a handler, in the middle of a frame of deliveries', async () => {
    const { client, broker } = await connected();
    let count = 0;
    void client.consume('sms', (delivery) => {
      count++;
      client.terminate();
      expect(delivery.signal.aborted).toBe(true);
    });
    await broker.turn();
    broker.socket.deliver(1, { tag: 1 }, { tag: 2 }, { tag: 3 });
    await broker.turn();
    expect(count).toBe(1);
    expect(client.status.current.state).toBe('closed');
  });

  test('may be called by a listener of an abort signal, in the middle of a resume', async () => {
    const { client, broker } = await connected();
    void client.consume('sms', (delivery) => {
      delivery.signal.addEventListener('abort', () => client.terminate());
      return new Promise(() => undefined);
    });
    await broker.turn();
    broker.socket.deliver(1, { tag: 1 }, { tag: 2 });
    await broker.turn();
    await broker.reconnect({ resumed: false });
    expect(client.status.current.state).toBe('closed');
    expect(broker.socket.news().map(([op]) => op)).toEqual(['HELLO']);
    expect(vi.getTimerCount()).toBe(0);
  });
});

describe('a client that gives up', () => {
  test('aborts handlers and rejects their answers with the reason', async () => {
    const { client, broker } = await connected({ reconnect: false });
    const seen: Delivery[] = [];
    const consuming = client.consume('sms', (delivery) => {
      seen.push(delivery);
      return new Promise(() => undefined);
    });
    await broker.turn();
    const consumer = await consuming;
    broker.socket.deliver(1, { tag: 1 });
    broker.socket.close();
    await broker.turn();
    expect(seen[0]!.signal.reason).toMatchObject({ code: 'CONNECTION_LOST' });
    await expect(seen[0]!.ack()).rejects.toMatchObject({ code: 'CONNECTION_LOST' });
    expect(await consumer.ended).toMatchObject({ code: 'CONNECTION_LOST' });
    await client.close();
  });

  test('aborts handlers whose queue was deleted before as well', async () => {
    const { client, broker } = await connected();
    const seen: Delivery[] = [];
    void client.consume('sms', (delivery) => {
      seen.push(delivery);
      return new Promise(() => undefined);
    });
    await broker.turn();
    broker.socket.deliver(1, { tag: 1 });
    broker.socket.tell('CONSUMER_CANCELLED', 1, 'QUEUE_DELETED');
    client.terminate();
    expect(seen[0]!.signal.reason).toMatchObject({ code: 'CLIENT_CLOSED' });
  });
});
