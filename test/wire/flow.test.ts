/** A broker that is short of memory: who is held back, who goes on, and that it ends by itself. */

import { connect, type LovageError } from '@lovage/client';
import { CLIENT_OPS, LIMITS, SERVER_OPS } from '@lovage/protocol';
import { describe, expect, test } from 'vitest';
import { HELD_PUBLISHES_MAX } from '../../server/session/session.js';
import { BrokerProcess } from '../support/broker-process.js';
import { atEnd } from '../support/cleanup.js';
import { eventually } from '../support/deadline.js';
import { publishFrame } from '../support/raw-client.js';
import { SessionHarness } from '../support/session-harness.js';

const FLOW = { memoryBytesMax: 10_000, diskFreeBytesMin: 0, diskFreeBytes: () => Number.POSITIVE_INFINITY };
const BODY = Buffer.alloc(1_000);
const CONSUME = { queues: ['q'], prefetch: 10, ack: 'late', queueOrder: 'strict' };

async function shortOfMemory() {
  const harness = await SessionHarness.start({ flow: FLOW });
  const publisher = await harness.open();
  harness.send(publisher.session, [CLIENT_OPS.QUEUE_DECLARE, 1, 'q', null]);
  let seq = 0;
  while (harness.broker.flow.reason === null)
    harness.publish(publisher.session, ++seq, [{ queue: 'q', body: BODY }], 1);
  await harness.turn();
  return { harness, publisher, seq };
}

describe('a session, while the broker is short of memory', () => {
  test('is told with FLOW, one that opens meanwhile as well, and again when it is over', async () => {
    const { harness, publisher } = await shortOfMemory();
    expect(publisher.wire.fieldsOf(SERVER_OPS.FLOW)).toEqual([[true, 'memory', 1_000]]);
    const late = await harness.open();
    expect(late.wire.fieldsOf(SERVER_OPS.FLOW)).toEqual([[true, 'memory', 1_000]]);
    harness.send(late.session, [CLIENT_OPS.QUEUE_PURGE, 1, 'q']);
    await harness.turn();
    harness.broker.flow.look();
    await harness.turn();
    for (const { wire } of [publisher, late])
      expect(wire.fieldsOf(SERVER_OPS.FLOW)).toEqual([
        [true, 'memory', 1_000],
        [false, null, 0],
      ]);
    harness.publish(publisher.session, 1_000, [{ queue: 'q', body: BODY }], 1);
    await harness.turn();
    expect(publisher.wire.fieldsOf(SERVER_OPS.CONFIRM).at(-1)?.[0]).toBe(1_000);
  });

  test('is not read from after so many publishes until the next look, and its silence is not counted', async () => {
    const { harness, publisher, seq } = await shortOfMemory();
    harness.broker.flow.look();
    // The one after which publishers are held back counts.
    for (let i = 1; i < HELD_PUBLISHES_MAX; i++) {
      expect(publisher.wire.isPaused).toBe(false);
      harness.publish(publisher.session, seq + i, [{ queue: 'q', body: BODY }], 1);
    }
    expect(publisher.wire.isPaused).toBe(true);
    for (let beat = 0; beat < 5; beat++) {
      harness.clock.advance(LIMITS.heartbeatMs);
      publisher.session.sweep(harness.clock.monotonicMs());
    }
    expect(publisher.session.isOpen).toBe(true);
    harness.broker.flow.look();
    expect(publisher.wire.isPaused).toBe(false);
    for (let beat = 0; beat < 3; beat++) {
      harness.clock.advance(LIMITS.heartbeatMs);
      publisher.session.sweep(harness.clock.monotonicMs());
    }
    expect(publisher.wire.errorCode).toBe('HEARTBEAT_LOST');
  });

  test('is read from on if it has a consumer: its publishes are refused, its answers make room', async () => {
    const { harness, publisher, seq } = await shortOfMemory();
    harness.broker.flow.look();
    const { session, wire } = publisher;
    harness.send(session, [CLIENT_OPS.CONSUME, 2, 7, CONSUME]);
    let next = seq;
    for (let i = 0; i < 5; i++) harness.publish(session, ++next, [{ queue: 'q', body: BODY }], 1);
    await harness.turn();
    expect(wire.isPaused).toBe(false);
    expect(wire.fieldsOf(SERVER_OPS.REJECT).at(-1)?.slice(0, 3)).toEqual([next, 1, 'FLOW_BLOCKED']);
    const count = wire.deliveries.length;
    expect(count).toBeGreaterThan(5);
    harness.send(session, [CLIENT_OPS.ACK, 1, [1, count]]);
    await harness.turn();
    harness.broker.flow.look();
    // The number that was refused is free: the same frame is taken now.
    harness.publish(session, next, [{ queue: 'q', body: BODY }], 1);
    await harness.turn();
    expect(wire.fieldsOf(SERVER_OPS.CONFIRM).at(-1)?.slice(0, 2)).toEqual([next, 1]);
  });
});

