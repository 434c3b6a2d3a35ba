/** Exchanges and bindings as clients see them on the wire: what is asked wrongly changes nothing and hurts nobody else (promises P9, P11). */
import { CLIENT_OPS, encodeFrame, LIMITS, PUBLISH_FLAGS } from '@lovage/protocol';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { BrokerProcess } from '../support/broker-process.js';
import { Bystanders } from '../support/bystanders.js';
import { RawClient } from '../support/raw-client.js';

const { EXCHANGE_DECLARE, EXCHANGE_DELETE, EXCHANGE_LIST, BIND, UNBIND, BINDING_LIST } = CLIENT_OPS;

let broker: BrokerProcess;
let bystanders: Bystanders;
let client: RawClient;
let count = 0;

beforeAll(async () => {
  broker = await BrokerProcess.start();
  bystanders = await Bystanders.join(broker);
});

/** Each test has a namespace of its own. */
beforeEach(async () => {
  client = await RawClient.connect(broker.url, { hello: { namespace: `routing-${++count}`, producer: `p${count}` } });
});

afterEach(() => bystanders.assertUnharmed());

afterAll(() => bystanders.assertDrained());

async function codeOf(op: number, ...fields: readonly unknown[]): Promise<unknown> {
  const answer = await client.ask(op, ...fields);
  return 'code' in answer ? [answer.code, answer.details?.field] : answer.result;
}

function exchange(name: string, type: string, alternate: string | null = null): Promise<unknown> {
  return client.request(EXCHANGE_DECLARE, name, { type, alternate });
}

async function state(): Promise<unknown> {
  const { exchanges } = await client.request<{ exchanges: { name: string }[] }>(EXCHANGE_LIST, null, 1_000);
  const bindings = await Promise.all(exchanges.map(({ name }) => client.request(BINDING_LIST, name, null, 1_000)));
  return { exchanges, bindings };
}

