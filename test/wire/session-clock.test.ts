/** What a session does because time passes: with a clock that the test moves, so that ten seconds take none. */
import { CLIENT_OPS, encodeFrame, LIMITS, readOp, SERVER_OPS } from '@lovage/protocol';
import { describe, expect, test } from 'vitest';
import type { Session } from '../../server/session/session.js';
import { SessionHarness } from '../support/session-harness.js';

const HEARTBEAT_MS = 20_000;

describe('session', () => {
  test('closes a connection that says no HELLO within ten seconds', async () => {
    const harness = await SessionHarness.start();
    const { session, wire } = harness.connect();
    harness.clock.advance(LIMITS.helloTimeoutMs);
    session.sweep(harness.clock.monotonicMs());
    expect(wire.closedWith).toBeNull();
    harness.clock.advance(1);
    session.sweep(harness.clock.monotonicMs());
    expect(wire.errorCode).toBe('HELLO_TIMEOUT');
    expect(wire.closedWith?.code).toBe(4403);
  });

  test('gives no more time for a HELLO that was refused', async () => {
    const harness = await SessionHarness.start();
    const { session, wire } = harness.connect();
    harness.clock.advance(LIMITS.helloTimeoutMs - 1);
    harness.send(session, [CLIENT_OPS.HELLO, { version: 1, namespace: 'no good' }]);
    expect(wire.errorCode).toBe('INVALID_NAME');
    harness.clock.advance(2);
    session.sweep(harness.clock.monotonicMs());
    expect(wire.closedWith?.code).toBe(4403);
  });

  test('answers each heartbeat with its own, and one that comes early not', async () => {
    const harness = await SessionHarness.start();
    const { session, wire } = await harness.open({ heartbeatMs: HEARTBEAT_MS });
    const beats = (): number => wire.fieldsOf(SERVER_OPS.HEARTBEAT).length;
    for (const [ms, answers] of [
      [HEARTBEAT_MS / 2 - 1, 0],
      [1, 1],
      [HEARTBEAT_MS, 2],
      [HEARTBEAT_MS, 3],
      [HEARTBEAT_MS / 2 - 1, 3],
      [1, 4],
    ] as const) {
      harness.clock.advance(ms);
      harness.send(session, [CLIENT_OPS.HEARTBEAT, []]);
      expect(beats()).toBe(answers);
    }
    // Nothing is left to be told of by itself.
    harness.clock.advance(HEARTBEAT_MS);
    session.sweep(harness.clock.monotonicMs());
    expect(beats()).toBe(4);
  });

  test('sends one to a client that sends none, an interval and a quarter after the last, and ends when nothing has come for two', async () => {
    const harness = await SessionHarness.start();
    const { session, wire } = await harness.open({ heartbeatMs: HEARTBEAT_MS });
    for (const [ms, beats] of [
      [HEARTBEAT_MS * 1.25 - 1, 0],
      [1, 1],
      [HEARTBEAT_MS * 0.75, 1],
    ] as const) {
      harness.clock.advance(ms);
      session.sweep(harness.clock.monotonicMs());
      await harness.turn();
      expect(wire.fieldsOf(SERVER_OPS.HEARTBEAT)).toHaveLength(beats);
      expect(wire.closedWith).toBeNull();
    }
    harness.clock.advance(1);
    session.sweep(harness.clock.monotonicMs());
    expect(wire.errorCode).toBe('HEARTBEAT_LOST');
    expect(wire.closedWith?.code).toBe(4407);
  });

  test('asks to be looked at when a heartbeat is due that nobody asked for, sooner for HELLO and before two heartbeats of silence are over', async () => {
    const harness = await SessionHarness.start();
    const look = (session: Session): number => session.sweep(harness.clock.monotonicMs());
    const opening = harness.connect();
    expect(look(opening.session)).toBe(LIMITS.helloTimeoutMs + 1);
    harness.clock.advance(4_000);
    expect(look(opening.session)).toBe(LIMITS.helloTimeoutMs - 4_000 + 1);
    const { session, wire } = await harness.open({ heartbeatMs: HEARTBEAT_MS });
    expect(look(session)).toBe(25_000);
    harness.clock.advance(15_000);
    expect(look(session)).toBe(10_000);
    harness.send(session, [CLIENT_OPS.HEARTBEAT, []]);
    expect(look(session)).toBe(25_000);
    harness.clock.advance(25_000);
    expect(look(session)).toBe(15_000 + 1);
    expect(wire.fieldsOf(SERVER_OPS.HEARTBEAT)).toHaveLength(2);
    session.leave();
    expect(look(session)).toBe(Number.POSITIVE_INFINITY);
  });

  test('sends the heartbeat of an idle connection at once, and behind what waits to be told of another', async () => {
    const harness = await SessionHarness.start();
    const { session, wire } = await harness.open({ heartbeatMs: HEARTBEAT_MS });
    harness.clock.advance(HEARTBEAT_MS);
    harness.send(session, [CLIENT_OPS.HEARTBEAT, []]);
    expect(wire.fieldsOf(SERVER_OPS.HEARTBEAT)).toEqual([[[]]]);
    harness.clock.advance(HEARTBEAT_MS);
    harness.send(session, [CLIENT_OPS.QUEUE_LIST, 1, null, 1]);
    harness.send(session, [CLIENT_OPS.HEARTBEAT, []]);
    expect(wire.fieldsOf(SERVER_OPS.HEARTBEAT)).toHaveLength(1);
    await harness.turn();
    expect(wire.frames.map(readOp).slice(-2)).toEqual([SERVER_OPS.REPLY, SERVER_OPS.HEARTBEAT]);
  });

  test('takes any frame for a sign of life', async () => {
    const harness = await SessionHarness.start();
    const { session, wire } = await harness.open({ heartbeatMs: HEARTBEAT_MS });
    for (const fields of [[CLIENT_OPS.HEARTBEAT, []], [CLIENT_OPS.QUEUE_LIST, 1, null, 1], [9_999]]) {
      harness.clock.advance(HEARTBEAT_MS * 2);
      harness.send(session, fields);
      session.sweep(harness.clock.monotonicMs());
      expect(wire.closedWith).toBeNull();
    }
  });

  test('tells consumers and their unsettled deliveries in its heartbeat', async () => {
    const harness = await SessionHarness.start();
    const { session, wire } = await harness.open({ heartbeatMs: HEARTBEAT_MS });
    harness.send(session, [CLIENT_OPS.QUEUE_DECLARE, 1, 'q', null]);
    harness.send(session, [
      CLIENT_OPS.CONSUME,
      2,
      7,
      { queues: ['q'], prefetch: 5, ack: 'late', queueOrder: 'strict' },
    ]);
    session.receive(
      encodeFrame([CLIENT_OPS.PUBLISH, 1, 0, 0, [[0, null, 0, 0, null, null, null, new Uint8Array(1)]], ['q']]),
      harness.clock.monotonicMs(),
    );
    await harness.turn();
    harness.clock.advance(HEARTBEAT_MS);
    harness.send(session, [CLIENT_OPS.HEARTBEAT, [7, 1]]);
    await harness.turn();
    expect(wire.fieldsOf(SERVER_OPS.HEARTBEAT)).toEqual([[[7, 1]]]);
  });

  test('says so when the client thinks that it has a consumer that the broker does not have', async () => {
    const harness = await SessionHarness.start();
    const { session, wire } = await harness.open();
    harness.send(session, [CLIENT_OPS.HEARTBEAT, [3, 0]]);
    await harness.turn();
    expect(wire.fieldsOf(SERVER_OPS.ERROR)).toEqual([
      [null, 'CONSUMER_NOT_FOUND', expect.any(String), { consumerId: 3 }],
    ]);
    expect(wire.closedWith).toBeNull();
  });

  test('closes a connection above the bound of unread bytes, even if it takes a little', async () => {
    const harness = await SessionHarness.start({ settings: { unsentBytesMax: 1_000_000 } });
    const { session, wire } = await harness.open();
    wire.isMoving = true;
    wire.bufferedBytes = 1_000_000;
    session.sweep(harness.clock.monotonicMs());
    expect(wire.closedWith).toBeNull();
    wire.bufferedBytes = 1_000_001;
    session.sweep(harness.clock.monotonicMs());
    expect(wire.errorCode).toBe('SLOW_CONSUMER');
    expect(wire.closedWith?.code).toBe(4408);
    expect(session.isOpen).toBe(false);
  });

  test('holds what is asked of it while answers wait unread, in one turn or over several, and then goes on in order', async () => {
    const harness = await SessionHarness.start({ settings: { unsentBytesMax: 64 * 1024 } });
    const { session, wire } = await harness.open();
    const taken: (() => void)[] = [];
    wire.onSend = (_, isTaken) => isTaken && taken.push(isTaken);
    for (let i = 0; i < 50; i++)
      harness.send(session, [CLIENT_OPS.QUEUE_DECLARE, i, `${'long-name-'.repeat(19)}${i}`, {}]);
    await harness.turn();
    for (const isTaken of taken.splice(0)) isTaken();
    wire.frames.length = 0;
    for (let i = 0; i < 100; i++) harness.send(session, [CLIENT_OPS.QUEUE_LIST, 1_000 + i, null, 1_000]);
    expect(wire.isPaused).toBe(true);
    let most = 0;
    for (let rounds = 0; wire.isPaused && rounds < 1_000; rounds++) {
      await harness.turn();
      most = Math.max(most, taken.length);
      for (const isTaken of taken.splice(0)) isTaken();
    }
    expect(most).toBeLessThan(5);
    expect(wire.isPaused).toBe(false);
    await harness.turn();
    expect(wire.fieldsOf(SERVER_OPS.REPLY).map(([request]) => request)).toEqual(
      Array.from({ length: 100 }, (_, i) => 1_000 + i),
    );
  });

  test('closes a connection that takes nothing for ten seconds, and none that takes a little', async () => {
    const harness = await SessionHarness.start();
    const slow = await harness.open({ heartbeatMs: 600_000 });
    const stuck = await harness.open({ heartbeatMs: 600_000 });
    slow.wire.bufferedBytes = 500_000;
    slow.wire.isMoving = true;
    stuck.wire.bufferedBytes = 500_000;
    for (let second = 0; second <= 11; second++) {
      expect(stuck.session.isOpen).toBe(second <= 10);
      harness.clock.advance(1_000);
      for (const { session } of [slow, stuck]) session.sweep(harness.clock.monotonicMs());
    }
    expect(stuck.wire.errorCode).toBe('SLOW_CONSUMER');
    expect(slow.session.isOpen).toBe(true);
  });

  test('drops the socket of a client that does not answer the close within five seconds', async () => {
    const harness = await SessionHarness.start();
    const { session, wire } = await harness.open();
    harness.send(session, [CLIENT_OPS.GOODBYE]);
    for (let second = 0; second <= 5; second++) {
      session.sweep(harness.clock.monotonicMs());
      expect(wire.isTerminated).toBe(second === 5);
      harness.clock.advance(1_000);
    }
  });

  test('counts the ten seconds from the last byte taken, not from the start of the broker', async () => {
    const harness = await SessionHarness.start();
    harness.clock.advance(3_600_000);
    const { session, wire } = await harness.open();
    wire.bufferedBytes = 1;
    session.sweep(harness.clock.monotonicMs());
    expect(wire.closedWith).toBeNull();
  });

  test('lets a client finish one frame that is larger than the bound as long as it reads', async () => {
    const harness = await SessionHarness.start();
    const { session, wire } = await harness.open({ heartbeatMs: 600_000 });
    wire.isMoving = true;
    wire.largestFrameBytes = 16 * 1024 * 1024;
    for (let second = 0; second < 20; second++) {
      wire.bufferedBytes = wire.largestFrameBytes;
      harness.clock.advance(1_000);
      session.sweep(harness.clock.monotonicMs());
    }
    expect(wire.closedWith).toBeNull();
  });

  test('closes the one connection whose frame the broker fails on, with INTERNAL_ERROR', async () => {
    const harness = await SessionHarness.start();
    const victim = await harness.open();
    const other = await harness.open();
    const { broker } = harness;
    const submit = broker.submit.bind(broker);
    broker.submit = () => {
      broker.submit = submit;
      throw new TypeError('a bug');
    };
    harness.send(victim.session, [CLIENT_OPS.QUEUE_LIST, 1, null, 1]);
    expect(victim.wire.errorCode).toBe('INTERNAL_ERROR');
    expect(victim.wire.closedWith?.code).toBe(4500);
    expect(harness.failures).toEqual([new TypeError('a bug')]);
    harness.send(other.session, [CLIENT_OPS.QUEUE_LIST, 1, null, 1]);
    await harness.turn();
    expect(other.wire.fieldsOf(SERVER_OPS.REPLY)).toEqual([[1, { queues: [], next: null }]]);
  });
});
