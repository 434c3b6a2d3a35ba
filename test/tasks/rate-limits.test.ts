/** Tasks under a rate limit: how many begin in which time, whoever runs them. */
import { startTestBroker, type TestBroker } from '@lovage/server/testing';
import { describe, expect, test } from 'vitest';
import { connect } from '../../client-sdk/index.js';
import { TaskApp } from '../../client-sdk/tasks/index.js';
import { Killed } from '../durability/killed.js';
import { atEnd } from '../support/cleanup.js';
import { eventually } from '../support/deadline.js';
import { appOf, started } from './running.js';

async function broker(): Promise<TestBroker> {
  const at = await startTestBroker();
  atEnd(() => at.close());
  return at;
}

function appAt({ url }: { readonly url: string }): TaskApp {
  const app = new TaskApp({ url });
  atEnd(() => app.close({ graceMs: 0 }));
  return app;
}

describe('a task with a rate limit', () => {
  test('begins as often as that says on all workers together, and leaves them free for others', async () => {
    const at = await broker();
    const times: number[] = [];
    const apps = [appAt(at), appAt(at)];
    const [limited] = apps.map((app) =>
      app.task('call', () => times.push(at.nowMs), { rateLimit: { count: 5, perMs: 1_000, burst: 1 }, result: 'none' }),
    );
    const [free] = apps.map((app) => app.task('free', () => 'done'));
    for (const app of apps) await app.worker({ concurrency: 2 }).start();
    const began = at.nowMs;
    await limited!.sendMany(Array.from({ length: 20 }, () => []));
    expect(await (await free!.send()).result()).toBe('done');
    await at.advance(2_000);
    expect(times.map((ms) => ms - began)).toEqual([0, 200, 400, 600, 800, 1_000, 1_200, 1_400, 1_600, 1_800, 2_000]);
    const client = await connect(at.url);
    atEnd(() => client.close());
    expect(await client.rateLimits.list()).toMatchObject([{ name: 'call', waiting: 9 }]);
    await client.rateLimits.override('call', '100/s');
    await at.advance(200);
    expect(times).toHaveLength(20);
  });

  test('counts each key for itself', async () => {
    const at = await broker();
    const app = appAt(at);
    const ran: string[] = [];
    const call = app.task('call', (_, host: string) => ran.push(host), { rateLimit: '1/h', result: 'none' });
    await app.worker().start();
    for (const host of ['a', 'b', 'a', 'c', 'b']) await call.with({ rateKey: host }).send(host);
    await at.advance(0);
    expect(ran.sort()).toEqual(['a', 'b', 'c']);
    await at.advance(3_600_000);
    expect(ran.sort()).toEqual(['a', 'a', 'b', 'b', 'c']);
  });

  test('waits for its next attempt as for its first', async () => {
    const at = await broker();
    const app = appAt(at);
    const times: number[] = [];
    const call = app.task(
      'call',
      () => {
        times.push(at.nowMs);
        if (times.length === 1) throw new Error('busy');
      },
      { rateLimit: '1/m', retry: { max: 1, delayMs: 1, jitter: false } },
    );
    await app.worker().start();
    const began = at.nowMs;
    await (await call.send()).state();
    await at.advance(60_000);
    expect(times.map((ms) => ms - began)).toEqual([0, 60_000]);
  });

  test('is refused when it says nothing sensible', async () => {
    const app = new TaskApp();
    for (const [i, rateLimit] of [
      '',
      '5',
      '5/w',
      '0/s',
      '-1/s',
      '1.5/s',
      '99999999/s',
      {},
      { count: 1 },
      5,
      null,
    ].entries())
      expect(() => app.task(`bad.${i}`, () => 1, { rateLimit: rateLimit as never })).toThrow(
        expect.objectContaining({ code: 'INVALID_ARGUMENT' }),
      );
    for (const [field, rateLimit] of [
      ['count', { count: 0, perMs: 1 }],
      ['perMs', { count: 1, perMs: 2_592_000_001 }],
      ['burst', { count: 1, perMs: 1, burst: 0.5 }],
      ['bust', { count: 1, perMs: 1, bust: 5 }],
    ] as const)
      expect(() => app.task(field, () => 1, { rateLimit: rateLimit as never })).toThrow(
        expect.objectContaining({ code: 'INVALID_ARGUMENT', details: { field } }),
      );
    const free = app.task('free', () => 1);
    await expect(free.with({ rateKey: 'a' }).send()).rejects.toMatchObject({ details: { field: 'rateKey' } });
  });
});

test('a broker that is killed keeps limits, overrides and what waits for them', async () => {
  const killed = await Killed.start();
  const app = appOf(killed.broker, 'killed');
  const ran: number[] = [];
  const call = app.task('call', (_, n: number) => ran.push(n), { rateLimit: '1/d', result: 'none' });
  await started(app);
  await call.sendMany([[1], [2], [3], [4]]);
  await eventually(
    () => ran.length,
    (count) => count === 1,
    'the first',
  );
  const client = await app.client();
  await client.rateLimits.override('call', '2/d');
  await killed.kill();
  expect(await client.rateLimits.list()).toMatchObject([
    { name: 'call', rate: { count: 1, perMs: 86_400_000 }, override: { count: 2 }, waiting: 3 },
  ]);
  expect(ran).toEqual([1]);
  await client.rateLimits.delete('call');
  await eventually(
    () => ran.length,
    (count) => count === 4,
    'the others',
  );
  expect(ran.sort()).toEqual([1, 2, 3, 4]);
});

test('whoever may not configure may send and run what is declared as it is, and nothing else', async () => {
  const killed = await Killed.start();
  const admin = await connect(killed.broker.url);
  const { secret } = await admin.tokens.create({ name: 'all', role: 'admin' });
  await admin.close();
  const chief = appOf(killed.broker, 'rights', { token: secret });
  const client = await chief.client();
  await client.queues.declare('default');
  await client.rateLimits.declare('call', '5/s');
  const { secret: token } = await client.tokens.create({ name: 'sends', role: 'producer', namespace: 'rights' });
  const sender = appOf(killed.broker, 'rights', { token });
  await sender.task('call', () => 1, { rateLimit: '5/s' }).send();
  const other = appOf(killed.broker, 'rights', { token });
  const faster = other.task('call', () => 1, { rateLimit: '6/s' });
  await expect(faster.send()).rejects.toMatchObject({ code: 'FORBIDDEN' });
  const limits = (await sender.client()).rateLimits;
  await expect(limits.override('call', null)).rejects.toMatchObject({ code: 'FORBIDDEN' });
  await expect(limits.delete('call')).rejects.toMatchObject({ code: 'FORBIDDEN' });
  expect(await limits.list()).toMatchObject([{ name: 'call', override: null }]);
});
