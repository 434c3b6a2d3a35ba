import { ERRORS, type ErrorCode } from '@lovage/protocol';
import { describe, expect, test, vi } from 'vitest';
import { backoffMs } from '../../client-sdk/backoff.js';
import { connected, connecting, FakeBroker, outcomeOf, useVirtualTime } from './fake-broker.js';

useVirtualTime();

describe('handshake', () => {
  test('says HELLO first, with what connect was told, and resolves on WELCOME', async () => {
    const broker = new FakeBroker();
    const { promise } = connecting(
      { token: 's3cret', namespace: 'shop', name: 'api-1', version: '1.2', producer: 'p7', heartbeatMs: 5_000 },
      broker,
    );
    await broker.turn();
    const client = await promise;
    expect(broker.urls).toEqual(['ws://broker.test:7420']);
    expect(broker.socket.news()).toEqual([
      [
        'HELLO',
        {
          version: 1,
          token: 's3cret',
          client: { name: 'api-1', version: '1.2' },
          namespace: 'shop',
          producer: 'p7',
          heartbeatMs: 5_000,
        },
      ],
    ]);
    expect(client.status.current).toEqual({ state: 'connected', reason: null, blocked: null });
  });

  test('wishes no heartbeat of its own: the broker says', async () => {
    const broker = new FakeBroker();
    connecting({}, broker);
    await broker.turn();
    expect(broker.socket.frames[0]!.fields[0]).not.toHaveProperty('heartbeatMs');
  });

  test('holds few bytes of buffers as long as it publishes nothing', async () => {
    const clients = 500;
    const before = process.memoryUsage().arrayBuffers;
    for (let i = 0; i < clients; i++) await connected();
    const bytesEach = (process.memoryUsage().arrayBuffers - before) / clients;
    expect(bytesEach).toBeLessThan(16 * 1_024);
  });

  test('makes a producer name of its own, another for each client', async () => {
    const broker = new FakeBroker();
    connecting({ producer: undefined }, broker);
    connecting({ producer: undefined }, broker);
    await broker.turn();
    const [a, b] = broker.sockets.map(({ frames }) => (frames[0]!.fields[0] as { producer: string }).producer);
    expect(a).toMatch(/^[0-9a-f]{32}$/);
    expect(b).toMatch(/^[0-9a-f]{32}$/);
    expect(a).not.toBe(b);
  });

  test.each<ErrorCode>(['UNAUTHORIZED', 'VERSION_UNSUPPORTED', 'TOO_MANY_CONNECTIONS', 'TOO_MANY_PRODUCERS'])(
    'rejects with the %s that the broker says',
    async (code) => {
      const { broker, promise } = connecting({}, Object.assign(new FakeBroker(), { answersHello: false }));
      const outcome = outcomeOf(promise);
      await broker.turn();
      broker.socket.opened();
      broker.socket.tell('ERROR', null, code, 'No.', { field: 'token' });
      broker.socket.close(ERRORS[code].close!);
      await broker.pass(60_000);
      expect(outcome).toMatchObject({
        state: 'rejected',
        error: { code, message: 'No.', details: { field: 'token' } },
      });
      expect(broker.sockets).toHaveLength(1);
      expect(broker.socket.isTerminated).toBe(true);
    },
  );

  test('rejects with what a close code says when no ERROR came', async () => {
    const { broker, promise } = connecting({}, Object.assign(new FakeBroker(), { answersHello: false }));
    const outcome = outcomeOf(promise);
    broker.socket.opened();
    broker.socket.close(4410, 'bye');
    await broker.turn();
    expect(outcome.error).toMatchObject({ code: 'SHUTTING_DOWN', details: { closeCode: 4410, reason: 'bye' } });
  });

  test('rejects CONNECT_FAILED when nobody is there, without another attempt', async () => {
    const { broker, promise } = connecting({}, Object.assign(new FakeBroker(), { isUp: false }));
    const outcome = outcomeOf(promise);
    await broker.pass(60_000);
    expect(outcome.error).toMatchObject({ code: 'CONNECT_FAILED', details: { reason: 'nobody is there' } });
    expect(broker.sockets).toHaveLength(1);
    expect(vi.getTimerCount()).toBe(0);
  });

  test.each([
    ['the socket does not open', false],
    ['WELCOME does not come', true],
  ])('rejects CONNECT_FAILED after connectTimeoutMs when %s', async (_, opens) => {
    const { broker, promise } = connecting(
      { connectTimeoutMs: 3_000 },
      Object.assign(new FakeBroker(), { answersHello: false }),
    );
    const outcome = outcomeOf(promise);
    if (opens) broker.socket.opened();
    await broker.pass(2_999);
    expect(outcome.state).toBe('pending');
    await broker.pass(2);
    expect(outcome.error).toMatchObject({ code: 'CONNECT_FAILED' });
    expect(outcome.error!.message).toContain('3000 ms');
    expect(broker.socket.isTerminated).toBe(true);
    expect(vi.getTimerCount()).toBe(0);
  });

  test('rejects BAD_FRAME when the answer is no frame', async () => {
    const { broker, promise } = connecting({}, Object.assign(new FakeBroker(), { answersHello: false }));
    const outcome = outcomeOf(promise);
    broker.socket.opened();
    broker.socket.tellBytes(Uint8Array.of(0xc1));
    await broker.turn();
    expect(outcome.error).toMatchObject({ code: 'BAD_FRAME' });
  });

  test('knows a code of a newer broker as INTERNAL_ERROR that keeps its name', async () => {
    const { broker, promise } = connecting({}, Object.assign(new FakeBroker(), { answersHello: false }));
    const outcome = outcomeOf(promise);
    broker.socket.opened();
    broker.socket.tell('ERROR', null, 'FULL_MOON', 'Come back later', null);
    await broker.turn();
    expect(outcome.error).toMatchObject({ code: 'INTERNAL_ERROR', details: { brokerCode: 'FULL_MOON' } });
    expect(outcome.error!.message).toBe('Come back later (FULL_MOON)');
  });
});

