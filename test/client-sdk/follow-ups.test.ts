/** Messages that are published with the settlement of a delivery, on a real broker. */
import { beforeAll, describe, expect, test } from 'vitest';
import { type Client, type ConnectOptions, connect, type Delivery, type FollowUp } from '../../client-sdk/index.js';
import { BrokerProcess } from '../support/broker-process.js';
import { atEnd } from '../support/cleanup.js';
import { eventually } from '../support/deadline.js';
import { deferred } from './deferred.js';

let broker: BrokerProcess;
let namespaces = 0;

beforeAll(async () => {
  broker = await BrokerProcess.start();
});

async function client(namespace: string, options: ConnectOptions = {}): Promise<Client> {
  const connected = await connect(broker.url, { namespace, ...options });
  atEnd(() => connected.close());
  return connected;
}

/** What comes of a handler that gets one message of `work`. */
async function handled(connected: Client, handler: (delivery: Delivery) => unknown, ack: 'late' | 'early' = 'late') {
  await connected.queues.declare('work', { backoffMsMin: 3_600_000, backoffMsMax: 3_600_000 });
  const errors: unknown[] = [];
  const done = deferred<unknown>();
  await connected.consume(
    'work',
    async (delivery) => {
      const value = await handler(delivery);
      done.resolve(value);
    },
    {
      ack,
      onError: (error) => {
        errors.push(error);
        done.resolve(error);
      },
    },
  );
  const { id } = await connected.publish('work', 'go');
  return { id, value: await done.promise, errors };
}

describe('a settlement', () => {
  test('publishes what it is given, with and without a result', async () => {
    const connected = await client('both');
    await connected.queues.declare('next');
    const publish: FollowUp[] = [
      { queue: 'next', body: 'text', priority: 3, headers: { trace: 'x' } },
      { queue: 'next', body: { a: 1 }, priority: 5 },
    ];
    const { id } = await handled(connected, (delivery) =>
      delivery.id === 1 ? delivery.complete('result', { publish }) : delivery.ack({ publish }),
    );
    expect(Buffer.from((await connected.results.wait(id)).body).toString()).toBe('result');
    await connected.publish('work', 'again');
    await eventually(
      () => connected.queues.inspect('next'),
      ({ ready }) => ready === 4,
      'both messages of both',
    );
    const seen: unknown[] = [];
    await connected.consume('next', (delivery) => {
      seen.push([delivery.value(), delivery.priority, delivery.headers.trace]);
    });
    await eventually(
      () => seen.length,
      (count) => count === 4,
      'all of them at a consumer',
    );
    expect(seen).toEqual([
      [{ a: 1 }, 5, undefined],
      [{ a: 1 }, 5, undefined],
      ['text', 3, 'x'],
      ['text', 3, 'x'],
    ]);
  });

  test('that is refused leaves the delivery to its handler, which may settle it otherwise', async () => {
    const connected = await client('refused');
    const { value } = await handled(connected, async (delivery) => {
      const ack = delivery.ack({ publish: [{ queue: 'nowhere', body: 'x' }] });
      await expect(delivery.ack()).rejects.toMatchObject({ code: 'ALREADY_SETTLED' });
      const error = await ack.then(
        () => null,
        (reason: unknown) => reason,
      );
      await delivery.ack({ publish: [] });
      return error;
    });
    expect(value).toMatchObject({ code: 'QUEUE_NOT_FOUND' });
    expect(await connected.queues.inspect('work')).toMatchObject({ delayed: 0, started: 0, totals: { acked: 1 } });
  });

  test('that nobody has awaited and that is refused is a handler that has failed', async () => {
    const connected = await client('alone');
    const { value } = await handled(connected, (delivery) => {
      void delivery.ack({ publish: [{ queue: 'nowhere', body: 'x' }] });
    });
    void value;
    await eventually(
      () => connected.queues.inspect('work'),
      ({ delayed }) => delayed === 1,
      'the delivery to be given back',
    );
  });

  test('makes queues for a client that does', async () => {
    const connected = await client('made', { autoDeclare: true });
    await handled(connected, (delivery) => delivery.ack({ publish: [{ queue: 'new', body: 'x' }] }));
    expect(await connected.queues.inspect('new')).toMatchObject({ ready: 1 });
  });

  test.each<[string, unknown, 'late' | 'early', string]>([
    ['publish', [{ queue: 'next', body: 'x' }], 'early', 'INVALID_ARGUMENT'],
    ['publish', 'next', 'late', 'INVALID_ARGUMENT'],
    ['queue', [{ body: 'x' }], 'late', 'INVALID_ARGUMENT'],
    ['queue', [{ queue: 'a b', body: 'x' }], 'late', 'INVALID_NAME'],
    ['durability', [{ queue: 'next', body: 'x', durability: 'memory' }], 'late', 'INVALID_ARGUMENT'],
    ['mandatory', [{ queue: 'next', body: 'x', mandatory: false }], 'late', 'INVALID_ARGUMENT'],
    ['priority', [{ queue: 'next', body: 'x', priority: 256 }], 'late', 'INVALID_ARGUMENT'],
  ])('refuses a bad %s before it is sent', async (field, publish, ack, code) => {
    const connected = await client(`bad-${++namespaces}`);
    const { value } = await handled(
      connected,
      async (delivery) => {
        const error = await delivery.ack({ publish: publish as never }).catch((reason: unknown) => reason);
        await delivery.ack();
        return error;
      },
      ack,
    );
    expect(value).toMatchObject({ code, details: { field } });
  });

  test('is refused when it is too large for one frame', async () => {
    const connected = await client('large');
    const body = Buffer.alloc(9 * 1024 * 1024);
    const { value } = await handled(connected, async (delivery) => {
      const publish = [
        { queue: 'work', body },
        { queue: 'work', body },
      ];
      return delivery.complete('x', { publish }).catch((error: unknown) => error);
    });
    expect(value).toMatchObject({ code: 'FRAME_TOO_LARGE' });
  });
});
