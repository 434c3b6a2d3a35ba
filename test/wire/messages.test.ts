/** Messages by their ids and by filters, through the SDK against a real broker, through kills. */
import { CLIENT_OPS } from '@lovage/protocol';
import { beforeAll, describe, expect, test } from 'vitest';
import { type Client, connect } from '../../client-sdk/index.js';
import { deferred } from '../client-sdk/deferred.js';
import { BrokerProcess } from '../support/broker-process.js';
import { atEnd } from '../support/cleanup.js';
import { eventually } from '../support/deadline.js';
import { RawClient } from '../support/raw-client.js';

let broker: BrokerProcess;

beforeAll(async () => {
  broker = await BrokerProcess.start();
});

/** A client in a namespace of its own. */
async function client(namespace: string, at = broker): Promise<Client> {
  const connected = await connect(at.url, { namespace, reconnect: { delayMsMin: 5, delayMsMax: 100 } });
  atEnd(() => connected.terminate());
  return connected;
}

async function publish(to: Client, queue: string, bodies: readonly string[], options = {}): Promise<number[]> {
  const receipts = await to.publishMany(
    queue,
    bodies.map((body) => ({ body, ...options })),
  );
  return receipts.map(({ id }) => id);
}

const texts = (count: number): string[] => Array.from({ length: count }, (_, i) => `${i}`);

describe('looking', () => {
  test('lists by state and priority, in pages', async () => {
    const one = await client('list');
    await one.queues.declare('q');
    const low = await publish(one, 'q', texts(5));
    const high = await publish(one, 'q', texts(3), { priority: 9 });
    const delayed = await publish(one, 'q', ['d'], { delayMs: 60_000, expiresInMs: 90_000 });
    const first = await one.messages.list('q', {}, { limit: 4 });
    expect(first.messages.map(({ id }) => id)).toEqual(low.slice(0, 4));
    const rest = await one.messages.list('q', {}, { after: first.next! });
    expect(rest.messages.map(({ id }) => id)).toEqual([low[4], ...high, ...delayed]);
    expect(rest.next).toBeNull();
    expect((await one.messages.list('q', { priorityMin: 1 })).messages.map(({ id }) => id)).toEqual(high);
    const [found] = (await one.messages.list('q', { state: 'delayed' })).messages;
    expect(found).toMatchObject({ id: delayed[0], state: 'delayed', priority: 0, attempts: 0, memory: false });
    expect(found!.dueAt).toBeGreaterThan(Date.now());
    expect(found!.expiresAt).toBeGreaterThan(found!.dueAt!);
    expect((await one.messages.list('q', { idMin: low[1]!, idBelow: low[3]! })).messages).toHaveLength(2);
  });

  test('peeks at contents and delivers nothing', async () => {
    const one = await client('peek');
    await one.queues.declare('q');
    const headers = { trace: 'ab12' };
    const [id] = await publish(one, 'q', ['hello'], { headers, contentType: 'text/plain' });
    const [big] = await publish(one, 'q', ['x'.repeat(1_000_000)], { durability: 'memory' });
    const { messages } = await one.messages.peek('q');
    expect(messages.map(({ id }) => id)).toEqual([id, big]);
    expect(messages[0]).toMatchObject({ contentType: 'text/plain', headers, bodyBytes: 5, memory: false });
    expect(Buffer.from(messages[0]!.body).toString()).toBe('hello');
    expect(messages[1]).toMatchObject({ bodyBytes: 1_000_000, memory: true });
    expect(messages[1]!.body).toHaveLength(65_536);
    expect((await one.messages.peek('q', { ids: [id!] })).messages).toHaveLength(1);
    expect(await one.queues.inspect('q')).toMatchObject({ ready: 2, leased: 0, totals: { delivered: 0 } });
  });
});

