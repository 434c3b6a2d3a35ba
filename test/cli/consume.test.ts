/** `lovage consume` against a real broker: what is printed is settled, what is not printed is not lost. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import type { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { connect } from '@lovage/client';
import { beforeAll, describe, expect, test } from 'vitest';
import { BrokerProcess } from '../support/broker-process.js';
import { atEnd } from '../support/cleanup.js';
import { eventually } from '../support/deadline.js';
import { BIN, command } from './command.js';
import { Running } from './running.js';

let broker: BrokerProcess;
beforeAll(async () => {
  // Messages of a consumer that was killed wait as long for it to come back.
  broker = await BrokerProcess.start({ flags: ['--grace-ms', '0'] });
});

/** A queue of its own with so many messages, "0" and on. */
async function fill(queue: string, count: number): Promise<void> {
  const input = Array.from({ length: count }, (_, i) => `${i}\n`).join('');
  const { code, error } = await command(['publish', queue, '--declare', '--lines', '--url', broker.url], { input });
  expect([code, error]).toEqual([0, '']);
}

function consume(...words: string[]): Running {
  return new Running(['consume', ...words, '--url', broker.url]);
}

async function rest(queue: string): Promise<Record<string, unknown>[]> {
  const running = consume(queue, '--idle-ms', '300');
  expect(await running.ended()).toMatchObject({ code: 0, error: '' });
  return running.lines;
}

describe('consume', () => {
  test('prints a line a message and settles it, until a signal comes', async () => {
    await fill('signal', 50);
    const running = consume('signal');
    await running.until(({ lines }) => lines.length === 50, '50 lines');
    expect(running.lines.map(({ body }) => body)).toEqual(Array.from({ length: 50 }, (_, i) => `${i}`));
    await eventually(
      () => broker.queue('signal'),
      ({ totals }) => totals.acked === 50,
      'all to be settled',
    );
    running.signal('SIGINT');
    expect(await running.ended()).toMatchObject({ code: 0, signal: null, error: '' });
    expect(await broker.queue('signal')).toMatchObject({ ready: 0, leased: 0, started: 0, consumers: 0 });
  });

  test('ends after --count messages and leaves the others untouched', async () => {
    await fill('count', 30);
    for (const [count, prefetch] of [
      [7, 100],
      [8, 3],
    ] as const) {
      const running = consume('count', '--count', `${count}`, '--prefetch', `${prefetch}`);
      expect(await running.ended()).toMatchObject({ code: 0, error: '' });
      expect(running.lines).toHaveLength(count);
    }
    const left = await rest('count');
    expect(left.map(({ body }) => body)).toEqual(Array.from({ length: 15 }, (_, i) => `${15 + i}`));
    // None was handed to anybody who did not print it.
    expect(left.every(({ attempt }) => attempt === 1)).toBe(true);
  });

  test('with a --priority is served before others', async () => {
    await fill('urgent', 0);
    const client = await connect(broker.url);
    atEnd(() => client.terminate());
    const mine: string[] = [];
    await client.consume('urgent', ({ body }) => void mine.push(Buffer.from(body).toString()));
    const running = consume('urgent', '--priority', '9');
    await eventually(
      () => broker.queue('urgent'),
      ({ consumers }) => consumers === 2,
      'both consumers',
    );
    await client.publishMany('urgent', [{ body: 'a' }, { body: 'b' }]);
    await running.until(({ lines }) => lines.length === 2, '2 lines');
    expect(mine).toEqual([]);
    running.signal('SIGINT');
    await running.ended();
  });

  test.each(['late', 'early', 'none'])(
    'with --ack %s takes no more than --count, also when they come one by one',
    async (ack) => {
      const queue = `one-by-one-${ack}`;
      await fill(queue, 1);
      const running = consume(queue, '--count', '5', '--ack', ack);
      await running.until(({ lines }) => lines.length === 1, 'the first line');
      await fill(queue, 20);
      expect(await running.ended()).toMatchObject({ code: 0, error: '' });
      expect(running.lines.map(({ body }) => body)).toEqual(['0', '0', '1', '2', '3']);
      const left = await rest(queue);
      expect(left.map(({ body, attempt }) => [body, attempt])).toEqual(
        Array.from({ length: 16 }, (_, i) => [`${4 + i}`, 1]),
      );
    },
  );

  test('takes several queues, the first ones first', async () => {
    await fill('second', 2);
    await fill('first', 2);
    const running = consume('first', 'second', '--count', '4');
    await running.ended();
    expect(running.lines.map(({ queue }) => queue)).toEqual(['first', 'first', 'second', 'second']);
  });

  test('makes its queue with --declare, and waits for the first message', async () => {
    const running = consume('made', '--declare', '--count', '1');
    await eventually(
      async () => (await broker.queues()).find(({ name }) => name === 'made')?.consumers ?? 0,
      (consumers) => consumers === 1,
      'the consumer',
    );
    await fill('made', 1);
    expect(await running.ended()).toMatchObject({ code: 0, error: '' });
    expect(running.lines).toHaveLength(1);
  });

  test('loses nothing when it is killed in the middle', async () => {
    const count = 20_000;
    await fill('killed', count);
    const running = consume('killed', '--prefetch', '50');
    await running.until(({ out }) => out.length > 100_000, 'many lines');
    running.signal('SIGKILL');
    const { out } = await running.ended();
    const printed = out
      .split('\n')
      .slice(0, -1)
      .map((line) => Number(JSON.parse(line).body));
    expect(printed.length).toBeLessThan(count);
    await eventually(
      () => broker.queue('killed'),
      ({ consumers, leased, started }) => consumers + leased + started === 0,
      'the end of the session',
    );
    const left = (await rest('killed')).map(({ body }) => Number(body));
    expect(new Set([...printed, ...left]).size).toBe(count);
    // What was printed and not settled comes twice: as much as was out, at most.
    expect(printed.length + left.length - count).toBeLessThanOrEqual(50);
  });

  test('keeps what the reader did not take when that goes away, and ends without a word', async () => {
    await fill('head', 1);
    const running = consume('head');
    await running.until(({ lines }) => lines.length === 1, 'the first line');
    // What `| head -1` does.
    running.child.stdout.destroy();
    await fill('head', 3);
    expect(await running.ended()).toMatchObject({ code: 0, signal: null, error: '' });
    await eventually(
      () => broker.queue('head'),
      ({ consumers, leased, started }) => consumers + leased + started === 0,
      'the end of the session',
    );
    expect((await rest('head')).map(({ body }) => body)).toEqual(['0', '1', '2']);
  });

  test('goes on when the broker was killed and started again', async () => {
    const own = await BrokerProcess.start();
    const port = new URL(own.url).port;
    const running = new Running(['consume', 'again', '--declare', '--count', '2', '--url', own.url]);
    await eventually(
      async () => (await own.queues())[0]?.consumers ?? 0,
      (consumers) => consumers === 1,
      'the consumer',
    );
    await command(['publish', 'again', 'before', '--url', own.url]);
    await running.until(({ lines }) => lines.length === 1, 'the first line');
    await own.kill();
    await running.until(({ error }) => error.includes('Trying again'), 'a note that the connection is lost');
    // The last word wins, so this port stands instead of 0.
    const next = await BrokerProcess.start({ dataDir: own.dataDir, flags: ['--port', port] });
    await command(['publish', 'again', 'after', '--url', next.url]);
    const { code, error } = await running.ended();
    expect(code).toBe(0);
    expect(error).toMatch(/^CONNECTION_LOST: .*Trying again\.\nConnected to ws:.* again\.\n$/);
    expect(running.lines.map(({ body }) => body)).toContain('after');
  });
});

