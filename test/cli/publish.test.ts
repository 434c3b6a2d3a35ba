/** `lovage publish` against a real broker. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { BrokerProcess } from '../support/broker-process.js';
import { tempDirectory } from '../support/temp-directory.js';
import { command, type Ended } from './command.js';
import { Running } from './running.js';

type Line = Record<string, unknown>;

let broker: BrokerProcess;
beforeAll(async () => {
  broker = await BrokerProcess.start({ flags: ['--body-bytes-max', '1MiB'] });
});

function publish(words: readonly string[], input?: string | Uint8Array): Promise<Ended> {
  return command(['publish', '--declare', ...words], {
    ...(input !== undefined && { input }),
    variables: { LOVAGE_URL: broker.url },
  });
}

function linesOf(text: string): Line[] {
  return text
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line) as Line);
}

/** So many messages of a queue, as `lovage consume` prints them. */
async function consume(queue: string, count: number): Promise<Line[]> {
  const { code, out, error } = await command(['consume', queue, '--count', `${count}`, '--url', broker.url]);
  expect([code, error]).toEqual([0, '']);
  return linesOf(out);
}

describe('publish', () => {
  test('takes bodies as arguments, and says how many and under which ids', async () => {
    const { code, out, error } = await publish(['arguments', 'a', 'grüß dich', '']);
    expect([code, error]).toEqual([0, '']);
    expect(out).toMatch(/^Published 3 messages to arguments \(ids \d+-\d+\)\n$/);
    const lines = await consume('arguments', 3);
    expect(lines.map(({ body }) => body)).toEqual(['a', 'grüß dich', '']);
    expect(lines[0]).toEqual({
      id: expect.any(Number),
      queue: 'arguments',
      priority: 0,
      attempt: 1,
      redelivered: false,
      headers: {},
      contentType: 'text/plain',
      body: 'a',
    });
  });

  test('takes bodies that begin with a dash after --', async () => {
    expect((await publish(['dashes', '--', '--x', '-'], 'ignored')).code).toBe(2);
    expect((await publish(['dashes', '--', '--x'])).code).toBe(0);
    expect((await consume('dashes', 1))[0]?.body).toBe('--x');
  });

  test('takes standard input as one body, bytes as they are', async () => {
    const bytes = Uint8Array.of(0, 0xff, 10, 0x80);
    expect((await publish(['input', '-'], bytes)).code).toBe(0);
    expect((await publish(['input'], 'two\nlines\n')).code).toBe(0);
    const [first, second] = await consume('input', 2);
    expect(first).toMatchObject({ contentType: null, body: { base64: Buffer.from(bytes).toString('base64') } });
    expect(second).toMatchObject({ contentType: 'text/plain', body: 'two\nlines\n' });
  });

  test('takes a line a message from standard input and from a file', async () => {
    const lines = Array.from({ length: 2_000 }, (_, i) => `line ${i}`);
    const file = join(tempDirectory(), 'lines');
    writeFileSync(file, lines.slice(1_000).join('\n'));
    expect((await publish(['lines', '--lines'], `${lines.slice(0, 1_000).join('\n')}\n`)).out).toContain(
      '1000 messages',
    );
    expect((await publish(['lines', '--file', file])).out).toContain('1000 messages');
    expect((await consume('lines', 2_000)).map(({ body }) => body)).toEqual(lines);
  });

  test('gives priority, headers and content type, and serves the most urgent first', async () => {
    expect((await publish(['options', 'low', '--priority', '1'])).code).toBe(0);
    const flags = ['--priority', '200', '--header', 'a=1', '--header', 'b=x=y', '--content-type', 'application/json'];
    expect((await publish(['options', '{}', ...flags])).code).toBe(0);
    expect(await consume('options', 2)).toMatchObject([
      { priority: 200, headers: { a: '1', b: 'x=y' }, contentType: 'application/json', body: '{}' },
      { priority: 1, body: 'low' },
    ]);
  });

  test('prints a receipt a line with --json, and knows a dedup key again', async () => {
    const first = await publish(['keys', 'a', 'b', '--json']);
    const receipts = linesOf(first.out);
    expect(receipts).toEqual([
      { id: expect.any(Number), duplicate: false, durability: 'disk' },
      { id: Number(receipts[0]?.id) + 1, duplicate: false, durability: 'disk' },
    ]);
    const [once] = linesOf((await publish(['keys', 'c', '--dedup-key', 'k', '--json'])).out);
    const [again] = linesOf((await publish(['keys', 'd', '--dedup-key', 'k', '--json'])).out);
    expect(again).toEqual({ ...once, duplicate: true });
    expect((await publish(['keys', 'd', '--dedup-key', 'k'])).out).toMatch(
      /^Published 1 .*, 1 of them known already\n$/,
    );
    expect((await broker.queue('keys')).ready).toBe(3);
  });

  test('keeps a message in memory when told so', async () => {
    expect(linesOf((await publish(['memory', 'a', '--durability', 'memory', '--json'])).out)).toMatchObject([
      { durability: 'memory' },
    ]);
  });

  test('delays, and lets expire', async () => {
    expect((await publish(['times', 'later', '--delay-ms', '3600000'])).code).toBe(0);
    expect((await publish(['times', 'gone', '--expires-in-ms', '1'])).code).toBe(0);
    expect((await publish(['times', 'due', '--delay-ms', '20'])).code).toBe(0);
    // Whatever is first must be neither the delayed nor the expired one.
    expect((await consume('times', 1))[0]?.body).toBe('due');
    expect(await broker.queue('times')).toMatchObject({ delayed: 1, totals: { expired: 1 } });
  });

  test('publishes all when nobody reads the receipts', async () => {
    const running = new Running(['publish', 'unread', '--declare', '--lines', '--json', '--url', broker.url]);
    running.child.stdout.destroy();
    running.child.stdin.end(Array.from({ length: 30_000 }, (_, i) => `${i}\n`).join(''));
    expect(await running.ended()).toMatchObject({ code: 0, error: '' });
    expect((await broker.queue('unread')).ready).toBe(30_000);
  });

  test('of nothing says so', async () => {
    expect((await publish(['nothing', '--lines'], '')).out).toBe('Published 0 messages to nothing\n');
  });
});

