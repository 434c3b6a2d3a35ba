import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { LovageError } from '@lovage/protocol';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  keysOf,
  loadSettings,
  parseBytes,
  parseSetting,
  type SettingKey,
  showBytes,
} from '../../server/settings/index.js';

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'lovage-settings-'));
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

function load(flags: Record<string, unknown>, variables: Record<string, string> = {}) {
  return loadSettings('broker', { flags, variables });
}

function configFile(content: unknown): string {
  const path = join(directory, `${Math.abs(JSON.stringify(content).length)}-${counter++}.json`);
  writeFileSync(path, typeof content === 'string' ? content : JSON.stringify(content));
  return path;
}
let counter = 0;

function refusal(run: () => unknown): LovageError {
  try {
    run();
  } catch (error) {
    expect(error).toBeInstanceOf(LovageError);
    expect((error as LovageError).code).toBe('INVALID_SETTING');
    return error as LovageError;
  }
  throw new Error('expected a refusal');
}

describe('settings', () => {
  test('without anything given are the defaults', () => {
    expect(load({})).toEqual({
      host: '127.0.0.1',
      port: 7420,
      dataDir: './lovage-data',
      memory: false,
      sync: 'always',
      tlsCert: null,
      tlsKey: null,
      tlsCa: null,
      token: null,
      insecure: false,
      allowHosts: [],
      heartbeatMs: 20_000,
      graceMs: 10_000,
      messagesMax: 16_777_216,
      queuesMax: 100_000,
      connectionsMax: 20_000,
      bodyBytesMax: 16_777_216,
      headerBytesMax: 65_536,
      segmentBytes: 67_108_864,
      cacheBytes: 67_108_864,
      unsentBytesMax: 8_388_608,
      memoryMax: 0.75,
      diskFreeMin: 67108864,
      consumerBytesMax: 268435456,
      logLevel: 'info',
    });
  });

  test('of clients are another selection of the same table', () => {
    const variables = { LOVAGE_URL: 'wss://broker.example', LOVAGE_TOKEN: 't', LOVAGE_PORT: 'not looked at' };
    expect(loadSettings('client', { flags: {}, variables })).toEqual({
      url: 'wss://broker.example',
      tlsCert: null,
      tlsKey: null,
      tlsCa: null,
      namespace: 'default',
      token: 't',
    });
  });

  test('come from the flag before the variable before the file before the default', () => {
    const config = configFile({ port: 1, host: 'localhost', graceMs: 5, cacheBytes: '2MiB' });
    const settings = load({ config, port: '3' }, { LOVAGE_PORT: '2', LOVAGE_HOST: '::1' });
    expect(settings).toMatchObject({ port: 3, host: '::1', graceMs: 5, cacheBytes: 2_097_152, queuesMax: 100_000 });
  });

  test('find the config file through its variable', () => {
    expect(load({}, { LOVAGE_CONFIG: configFile({ sync: 250, memory: true }) })).toMatchObject({
      sync: 250,
      memory: true,
    });
  });

  test('let a variable turn off what the file turns on', () => {
    const config = configFile({ memory: true });
    expect(load({ config }, { LOVAGE_MEMORY: 'false' }).memory).toBe(false);
  });

  test('take a config file that clients and brokers share', () => {
    const config = configFile({ url: 'ws://example:1', token: 'secret', port: 5 });
    expect(load({ config })).toMatchObject({ token: 'secret', port: 5 });
    const client = loadSettings('client', { flags: { config }, variables: {} });
    expect(client).toMatchObject({ url: 'ws://example:1', token: 'secret' });
  });
});