describe('what a session has sent before it heard that an earlier publish of it was refused for now', () => {
  /** Number `refused` was refused, and there is room again. */
  async function refusedOnce() {
    const { harness, publisher, seq } = await shortOfMemory();
    const { session, wire } = publisher;
    harness.broker.flow.look();
    const publish = (number: number, confirmedSeq = 0): void =>
      session.receive(
        publishFrame([{ queue: 'q', body: BODY }], { firstSeq: number, flags: 1, confirmedSeq }),
        harness.clock.monotonicMs(),
      );
    let refused = seq;
    while (wire.fieldsOf(SERVER_OPS.REJECT).length === 0) {
      publish(++refused);
      await harness.turn();
      harness.broker.flow.look();
    }
    expect(wire.fieldsOf(SERVER_OPS.REJECT)).toEqual([[refused, 1, 'FLOW_BLOCKED', '']]);
    const other = await harness.open();
    harness.send(other.session, [CLIENT_OPS.QUEUE_PURGE, 1, 'q']);
    await harness.turn();
    harness.broker.flow.look();
    expect(harness.broker.flow.reason).toBeNull();
    const answers = async () => {
      await harness.turn();
      const of = (op: number) => wire.fieldsOf(op).map((fields) => fields.slice(0, 2));
      return {
        refused: of(SERVER_OPS.REJECT),
        taken: of(SERVER_OPS.CONFIRM).filter(([first]) => Number(first) >= refused),
      };
    };
    return { harness, publish, refused, answers, other };
  }

  test('does not overtake it: that comes again first', async () => {
    const { publish, refused, answers } = await refusedOnce();
    publish(refused + 1);
    publish(refused + 2);
    expect((await answers()).taken).toEqual([]);
    publish(refused);
    publish(refused + 1);
    publish(refused + 2);
    const { refused: rejects, taken } = await answers();
    expect(rejects).toEqual([refused, refused + 1, refused + 2].map((number) => [number, 1]));
    expect(taken).toEqual([[refused, 3]]);
  });

  test('may, when the client says that the other will not come again', async () => {
    const { publish, refused, answers } = await refusedOnce();
    publish(refused + 1, refused - 1);
    expect((await answers()).taken).toEqual([]);
    publish(refused + 2, refused);
    publish(refused + 3);
    expect((await answers()).taken).toEqual([[refused + 2, 2]]);
  });

  test('does not concern other sessions', async () => {
    const { harness, other } = await refusedOnce();
    harness.publish(other.session, 9_999, [{ queue: 'q', body: BODY }], 1);
    await harness.turn();
    expect(other.wire.fieldsOf(SERVER_OPS.CONFIRM).map(([first]) => first)).toEqual([9_999]);
  });
});

describe('a consumer', () => {
  test('gets no more when it holds as many bytes as it may, one message beyond at most, and goes on when it settles', async () => {
    const harness = await SessionHarness.start({ engine: { consumerBytesMax: 2_500 } });
    const { session, wire } = await harness.open();
    harness.send(session, [CLIENT_OPS.QUEUE_DECLARE, 1, 'q', null]);
    harness.send(session, [CLIENT_OPS.CONSUME, 2, 7, { ...CONSUME, prefetch: 0 }]);
    for (let seq = 1; seq <= 8; seq++) harness.publish(session, seq, [{ queue: 'q', body: BODY }]);
    await harness.turn();
    expect(wire.deliveries).toHaveLength(3);
    harness.send(session, [CLIENT_OPS.ACK, 1, [1, 1]]);
    await harness.turn();
    expect(wire.deliveries).toHaveLength(4);
    harness.send(session, [CLIENT_OPS.ACK, 2, [2, 3]]);
    await harness.turn();
    expect(wire.deliveries).toHaveLength(7);
  });
});