describe('publish fails', () => {
  const run = (words: readonly string[], input?: string) =>
    command(['publish', ...words, '--url', broker.url], input === undefined ? {} : { input });

  test('without its queue, and says how to make one', async () => {
    const { code, out, error } = await run(['absent', 'a']);
    expect([code, out]).toEqual([1, '']);
    expect(error).toMatch(/^QUEUE_NOT_FOUND: [^(]*"absent"[^(]*\n.*lovage queues declare/);
    expect(error).not.toMatch(/\n +at /);
  });

  test('at a line that is too long, and says which and how many others were published', async () => {
    const lines = ['a', 'b', 'c'.repeat(2_000_000), 'd'];
    const { code, error } = await run(['long', '--declare', '--lines', '--json'], lines.join('\n'));
    expect(code).toBe(1);
    expect(JSON.parse(error).error).toMatchObject({
      code: 'BODY_TOO_LARGE',
      message: expect.stringContaining('(message 3; 3 others were published)'),
      details: { message: 3, published: 3 },
    });
  });

  test('for a file that is not there', async () => {
    const { code, error } = await run(['q', '--declare', '--file', join(tempDirectory(), 'none')]);
    expect(code).toBe(1);
    expect(error).toMatch(/^ENOENT: no such file/);
  });

  test('for headers that are too large', async () => {
    const { code, error } = await run(['q', 'a', '--declare', '--header', `x=${'y'.repeat(70_000)}`]);
    expect(code).toBe(1);
    expect(error).toMatch(/^HEADERS_TOO_LARGE: /);
  });
});
