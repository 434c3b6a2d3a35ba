import { describe, expect, test } from 'vitest';
import { Client } from '../../client-sdk/client.js';
import type { ConnectOptions, ConsumeOptions } from '../../client-sdk/options.js';
import { CONNECT_NUMBERS, parseConnectOptions, parseConsumeOptions } from '../../client-sdk/options.js';
import { connected, FakeBroker, useVirtualTime } from './fake-broker.js';

useVirtualTime();

const parse = (options: unknown): unknown => parseConnectOptions(options as ConnectOptions, () => 'made-up');
const parseConsume = (options: unknown, queues: unknown = ['a', 'b']): unknown =>
  parseConsumeOptions(queues as string[], options as ConsumeOptions);

const thrown = (code: string, field: string): object => expect.objectContaining({ code, details: { field } });

describe('options of connect', () => {
  test('have defaults', () => {
    expect(parse({})).toEqual({
      token: null,
      tls: null,
      namespace: 'default',
      name: null,
      version: null,
      producer: 'made-up',
      heartbeatMs: null,
      reconnect: { delayMsMin: 50, delayMsMax: 5_000 },
      connectTimeoutMs: 10_000,
      publishTimeoutMs: 30_000,
      publishBufferMessages: 65_536,
      publishBufferBytes: 67_108_864,
      whenBlocked: 'wait',
      requestTimeoutMs: 30_000,
      autoDeclare: false,
    });
  });

  test.each(Object.entries(CONNECT_NUMBERS))('take %s at its bounds and nothing beyond them', (field, { min, max }) => {
    for (const value of [min, max]) expect(parse({ [field]: value })).toMatchObject({ [field]: value });
    expect(parse({ [field]: undefined })).toMatchObject({
      [field]: CONNECT_NUMBERS[field as keyof typeof CONNECT_NUMBERS].fallback,
    });
    for (const value of [min - 1, max + 1, min + 0.5, Number.NaN, Number.POSITIVE_INFINITY, `${min}`, null, 5n])
      expect(() => parse({ [field]: value }), String(value)).toThrow(thrown('INVALID_ARGUMENT', field) as Error);
  });

  test.each<readonly [string, string, unknown]>([
    ['INVALID_ARGUMENT', 'options', null],
    ['INVALID_ARGUMENT', 'options', 'x'],
  ])('%s of %s: %j', (code, field, options) => {
    expect(() => parse(options)).toThrow(thrown(code, field) as Error);
  });

  test.each<readonly [string, string, unknown]>([
    ['INVALID_ARGUMENT', 'token', 7],
    ['INVALID_NAME', 'namespace', ''],
    ['INVALID_NAME', 'namespace', 'two words'],
    ['INVALID_NAME', 'name', 7],
    ['INVALID_NAME', 'producer', 'x'.repeat(201)],
    ['INVALID_ARGUMENT', 'version', 'x'.repeat(201)],
    ['INVALID_ARGUMENT', 'version', 1],
    ['INVALID_ARGUMENT', 'reconnect', 'yes'],
    ['INVALID_ARGUMENT', 'reconnect.delayMsMin', { delayMsMin: 0 }],
    ['INVALID_ARGUMENT', 'reconnect.delayMsMin', { delayMsMin: 600_001 }],
    ['INVALID_ARGUMENT', 'reconnect.delayMsMax', { delayMsMin: 100, delayMsMax: 99 }],
    ['INVALID_ARGUMENT', 'reconnect.delayMsMax', { delayMsMax: 600_001 }],
    ['INVALID_ARGUMENT', 'autoDeclare', 'yes'],
  ])('%s of %s: %j', (code, field, value) => {
    expect(() => parse({ [field.split('.')[0]!]: value })).toThrow(thrown(code, field) as Error);
  });

  test('take all forms of reconnect', () => {
    expect(parse({ reconnect: false })).toMatchObject({ reconnect: null });
    expect(parse({ reconnect: { delayMsMin: 9_000 } })).toMatchObject({
      reconnect: { delayMsMin: 9_000, delayMsMax: 9_000 },
    });
    expect(parse({ reconnect: { delayMsMax: 60 } })).toMatchObject({ reconnect: { delayMsMin: 50, delayMsMax: 60 } });
  });

  test.each(['http://127.0.0.1:7420', '127.0.0.1:7420', '', 'ws://', 'ws://127.0.0.1:7420#x', 7, undefined])(
    'refuse the url %j by a rejection, before anything is opened',
    async (url) => {
      const broker = new FakeBroker();
      await expect(Client.connect(broker, url as string, {})).rejects.toMatchObject(thrown('INVALID_ARGUMENT', 'url'));
      await expect(Client.connect(broker, 'ws://127.0.0.1', { heartbeatMs: 1 })).rejects.toMatchObject({
        code: 'INVALID_ARGUMENT',
      });
      expect(broker.sockets).toEqual([]);
    },
  );
});