describe('consume fails', () => {
  test('without its queue', async () => {
    const { code, out, error } = await command(['consume', 'absent', '--url', broker.url]);
    expect([code, out]).toEqual([1, '']);
    expect(error).toMatch(/^QUEUE_NOT_FOUND: .*"absent".*\n.*--declare/);
  });

  test('when its queue is deleted', async () => {
    const running = consume('deleted', '--declare');
    await eventually(
      async () => (await broker.queues()).find(({ name }) => name === 'deleted')?.consumers ?? 0,
      (consumers) => consumers === 1,
      'the consumer',
    );
    const client = await connect(broker.url);
    atEnd(() => client.terminate());
    await client.queues.delete('deleted');
    const { code, error } = await running.ended();
    expect(code).toBe(1);
    expect(error).toMatch(/^QUEUE_DELETED: /);
  });

  test('when standard output cannot be written, and settles nothing', async () => {
    await fill('full', 3);
    const full = openSync('/dev/full', 'w');
    const child = spawn(process.execPath, [BIN, 'consume', 'full', '--url', broker.url], {
      stdio: ['ignore', full, 'pipe'],
    });
    closeSync(full);
    const [[code], error] = await Promise.all([once(child, 'close'), text(child.stderr as Readable)]);
    expect(code).toBe(1);
    expect(error).toMatch(/^ENOSPC: /);
    await eventually(
      () => broker.queue('full'),
      ({ ready }) => ready === 3,
      'the messages to come back',
    );
  });
});
