import { encodeFrame } from '@lovage/protocol';
import { describe, expect, test, vi } from 'vitest';
import type { Client } from '../../client-sdk/client.js';
import type { Consumer, Handler } from '../../client-sdk/consumer.js';
import type { Delivery } from '../../client-sdk/delivery.js';
import type { ConnectOptions, ConsumeOptions } from '../../client-sdk/options.js';
import { type Deferred, deferred } from './deferred.js';
import { connected, type FakeBroker, type Outgoing, outcomeOf, useVirtualTime } from './fake-broker.js';

useVirtualTime();

interface Started {
  readonly client: Client;
  readonly broker: FakeBroker;
  readonly consumer: Consumer;
}

async function consuming(
  handler: Handler,
  options: ConsumeOptions = {},
  connectOptions: ConnectOptions = {},
): Promise<Started> {
  const { client, broker } = await connected(connectOptions);
  const promise = client.consume('sms', handler, options);
  await broker.turn();
  const consumer = await promise;
  broker.socket.news();
  return { client, broker, consumer };
}

/** A handler that notes what it gets and leaves each delivery running until it is told. */
function heldHandler(): {
  readonly seen: Delivery[];
  readonly ends: Deferred[];
  readonly handler: Handler;
} {
  const seen: Delivery[] = [];
  const ends: Deferred[] = [];
  const handler = (delivery: Delivery): Promise<void> => {
    seen.push(delivery);
    const end = deferred();
    ends.push(end);
    return end.promise;
  };
  return { seen, ends, handler };
}

function tagged(count: number, first = 1): Outgoing[] {
  return Array.from({ length: count }, (_, i) => ({ tag: first + i }));
}

const ids = (deliveries: readonly Delivery[]): number[] => deliveries.map(({ id }) => id);

function throwing(thrown: unknown): () => never {
  return () => {
    throw thrown;
  };
}

function thenable(then: PropertyDescriptor): object {
  return Object.defineProperty({}, 'then', then);
}

describe('consume', () => {
  test('tells the broker everything that it was told, and resolves on REPLY', async () => {
    const { client, broker } = await connected();
    broker.replies = null;
    const promise = client.consume(['high', 'low'], () => undefined, {
      prefetch: 7,
      ack: 'early',
      queueOrder: 'weighted',
      weights: [3, 1],
      exclusive: true,
      priority: 9,
    });
    const outcome = outcomeOf(promise);
    await broker.turn();
    expect(broker.socket.news()).toEqual([
      [
        'CONSUME',
        1,
        1,
        {
          queues: ['high', 'low'],
          prefetch: 7,
          ack: 'early',
          queueOrder: 'weighted',
          weights: [3, 1],
          exclusive: true,
          priority: 9,
        },
      ],
    ]);
    expect(outcome.state).toBe('pending');
    broker.socket.tell('REPLY', 1, { consumerId: 1 });
    await broker.turn();
    expect(outcome.value).toMatchObject({ queues: ['high', 'low'], prefetch: 7 });
  });

  test('has defaults', async () => {
    const { client, broker } = await connected();
    void client.consume('sms', () => undefined);
    await broker.turn();
    expect(broker.socket.all('CONSUME')[0]!.fields[2]).toEqual({
      queues: ['sms'],
      prefetch: 100,
      ack: 'late',
      queueOrder: 'strict',
      weights: null,
      exclusive: false,
      priority: 0,
    });
  });

  test('rejects with what the broker refuses it with, and is not tried again', async () => {
    const { client, broker } = await connected();
    broker.replies = null;
    const outcome = outcomeOf(client.consume('sms', () => undefined));
    await broker.turn();
    broker.socket.tell('ERROR', 1, 'QUEUE_NOT_FOUND', 'No such queue', { queue: 'sms' });
    await broker.turn();
    expect(outcome.error).toMatchObject({ code: 'QUEUE_NOT_FOUND', details: { queue: 'sms' } });
    await broker.reconnect();
    expect(broker.socket.all('CONSUME')).toEqual([]);
  });

  test('that is not answered in time is taken back, in case the broker still carries it out', async () => {
    const { client, broker } = await connected({ requestTimeoutMs: 1_000 });
    broker.replies = null;
    const outcome = outcomeOf(client.consume('sms', () => undefined));
    await broker.pass(1_010);
    expect(outcome.error).toMatchObject({ code: 'REQUEST_TIMEOUT' });
    expect(broker.socket.news()).toMatchObject([
      ['CONSUME', 1, 1, {}],
      ['CANCEL', 2, 1],
    ]);
  });

  test('refuses a handler that is no function', async () => {
    const { client } = await connected();
    await expect(client.consume('sms', 7 as never)).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
      details: { field: 'handler' },
    });
  });
});