describe('a bad setting', () => {
  test.each<[SettingKey, unknown]>([
    ['port', ''],
    ['port', '-1'],
    ['port', '65536'],
    ['port', '7420x'],
    ['port', '0x10'],
    ['port', 1.5],
    ['port', true],
    ['port', null],
    ['port', 'tcp://10.0.0.1:7420'],
    ['host', ''],
    ['host', 'a b'],
    ['host', 'http://example'],
    ['dataDir', ''],
    ['dataDir', 7],
    ['dataDir', 'a\0b'],
    ['memory', 'maybe'],
    ['memory', 1],
    ['sync', '0'],
    ['sync', '60001'],
    ['sync', 'sometimes'],
    ['token', ''],
    ['token', 'two words'],
    ['token', 'x'.repeat(513)],
    ['token', 'schlüssel'],
    ['heartbeatMs', 99],
    ['graceMs', 3_600_001],
    ['messagesMax', 0],
    ['bodyBytesMax', '512MiB'],
    ['bodyBytesMax', '1.5B'],
    ['bodyBytesMax', '16 MiBs'],
    ['segmentBytes', '1'],
    ['logLevel', 'loud'],
    ['allowHosts', 'a,,b'],
    ['allowHosts', ['a', 1]],
    ['allowHosts', 'http://a'],
    ['url', 'http://127.0.0.1:7420'],
    ['url', 'ws://user:pass@example'],
    ['url', 'ws://example/?token=x'],
    ['url', 'example:7420'],
    ['namespace', 'a b'],
  ])('%s %j is refused', (key, raw) => {
    const error = refusal(() => parseSetting(key, { raw, from: 'a test' }));
    expect(error.details).toEqual({ setting: key, from: 'a test' });
    expect(error.message).toMatch(new RegExp(`^Cannot set ${key} from a test: .*, expected `));
  });

  test('is named with its place, its value and what is allowed', () => {
    expect(refusal(() => load({ port: '99999' })).message).toBe(
      'Cannot set port from the flag --port: "99999", expected a whole number from 0 to 65535',
    );
    expect(refusal(() => load({}, { LOVAGE_SYNC: 'often' })).message).toBe(
      'Cannot set sync from the variable LOVAGE_SYNC: "often", expected always, never, or a whole number of ms from 1 to 60000',
    );
    const config = configFile({ segmentBytes: '1KiB' });
    expect(refusal(() => load({ config })).message).toBe(
      `Cannot set segmentBytes from the config file ${config}: "1KiB", expected a size from 64KiB to 2GiB, in bytes or as 64KiB, 64MiB, 1GiB`,
    );
  });

  test('that is a token never shows in the message', () => {
    expect(refusal(() => load({ token: 'my secret' })).message).not.toContain('my secret');
  });

  test.each<[string, unknown, RegExp]>([
    ['an unknown key', { prot: 1 }, /unknown key "prot"/],
    ['a prototype key', '{"__proto__": {"port": 1}}', /unknown key "__proto__"/],
    ['a list', [], /expected a JSON object/],
    ['null', null, /expected a JSON object/],
    ['no JSON', '{port: 1}', /expected JSON/],
  ])('config file with %s is refused', (_name, content, message) => {
    expect(refusal(() => load({ config: configFile(content) })).message).toMatch(message);
  });

  test('config file that is not there is refused', () => {
    expect(refusal(() => load({ config: join(directory, 'none.json') })).message).toMatch(/ENOENT/);
  });
});

describe('limits', () => {
  test.each<[SettingKey, unknown, unknown]>([
    ['port', '0', 0],
    ['port', 65_535, 65_535],
    ['sync', '1', 1],
    ['sync', 60_000, 60_000],
    ['sync', 'never', 'never'],
    ['bodyBytesMax', '1KiB', 1_024],
    ['bodyBytesMax', '256MiB', 268_435_456],
    ['allowHosts', 'Example.com, [::1]', ['example.com', '[::1]']],
    ['allowHosts', ['*'], ['*']],
    ['memory', 'YES', true],
  ])('%s takes %j', (key, raw, value) => {
    expect(parseSetting(key, { raw, from: 'a test' })).toEqual(value);
  });

  test('every default is a value that the setting itself allows', () => {
    for (const key of [...keysOf('broker'), ...keysOf('client')]) {
      const fallback = load({})[key as keyof ReturnType<typeof load>] ?? null;
      if (fallback === null || (Array.isArray(fallback) && fallback.length === 0)) continue;
      expect(parseSetting(key, { raw: fallback, from: 'its default' })).toEqual(fallback);
    }
  });
});

describe('sizes', () => {
  test.each([
    ['64MiB', 67_108_864],
    ['64 MiB', 67_108_864],
    ['1mb', 1_000_000],
    ['1.5KiB', 1_536],
    ['100', 100],
    ['100B', 100],
  ])('%s are %i bytes', (text, bytes) => expect(parseBytes(text)).toBe(bytes));

  test.each(['', 'MiB', '1e3', '-1', '1.0001KiB', '64 M', '64XiB'])('"%s" are none', (text) => {
    expect(parseBytes(text)).toBeUndefined();
  });

  test.each([
    [0, '0'],
    [1_000, '1000'],
    [1_536, '1536'],
    [65_536, '64KiB'],
    [2 ** 31, '2GiB'],
  ])('%i is shown as %s', (bytes, text) => expect(showBytes(bytes)).toBe(text));
});
