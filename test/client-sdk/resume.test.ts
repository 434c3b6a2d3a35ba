import { describe, expect, test } from 'vitest';
import type { Client } from '../../client-sdk/client.js';
import type { Delivery } from '../../client-sdk/delivery.js';
import type { ConsumeOptions } from '../../client-sdk/options.js';
import { type Deferred, deferred } from './deferred.js';
import { connected, type FakeBroker, outcomeOf, useVirtualTime } from './fake-broker.js';

useVirtualTime();

interface Running {
  readonly client: Client;
  readonly broker: FakeBroker;
  readonly seen: Delivery[];
  readonly ends: Deferred[];
}

/** A client with handlers that run on the tags 1 to `count`, their START sent. */
async function running(count: number, options: ConsumeOptions = {}): Promise<Running> {
  const { client, broker } = await connected();
  const seen: Delivery[] = [];
  const ends: Deferred[] = [];
  void client.consume(
    'sms',
    (delivery) => {
      seen.push(delivery);
      const end = deferred();
      ends.push(end);
      return end.promise;
    },
    options,
  );
  await broker.turn();
  broker.socket.deliver(1, ...Array.from({ length: count }, (_, i) => ({ tag: i + 1 })));
  await broker.turn();
  broker.socket.news();
  return { client, broker, seen, ends };
}

/** Settlements that a new connection has got. */
function settlements(broker: FakeBroker): unknown[][] {
  return broker.socket.news().filter(([op]) => ['START', 'ACK', 'NACK', 'RELEASE'].includes(op as string));
}

const aborted = (seen: readonly Delivery[]): unknown[] =>
  seen.map(({ signal }) => (signal.aborted ? (signal.reason as { code: string }).code : null));