describe('a delivery', () => {
  test('has the fields, headers and body that were published', async () => {
    const { seen, handler } = heldHandler();
    const { client, broker } = await connected();
    void client.consume(['sms', 'mail'], handler);
    await broker.turn();
    broker.socket.deliver(
      1,
      {
        tag: 1,
        id: 900,
        queueIndex: 1,
        priority: 7,
        attempt: 3,
        redelivered: true,
        contentType: 'text/plain',
        headers: { a: 1 },
        body: 'é',
      },
      { tag: 2, contentType: 'application/msgpack', body: Uint8Array.of(0x81, 0xa1, 0x61, 0x02) },
      { tag: 3, body: Uint8Array.of(1, 2) },
      { tag: 4, contentType: 'application/msgpack', body: Uint8Array.of(0xc1) },
    );
    expect(seen[0]).toMatchObject({ id: 900, queue: 'mail', priority: 7, attempt: 3, redelivered: true });
    expect(seen[0]).toMatchObject({ headers: { a: 1 }, contentType: 'text/plain' });
    expect(seen[0]!.value()).toBe('é');
    expect(seen[1]).toMatchObject({ queue: 'sms', headers: {}, attempt: 1, redelivered: false });
    expect(seen[1]!.value()).toEqual({ a: 2 });
    expect(seen[2]!.value()).toEqual(Uint8Array.of(1, 2));
    expect(() => seen[3]!.value()).toThrow(expect.objectContaining({ code: 'BAD_FRAME' }));
  });

  test('of a dead letter has its history among the headers', async () => {
    const { seen, handler } = heldHandler();
    const { client, broker } = await connected();
    void client.consume('sms', handler);
    await broker.turn();
    const history = [
      { queue: 'sms', reason: 'rejected', timeMs: 5_000, count: 2 },
      { queue: 'mail', reason: 'expired', timeMs: 6_000, count: 1 },
    ] as const;
    broker.socket.deliver(1, { tag: 1, headers: { a: 1, 'x-death': 'forged' }, history }, { tag: 2, history });
    const deaths = [
      { queue: 'sms', reason: 'rejected', time: 5_000, count: 2 },
      { queue: 'mail', reason: 'expired', time: 6_000, count: 1 },
    ];
    expect(seen[0]!.headers).toEqual({ a: 1, 'x-death': deaths });
    expect(seen[1]!.headers).toEqual({ 'x-death': deaths });
  });
});

