/** MESSAGE_REVOKE over the wire: messages are completed from outside, and whoever had them is told. */
import { CLIENT_OPS, SERVER_OPS } from '@lovage/protocol';
import { beforeAll, describe, expect, test } from 'vitest';
import { BrokerProcess } from '../support/broker-process.js';
import { RawClient } from '../support/raw-client.js';

let broker: BrokerProcess;

beforeAll(async () => {
  broker = await BrokerProcess.start({ flags: ['--body-bytes-max', '8192'] });
});

const RESULT = { contentType: 'text/plain', body: Buffer.from('no longer') };

async function connect(namespace: string): Promise<RawClient> {
  return await RawClient.connect(broker.url, { hello: { namespace, heartbeatMs: 600_000 } });
}

/** What is told of ids that are watched for: status and body. */
async function told(client: RawClient, ids: readonly number[]): Promise<Map<number, readonly unknown[]>> {
  const seen = new Map<number, readonly unknown[]>();
  const request = 1 + client.frames.length;
  client.send([CLIENT_OPS.RESULT_WATCH, request, ids]);
  await client.until(() => {
    for (const { op, fields } of client.frames)
      if (op === SERVER_OPS.RESULT)
        for (const [id, status, , , body] of fields[0] as [number, number, unknown, unknown, Uint8Array?][])
          seen.set(id, [status, body === undefined ? null : Buffer.from(body).toString()]);
    return ids.every((id) => seen.has(id));
  }, 'the results');
  return seen;
}

describe('a message that is revoked', () => {
  test('has the given result, wherever it is, and its consumer is told when that is on disk', async () => {
    const client = await connect('states');
    const admin = await connect('states');
    for (const queue of ['a', 'b']) await client.declare(queue);
    const [started, leased, ready] = await client.publishTexts('a', ['started', 'leased', 'ready']);
    const [delayed] = await client.publishTexts('b', ['delayed'], { delayMs: 3_600_000 });
    await client.consume(1, ['a'], { prefetch: 2 });
    await client.delivered(2);
    await client.start([1]);
    const ids = [started!, leased!, ready!, delayed!];
    expect(await admin.request(CLIENT_OPS.MESSAGE_REVOKE, null, { ids: [...ids, 999_999] }, 0, RESULT)).toEqual({
      matched: 4,
      changed: 4,
      skipped: { MESSAGE_NOT_FOUND: 1 },
      next: null,
    });
    await client.until(() => client.revoked.length > 0, 'REVOKED');
    expect(client.revoked).toEqual([{ tags: [1, 2], terminate: false }]);
    expect(client.recalled).toEqual([]);
    for (const found of (await told(admin, ids)).values()) expect(found).toEqual([0, 'no longer']);
    for (const tag of [1, 2]) await client.ack([tag]);
    expect(client.refusals.map(({ ranges, code }) => [ranges, code])).toEqual([
      [[1, 1], 'SUPERSEDED'],
      [[2, 1], 'SUPERSEDED'],
    ]);
    // The credit is back.
    const [next] = await client.publishTexts('a', ['next']);
    expect((await client.delivered(3))[2]).toMatchObject({ id: next, tag: 3 });
    for (const queue of ['a', 'b'])
      expect(await client.inspect(queue)).toMatchObject({ ready: 0, delayed: 0, started: 0 });
    expect((await client.inspect('a')).totals).toMatchObject({ dropped: 3, acked: 0 });
  });

  test('by force says so, and one in memory only is revoked, too', async () => {
    const client = await connect('memory');
    await client.declare('q');
    const [answer] = await client.publish([{ queue: 'q', body: 'x' }], { flags: 1 });
    const { id } = answer as { readonly id: number };
    await client.consume(1, ['q']);
    await client.delivered(1);
    await client.start([1]);
    await client.request(CLIENT_OPS.MESSAGE_REVOKE, 'q', { ids: [id] }, 0, { ...RESULT, terminate: true });
    await client.until(() => client.revoked.length > 0, 'REVOKED');
    expect(client.revoked).toEqual([{ tags: [1], terminate: true }]);
    expect((await told(client, [id])).get(id)).toEqual([0, 'no longer']);
  });

  test('is done, so that it cannot be revoked again; nor can what is not there, or what is no result', async () => {
    const client = await connect('done');
    await client.declare('q');
    const [id] = await client.publishTexts('q', ['x']);
    const revoke = (selection: object, options: object, queue: string | null = null) =>
      client.ask(CLIENT_OPS.MESSAGE_REVOKE, queue, selection, 0, options);
    expect(await revoke({ ids: [id] }, { ...RESULT, dryRun: true })).toMatchObject({ result: { changed: 1 } });
    expect(await client.inspect('q')).toMatchObject({ ready: 1 });
    expect(await revoke({ ids: [id] }, RESULT, 'q')).toMatchObject({ result: { changed: 1 } });
    expect(await revoke({ ids: [id] }, RESULT)).toMatchObject({ code: 'MESSAGE_NOT_FOUND' });
    expect(await revoke({ ids: [id] }, RESULT, 'q')).toMatchObject({ code: 'MESSAGE_NOT_FOUND' });
    expect(await revoke({}, RESULT, 'lovage.results')).toMatchObject({
      result: { matched: 1, changed: 0, skipped: { MESSAGE_NOT_FOUND: 1 } },
    });
    expect(await revoke({}, RESULT)).toMatchObject({ code: 'INVALID_ARGUMENT', details: { field: 'ids' } });
    expect(await revoke({ ids: [1] }, { ...RESULT, body: Buffer.alloc(8_193) })).toMatchObject({
      code: 'BODY_TOO_LARGE',
    });
    expect(await revoke({ ids: [1] }, { ...RESULT, contentType: 'ä' })).toMatchObject({ code: 'INVALID_ARGUMENT' });
    expect(await revoke({}, RESULT, 'nowhere')).toMatchObject({ code: 'QUEUE_NOT_FOUND' });
    // Of another namespace it is not there at all.
    const [other] = await client.publishTexts('q', ['y']);
    const stranger = await connect('elsewhere');
    const answer = await stranger.ask(CLIENT_OPS.MESSAGE_REVOKE, null, { ids: [other] }, 0, RESULT);
    expect(answer).toMatchObject({ code: 'MESSAGE_NOT_FOUND' });
    expect(await revoke({ ids: [1] }, {})).toMatchObject({ code: 'BAD_FRAME' });
  });
});

