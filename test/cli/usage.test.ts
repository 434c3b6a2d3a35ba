import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { flagOf, keysOf, variableOf } from '../../server/settings/index.js';
import { command } from './command.js';

const directory = mkdtempSync(join(tmpdir(), 'lovage-usage-'));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

/** No broker listens here: the port was taken from the system and given back. */
async function deadUrl(): Promise<string> {
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return `ws://127.0.0.1:${port}`;
}

describe('help', () => {
  test('of start names every setting of the broker with its flag and its variable', async () => {
    const { code, out, error } = await command(['start', '--help']);
    expect([code, error]).toEqual([0, '']);
    for (const key of keysOf('broker')) {
      expect(out).toContain(`${flagOf(key)} `);
      expect(out).toContain(variableOf(key));
    }
  });

  test.each(['publish', 'consume', 'status', 'queues list'])('of %s names every setting of clients', async (name) => {
    const { code, out } = await command([...name.split(' '), '--help']);
    expect(code).toBe(0);
    for (const key of keysOf('client')) expect(out).toContain(flagOf(key));
    expect(out).toContain('--json');
  });

  test('lists the commands', async () => {
    const { code, out } = await command(['--help']);
    expect(code).toBe(0);
    for (const name of ['start', 'publish', 'consume', 'queues', 'status'])
      expect(out).toMatch(new RegExp(`^ {2}${name} `, 'm'));
  });

  test('goes to standard error when there is no command at all', async () => {
    const { code, out, error } = await command([]);
    expect([code, out]).toEqual([2, '']);
    expect(error).toContain('Usage: lovage');
  });

  test('knows the version', async () => {
    const { code, out } = await command(['--version']);
    expect(code).toBe(0);
    expect(out).toMatch(/^\d+\.\d+\.\d+\n$/);
  });
});