describe('settling', () => {
  test('sends START and ACK in ranges, one frame a turn', async () => {
    const { ends, handler } = heldHandler();
    const { broker } = await consuming(handler);
    broker.socket.deliver(1, ...tagged(5));
    await broker.turn();
    expect(broker.socket.news()).toEqual([['START', 1, [1, 5]]]);
    for (const i of [0, 1, 2, 4]) ends[i]!.resolve();
    await broker.turn();
    expect(broker.socket.news()).toEqual([['ACK', 2, [1, 3, 5, 1]]]);
  });

  test('says nothing of START for what is done in the same turn', async () => {
    const { broker } = await consuming(({ id }) => (id === 2 ? new Promise(() => undefined) : undefined));
    broker.socket.deliver(1, ...tagged(3));
    await broker.turn();
    expect(broker.socket.news()).toEqual([
      ['START', 1, [2, 1]],
      ['ACK', 2, [1, 1, 3, 1]],
    ]);
  });

  test('says that nobody waits for what a handler says by beginning and returning, but not of what was acknowledged by hand', async () => {
    const { ends, handler } = heldHandler();
    const { broker } = await consuming((delivery) => (delivery.id === 3 ? delivery.ack() : handler(delivery)));
    broker.socket.deliver(1, ...tagged(2));
    await broker.turn();
    ends[0]!.resolve();
    await broker.turn();
    expect(broker.socket.newsWithMayWait()).toEqual([
      ['START', 1, [1, 2], true],
      ['ACK', 2, [1, 1], true],
    ]);
    // One that is waited for makes the frame one that is.
    ends[1]!.resolve();
    broker.socket.deliver(1, ...tagged(1, 3));
    await broker.turn();
    expect(broker.socket.newsWithMayWait()).toEqual([['ACK', 3, [3, 1, 2, 1]]]);
  });

  test('says that somebody waits for what is told before the end of a consumer', async () => {
    const { ends, handler } = heldHandler();
    const { consumer, broker } = await consuming(handler);
    broker.socket.deliver(1, ...tagged(1));
    await broker.turn();
    broker.socket.news();
    outcomeOf(consumer.cancel());
    await broker.turn();
    ends[0]!.resolve();
    await broker.turn();
    expect(broker.socket.newsWithMayWait().filter(([op]) => op === 'ACK')).toEqual([['ACK', 2, [1, 1]]]);
  });

  test('lets starts and ends gather for as long as it may, and tells of an end at once when there is little left to begin', async () => {
    const { ends, handler } = heldHandler();
    const { broker } = await consuming(handler, { prefetch: 10, concurrency: 2, gatherMs: 50 });
    broker.socket.deliver(1, ...tagged(7));
    await broker.turn();
    expect(broker.socket.news()).toEqual([]);
    // Five wait, and then four: the end of the second is told, and the first with it. Neither has to be told to have begun.
    ends[0]!.resolve();
    await broker.turn();
    expect(broker.socket.news()).toEqual([]);
    ends[1]!.resolve();
    await broker.turn();
    expect(broker.socket.news()).toEqual([['ACK', 1, [1, 2]]]);
    await broker.pass(60);
    expect(broker.socket.news()).toEqual([['START', 2, [3, 2]]]);
    broker.socket.deliver(1, ...tagged(5, 8));
    await broker.turn();
    ends[2]!.resolve();
    await broker.turn();
    expect(broker.socket.news()).toEqual([]);
    await broker.pass(60);
    expect(broker.socket.news()).toEqual([
      ['START', 3, [5, 1]],
      ['ACK', 4, [3, 1]],
    ]);
  });

  test('tells before a cancel what has begun, because the broker takes back what has not', async () => {
    const { consumer, broker } = await consuming(heldHandler().handler, { concurrency: 2, gatherMs: 1_000 });
    broker.socket.deliver(1, ...tagged(3));
    await broker.turn();
    expect(broker.socket.news()).toEqual([]);
    outcomeOf(consumer.cancel());
    await broker.turn();
    expect(broker.socket.news().map(([op]) => op)).toEqual(['START', 'CANCEL']);
  });

  test('tells starts at once in mode early, however long they might gather', async () => {
    const { broker } = await consuming(heldHandler().handler, { ack: 'early', gatherMs: 1_000 });
    broker.socket.deliver(1, ...tagged(2));
    await broker.turn();
    expect(broker.socket.news()).toEqual([['START', 1, [1, 2]]]);
  });

  test('numbers all frames together and keeps to the order START, ACK, NACK, RELEASE', async () => {
    const { broker } = await consuming(
      (delivery) => {
        if (delivery.id === 1) return delivery.ack();
        if (delivery.id === 2) return delivery.nack({ delayMs: 5, reason: 'later' });
        if (delivery.id === 3) return delivery.nack({ requeue: false });
        return new Promise(() => undefined);
      },
      { prefetch: 10, concurrency: 4 },
    );
    broker.socket.deliver(1, ...tagged(6));
    broker.socket.tell('RECALL', [4, 3]);
    await broker.turn();
    expect(broker.socket.news()).toEqual([
      ['START', 1, [4, 1]],
      ['ACK', 2, [1, 1]],
      ['NACK', 3, [2, 1], true, 5, 'later'],
      ['NACK', 4, [3, 1], false, 0, null],
      ['RELEASE', 5, [5, 2]],
    ]);
  });

  test('gathers equal nacks in one frame', async () => {
    const { broker } = await consuming((delivery) => {
      throw new Error(delivery.id % 2 === 0 ? 'even' : 'odd');
    });
    broker.socket.deliver(1, ...tagged(6));
    await broker.turn();
    expect(broker.socket.news()).toEqual([
      ['NACK', 1, [1, 1, 3, 1, 5, 1], true, -1, 'odd'],
      ['NACK', 2, [2, 1, 4, 1, 6, 1], true, -1, 'even'],
    ]);
  });

  test('resolves when a SETTLED covers its frame', async () => {
    const { seen, handler } = heldHandler();
    const { broker } = await consuming(handler);
    broker.socket.deliver(1, ...tagged(3));
    const first = outcomeOf(seen[0]!.ack());
    await broker.turn();
    const second = outcomeOf(seen[1]!.nack());
    await broker.turn();
    const third = outcomeOf(seen[2]!.ack());
    await broker.turn();
    expect([first.state, second.state, third.state]).toEqual(['pending', 'pending', 'pending']);
    broker.socket.tell('SETTLED', 3);
    await broker.turn();
    expect([first.state, second.state, third.state]).toEqual(['resolved', 'resolved', 'pending']);
  });

  test('rejects the tags that a REFUSED names, and no others', async () => {
    const { seen, handler } = heldHandler();
    const { broker } = await consuming(handler);
    broker.socket.deliver(1, ...tagged(4));
    const outcomes = seen.map((delivery) => outcomeOf(delivery.ack()));
    await broker.turn();
    broker.socket.tell('REFUSED', 1, [2, 1, 4, 1], 'SUPERSEDED');
    broker.socket.tell('SETTLED', 1);
    await broker.turn();
    expect(outcomes.map(({ state }) => state)).toEqual(['resolved', 'rejected', 'resolved', 'rejected']);
    expect(outcomes[1]!.error).toMatchObject({ code: 'SUPERSEDED' });
  });

  test('twice rejects ALREADY_SETTLED, awaited or not', async () => {
    const { seen, handler } = heldHandler();
    const { broker } = await consuming(handler);
    broker.socket.deliver(1, ...tagged(2));
    void seen[0]!.ack();
    await expect(seen[0]!.ack()).rejects.toMatchObject({ code: 'ALREADY_SETTLED' });
    await expect(seen[0]!.nack()).rejects.toMatchObject({ code: 'ALREADY_SETTLED' });
    // Nobody awaits this one; vitest fails the file if that is an unhandled rejection.
    void seen[0]!.ack();
    await broker.turn();
    expect(broker.socket.news()).toEqual([
      ['START', 1, [2, 1]],
      ['ACK', 2, [1, 1]],
    ]);
  });

  test('by hand leaves nothing for the end of the handler to do', async () => {
    const { broker } = await consuming(async (delivery) => {
      await delivery.nack({ requeue: false });
      throw new Error('and then it fails');
    });
    broker.settles = true;
    broker.socket.deliver(1, { tag: 1 });
    await broker.turn();
    expect(broker.socket.news()).toEqual([['NACK', 1, [1, 1], false, 0, null]]);
  });

  test.each([
    ['requeue', 'yes'],
    ['delayMs', -1],
    ['delayMs', 0.5],
    ['delayMs', 315_360_000_001],
    ['reason', 7],
  ])('refuses nack %s %j, and the delivery stays unsettled', async (field, value) => {
    const { seen, handler } = heldHandler();
    const { broker } = await consuming(handler);
    broker.socket.deliver(1, { tag: 1 });
    await expect(seen[0]!.nack({ [field]: value })).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
      details: { field },
    });
    void seen[0]!.ack();
    await broker.turn();
    expect(broker.socket.news()).toEqual([['ACK', 1, [1, 1]]]);
  });

  test('cuts a reason at 1,000 characters', async () => {
    const { broker } = await consuming(() => Promise.reject(new Error('é'.repeat(2_000))));
    broker.socket.deliver(1, { tag: 1 });
    await broker.turn();
    expect(broker.socket.all('NACK')[0]!.fields[4]).toBe('é'.repeat(1_000));
  });
});