describe('changing', () => {
  test('drops, moves, retries and reorders by id and by filter, and a kill changes nothing of it', async () => {
    const own = await BrokerProcess.start();
    const one = await client('acts', own);
    for (const queue of ['q', 'r']) await one.queues.declare(queue);
    const ids = await publish(one, 'q', texts(10));
    const delayed = await publish(one, 'q', ['d', 'e'], { delayMs: 3_600_000 });
    expect(await one.messages.drop('q', { ids: [ids[0]!] })).toEqual({ matched: 1, changed: 1, skipped: {} });
    await expect(one.messages.drop('q', { ids: [ids[0]!] })).rejects.toMatchObject({ code: 'MESSAGE_NOT_FOUND' });
    expect(await one.messages.drop('q', { ids: [ids[0]!, ids[1]!] })).toEqual({
      matched: 1,
      changed: 1,
      skipped: { MESSAGE_NOT_FOUND: 1 },
    });
    expect(await one.messages.move('q', { idMin: ids[8]! }, 'r', { dryRun: true })).toMatchObject({ changed: 4 });
    expect(await one.messages.move('q', { ids: ids.slice(8) }, 'r')).toMatchObject({ changed: 2 });
    expect(await one.messages.retry('q', {})).toEqual({ matched: 8, changed: 2, skipped: { NOT_DELAYED: 6 } });
    expect(await one.messages.setPriority('q', { ids: [ids[7]!] }, 9)).toMatchObject({ changed: 1 });
    await own.kill();
    const again = await BrokerProcess.start({ dataDir: own.dataDir });
    const after = await client('acts', again);
    expect(await after.queues.inspect('q')).toMatchObject({ ready: 8, delayed: 0 });
    const seen: string[] = [];
    await after.consume('q', (delivery) => void seen.push(delivery.value() as string), { concurrency: 1 });
    await eventually(
      () => seen.length,
      (count) => count === 8,
      'all that is left',
    );
    expect(seen).toEqual(['7', '2', '3', '4', '5', '6', 'd', 'e']);
    const moved = (await after.messages.peek('r')).messages;
    expect(moved.map(({ id, body }) => [id, Buffer.from(body).toString()])).toEqual([
      [ids[8], '8'],
      [ids[9], '9'],
    ]);
    expect(delayed).toHaveLength(2);
  });

  test('takes un-started messages back from their consumer, and started ones only by force', async () => {
    const one = await client('held');
    await one.queues.declare('q');
    const ids = await publish(one, 'q', ['a', 'b', 'c']);
    const end = deferred();
    const started = deferred();
    const seen: string[] = [];
    let answer: unknown = null;
    await one.consume(
      'q',
      async (delivery) => {
        seen.push(delivery.value() as string);
        started.resolve();
        await end.promise;
        answer = await delivery.ack().catch((error: unknown) => error);
      },
      { prefetch: 3, concurrency: 1 },
    );
    await started.promise;
    await eventually(
      () => broker.queue('q', 'held'),
      (info) => info.started === 1 && info.leased === 2,
      'one that runs and two that wait for it',
    );
    expect(await one.messages.drop('q', { ids })).toEqual({ matched: 3, changed: 2, skipped: { STARTED: 1 } });
    expect(await one.messages.drop('q', { ids: [ids[0]!] }, { force: true })).toMatchObject({ changed: 1 });
    end.resolve();
    await eventually(
      () => answer,
      (told) => told !== null,
      'the answer to the handler',
    );
    expect(answer).toMatchObject({ code: 'SUPERSEDED' });
    expect(seen).toEqual(['a']);
    expect(await one.queues.inspect('q')).toMatchObject({ ready: 0, leased: 0, started: 0, totals: { dropped: 3 } });
  });

  test('redrives dead letters to where each came from, by filter, through a kill', async () => {
    const own = await BrokerProcess.start();
    const one = await client('redrive', own);
    for (const queue of ['a', 'b']) await one.queues.declare(queue, { deadLetterQueue: 'dead', messageTtlMs: 60_000 });
    await publish(one, 'a', ['a1', 'a2']);
    await publish(one, 'b', ['b1']);
    let rejected = 0;
    const consumer = await one.consume(['a', 'b'], async (delivery) => {
      await delivery.nack({ requeue: false });
      rejected++;
    });
    await eventually(
      () => rejected,
      (count) => count === 3,
      'three rejected messages',
    );
    await consumer.cancel();
    expect((await one.messages.list('dead', { reason: 'rejected' })).messages).toHaveLength(3);
    expect(await one.messages.redrive('dead', { from: 'a' }, { dryRun: true })).toMatchObject({ changed: 2 });
    expect(await one.messages.redrive('dead', { from: 'a' })).toEqual({ matched: 2, changed: 2, skipped: {} });
    await own.kill();
    const again = await BrokerProcess.start({ dataDir: own.dataDir });
    const after = await client('redrive', again);
    expect(await after.queues.inspect('a')).toMatchObject({ ready: 2 });
    expect(await after.queues.inspect('dead')).toMatchObject({ ready: 1 });
    expect((await after.messages.peek('a')).messages.map(({ deadLetters }) => deadLetters)).toEqual([[], []]);
    await after.queues.delete('b');
    expect(await after.messages.redrive('dead')).toMatchObject({ changed: 1 });
    expect(await after.queues.inspect('b')).toMatchObject({ ready: 1 });
  });

  test('by a filter goes through a long queue in steps, and through a short one beside it at once', async () => {
    const one = await client('long');
    for (const queue of ['long', 'short']) await one.queues.declare(queue);
    const bodies = texts(40_000);
    await publish(one, 'long', bodies);
    const [mine] = await publish(one, 'short', ['mine']);
    expect((await one.messages.list('short')).messages.map(({ id }) => id)).toEqual([mine]);
    expect(await one.messages.setPriority('long', {}, 5, { dryRun: true })).toMatchObject({ matched: 40_000 });
    const page = await one.messages.list('long', { idMin: mine! - 3 });
    expect(page.messages).toHaveLength(3);
    expect(await one.messages.move('long', {}, 'short')).toEqual({ matched: 40_000, changed: 40_000, skipped: {} });
    expect(await one.queues.inspect('short')).toMatchObject({ ready: 40_001 });
  });
});