describe('heartbeats', () => {
  test('are sent every interval that WELCOME tells, with the consumers and what they hold', async () => {
    const { client, broker } = await connected({}, (prepared) => {
      prepared.welcome = { heartbeatMs: 1_000 };
    });
    const consuming = client.consume('sms', () => new Promise(() => undefined), { prefetch: 5, concurrency: 1 });
    await broker.turn();
    await consuming;
    broker.socket.deliver(1, { tag: 1 }, { tag: 2 }, { tag: 3 });
    for (let i = 0; i < 10; i++) {
      await broker.pass(500);
      broker.socket.tell('HEARTBEAT', []);
    }
    const beats = broker.socket.all('HEARTBEAT').map(({ fields }) => fields[0]);
    expect(beats.length).toBeGreaterThanOrEqual(4);
    expect(beats.length).toBeLessThanOrEqual(5);
    for (const beat of beats) expect(beat).toEqual([1, 3]);
    expect(client.status.current.state).toBe('connected');
  });

  test('begin at some moment of the first interval, so that clients that have come at once do not go on at once', async () => {
    for (const chance of [0.1, 0.5, 0.999]) {
      vi.spyOn(Math, 'random').mockReturnValue(chance);
      const { broker } = await connected({}, (prepared) => {
        prepared.welcome = { heartbeatMs: 10_000 };
      });
      const firstMs = 10_000 * chance;
      await broker.pass(firstMs - 100);
      expect(broker.socket.all('HEARTBEAT')).toEqual([]);
      await broker.pass(200);
      expect(broker.socket.all('HEARTBEAT')).toHaveLength(1);
    }
  });

  test('that stop coming end the connection after two intervals', async () => {
    vi.spyOn(Math, 'random').mockReturnValue(0.99);
    const { client, broker } = await connected({ reconnect: { delayMsMin: 1_000 } }, (prepared) => {
      prepared.welcome = { heartbeatMs: 1_000 };
    });
    await broker.pass(1_900);
    expect(client.status.current.state).toBe('connected');
    await broker.pass(200);
    expect(client.status.current).toMatchObject({ state: 'reconnecting', reason: { code: 'HEARTBEAT_LOST' } });
    expect(broker.sockets[0]!.isTerminated).toBe(true);
    await broker.untilSockets(2);
    expect(client.status.current.state).toBe('connected');
  });

  test('are replaced by any frame as a sign of life', async () => {
    const { client, broker } = await connected({}, (prepared) => {
      prepared.welcome = { heartbeatMs: 1_000 };
    });
    for (let i = 0; i < 10; i++) {
      await broker.pass(700);
      broker.socket.tell('SETTLED', 0);
    }
    expect(client.status.current.state).toBe('connected');
    expect(broker.sockets).toHaveLength(1);
  });
});