describe('a handler that fails', () => {
  const FAILURES: readonly (readonly [string, () => unknown, string])[] = [
    ['throws', throwing(new Error('boom')), 'boom'],
    ['rejects', () => Promise.reject(new TypeError('later')), 'later'],
    ['throws no error', throwing('text'), 'text'],
    ['throws nothing', () => Promise.reject(undefined), 'undefined'],
    ['throws an error without a message', throwing(new RangeError()), 'RangeError'],
    ['throws an error whose message is none', throwing(Object.assign(new Error('x'), { message: 7 })), '7'],
    ['throws what has no text', throwing(Object.create(null)), 'an error without text'],
    ['returns a thenable that throws', () => thenable({ value: throwing(new Error('then')) }), 'then'],
    ['returns a thenable that cannot be looked at', () => thenable({ get: throwing(new Error('get')) }), 'get'],
  ];
  test.each(FAILURES)('because it %s has its delivery returned with backoff and a reason', async (_, fail, reason) => {
    const failures: [unknown, number][] = [];
    const { broker } = await consuming(fail as Handler, {
      onError: (error, delivery) => failures.push([error, delivery!.id]),
    });
    broker.socket.deliver(1, { tag: 1 });
    await broker.turn();
    expect(broker.socket.news().at(-1)).toEqual([
      'NACK',
      broker.socket.all('START').length + 1,
      [1, 1],
      true,
      -1,
      reason,
    ]);
    expect(failures).toHaveLength(1);
    expect(failures[0]![1]).toBe(1);
  });

  test('may have a listener that fails itself', async () => {
    const onError = vi.fn().mockImplementationOnce(() => {
      throw new Error('sync');
    });
    onError.mockImplementation(() => Promise.reject(new Error('async')));
    const { client, broker } = await consuming(() => Promise.reject(new Error('boom')), { onError });
    broker.socket.deliver(1, ...tagged(2));
    await broker.turn();
    expect(onError).toHaveBeenCalledTimes(2);
    expect(client.status.current.state).toBe('connected');
  });

  test('may return a thenable that answers twice', async () => {
    const { broker } = await consuming(
      () =>
        thenable({
          value: (resolve: () => void) => {
            resolve();
            resolve();
          },
        }),
      { prefetch: 1, concurrency: 1 },
    );
    for (let tag = 1; tag <= 3; tag++) {
      broker.socket.deliver(1, { tag });
      await broker.turn();
    }
    expect(broker.socket.all('ACK').map(({ fields }) => fields[1])).toEqual([
      [1, 1],
      [2, 1],
      [3, 1],
    ]);
  });
});