describe('wrong usage', () => {
  test.each([
    ['an unknown command', ['strat'], /^INVALID_ARGUMENT: unknown command 'strat'/],
    [
      'an unknown flag',
      ['start', '--prot', '1'],
      /^INVALID_ARGUMENT: unknown option '--prot' \(Did you mean --port\?\)/,
    ],
    ['a flag without its value', ['start', '--port'], /^INVALID_ARGUMENT: option '--port <number>' argument missing/],
    ['too many words', ['start', 'now'], /^INVALID_ARGUMENT: too many arguments/],
    [
      'a bad flag',
      ['start', '--port', '70000'],
      /^INVALID_SETTING: Cannot set port from the flag --port: "70000", expected /,
    ],
    [
      'a host in the open',
      ['start', '--host', '0.0.0.0'],
      /^INVALID_SETTING: Cannot listen on 0\.0\.0\.0 without a token/,
    ],
    ['a bad URL', ['status', '--url', 'localhost:7420'], /^INVALID_SETTING: Cannot set url from the flag --url/],
    ['no queue to publish to', ['publish'], /^INVALID_ARGUMENT: missing required argument 'queue'/],
    ['a key without an exchange', ['publish', 'q', 'x', '--key', 'k'], /^INVALID_ARGUMENT: .*no --exchange/],
    ['a bad exchange name', ['publish', '--exchange', 'a b', 'x'], /^INVALID_ARGUMENT: .*"a b" as exchange/],
    ['an exchange to declare', ['publish', '--exchange', 'e', 'x', '--declare'], /^INVALID_ARGUMENT: .*--declare/],
    ['an exchange of no type', ['exchanges', 'declare', 'e'], /^INVALID_ARGUMENT: .*--type/],
    ['a binding to nothing', ['exchanges', 'bind', 'e'], /^INVALID_ARGUMENT: .*--to-exchange/],
    ['a bad queue name', ['publish', 'a b', 'x'], /^INVALID_ARGUMENT: Cannot use "a b" as queue/],
    ['a priority beyond 255', ['publish', 'q', 'x', '--priority', '256'], /^INVALID_ARGUMENT: .*from 0 to 255/],
    ['a header without a value', ['publish', 'q', 'x', '--header', 'name'], /^INVALID_ARGUMENT: .*<name>=<value>/],
    ['a file next to bodies', ['publish', 'q', 'x', '--file', 'f'], /^INVALID_ARGUMENT: .*--file at once/],
    ['standard input next to bodies', ['publish', 'q', 'x', '-'], /^INVALID_ARGUMENT: .*next to other bodies/],
    ['lines of arguments', ['publish', 'q', 'x', '--lines'], /^INVALID_ARGUMENT: .*--lines/],
    ['an empty dedup key', ['publish', 'q', 'x', '--dedup-key', ''], /^INVALID_ARGUMENT: .*--dedup-key/],
    ['no queue to consume', ['consume'], /^INVALID_ARGUMENT: missing required argument 'queue'/],
    ['a queue consumed twice', ['consume', 'a', 'a'], /^INVALID_ARGUMENT: Cannot consume a queue twice/],
    ['a count of nothing', ['consume', 'a', '--count', '0'], /^INVALID_ARGUMENT: .*from 1 to/],
    ['a priority beyond all', ['consume', 'a', '--priority', '256'], /^INVALID_ARGUMENT: .*0 to 255/],
    ['an unknown ack mode', ['consume', 'a', '--ack', 'never'], /^INVALID_ARGUMENT: .*late, early, none/],
    ['an unknown verb', ['queues', 'destroy', 'a'], /^INVALID_ARGUMENT: unknown command 'destroy'/],
    [
      'a queue setting out of range',
      ['queues', 'declare', 'a', '--default-priority', '300'],
      /^INVALID_ARGUMENT: .*from 0 to 255/,
    ],
    [
      'an unknown choice',
      ['queues', 'declare', 'a', '--overflow', 'explode'],
      /^INVALID_ARGUMENT: .*reject-publish, drop-head, dead-letter-head/,
    ],
    ['an unknown setting', ['queues', 'declare', 'a', '--set', 'ttl=1'], /^INVALID_ARGUMENT: .*"ttl"/],
    ['a setting of another kind', ['queues', 'declare', 'a', '--set', 'attemptsMax=x'], /^INVALID_ARGUMENT: .*65535/],
  ])('(%s) ends with exit code 2 and says what is wrong', async (_what, words, message) => {
    const { code, out, error } = await command(words);
    expect([code, out]).toEqual([2, '']);
    expect(error).toMatch(message);
    expect(error).not.toMatch(/\n +at /);
  });

  test('in a variable is named', async () => {
    const { code, error } = await command(['start'], { variables: { LOVAGE_SYNC: 'often' } });
    expect(code).toBe(2);
    expect(error).toMatch(
      /^INVALID_SETTING: Cannot set sync from the variable LOVAGE_SYNC: "often", expected always, never/,
    );
  });

  test('in a config file is named', async () => {
    const config = join(directory, 'config.json');
    writeFileSync(config, JSON.stringify({ prot: 7 }));
    const { code, error } = await command(['start', '--config', config]);
    expect(code).toBe(2);
    expect(error).toContain(`Cannot use the config file ${config}: unknown key "prot"`);
  });

  test('is JSON with --json', async () => {
    const { code, error } = await command(['start', '--port', 'x', '--json']);
    expect(code).toBe(2);
    expect(JSON.parse(error).error).toMatchObject({
      code: 'INVALID_SETTING',
      details: { setting: 'port', from: 'the flag --port' },
    });
  });

  test('never shows a token', async () => {
    const { error } = await command(['start', '--token', 'open sesame']);
    expect(error).toMatch(/^INVALID_SETTING: Cannot set token/);
    expect(error).not.toContain('sesame');
  });
});

describe('a failure', () => {
  test('to reach the broker ends with exit code 1 and says what to do', async () => {
    const { code, out, error } = await command(['status', '--url', await deadUrl()]);
    expect([code, out]).toEqual([1, '']);
    expect(error).toMatch(/^CONNECT_FAILED: .*ECONNREFUSED\n.*lovage start/);
  });

  test('is one line of JSON with --json', async () => {
    const { code, error } = await command(['status', '--json'], { variables: { LOVAGE_URL: await deadUrl() } });
    expect(code).toBe(1);
    expect(JSON.parse(error).error).toMatchObject({ code: 'CONNECT_FAILED', hint: expect.stringContaining('--url') });
  });

  test('names what answered if that is no broker', async () => {
    const server = createServer((_request, response) => response.end('hello')).listen(0, '127.0.0.1');
    await new Promise((resolve) => server.once('listening', resolve));
    const { port } = server.address() as AddressInfo;
    const { code, error } = await command(['status', '--url', `ws://127.0.0.1:${port}`]);
    await new Promise((resolve) => server.close(resolve));
    expect(code).toBe(1);
    expect(error).toContain('not that of a Lovage broker');
  });
});