describe('resuming a session', () => {
  test('lets handlers of held deliveries go on and stops the others with SUPERSEDED', async () => {
    const { broker, seen, ends } = await running(3);
    const { signal } = seen[1]!;
    let heard = 0;
    signal.addEventListener('abort', () => heard++);
    await broker.reconnect({ resumed: true, session: 's1', held: [1, 1, 3, 1], settleSeq: 1 });
    expect(aborted(seen)).toEqual([null, 'SUPERSEDED', null]);
    expect(heard).toBe(1);
    await expect(seen[1]!.ack()).rejects.toMatchObject({ code: 'SUPERSEDED' });
    for (const end of ends) end.resolve();
    await broker.turn();
    expect(settlements(broker)).toEqual([['ACK', 2, [1, 1, 3, 1]]]);
  });

  test('sends what was not processed again, with its numbers and in order, and numbers on', async () => {
    const { broker, seen } = await running(4);
    const first = outcomeOf(seen[0]!.ack());
    await broker.turn();
    const second = outcomeOf(seen[1]!.nack());
    await broker.turn();
    const bytes = broker.socket.frames.filter(({ op }) => op === 'NACK').map((frame) => frame.bytes);
    broker.socket.close();
    // Said while nobody listens.
    const third = outcomeOf(seen[2]!.ack());
    broker.welcome = { resumed: true, session: 's1', held: [2, 3], settleSeq: 2 };
    await broker.untilSockets(2);
    expect(first.state).toBe('resolved');
    expect(broker.socket.all('NACK').map((frame) => frame.bytes)).toEqual(bytes);
    expect(settlements(broker)).toEqual([
      ['NACK', 3, [2, 1], true, -1, null],
      ['ACK', 4, [3, 1]],
    ]);
    broker.socket.tell('SETTLED', 4);
    await broker.turn();
    expect([second.state, third.state]).toEqual(['resolved', 'resolved']);
  });

  test('sends settlements once, before CONSUME, publishes last', async () => {
    const { client, broker, seen } = await running(1);
    void seen[0]!.ack();
    outcomeOf(client.publish('sms', 'x'));
    await broker.turn();
    await broker.reconnect({ resumed: true, session: 's1', held: [1, 1], settleSeq: 0 });
    expect(broker.socket.news().map(([op]) => op)).toEqual(['HELLO', 'START', 'ACK', 'CONSUME', 'PUBLISH']);
  });

  test('takes ALREADY_SETTLED of a frame as a success that was not heard of when the broker was restarted', async () => {
    const { broker, seen } = await running(3);
    // Their START is on disk: what the restarted broker does not hold of them was settled.
    broker.socket.tell('SETTLED', 1);
    const before = outcomeOf(seen[0]!.ack());
    await broker.turn();
    await broker.reconnect({ resumed: true, session: 's1', held: [2, 2], settleSeq: null });
    expect(settlements(broker)).toEqual([['ACK', 2, [1, 1]]]);
    broker.socket.tell('REFUSED', 2, [1, 1], 'ALREADY_SETTLED');
    broker.socket.tell('SETTLED', 2);
    const after = outcomeOf(seen[1]!.ack());
    await broker.turn();
    expect(before.state).toBe('resolved');
    expect(aborted(seen)).toEqual([null, null, null]);
    // Of a frame that only this broker has got it is what it says.
    broker.socket.tell('REFUSED', 3, [2, 1], 'ALREADY_SETTLED');
    await broker.turn();
    expect(after.error).toMatchObject({ code: 'ALREADY_SETTLED' });
  });

  test('does not take it for one when the START was not answered before the restart: the message may wait again', async () => {
    const { broker, seen } = await running(3);
    const sent = outcomeOf(seen[0]!.ack());
    const returned = outcomeOf(seen[1]!.nack());
    await broker.turn();
    broker.socket.close();
    const unsent = outcomeOf(seen[2]!.ack());
    broker.welcome = { resumed: true, session: 's1', held: [], settleSeq: null };
    await broker.untilSockets(2);
    const frames = settlements(broker).map(([op, settleSeq]) => [op, settleSeq]);
    expect(frames.slice(0, 3)).toEqual([
      ['START', 1],
      ['ACK', 2],
      ['NACK', 3],
    ]);
    for (const [settleSeq, tag] of [
      [1, 1],
      [2, 1],
      [3, 2],
    ] as const)
      broker.socket.tell('REFUSED', settleSeq, [tag, 1], 'ALREADY_SETTLED');
    broker.socket.tell('SETTLED', 3);
    await broker.turn();
    expect([sent, returned].map(({ error }) => error?.code)).toEqual(['CONNECTION_LOST', 'CONNECTION_LOST']);
    // Nobody has told the broker of this one.
    expect(unsent.error).toMatchObject({ code: 'SUPERSEDED' });
  });

  test('takes an ack for done that only frees the credit, whether the broker was restarted or not', async () => {
    for (const ack of ['early', 'none'] as const) {
      const { broker, seen } = await running(1, { ack });
      broker.socket.tell('SETTLED', 1);
      broker.socket.close();
      const outcome = outcomeOf(seen[0]!.ack());
      broker.welcome = { resumed: true, session: 's1', held: [], settleSeq: null };
      await broker.untilSockets(2);
      const [, settleSeq] = settlements(broker).find(([op]) => op === 'ACK')!;
      broker.socket.tell('REFUSED', settleSeq, [1, 1], 'ALREADY_SETTLED');
      broker.socket.tell('SETTLED', settleSeq);
      await broker.turn();
      expect(outcome.state).toBe('resolved');
    }
  });

  test('rejects at once what the broker has not processed and does not hold: its refusal may be lost once more', async () => {
    const { broker, seen } = await running(2);
    broker.socket.deliver(1, { tag: 3 }, { tag: 4 });
    const last = seen.pop()!;
    // START and ACK in one turn: the broker hears of the third only by this.
    const outcomes = seen.map((delivery) => outcomeOf(delivery.ack()));
    await broker.turn();
    broker.socket.close();
    // Said while nobody listens.
    outcomes.push(outcomeOf(last.ack()));
    broker.welcome = { resumed: true, session: 's1', held: [1, 1], settleSeq: 1 };
    await broker.untilSockets(2);
    expect(outcomes.map(({ error }) => error?.code)).toEqual([undefined, 'SUPERSEDED', 'SUPERSEDED', 'SUPERSEDED']);
    await broker.reconnect({ resumed: true, session: 's1', held: [], settleSeq: 3 });
    expect(outcomes[0]!.state).toBe('resolved');
  });

  test('does not take an uncertain frame for a success when its answer was lost', async () => {
    const { broker, seen } = await running(1);
    const outcome = outcomeOf(seen[0]!.ack());
    await broker.turn();
    await broker.reconnect({ resumed: true, session: 's1', held: [], settleSeq: null });
    await broker.reconnect({ resumed: true, session: 's1', held: [], settleSeq: 2 });
    expect(outcome.error).toMatchObject({ code: 'CONNECTION_LOST' });
  });

  test('rejects an uncertain ack that the broker refuses for another reason', async () => {
    const { broker, seen } = await running(1);
    broker.socket.tell('SETTLED', 1);
    const outcome = outcomeOf(seen[0]!.ack());
    await broker.turn();
    await broker.reconnect({ resumed: true, session: 's1', held: [], settleSeq: null });
    broker.socket.tell('REFUSED', 2, [1, 1], 'SUPERSEDED');
    broker.socket.tell('SETTLED', 2);
    await broker.turn();
    expect(outcome.error).toMatchObject({ code: 'SUPERSEDED' });
  });

  test('stops a handler whose START is refused', async () => {
    const { broker, seen, ends } = await running(2);
    broker.socket.tell('REFUSED', 1, [2, 1], 'SUPERSEDED');
    broker.socket.tell('SETTLED', 1);
    expect(aborted(seen)).toEqual([null, 'SUPERSEDED']);
    ends[1]!.resolve();
    await broker.turn();
    expect(settlements(broker)).toEqual([]);
  });

  test('forgets what has not started, at once and not only when the connection is back', async () => {
    const { broker, seen, ends } = await running(3, { prefetch: 5, concurrency: 1 });
    broker.isUp = false;
    broker.socket.close();
    ends[0]!.resolve();
    await broker.turn();
    expect(seen).toHaveLength(1);
    broker.isUp = true;
    broker.welcome = { resumed: true, session: 's1', held: [1, 1], settleSeq: 1 };
    await broker.untilSockets(2);
    expect(seen).toHaveLength(1);
    broker.socket.deliver(1, { tag: 4, redelivered: true });
    expect(seen).toHaveLength(2);
    expect(settlements(broker)).toEqual([['ACK', 2, [1, 1]]]);
  });

  test('gives back what the session holds for nobody here', async () => {
    const { broker } = await running(1);
    await broker.reconnect({ resumed: true, session: 's1', held: [1, 1, 8, 2], settleSeq: 1 });
    expect(settlements(broker)).toEqual([['NACK', 2, [8, 2], true, 0, null]]);
  });

  test('keeps a cancelled consumer cancelled, and its handlers running', async () => {
    const { broker, seen, ends, client } = await running(1);
    const closed = outcomeOf(client.close());
    await broker.reconnect({ resumed: true, session: 's1', held: [1, 1], settleSeq: 1 });
    expect(broker.socket.all('CONSUME')).toEqual([]);
    expect(aborted(seen)).toEqual([null]);
    ends[0]!.resolve();
    await broker.turn();
    expect(settlements(broker)).toEqual([['ACK', 2, [1, 1]]]);
    broker.socket.tell('SETTLED', 2);
    await broker.turn();
    broker.socket.close(1000);
    await broker.turn();
    expect(closed.state).toBe('resolved');
  });
});