describe('ack modes', () => {
  test('early settles with START, and the end of the handler frees the credit, failed or not', async () => {
    const { ends, handler } = heldHandler();
    const { broker } = await consuming(handler, { ack: 'early' });
    broker.socket.deliver(1, ...tagged(2));
    await broker.turn();
    ends[0]!.resolve();
    ends[1]!.reject(new Error('too late'));
    await broker.turn();
    expect(broker.socket.news()).toEqual([
      ['START', 1, [1, 2]],
      ['ACK', 2, [1, 2]],
    ]);
  });

  test('none sends no START, only the ACK that frees the credit', async () => {
    const { ends, seen, handler } = heldHandler();
    const { broker } = await consuming(handler, { ack: 'none' });
    broker.socket.deliver(1, ...tagged(3));
    await broker.turn();
    expect(broker.socket.news()).toEqual([]);
    ends[0]!.resolve();
    ends[1]!.reject(new Error('too late'));
    void seen[2]!.nack();
    await broker.turn();
    expect(broker.socket.news()).toEqual([['ACK', 1, [3, 1, 1, 2]]]);
  });

  test('none keeps what waits through a lost connection, a recall and a cancel: nobody else will get it', async () => {
    const { ends, seen, handler } = heldHandler();
    const { broker, consumer } = await consuming(handler, { ack: 'none', prefetch: 10, concurrency: 1 });
    broker.socket.deliver(1, ...tagged(4));
    broker.socket.tell('RECALL', [2, 3]);
    await broker.reconnect({ resumed: true, session: 's1', held: [1, 4] });
    ends[0]!.resolve();
    await broker.turn();
    expect(ids(seen)).toEqual([1, 2]);
    expect(broker.socket.news().slice(1)).toEqual([
      ['CONSUME', 2, 1, expect.anything()],
      ['ACK', 1, [1, 1]],
    ]);
    // The session ends: what waits needs no answer any more.
    await broker.reconnect({ resumed: false, session: 's2' });
    const cancelled = outcomeOf(consumer.cancel());
    await broker.turn();
    expect(cancelled.state).toBe('pending');
    for (let i = 1; i < 4; i++) {
      ends[i]!.resolve();
      await broker.turn();
    }
    expect(ids(seen)).toEqual([1, 2, 3, 4]);
    expect(seen[3]!.signal.aborted).toBe(false);
    expect(cancelled.state).toBe('resolved');
    expect(broker.socket.all('ACK')).toEqual([]);
  });

  test('none takes what was under way when it was cancelled', async () => {
    const { ends, seen, handler } = heldHandler();
    const { broker, consumer } = await consuming(handler, { ack: 'none' });
    broker.replies = null;
    const cancelled = outcomeOf(consumer.cancel());
    await broker.turn();
    broker.socket.deliver(1, { tag: 1 });
    broker.socket.tell('REPLY', 2, { unsettled: 1 });
    await broker.turn();
    expect(ids(seen)).toEqual([1]);
    expect(cancelled.state).toBe('pending');
    ends[0]!.resolve();
    broker.settles = true;
    await broker.turn();
    expect(broker.socket.all('ACK').map(({ fields }) => fields[1])).toEqual([[1, 1]]);
    expect(cancelled.state).toBe('resolved');
  });
});

describe('concurrency', () => {
  test('bounds the handlers; others wait un-started, the most urgent first, inside a priority in order of arrival', async () => {
    const { ends, seen, handler } = heldHandler();
    const { broker } = await consuming(handler, { prefetch: 10, concurrency: 2 });
    broker.socket.deliver(1, ...[5, 0, 0, 9, 5, 9, 255].map((priority, i) => ({ tag: i + 1, priority })));
    await broker.turn();
    expect(ids(seen)).toEqual([1, 2]);
    expect(broker.socket.news()).toEqual([['START', 1, [1, 2]]]);
    for (let i = 0; i < 7; i++) {
      ends[i]!.resolve();
      await broker.turn();
    }
    expect(ids(seen)).toEqual([1, 2, 7, 4, 6, 5, 3]);
  });

  test('of a prefetch of 0 has no limit', async () => {
    const { seen, handler } = heldHandler();
    const { broker } = await consuming(handler, { prefetch: 0 });
    broker.socket.deliver(1, ...tagged(500));
    expect(seen).toHaveLength(500);
  });

  test('follows setPrefetch unless it was given', async () => {
    const { seen, handler } = heldHandler();
    const { broker, consumer } = await consuming(handler, { prefetch: 1 });
    const set = outcomeOf(consumer.setPrefetch(3));
    await broker.turn();
    expect(set.state).toBe('resolved');
    expect(consumer.prefetch).toBe(3);
    expect(broker.socket.news()).toEqual([['PREFETCH', 2, 1, 3]]);
    broker.socket.deliver(1, ...tagged(3));
    expect(seen).toHaveLength(3);
    const { seen: fixedSeen, handler: fixedHandler } = heldHandler();
    const fixed = await consuming(fixedHandler, { prefetch: 1, concurrency: 1 });
    void fixed.consumer.setPrefetch(3);
    await fixed.broker.turn();
    fixed.broker.socket.deliver(1, ...tagged(3));
    expect(fixedSeen).toHaveLength(1);
  });

  test('that grows starts what waits', async () => {
    const { seen, handler } = heldHandler();
    const { broker, consumer } = await consuming(handler, { prefetch: 2 });
    void consumer.setPrefetch(1);
    await broker.turn();
    broker.socket.deliver(1, ...tagged(2));
    expect(seen).toHaveLength(1);
    void consumer.setPrefetch(2);
    await broker.turn();
    expect(seen).toHaveLength(2);
  });

  test('is asked for again, with the present prefetch, on a new connection', async () => {
    const { broker, consumer } = await consuming(() => undefined);
    broker.isUp = false;
    broker.socket.close();
    const set = outcomeOf(consumer.setPrefetch(8));
    broker.isUp = true;
    await broker.untilSockets(2);
    expect(broker.socket.news().slice(1)).toMatchObject([
      ['CONSUME', 3, 1, { prefetch: 8 }],
      ['PREFETCH', 2, 1, 8],
    ]);
    expect(set.state).toBe('resolved');
  });

  test.each([-1, 65_536, 1.5, 'x'])('refuses setPrefetch(%j)', async (prefetch) => {
    const { consumer } = await consuming(() => undefined);
    await expect(consumer.setPrefetch(prefetch as number)).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
      details: { field: 'prefetch' },
    });
    expect(consumer.prefetch).toBe(100);
  });

  test('of 100,000 sync handlers makes no deep recursion, at once or one after the other', async () => {
    let count = 0;
    const { broker } = await consuming(() => ++count, { prefetch: 0 });
    broker.socket.deliver(1, ...tagged(50_000));
    expect(count).toBe(50_000);
    const gate = deferred();
    const slow = await consuming(() => (count++ === 50_000 ? gate.promise : undefined), {
      prefetch: 0,
      concurrency: 1,
    });
    slow.broker.socket.deliver(1, ...tagged(100_000));
    expect(count).toBe(50_001);
    gate.resolve();
    await slow.broker.turn();
    expect(count).toBe(150_000);
    expect(slow.broker.socket.all('ACK').map(({ fields }) => fields[1])).toEqual([[1, 100_000]]);
  });
});