describe('requests', () => {
  test('make exchanges and bindings once and tell what there is', async () => {
    await client.declare('q');
    expect(await exchange('lost', 'fanout')).toEqual({ created: true, type: 'fanout', alternate: null });
    expect(await exchange('x', 'topic', 'lost')).toEqual({ created: true, type: 'topic', alternate: 'lost' });
    expect(await exchange('x', 'topic', 'lost')).toEqual({ created: false, type: 'topic', alternate: 'lost' });
    const binding = { exchange: 'x', queue: 'q', key: 'a.#' };
    expect(await client.request(BIND, binding)).toEqual({ created: true });
    expect(await client.request(BIND, { ...binding, headers: null, match: null })).toEqual({ created: false });
    expect(await client.request(BIND, { exchange: 'x', toExchange: 'lost' })).toEqual({ created: true });
    const facts = { namespace: `routing-${count}`, exchange: 'x', headers: null, match: null };
    expect(await client.request(BINDING_LIST, 'x', null, 10)).toEqual({
      bindings: [
        { ...facts, id: expect.any(Number), queue: 'q', toExchange: null, key: 'a.#' },
        { ...facts, id: expect.any(Number), queue: null, toExchange: 'lost', key: '' },
      ],
      next: null,
    });
    expect(await client.request(EXCHANGE_LIST, null, 1)).toMatchObject({ exchanges: [{ name: 'lost' }], next: 'lost' });
    expect(await client.request(EXCHANGE_LIST, 'lost', 1)).toMatchObject({
      exchanges: [{ name: 'x', type: 'topic', alternate: 'lost', bindings: 2 }],
      next: null,
    });
    expect(await client.request(UNBIND, binding)).toEqual({ removed: true });
    expect(await client.request(UNBIND, binding)).toEqual({ removed: false });
    expect(await client.request(EXCHANGE_DELETE, 'x', null)).toEqual({ bindings: 1 });
  });

  test('are answered page by page, in the order in which bindings were made', async () => {
    await client.declare('q');
    await exchange('x', 'direct');
    for (let i = 0; i < 7; i++) await client.request(BIND, { exchange: 'x', queue: 'q', key: `k${6 - i}` });
    const keys: string[] = [];
    for (let after: number | null = 0; after !== null; ) {
      const page: { bindings: { key: string }[]; next: number | null } = await client.request(
        BINDING_LIST,
        'x',
        after,
        3,
      );
      keys.push(...page.bindings.map(({ key }) => key));
      after = page.next;
    }
    expect(keys).toEqual(['k6', 'k5', 'k4', 'k3', 'k2', 'k1', 'k0']);
  });

  test('with values out of range are refused by the field, and nothing is changed', async () => {
    await client.declare('q');
    await exchange('t', 'topic');
    await exchange('f', 'fanout');
    await exchange('h', 'headers');
    const before = await state();
    const long = 'x'.repeat(LIMITS.routingKeyLengthMax + 1);
    const many = Object.fromEntries(Array.from({ length: LIMITS.bindingHeadersMax + 1 }, (_, i) => [`h${i}`, i]));
    const wrong: readonly (readonly [field: string, op: number, ...fields: unknown[]])[] = [
      ['type', EXCHANGE_DECLARE, 'new', { type: 'funny' }],
      ['queue', BIND, { exchange: 't' }],
      ['queue', BIND, { exchange: 't', queue: 'q', toExchange: 'f' }],
      ['key', BIND, { exchange: 't', queue: 'q', key: long }],
      ['key', BIND, { exchange: 't', queue: 'q', key: 'a.b#' }],
      ['key', BIND, { exchange: 't', queue: 'q', key: 'a..b' }],
      ['key', BIND, { exchange: 'f', queue: 'q', key: 'a' }],
      ['key', BIND, { exchange: 'h', queue: 'q', key: 'a', headers: {} }],
      ['headers', BIND, { exchange: 't', queue: 'q', headers: {} }],
      ['headers', BIND, { exchange: 'h', queue: 'q' }],
      ['headers', BIND, { exchange: 'h', queue: 'q', headers: many }],
      ['headers', BIND, { exchange: 'h', queue: 'q', headers: { a: null } }],
      ['headers', BIND, { exchange: 'h', queue: 'q', headers: { a: [1] } }],
      ['headers', BIND, { exchange: 'h', queue: 'q', headers: { a: long } }],
      ['headers', BIND, { exchange: 'h', queue: 'q', headers: { [long]: 1 } }],
      ['headers', BIND, { exchange: 'h', queue: 'q', headers: { a: Number.NaN } }],
      ['match', BIND, { exchange: 'h', queue: 'q', headers: {}, match: 'some' }],
      ['limit', EXCHANGE_LIST, null, 0],
      ['limit', BINDING_LIST, 't', null, LIMITS.pageMax + 1],
      ['after', BINDING_LIST, 't', -1, 1],
    ];
    for (const [field, op, ...fields] of wrong)
      expect(await codeOf(op, ...fields), JSON.stringify(fields).slice(0, 80)).toEqual(['INVALID_ARGUMENT', field]);
    for (const name of ['', 'a b', 'x'.repeat(201)]) {
      expect(await codeOf(EXCHANGE_DECLARE, name, { type: 'topic' })).toEqual(['INVALID_NAME', 'exchange']);
      expect(await codeOf(BIND, { exchange: name, queue: 'q' })).toEqual(['INVALID_NAME', 'exchange']);
    }
    expect(await state()).toEqual(before);
  });

  test('with fields of other types end the connection', async () => {
    const wrong: readonly (readonly [op: number, ...fields: unknown[]])[] = [
      [EXCHANGE_DECLARE, 7, { type: 'topic' }],
      [EXCHANGE_DECLARE, 'x', 'topic'],
      [EXCHANGE_DECLARE, 'x', { type: 1 }],
      [EXCHANGE_DECLARE, 'x', null],
      [EXCHANGE_DELETE, 'x', { ifUnused: 1 }],
      [BIND, 'x'],
      [BIND, { exchange: 'x', queue: 5 }],
      [BIND, { exchange: 'x', queue: 'q', key: 5 }],
      [BIND, { exchange: 'x', queue: 'q', headers: [] }],
      [BINDING_LIST, 'x', 'after', 1],
    ];
    for (const [op, ...fields] of wrong) {
      const other = await RawClient.connect(broker.url);
      const answer = await other.ask(op, ...fields);
      expect('code' in answer ? answer.code : answer.result, JSON.stringify(fields)).toBe('BAD_FRAME');
    }
  });

  test('for a circle are refused with the way, and nothing is changed', async () => {
    await exchange('a', 'fanout');
    await exchange('b', 'fanout', 'a');
    await exchange('c', 'topic');
    await client.request(BIND, { exchange: 'c', toExchange: 'b', key: '#' });
    const before = await state();
    const answer = await client.ask(BIND, { exchange: 'a', toExchange: 'c' });
    expect(answer).toMatchObject({ code: 'BINDING_CYCLE', details: { cycle: ['a', 'c', 'b', 'a'] } });
    expect('code' in answer && answer.message).toContain('"a" -> "c" -> "b" -> "a"');
    expect(await state()).toEqual(before);
  });
});

