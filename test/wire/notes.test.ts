/** NOTE over the wire: what a handler tells, what it may not, and who is shown it. */
import { CLIENT_OPS, LIMITS, SERVER_OPS } from '@lovage/protocol';
import { expect, test } from 'vitest';
import { connect } from '../../client-sdk/index.js';
import { deferred } from '../client-sdk/deferred.js';
import { BrokerProcess } from '../support/broker-process.js';
import { atEnd } from '../support/cleanup.js';
import { eventually } from '../support/deadline.js';
import { RawClient } from '../support/raw-client.js';

test('a note is told as it came, what is out of range is refused, and what is not there is passed over', async () => {
  const broker = await BrokerProcess.start();
  const client = await RawClient.connect(broker.url, { hello: { heartbeatMs: 600_000 } });
  await client.declare('q');
  const [id] = await client.publishTexts('q', ['x']);
  await client.consume(1, ['q']);
  await client.delivered(1);
  await client.request(CLIENT_OPS.RESULT_WATCH, [id]);
  const body = Buffer.from('{}');
  client.send([CLIENT_OPS.NOTE, 1, ['application/json', body], ['one', 'two']]);
  client.send([CLIENT_OPS.NOTE, 77, null, ['of nobody']]);
  client.send([CLIENT_OPS.NOTE, 1, null, []]);
  const noted = (): unknown[] => client.frames.filter(({ op }) => op === SERVER_OPS.NOTED).map(({ fields }) => fields);
  await client.barrier();
  expect(noted()).toEqual([
    [id, ['application/json', new Uint8Array(body)], ['one', 'two']],
    [id, null, []],
  ]);
  for (const [progress, log] of [
    [[null, Buffer.alloc(LIMITS.progressBytesMax + 1)], []],
    [['\u00e4', body], []],
    [null, ['x'.repeat(LIMITS.logLineLengthMax + 1)]],
    [null, Array.from({ length: LIMITS.logLinesMax + 1 }, () => 'x')],
  ])
    client.send([CLIENT_OPS.NOTE, 1, progress, log]);
  await client.barrier();
  expect(client.errors.map(({ request, code }) => [request, code])).toEqual(Array(4).fill([null, 'INVALID_ARGUMENT']));
  expect(noted()).toHaveLength(2);
  const { messages } = await client.request<{ messages: { note: unknown }[] }>(CLIENT_OPS.MESSAGE_STATE, [id]);
  expect(messages[0]!.note).toEqual({ progress: ['application/json', new Uint8Array(body)], log: ['one', 'two'] });
  await client.ack([1]);
  client.send([CLIENT_OPS.NOTE, 1, null, ['too late']]);
  await client.barrier();
  expect(noted()).toHaveLength(2);
  client.send([CLIENT_OPS.NOTE, 'one', null, []]);
  expect(await client.untilClosed()).toBe(4400);
});

test('a token that may not read results is not shown what handlers tell', async () => {
  const broker = await BrokerProcess.start();
  const first = await connect(broker.url);
  const { secret } = await first.tokens.create({ name: 'root', role: 'admin' });
  const admin = await connect(broker.url, { token: secret });
  const viewer = await connect(broker.url, {
    token: (await admin.tokens.create({ name: 'v', role: 'viewer' })).secret,
  });
  for (const client of [first, admin, viewer]) atEnd(() => client.terminate());
  await admin.queues.declare('q');
  const { id } = await admin.publish('q', 'x');
  const gate = deferred();
  await admin.consume('q', async (delivery) => {
    delivery.log('secret');
    await gate.promise;
  });
  const [seen] = await eventually(
    () => admin.results.whereabouts([id]),
    ([found]) => found?.note !== undefined,
    'the note',
  );
  expect(seen!.note).toEqual({ progress: null, log: ['secret'] });
  const [shown] = await viewer.results.whereabouts([id]);
  expect(shown).toMatchObject({ id, state: 'started' });
  expect(shown).not.toHaveProperty('note');
  gate.resolve();
});
