/** `lovage queues` and `lovage status` against a real broker. */
import { beforeAll, describe, expect, test } from 'vitest';
import { BrokerProcess } from '../support/broker-process.js';
import { command, type Ended } from './command.js';

const LOVAGE_TOKEN = 'sesame';

let broker: BrokerProcess;
beforeAll(async () => {
  broker = await BrokerProcess.start({ variables: { LOVAGE_TOKEN } });
});

function run(line: string, variables: Record<string, string> = { LOVAGE_TOKEN }): Promise<Ended> {
  return command(line.split(' '), { variables: { LOVAGE_URL: broker.url, ...variables } });
}

/** What the command printed, which must have ended well. */
async function printed(line: string): Promise<string> {
  const { code, out, error } = await run(line);
  expect([code, error]).toEqual([0, '']);
  return out;
}

async function json(line: string): Promise<Record<string, unknown>> {
  return JSON.parse(await printed(`${line} --json`)) as Record<string, unknown>;
}

async function failure(line: string): Promise<string> {
  const { code, out, error } = await run(line);
  expect([code, out]).toEqual([1, '']);
  expect(error).not.toMatch(/\n +at /);
  return error;
}

test('queues are made, listed, looked into, paused, purged and deleted', async () => {
  expect(await printed('queues list')).toBe('No queues\n');
  expect(await printed('queues declare a')).toBe('Queue a is made\n');
  expect(await printed('queues declare a')).toBe('Queue a was there\n');
  expect(await json('queues declare b --default-priority 7')).toMatchObject({
    queue: 'b',
    created: true,
    settings: { defaultPriority: 7 },
  });
  expect(await failure('queues declare b --default-priority 8')).toMatch(
    /^QUEUE_MISMATCH: .*defaultPriority.*\n.*inspect/,
  );
  await printed('publish b x y z');
  expect(await printed('queues list')).toBe(
    [
      'queue  ready  delayed  leased  started  consumers  paused',
      'a          0        0       0        0          0  no',
      'b          3        0       0        0          0  no\n',
    ].join('\n'),
  );
  const lines = (await printed('queues list --json')).trim().split('\n');
  expect(lines.map((line) => JSON.parse(line))).toMatchObject([{ name: 'a' }, { name: 'b', ready: 3 }]);
  expect(await printed('queues inspect b')).toMatch(/^ready +3$/m);
  expect(await json('queues inspect b')).toMatchObject({ name: 'b', ready: 3, settings: { defaultPriority: 7 } });
  expect(await printed('queues pause b')).toBe('Queue b is paused\n');
  expect(await printed('consume b --idle-ms 100')).toBe('');
  expect(await json('queues resume b')).toEqual({ queue: 'b', paused: false });
  expect(await printed('consume b --count 1')).toContain('"priority":7');
  expect(await printed('queues purge b')).toBe('Removed 2 messages from b\n');
  await printed('publish b x');
  expect(await failure('queues delete b --if-empty')).toMatch(/^QUEUE_NOT_EMPTY: /);
  expect(await printed('queues delete b')).toBe('Deleted b with 1 message\n');
  expect(await failure('queues inspect b')).toMatch(/^QUEUE_NOT_FOUND: /);
  expect(await failure('queues delete b')).toMatch(/^QUEUE_NOT_FOUND: /);
  expect(await printed('queues list --namespace other')).toBe('No queues\n');
});

test('settings are given by their flags or by their names, and changed with --merge', async () => {
  await json('queues declare c --dead-letter-queue c.dead --set attemptsMax=3 --overflow drop-head');
  expect(await json('queues inspect c')).toMatchObject({
    settings: { deadLetterQueue: 'c.dead', attemptsMax: 3, overflow: 'drop-head' },
    version: 1,
  });
  expect(await failure('queues declare c --attempts-max 4')).toMatch(/^QUEUE_MISMATCH: /);
  expect(await printed('queues declare c --attempts-max 4 --merge')).toBe('Queue c has version 2 of its settings\n');
  expect(await json('queues declare c --merge --set singleActiveConsumer=true --set deadLetterQueue=')).toMatchObject({
    created: false,
    version: 3,
    settings: { deadLetterQueue: null, attemptsMax: 4, overflow: 'drop-head', singleActiveConsumer: true },
  });
  expect(await printed('queues inspect c')).toMatch(/^deadLetterQueue +none$/m);
  expect(await failure('queues declare c --merge --overflow dead-letter-head')).toMatch(
    /^INVALID_ARGUMENT: .*overflow/,
  );
  await printed('queues delete c');
});