test('an act by a filter that a kill cuts short has done whole steps, and goes on where it was', async () => {
  const own = await BrokerProcess.start();
  const one = await client('cut', own);
  for (const queue of ['q', 'r']) await one.queues.declare(queue);
  const ids = await publish(one, 'q', texts(5_000));
  const hello = { namespace: 'cut' };
  const raw = await RawClient.connect(own.url, { hello });
  const step = (from: RawClient, after: number): Promise<{ changed: number; next: number | null }> =>
    from.request(CLIENT_OPS.MESSAGE_MOVE, 'q', {}, after, { to: 'r' });
  const first = await step(raw, 0);
  const second = await step(raw, first.next!);
  // Its answer is not waited for: it is done whole, or not at all.
  void raw.ask(CLIENT_OPS.MESSAGE_MOVE, 'q', {}, second.next!, { to: 'r' }).catch(() => undefined);
  await own.kill();
  const again = await BrokerProcess.start({ dataDir: own.dataDir });
  const after = await client('cut', again);
  const answered = first.changed + second.changed;
  const { ready: moved } = await after.queues.inspect('r');
  expect([answered, answered + first.changed]).toContain(moved);
  expect(await after.queues.inspect('q')).toMatchObject({ ready: 5_000 - moved });
  const resumed = await RawClient.connect(again.url, { hello });
  let next: number | null = second.next;
  while (next !== null) ({ next } = await step(resumed, next));
  expect((await after.messages.list('q')).messages).toEqual([]);
  const found: number[] = [];
  for (let from: number | null = 0; from !== null; ) {
    const page = await after.messages.list('r', {}, { after: from });
    found.push(...page.messages.map(({ id }) => id));
    from = page.next;
  }
  expect(found).toEqual(ids);
});

describe('bad input', () => {
  test('is refused with the field, and nothing is changed', async () => {
    const one = await client('bad');
    await one.queues.declare('q');
    await publish(one, 'q', ['a']);
    const { messages } = one;
    const refusals: [() => Promise<unknown>, string, string][] = [
      [() => messages.drop('q', { ids: [] }), 'INVALID_ARGUMENT', 'ids'],
      [() => messages.drop('q', { ids: [0] }), 'INVALID_ARGUMENT', 'ids'],
      [() => messages.drop('q', { ids: undefined }), 'INVALID_ARGUMENT', 'ids'],
      [() => messages.drop('q', {}, { dryrun: true } as never), 'INVALID_ARGUMENT', 'dryrun'],
      [() => messages.drop('q', { ids: [1], state: 'ready' }), 'INVALID_ARGUMENT', 'ids'],
      [() => messages.drop('q', { colour: 'red' } as never), 'INVALID_ARGUMENT', 'colour'],
      [() => messages.list('q', { state: 'gone' as never }), 'INVALID_ARGUMENT', 'state'],
      [() => messages.list('q', { priorityMin: 256 }), 'INVALID_ARGUMENT', 'priorityMin'],
      [() => messages.list('q', {}, { limit: 0 }), 'INVALID_ARGUMENT', 'limit'],
      [() => messages.peek('q', {}, { limit: 33 }), 'INVALID_ARGUMENT', 'limit'],
      [() => messages.setPriority('q', {}, 256), 'INVALID_ARGUMENT', 'priority'],
      [() => messages.move('q', {}, 'q'), 'INVALID_ARGUMENT', 'to'],
    ];
    for (const [refused, code, field] of refusals)
      await expect(refused()).rejects.toMatchObject({ code, details: { field } });
    await expect(messages.move('q', {}, 'none')).rejects.toMatchObject({ code: 'QUEUE_NOT_FOUND' });
    await expect(messages.list('none')).rejects.toMatchObject({ code: 'QUEUE_NOT_FOUND' });
    expect(await one.queues.inspect('q')).toMatchObject({ ready: 1 });
  });
});