describe('publishes', () => {
  test('to queues and exchanges in one frame are answered each for itself', async () => {
    for (const queue of ['a', 'b']) await client.declare(queue);
    await exchange('x', 'fanout');
    for (const queue of ['a', 'b']) await client.request(BIND, { exchange: 'x', queue });
    await exchange('none', 'direct');
    const answers = await client.publish(
      [
        { queue: '', exchange: 'x', body: '1' },
        { queue: 'a', body: '2' },
        { queue: 'k', exchange: 'none', body: '3' },
        { queue: 'k', exchange: 'none', body: '4' },
        { queue: 'b', exchange: '', body: '5' },
        { queue: 'k', exchange: 'nowhere', body: '6' },
        { queue: 'nowhere', body: '7' },
      ],
      {},
    );
    const base = (answers[0] as { id: number }).id;
    expect(answers.map((answer) => (answer.type === 'reject' ? answer.code : answer.id))).toEqual([
      base,
      base + 2,
      0,
      0,
      base + 3,
      'EXCHANGE_NOT_FOUND',
      'QUEUE_NOT_FOUND',
    ]);
    await client.consume(1, ['a', 'b'], { prefetch: 0 });
    await client.delivered(4);
    const seen = client.deliveries.map(({ queueIndex, text, id }) => `${queueIndex} ${text} ${id - base}`).sort();
    expect(seen).toEqual(['0 1 0', '0 2 2', '1 1 1', '1 5 3']);
  });

  test('that are mandatory are refused with exchange and key', async () => {
    await exchange('x', 'direct');
    const message = { queue: 'k', exchange: 'x', body: '' };
    const answers = await client.publish([message, { ...message, queue: 'l' }], { flags: PUBLISH_FLAGS.MANDATORY });
    expect(answers).toMatchObject([
      { type: 'reject', code: 'UNROUTABLE', details: { exchange: 'x', key: 'k' } },
      { type: 'reject', code: 'UNROUTABLE', details: { exchange: 'x', key: 'l' } },
    ]);
  });

  test('with a name or key that cannot be are refused whole', async () => {
    await client.declare('q');
    for (const [exchangeName, key] of [
      ['a b', 'k'],
      ['x', 'k'.repeat(256)],
    ] as const) {
      const answers = await client.publish([
        { queue: 'q', body: '' },
        { queue: key, exchange: exchangeName, body: '' },
      ]);
      const code = exchangeName === 'x' ? 'INVALID_ARGUMENT' : 'INVALID_NAME';
      expect(answers).toMatchObject([{ code }, { code }]);
    }
  });

  test.each([
    ['an array of one', [['x']]],
    ['a key that is no text', [['x', 1]]],
    ['an exchange that is nil', [[null, 'k']]],
    ['a map', [{ exchange: 'x' }]],
  ])('with a target that is %s end the connection', async (_, targets) => {
    const other = await RawClient.connect(broker.url);
    const message = [0, null, 0, 0, null, null, null, Buffer.of()];
    other.sendBytes(encodeFrame([CLIENT_OPS.PUBLISH, 1, 0, 0, [message], targets]));
    expect(await other.untilClosed()).toBe(4400);
    expect(other.errors.at(-1)?.code).toBe('BAD_FRAME');
  });

  test('may say more about a target than this version knows', async () => {
    await client.declare('q');
    const message = [0, null, 0, 0, null, null, null, Buffer.of()];
    client.sendBytes(encodeFrame([CLIENT_OPS.PUBLISH, 1, 0, 0, [message], [['', 'q', { later: [1] }]]]));
    await client.until(() => client.answers.has(1), 'the answer');
    expect(client.answers.get(1)).toMatchObject({ type: 'confirm' });
    expect((await client.inspect('q')).ready).toBe(1);
  });

  test('with headers of every kind pass a headers exchange', async () => {
    await client.declare('q');
    await exchange('h', 'headers');
    await client.request(BIND, { exchange: 'h', queue: 'q', headers: { n: 7 } });
    const strange = { 'n ': 7, deep: { n: 7 }, list: [7], big: 2 ** 60, float: 0.5, constructor: 7, nothing: null };
    const answers = await client.publish([
      { queue: '', exchange: 'h', body: '', headers: strange },
      { queue: '', exchange: 'h', body: '', headers: { ...strange, n: 7 } },
      { queue: '', exchange: 'h', body: '', headers: {}, contentType: 'text/plain' },
      { queue: '', exchange: 'h', body: '', headers: { n: 7 }, contentType: 'text/plain' },
    ]);
    expect(answers.map((answer) => answer.type === 'confirm' && answer.id > 0)).toEqual([false, true, false, true]);
  });
});