describe('options of consume', () => {
  test.each<readonly [string, string, unknown]>([
    ['INVALID_ARGUMENT', 'prefetch', -1],
    ['INVALID_ARGUMENT', 'prefetch', 65_536],
    ['INVALID_ARGUMENT', 'prefetch', 1.5],
    ['INVALID_ARGUMENT', 'concurrency', 0],
    ['INVALID_ARGUMENT', 'gatherMs', -1],
    ['INVALID_ARGUMENT', 'gatherMs', 1_001],
    ['INVALID_ARGUMENT', 'concurrency', 65_536],
    ['INVALID_ARGUMENT', 'ack', 'sometimes'],
    ['INVALID_ARGUMENT', 'queueOrder', 'random'],
    ['INVALID_ARGUMENT', 'weights', [1, 1]],
    ['INVALID_ARGUMENT', 'exclusive', 'yes'],
    ['INVALID_ARGUMENT', 'priority', 256],
    ['INVALID_ARGUMENT', 'priority', -1],
    ['INVALID_ARGUMENT', 'onError', 7],
  ])('%s of %s: %j', (code, field, value) => {
    expect(() => parseConsume({ [field]: value })).toThrow(thrown(code, field) as Error);
  });

  test.each<readonly [unknown]>([[[1]], [[1, 1, 1]], [[1, 0]], [[1, 1_001]], [[1, undefined]], ['x']])(
    'refuse the weights %j of two queues',
    (weights) => {
      expect(() => parseConsume({ queueOrder: 'weighted', weights })).toThrow(
        thrown('INVALID_ARGUMENT', 'weights') as Error,
      );
    },
  );

  test('take weights at their bounds', () => {
    const parsed = parseConsume({ queueOrder: 'weighted', weights: [1, 1_000], prefetch: 0, concurrency: 65_535 });
    expect(parsed).toMatchObject({ fields: { weights: [1, 1_000], prefetch: 0 }, concurrency: 65_535 });
  });

  test.each<readonly [string, string, unknown]>([
    ['INVALID_ARGUMENT', 'queues', []],
    ['INVALID_ARGUMENT', 'queues', null],
    ['INVALID_ARGUMENT', 'queues', ['a', 'a']],
    ['INVALID_ARGUMENT', 'queues', Array.from({ length: 10_001 }, (_, i) => `q${i}`)],
    ['INVALID_NAME', 'queue', ['a', 'no name']],
    ['INVALID_NAME', 'queue', ''],
  ])('%s of %s', (code, field, queues) => {
    expect(() => parseConsume({}, queues)).toThrow(thrown(code, field) as Error);
  });

  test('reject the promise of consume', async () => {
    const { client } = await connected();
    const handler = (): void => undefined;
    await expect(client.consume('a', handler, { prefetch: -1 })).rejects.toMatchObject(
      thrown('INVALID_ARGUMENT', 'prefetch'),
    );
    await expect(client.consume('a', handler, null as never)).rejects.toMatchObject(
      thrown('INVALID_ARGUMENT', 'options'),
    );
    await expect(client.deliveries('a', { ack: 'x' as never }).next()).rejects.toMatchObject(
      thrown('INVALID_ARGUMENT', 'ack'),
    );
  });
});