describe('reconnecting', () => {
  test('waits a random time that doubles up to its bound', () => {
    const options = { delayMsMin: 50, delayMsMax: 5_000 };
    const bounds = Array.from({ length: 12 }, (_, attempt) => backoffMs(options, attempt, 0.999_999));
    expect(bounds).toEqual([49, 99, 199, 399, 799, 1_599, 3_199, 4_999, 4_999, 4_999, 4_999, 4_999]);
    expect(backoffMs(options, 3, 0)).toBe(0);
    expect(backoffMs(options, 3, 0.5)).toBe(200);
    expect(backoffMs(options, 1_000_000, 0.999_999)).toBe(4_999);
  });

  test('makes attempts with growing pauses until the broker is back, then resumes the session', async () => {
    const { client, broker } = await connected({ reconnect: { delayMsMin: 100, delayMsMax: 800 } });
    vi.spyOn(Math, 'random').mockReturnValue(0.99);
    broker.isUp = false;
    broker.socket.close();
    const attempts: number[] = [];
    for (let ms = 0; ms < 4_000; ms += 10) {
      const before = broker.sockets.length;
      await broker.pass(10);
      if (broker.sockets.length > before) attempts.push(performance.now());
    }
    const pauses = attempts.slice(1).map((ms, i) => ms - attempts[i]!);
    for (const [i, expected] of [198, 396, 792, 792].entries()) {
      expect(pauses[i]).toBeGreaterThanOrEqual(expected);
      expect(pauses[i]).toBeLessThanOrEqual(expected + 30);
    }
    expect(client.status.current.state).toBe('reconnecting');
    broker.isUp = true;
    broker.welcome = { session: 's1', resumed: true };
    await broker.pass(1_000);
    expect(client.status.current).toEqual({ state: 'connected', reason: null, blocked: null });
    expect(broker.socket.frames[0]).toMatchObject({ op: 'HELLO' });
    expect(broker.socket.frames[0]!.fields[0]).toMatchObject({ producer: 'p', resume: { session: 's1', lastTag: 0 } });
  });

  test('tells the highest tag that was seen', async () => {
    const { client, broker } = await connected();
    void client.consume('sms', () => undefined);
    await broker.turn();
    broker.socket.deliver(1, { tag: 7 }, { tag: 8 });
    await broker.reconnect({ resumed: true, session: 's1' });
    expect(broker.socket.frames[0]!.fields[0]).toMatchObject({ resume: { session: 's1', lastTag: 8 } });
  });

  test('goes on with another session when its own is over', async () => {
    const { client, broker } = await connected();
    void client.consume('sms', () => undefined);
    await broker.turn();
    broker.socket.deliver(1, { tag: 7 });
    await broker.reconnect({ resumed: false, session: 's2' });
    await broker.reconnect({ resumed: true, session: 's2' });
    expect(broker.socket.frames[0]!.fields[0]).toMatchObject({ resume: { session: 's2', lastTag: 0 } });
  });

  test('pauses longer and longer when connections do not last', async () => {
    const { broker } = await connected({ reconnect: { delayMsMin: 100, delayMsMax: 1_600 } });
    vi.spyOn(Math, 'random').mockReturnValue(0.99);
    const pauses: number[] = [];
    for (let i = 0; i < 6; i++) {
      const lostMs = performance.now();
      const { length } = broker.sockets;
      broker.socket.tell('ERROR', null, 'INTERNAL_ERROR', 'Again', null);
      broker.socket.close(4500);
      while (broker.sockets.length === length) await broker.pass(10);
      pauses.push(performance.now() - lostMs);
    }
    expect(pauses[5]).toBeGreaterThan(1_500);
    // One that has stood for a while starts from the beginning.
    for (let i = 0; i < 3; i++) {
      await broker.pass(1_000);
      broker.socket.tell('HEARTBEAT', []);
    }
    const { length } = broker.sockets;
    broker.socket.close();
    await broker.pass(120);
    expect(broker.sockets.length).toBe(length + 1);
  });

  test.each<ErrorCode>(['UNAUTHORIZED', 'SESSION_TAKEN_OVER', 'BAD_FRAME', 'FRAME_TOO_LARGE'])(
    'is not tried after %s, which closes the client',
    async (code) => {
      const { client, broker } = await connected();
      const publish = outcomeOf(client.publish('sms', 'x'));
      broker.socket.tell('ERROR', null, code, 'Because.', null);
      broker.socket.close(ERRORS[code].close!);
      await broker.pass(60_000);
      expect(client.status.current).toMatchObject({ state: 'closed', reason: { code } });
      expect(broker.sockets).toHaveLength(1);
      expect(publish.error).toMatchObject({ code });
      await expect(client.publish('sms', 'x')).rejects.toMatchObject({ code });
      await expect(client.consume('sms', () => undefined)).rejects.toMatchObject({ code: 'CLIENT_CLOSED' });
      expect(vi.getTimerCount()).toBe(0);
    },
  );

  test.each<ErrorCode>(['SHUTTING_DOWN', 'SLOW_CONSUMER', 'HEARTBEAT_LOST', 'INTERNAL_ERROR'])(
    'follows %s',
    async (code) => {
      const { client, broker } = await connected();
      broker.socket.tell('ERROR', null, code, 'Because.', null);
      broker.socket.close(ERRORS[code].close!);
      expect(client.status.current).toMatchObject({ state: 'reconnecting', reason: { code } });
      expect(client.status.current.reason!.message).toContain('Because.');
      await broker.untilSockets(2);
      expect(client.status.current.state).toBe('connected');
    },
  );

  test('turned off, a lost connection closes the client', async () => {
    const { client, broker } = await connected({ reconnect: false });
    const publish = outcomeOf(client.publish('sms', 'x'));
    const request = outcomeOf(client.queues.inspect('sms'));
    broker.socket.close(1006, 'cable cut');
    await broker.pass(60_000);
    expect(broker.sockets).toHaveLength(1);
    const reason = { code: 'CONNECTION_LOST', details: { closeCode: 1006, reason: 'cable cut' } };
    expect(client.status.current).toMatchObject({ state: 'closed', reason });
    expect(publish.error).toMatchObject(reason);
    expect(request.error).toMatchObject(reason);
  });

  test('hears nothing more of a connection that was given up', async () => {
    const { client, broker } = await connected();
    const publish = outcomeOf(client.publish('sms', 'x'));
    await broker.turn();
    const old = broker.socket;
    await broker.reconnect();
    old.tell('CONFIRM', 1, 1, 99, 0);
    old.close(4406);
    await broker.turn();
    expect(publish.state).toBe('pending');
    expect(client.status.current.state).toBe('connected');
  });
});

describe('status', () => {
  test('gives the present state first, then each change, and ends after closed', async () => {
    const { client, broker } = await connected();
    const seen: string[] = [];
    const codes: (string | undefined)[] = [];
    const watching = (async () => {
      for await (const { state, reason } of client.status) {
        seen.push(state);
        codes.push(reason?.code);
      }
    })();
    await broker.reconnect();
    client.terminate();
    await watching;
    expect(seen).toEqual(['connected', 'reconnecting', 'connected', 'closed']);
    expect(codes).toEqual([undefined, 'CONNECTION_LOST', undefined, undefined]);
    for await (const { state } of client.status) expect(state).toBe('closed');
  });

  test('keeps the last states for a reader that comes late', async () => {
    const { client, broker } = await connected();
    const reader = client.status[Symbol.asyncIterator]();
    expect((await reader.next()).value).toMatchObject({ state: 'connected' });
    for (let i = 0; i < 3; i++) await broker.reconnect();
    client.terminate();
    const seen: string[] = [];
    for (let next = await reader.next(); !next.done; next = await reader.next()) seen.push(next.value.state);
    expect(seen).toEqual([...Array(3).fill(['reconnecting', 'connected']).flat(), 'closed']);
  });
});