test('a dead letter is printed with its history', async () => {
  await printed('queues declare d --dead-letter-queue d.dead --messages-max 1 --overflow dead-letter-head');
  await printed('publish d x y --header a=1');
  const line = JSON.parse(await printed('consume d.dead --count 1')) as { headers: Record<string, unknown> };
  expect(line).toMatchObject({
    body: 'x',
    headers: { a: '1', 'x-death': [{ queue: 'd', reason: 'limit', time: expect.any(Number), count: 1 }] },
  });
});

describe('status', () => {
  test('tells how the broker does', async () => {
    const text = await printed('status');
    expect(text).toMatch(/^Broker +Lovage \d+\.\d+\.\d+ at ws:\/\/127\.0\.0\.1:\d+, ready, up \d+ s\n/);
    expect(text).toMatch(/^Journal +sync always, 1 segment, /m);
    expect(await json('status')).toMatchObject({ isReady: true, syncClass: 'always', journal: { isFull: false } });
  });
});

describe('a token', () => {
  test.each(['status', 'queues list', 'publish a x', 'consume a'])('that is wrong or missing ends %s', async (line) => {
    for (const variables of [{ LOVAGE_TOKEN: 'wrong' }, {}]) {
      const { code, out, error } = await run(line, variables as Record<string, string>);
      expect([code, out]).toEqual([1, '']);
      expect(error).toMatch(/^UNAUTHORIZED: .*\n.*--token or LOVAGE_TOKEN/);
    }
  });
});

test('exchanges are made, bound, published to, listed, unbound and deleted', async () => {
  expect(await printed('exchanges list')).toBe('No exchanges\n');
  expect(await printed('exchanges declare x --type headers')).toBe('Exchange x is made\n');
  expect(await json('exchanges declare y --type direct --alternate x')).toEqual({
    exchange: 'y',
    created: true,
    type: 'direct',
    alternate: 'x',
  });
  expect(await failure('exchanges declare y --type topic')).toMatch(/^EXCHANGE_MISMATCH: /);
  await printed('queues declare routed');
  expect(await printed('exchanges bind x --queue routed --header kind=a --match any')).toBe(
    'The binding of x is made\n',
  );
  expect(await json('exchanges bind y --to-exchange x --key k')).toEqual({ exchange: 'y', created: true });
  expect(await failure('exchanges bind x --to-exchange y --header a=b')).toMatch(/^BINDING_CYCLE: .*"x" -> "y" -> "x"/);
  expect(await printed('exchanges bindings x')).toBe('to      when\nrouted  any of {"kind":"a"}\n');
  expect(await printed('exchanges bindings y')).toBe('to          when\nexchange x  k\n');
  expect(await printed('publish --exchange y --key k --header kind=a one two')).toMatch(
    /^Published 2 messages to exchange y \(ids \d+-\d+\)\n$/,
  );
  expect(await printed('publish --exchange y nobody')).toBe(
    'Published 1 message to exchange y, 1 of them to no queue\n',
  );
  expect(await failure('publish --exchange y --mandatory nobody')).toMatch(/^UNROUTABLE: /);
  const lines = (await printed('exchanges list --json')).trim().split('\n');
  expect(lines.map((line) => JSON.parse(line))).toMatchObject([
    { name: 'x', type: 'headers', bindings: 1, totals: { published: 0 } },
    { name: 'y', alternate: 'x', bindings: 1, totals: { published: 4, unrouted: 2 } },
  ]);
  expect(await failure('exchanges delete x --if-unused')).toMatch(/^EXCHANGE_IN_USE: /);
  expect(await printed('exchanges unbind y --to-exchange x --key k')).toBe('The binding of y is removed\n');
  expect(await printed('exchanges delete x')).toBe('Deleted x with 1 binding\n');
  expect(await failure('exchanges bindings x')).toMatch(/^EXCHANGE_NOT_FOUND: /);
  await printed('exchanges delete y');
  expect(await printed('queues delete routed')).toBe('Deleted routed with 2 messages\n');
});