describe('RECALL', () => {
  test('is answered with RELEASE for what has not started, and with nothing for the rest', async () => {
    const { ends, seen, handler } = heldHandler();
    const { broker } = await consuming(handler, { prefetch: 10, concurrency: 2 });
    broker.socket.deliver(1, ...tagged(6));
    await broker.turn();
    broker.socket.news();
    broker.socket.tell('RECALL', [1, 4, 6, 1, 99, 1]);
    await broker.turn();
    expect(broker.socket.news()).toEqual([['RELEASE', 2, [3, 2, 6, 1]]]);
    for (const end of ends) end.resolve();
    await broker.turn();
    expect(ids(seen)).toEqual([1, 2, 5]);
  });
});

describe('the end of a consumer', () => {
  test('by cancel waits for running handlers and their answers; what has not started is forgotten', async () => {
    const { ends, seen, handler } = heldHandler();
    const { broker, consumer } = await consuming(handler, { prefetch: 10, concurrency: 2 });
    broker.socket.deliver(1, ...tagged(4));
    const cancelled = outcomeOf(consumer.cancel());
    const ended = outcomeOf(consumer.ended);
    expect(consumer.cancel()).toBe(consumer.cancel());
    await broker.turn();
    expect(broker.socket.news()).toMatchObject([
      ['START', 1, [1, 2]],
      ['CANCEL', 2, 1],
    ]);
    broker.socket.deliver(1, { tag: 5 });
    ends[0]!.resolve();
    await broker.turn();
    ends[1]!.resolve();
    await broker.turn();
    expect(cancelled.state).toBe('pending');
    broker.socket.tell('SETTLED', 3);
    await broker.turn();
    expect(cancelled.state).toBe('resolved');
    expect(ended).toMatchObject({ state: 'resolved', value: null });
    expect(ids(seen)).toEqual([1, 2]);
    await broker.reconnect();
    expect(broker.socket.all('CONSUME')).toEqual([]);
  });

  test('by cancel without a connection needs no answer from the broker', async () => {
    const { broker, consumer } = await consuming(() => undefined);
    broker.isUp = false;
    broker.socket.close();
    const cancelled = outcomeOf(consumer.cancel());
    await broker.turn();
    expect(cancelled.state).toBe('resolved');
    broker.isUp = true;
    await broker.untilSockets(2);
    expect(broker.socket.news().map(([op]) => op)).toEqual(['HELLO']);
  });

  test('by cancel is bounded when the broker does not answer', async () => {
    const { broker, consumer } = await consuming((delivery) => void delivery.ack(), {}, { requestTimeoutMs: 1_000 });
    broker.replies = null;
    broker.socket.deliver(1, { tag: 1 });
    const cancelled = outcomeOf(consumer.cancel());
    await broker.pass(2_010);
    expect(cancelled.state).toBe('resolved');
  });

  test('of one of its queues is told to `onError`, without a delivery, and frames of a newer broker are passed over', async () => {
    const { seen, handler } = heldHandler();
    const told: unknown[][] = [];
    const { broker, client } = await consuming(handler, { onError: (...what) => told.push(what) });
    broker.socket.tell('CONSUMER_QUEUE_GONE', 1, 'sms', 'QUEUE_DELETED');
    broker.socket.tell('CONSUMER_QUEUE_GONE', 2, 'mail', 'QUEUE_DELETED');
    broker.socket.tellBytes(encodeFrame([127, 1]));
    broker.socket.deliver(1, { tag: 1 });
    await broker.turn();
    expect(told).toMatchObject([[{ code: 'QUEUE_DELETED', details: { queue: 'sms' } }, null]]);
    expect(ids(seen)).toEqual([1]);
    expect(client.status.current.state).toBe('connected');
  });

  test('by the broker is told; what runs goes on and is settled', async () => {
    const { ends, seen, handler } = heldHandler();
    const { broker, consumer } = await consuming(handler, { prefetch: 10, concurrency: 1 });
    broker.socket.deliver(1, ...tagged(2));
    broker.socket.tell('CONSUMER_CANCELLED', 1, 'QUEUE_DELETED');
    const ended = outcomeOf(consumer.ended);
    await broker.turn();
    expect(ended.value).toMatchObject({ code: 'QUEUE_DELETED' });
    const cancelled = outcomeOf(consumer.cancel());
    await broker.turn();
    expect(cancelled.state).toBe('pending');
    broker.settles = true;
    ends[0]!.resolve();
    await broker.turn();
    expect(cancelled.state).toBe('resolved');
    expect(broker.socket.news()).toEqual([
      ['START', 1, [1, 1]],
      ['ACK', 2, [1, 1]],
    ]);
    expect(ids(seen)).toEqual([1]);
    await broker.reconnect();
    expect(broker.socket.all('CONSUME')).toEqual([]);
  });

  test('may come from inside its own handler', async () => {
    const done = deferred();
    const { broker, consumer } = await consuming(
      () => {
        void consumer.cancel().then(done.resolve);
      },
      { prefetch: 10, concurrency: 1 },
    );
    broker.settles = true;
    broker.socket.deliver(1, ...tagged(3));
    await broker.turn();
    await done.promise;
    expect(broker.socket.all('ACK').map(({ fields }) => fields[1])).toEqual([[1, 1]]);
  });
});