describe('another session', () => {
  test('stops every handler and rejects what was not answered; numbers begin again', async () => {
    const { broker, seen, ends } = await running(3);
    const unanswered = outcomeOf(seen[0]!.ack());
    await broker.turn();
    broker.socket.close();
    const unsaid = outcomeOf(seen[1]!.ack());
    broker.welcome = { resumed: false, session: 's2' };
    await broker.untilSockets(2);
    expect(unanswered.error).toMatchObject({ code: 'CONNECTION_LOST' });
    expect(unsaid.error).toMatchObject({ code: 'CONNECTION_LOST' });
    expect(aborted(seen)).toEqual([null, null, 'SUPERSEDED']);
    for (const end of ends) end.resolve();
    await broker.turn();
    expect(settlements(broker)).toEqual([]);
    broker.socket.deliver(1, { tag: 1 });
    await broker.turn();
    expect(settlements(broker)).toEqual([['START', 1, [1, 1]]]);
  });

  test('lets handlers go on whose message is settled already', async () => {
    const { broker, seen, ends } = await running(2, { ack: 'early' });
    broker.socket.tell('SETTLED', 1);
    broker.socket.deliver(1, { tag: 3 });
    await broker.turn();
    await broker.reconnect({ resumed: false, session: 's2' });
    expect(aborted(seen)).toEqual([null, null, 'SUPERSEDED']);
    await seen[0]!.ack();
    for (const end of ends) end.resolve();
    await broker.turn();
    expect(settlements(broker)).toEqual([]);
  });

  test('and so does the same session of a broker that was restarted, which holds no settled ones', async () => {
    for (const ack of ['early', 'none'] as const) {
      const { broker, seen } = await running(1, { ack });
      broker.socket.tell('SETTLED', 1);
      await broker.reconnect({ resumed: true, session: 's1', held: [], settleSeq: null });
      expect(aborted(seen)).toEqual([null]);
    }
  });
});