describe('a real broker with little memory', () => {
  const flags = ['--memory-max', '64MiB', '--cache-bytes', '1MiB'];

  async function client(broker: BrokerProcess, options: Parameters<typeof connect>[1] = {}) {
    const connected = await connect(broker.url, options);
    atEnd(() => connected.terminate());
    return connected;
  }

  test('has publishers wait, serves consumers, and takes everything in its order in the end', async () => {
    const broker = await BrokerProcess.start({ flags });
    const producer = await client(broker);
    await producer.queues.declare('q');
    // 24 MB of what is kept in memory, into 16 MiB.
    const count = 600;
    const confirmed: number[] = [];
    const publishing = Array.from({ length: count }, (_, i) =>
      producer.publish('q', `${i} `.padEnd(40_000, 'x'), { durability: 'memory' }).then(({ id }) => confirmed.push(id)),
    );
    await eventually(
      async () => producer.status.current.blocked?.reason,
      (reason) => reason === 'memory',
      'FLOW',
    );
    expect(confirmed.length).toBeLessThan(count);
    const hasty = await client(broker, { whenBlocked: 'fail' });
    await eventually(
      async () => hasty.status.current.blocked !== null,
      (isBlocked) => isBlocked,
      'FLOW',
    );
    const failure = await hasty.publish('q', 'x').then(
      () => null,
      (error: LovageError) => error,
    );
    expect(failure).toMatchObject({ code: 'FLOW_BLOCKED', details: { reason: 'memory', retryAfterMs: 1_000 } });
    const metrics = await (await fetch(`${broker.url.replace('ws:', 'http:')}/metrics`)).text();
    expect(metrics).toMatch(/^lovage_flow_blocked_memory 1$/m);
    // The connection that waits to publish can consume all the same.
    const numbers: number[] = [];
    for await (const delivery of producer.deliveries('q', { prefetch: 100 })) {
      numbers.push(Number.parseInt(String(delivery.value()), 10));
      await delivery.ack();
      if (numbers.length === count) break;
    }
    await Promise.all(publishing);
    expect(numbers).toEqual(Array.from({ length: count }, (_, i) => i));
    expect(producer.status.current.blocked).toBeNull();
    await hasty.publish('q', 'x');
    expect((await broker.get<{ flow: { blocks: number } }>('/api/v1/overview')).flow.blocks).toBeGreaterThan(0);
  }, 60_000);

  test('tells whoever waits longer than the deadline, and what was not sent is not stored', async () => {
    const broker = await BrokerProcess.start({ flags });
    const producer = await client(broker, { publishTimeoutMs: 1_500 });
    await producer.queues.declare('q');
    const outcomes = await Promise.allSettled(
      Array.from({ length: 600 }, () => producer.publish('q', 'x'.repeat(40_000), { durability: 'memory' })),
    );
    const taken = outcomes.filter(({ status }) => status === 'fulfilled').length;
    const errors = outcomes.flatMap((outcome) =>
      outcome.status === 'rejected' ? [outcome.reason as LovageError] : [],
    );
    expect(errors.length).toBeGreaterThan(0);
    expect(errors.every(({ code }) => code === 'PUBLISH_TIMEOUT')).toBe(true);
    expect(errors.at(-1)!.details).toMatchObject({ wasSent: false, blocked: 'memory' });
    const unknown = errors.filter(({ details }) => details?.wasSent === true).length;
    const { ready } = await producer.queues.inspect('q');
    expect(ready).toBeGreaterThanOrEqual(taken);
    expect(ready).toBeLessThanOrEqual(taken + unknown);
    expect(unknown).toBeLessThan(errors.length);
    await producer.queues.purge('q');
    await eventually(
      async () => producer.status.current.blocked,
      (blocked) => blocked === null,
      'the end of it',
    );
    expect((await producer.publish('q', 'y')).durability).toBe('disk');
    expect((await producer.queues.inspect('q')).ready).toBe(1);
  });
});