describe('subscribing again', () => {
  test('happens on each new connection with the same number, and deliveries go on', async () => {
    const { seen, handler } = heldHandler();
    const { broker } = await consuming(handler);
    for (let i = 1; i <= 3; i++) {
      await broker.reconnect({ resumed: i % 2 === 0 });
      expect(broker.socket.all('CONSUME')).toMatchObject([{ fields: [i + 1, 1, { queues: ['sms'] }] }]);
      broker.socket.deliver(1, { tag: i, id: 100 + i });
    }
    expect(ids(seen)).toEqual([101, 102, 103]);
  });

  test('survives a connection that is lost before the answer', async () => {
    const { seen, handler } = heldHandler();
    const { broker } = await consuming(handler);
    broker.replies = null;
    await broker.reconnect();
    await broker.reconnect();
    expect(broker.socket.all('CONSUME')).toHaveLength(1);
    broker.socket.deliver(1, { tag: 1 });
    expect(seen).toHaveLength(1);
  });

  test('that is refused ends the consumer', async () => {
    const { broker, consumer } = await consuming(() => undefined);
    broker.replies = null;
    await broker.reconnect();
    broker.socket.tell('ERROR', 2, 'QUEUE_NOT_FOUND', '', null);
    await broker.turn();
    expect(await consumer.ended).toMatchObject({ code: 'QUEUE_NOT_FOUND' });
  });

  test('happens when the broker does not know the consumer, once at a time', async () => {
    const { broker, consumer } = await consuming(() => undefined);
    const ended = outcomeOf(consumer.ended);
    broker.replies = null;
    const unknown = ['CONSUMER_NOT_FOUND', 'Cannot find consumer 1', { consumerId: 1 }] as const;
    broker.socket.tell('ERROR', null, ...unknown);
    broker.socket.tell('ERROR', null, ...unknown);
    await broker.turn();
    expect(broker.socket.news()).toEqual([['CONSUME', 2, 1, expect.anything()]]);
    // It had it after all.
    broker.socket.tell('ERROR', 2, 'CONSUMER_EXISTS', '', null);
    await broker.turn();
    expect(ended.state).toBe('pending');
    broker.socket.tell('ERROR', null, ...unknown);
    await broker.turn();
    expect(broker.socket.news()).toEqual([['CONSUME', 3, 1, expect.anything()]]);
    expect(broker.sockets).toHaveLength(1);
  });

  test('of a consumer whose first CONSUME was under way is that CONSUME again', async () => {
    const { client, broker } = await connected();
    broker.replies = null;
    const outcome = outcomeOf(client.consume('sms', () => undefined));
    await broker.turn();
    await broker.reconnect();
    expect(broker.socket.all('CONSUME')).toMatchObject([{ fields: [1, 1, {}] }]);
    broker.socket.tell('REPLY', 1, {});
    await broker.turn();
    expect(outcome.state).toBe('resolved');
  });
});