test('messages are found by their headers, in whichever step they are, and only by just these values', async () => {
  const client = await connect('headers');
  await client.declare('q');
  const kinds = [{ kind: 'a', n: 1 }, { kind: 'a', n: 2, long: 'x'.repeat(1_000) }, { kind: 'b', n: 1 }, undefined];
  const count = 300;
  await client.publish(
    Array.from({ length: count * kinds.length }, (_, i) => ({
      queue: 'q',
      body: 'x',
      ...(kinds[i % kinds.length] && { headers: kinds[i % kinds.length]! }),
    })),
  );
  const counted = async (headers: object): Promise<number> => {
    let changed = 0;
    let steps = 0;
    for (let after: number | null = 0; after !== null; steps++) {
      const options = { force: false, dryRun: true };
      const step: { changed: number; next: number | null } = await client.request(
        CLIENT_OPS.MESSAGE_DROP,
        'q',
        { headers },
        after,
        options,
      );
      changed += step.changed;
      after = step.next;
    }
    expect(steps).toBeGreaterThan(1);
    return changed;
  };
  expect(await counted({ kind: 'a' })).toBe(2 * count);
  expect(await counted({ kind: 'a', n: 1 })).toBe(count);
  expect(await counted({ n: 1 })).toBe(2 * count);
  expect(await counted({ n: '1' })).toBe(0);
  expect(await counted({})).toBe(4 * count);
  expect(await counted({ toString: 'x' })).toBe(0);
  const tooMany = Object.fromEntries(Array.from({ length: 33 }, (_, i) => [`h${i}`, i]));
  for (const headers of [tooMany, { a: null }, { a: [1] }, { a: 'x'.repeat(256) }])
    expect(await client.ask(CLIENT_OPS.MESSAGE_DROP, 'q', { headers }, 0, {})).toMatchObject({
      code: 'INVALID_ARGUMENT',
    });
});
