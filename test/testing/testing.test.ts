/** `@lovage/server/testing` as a user's tests use it: hours in milliseconds. */
import { existsSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { startTestBroker, type TestBroker } from '@lovage/server/testing';
import { describe, expect, test } from 'vitest';
import { type Client, connect } from '../../client-sdk/index.js';
import { TaskApp } from '../../client-sdk/tasks/index.js';
import { atEnd } from '../support/cleanup.js';

const HOUR_MS = 3_600_000;

async function broker(): Promise<TestBroker> {
  const started = await startTestBroker();
  atEnd(() => started.close());
  return started;
}

async function client({ url }: TestBroker): Promise<Client> {
  const connected = await connect(url);
  atEnd(() => connected.close());
  return connected;
}

async function working(at: TestBroker): Promise<TaskApp> {
  const app = new TaskApp({ url: at.url });
  atEnd(() => app.close({ graceMs: 0 }));
  return app;
}

describe('a broker for tests', () => {
  test('runs a task with a delay of an hour when the hour is over, and not before', async () => {
    const at = await broker();
    const app = await working(at);
    const ran: number[] = [];
    const later = app.task('later', (_, n: number) => {
      ran.push(n);
      return n * 2;
    });
    await app.worker().start();
    const began = at.nowMs;
    const handle = await later.with({ delayMs: HOUR_MS }).send(21);
    await at.advance(HOUR_MS - 1);
    expect(ran).toEqual([]);
    expect(await handle.state()).toMatchObject({ state: 'delayed', dueAt: began + HOUR_MS });
    await at.advance(1);
    expect(ran).toEqual([21]);
    expect(at.nowMs).toBe(began + HOUR_MS);
    expect(await handle.result()).toBe(42);
  });

  test('goes through all retries of a task in one step, each at its time', async () => {
    const at = await broker();
    const app = await working(at);
    const times: number[] = [];
    const fail = app.task(
      'fail',
      async ({ attempt }) => {
        times.push(at.nowMs);
        await sleep(2);
        if (attempt <= 4) throw new Error('not yet');
        return attempt;
      },
      { retry: { max: 9, delayMs: 60_000, factor: 2, jitter: false } },
    );
    await app.worker().start();
    const began = at.nowMs;
    const handle = await fail.send();
    await at.advance(HOUR_MS);
    expect(times.map((ms) => (ms - began) / 60_000)).toEqual([0, 1, 3, 7, 15]);
    expect(await handle.result()).toBe(5);
  });

  test('lets messages expire, come back and be due as in life', async () => {
    const at = await broker();
    const connected = await client(at);
    await connected.queues.declare('dead');
    await connected.queues.declare('q', { deadLetterQueue: 'dead' });
    await connected.publish('q', 'brief', { expiresInMs: 10 * HOUR_MS });
    await connected.publish('q', 'late', { delayMs: 24 * HOUR_MS });
    await at.advance(10 * HOUR_MS);
    expect(await connected.queues.inspect('dead')).toMatchObject({ ready: 1 });
    const seen: unknown[] = [];
    await connected.consume('q', (delivery) => {
      seen.push([delivery.value(), delivery.attempt]);
      if (delivery.attempt === 1) throw new Error('again');
    });
    await at.advance(48 * HOUR_MS);
    expect(seen).toEqual([
      ['late', 1],
      ['late', 2],
    ]);
  });

  test('forgets results when their time is over', async () => {
    const at = await broker();
    const app = await working(at);
    const now = app.task('now', () => 1, { resultTtlMs: HOUR_MS });
    await app.worker().start();
    const handle = await now.send();
    expect(await handle.result()).toBe(1);
    await at.advance(HOUR_MS);
    expect((await handle.state()).state).toBe('unknown');
  });

  test('does not wait for ever for what does not end', async () => {
    const at = await broker();
    const app = await working(at);
    const hang = app.task('hang', (ctx) => sleep(60_000, 1, { signal: ctx.signal }));
    await app.worker().start();
    const handle = await hang.send();
    await at.advance(HOUR_MS);
    expect((await handle.state()).state).toBe('started');
  });

  test('is one of several, each with its own time, and leaves nothing behind', async () => {
    const [a, b] = [await startTestBroker({ nowMs: 1_000 }), await startTestBroker({ nowMs: 2_000 })];
    await Promise.all([a.advance(5), a.advance(7), b.advance(1)]);
    expect([a.nowMs, b.nowMs]).toEqual([1_012, 2_001]);
    const connected = await connect(a.url);
    await connected.queues.declare('q');
    await connected.close();
    expect(existsSync('lovage-data')).toBe(false);
    await Promise.all([a.close(), b.close(), a.close()]);
    await expect(connect(a.url, { reconnect: false, connectTimeoutMs: 500 })).rejects.toMatchObject({
      code: 'CONNECT_FAILED',
    });
    await expect(a.advance(1)).rejects.toMatchObject({ code: 'CLIENT_CLOSED' });
  });

  test.each([-1, 0.5, Number.NaN, 315_360_000_001, '5' as never])('refuses to let %s ms pass', async (ms) => {
    const at = await broker();
    await expect(at.advance(ms)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT', details: { field: 'ms' } });
    await expect(startTestBroker({ nowMs: -1 })).rejects.toMatchObject({ details: { field: 'nowMs' } });
  });
});