describe('deliveries()', () => {
  async function looping(options: ConsumeOptions = {}): Promise<{
    readonly client: Client;
    readonly broker: FakeBroker;
    readonly loop: AsyncGenerator<Delivery, void, undefined>;
    readonly first: ReturnType<typeof outcomeOf<IteratorResult<Delivery, void>>>;
  }> {
    const { client, broker } = await connected();
    broker.settles = true;
    const loop = client.deliveries('sms', options);
    const first = outcomeOf(loop.next());
    await broker.turn();
    broker.socket.news();
    return { client, broker, loop, first };
  }

  test('gives each delivery when it is asked for, which starts it; ack is by hand', async () => {
    const { broker, loop, first } = await looping({ prefetch: 3 });
    broker.socket.deliver(1, { tag: 1 }, { tag: 2, priority: 1 }, { tag: 3, priority: 9 });
    await broker.turn();
    const delivery = first.value!.value as Delivery;
    expect(delivery.id).toBe(3);
    expect(broker.socket.news()).toEqual([['START', 1, [3, 1]]]);
    const acked = outcomeOf(delivery.ack());
    await broker.turn();
    expect(acked.state).toBe('resolved');
    const second = outcomeOf(loop.next());
    await broker.turn();
    expect((second.value!.value as Delivery).id).toBe(2);
    expect(broker.socket.news()).toEqual([
      ['ACK', 2, [3, 1]],
      ['START', 3, [2, 1]],
    ]);
  });

  test('waits for what comes later, also after a lost connection', async () => {
    const { broker, loop, first } = await looping();
    await broker.reconnect();
    broker.socket.deliver(1, { tag: 1 });
    await broker.turn();
    expect(first.state).toBe('resolved');
    const second = outcomeOf(loop.next());
    await broker.pass(1_000);
    expect(second.state).toBe('pending');
    broker.socket.deliver(1, { tag: 2 });
    await broker.turn();
    expect(second.value).toMatchObject({ done: false });
  });

  test('forgets what it has not taken when the connection is lost', async () => {
    const { broker, loop, first } = await looping();
    broker.socket.deliver(1, ...tagged(3));
    await broker.turn();
    expect(first.state).toBe('resolved');
    broker.isUp = false;
    broker.socket.close();
    const second = outcomeOf(loop.next());
    await broker.turn();
    expect(second.state).toBe('pending');
  });

  test('left by break ends the consumer; what was taken can still be settled, and close waits for that', async () => {
    const { client, broker } = await connected();
    broker.settles = true;
    const taken: Delivery[] = [];
    const over = (async () => {
      for await (const delivery of client.deliveries('sms')) {
        taken.push(delivery);
        break;
      }
    })();
    await broker.turn();
    broker.socket.deliver(1, ...tagged(3));
    await broker.turn();
    await over;
    broker.settles = false;
    void taken[0]!.ack();
    const closed = outcomeOf(client.close());
    await broker.turn();
    expect(closed.state).toBe('pending');
    expect(broker.socket.news().map(([op]) => op)).toEqual(['CONSUME', 'START', 'CANCEL', 'ACK']);
    broker.socket.tell('SETTLED', 2);
    await broker.turn();
    expect(broker.socket.news()).toEqual([['GOODBYE']]);
    broker.socket.close(1000);
    await broker.turn();
    expect(closed.state).toBe('resolved');
  });

  test('ends after close and throws after terminate or when the queue is deleted', async () => {
    const closing = await looping();
    void closing.client.close();
    await closing.broker.turn();
    expect(closing.first.value).toEqual({ done: true, value: undefined });
    const terminated = await looping();
    terminated.client.terminate();
    await terminated.broker.turn();
    expect(terminated.first.error).toMatchObject({ code: 'CLIENT_CLOSED' });
    const deleted = await looping();
    deleted.broker.socket.tell('CONSUMER_CANCELLED', 1, 'QUEUE_DELETED');
    await deleted.broker.turn();
    expect(deleted.first.error).toMatchObject({ code: 'QUEUE_DELETED' });
  });

  test('throws what consume was refused with', async () => {
    const { client } = await connected();
    await expect(client.deliveries('no name').next()).rejects.toMatchObject({ code: 'INVALID_NAME' });
  });

  test('in mode none frees the credit of what it never took', async () => {
    const { broker, loop, first } = await looping({ ack: 'none' });
    broker.socket.deliver(1, ...tagged(3));
    await broker.turn();
    expect(first.state).toBe('resolved');
    const left = outcomeOf(loop.return());
    await broker.turn();
    expect(left.state).toBe('resolved');
    expect(broker.socket.all('ACK').map(({ fields }) => fields[1])).toEqual([[2, 2]]);
  });
});
