/** Tasks that are taken back for good, whatever they do, also across a kill of the broker. */
import { beforeAll, describe, expect, test } from 'vitest';
import type { LovageError, TaskContext } from '../../client-sdk/tasks/index.js';
import { type Deferred, deferred } from '../client-sdk/deferred.js';
import { BrokerProcess } from '../support/broker-process.js';
import { eventually } from '../support/deadline.js';
import { freePort } from '../support/free-port.js';
import { appOf, started } from './running.js';

let broker: BrokerProcess;

beforeAll(async () => {
  broker = await BrokerProcess.start();
});

async function codeOf(promise: Promise<unknown>): Promise<unknown> {
  return await promise.then(
    (value) => value,
    (error: LovageError) => error.code,
  );
}

describe('a task that is revoked', () => {
  test('while it waits is never run, and has REVOKED as its result', async () => {
    const app = appOf(broker, 'waiting');
    const ran: string[] = [];
    const work = app.task('work', (_: TaskContext, what: string) => {
      ran.push(what);
      return what;
    });
    const [first, kept] = await work.sendMany([['first'], ['kept']]);
    const later = await work.with({ delayMs: 3_600_000 }).send('later');
    const waiting = codeOf(first!.result());
    expect(await first!.revoke()).toEqual({ revoked: true });
    expect(await later.revoke()).toEqual({ revoked: true });
    expect(await waiting).toBe('REVOKED');
    expect(await codeOf(later.result())).toBe('REVOKED');
    expect(await first!.state()).toMatchObject({
      state: 'revoked',
      attempts: 0,
      queue: null,
      dueAt: null,
      failures: [],
    });
    expect(await first!.revoke()).toEqual({ revoked: false });
    await started(app);
    expect(await kept!.result()).toBe('kept');
    expect(await kept!.revoke()).toEqual({ revoked: false });
    expect(await kept!.result()).toBe('kept');
    expect(await app.handle(999_999).revoke()).toEqual({ revoked: false });
    expect(ran).toEqual(['kept']);
    expect(await broker.queue('default', 'waiting')).toMatchObject({ ready: 0, delayed: 0, leased: 0, started: 0 });
  });

  test('while it runs has its signal aborted, and what it returns is not heard', async () => {
    const app = appOf(broker, 'running');
    const running = deferred<TaskContext>();
    const gate = deferred();
    const ended: unknown[] = [];
    const stubborn = app.task('stubborn', async (ctx: TaskContext) => {
      running.resolve(ctx);
      await gate.promise;
      ended.push((ctx.signal.reason as LovageError).code);
      return 'done all the same';
    });
    const next = app.task('next', () => 'next');
    await started(app, { concurrency: 1, prefetchMultiplier: 1 });
    const handle = await stubborn.send();
    const { signal } = await running.promise;
    const aborted = new Promise((resolve) => signal.addEventListener('abort', resolve));
    expect(await handle.revoke({ terminate: true })).toEqual({ revoked: true });
    await aborted;
    expect(signal.reason).toMatchObject({ code: 'REVOKED', details: { terminate: true } });
    expect(await codeOf(handle.result())).toBe('REVOKED');
    expect(await handle.state()).toMatchObject({ state: 'revoked', attempts: 1 });
    gate.resolve();
    // Its credit is free for others.
    expect(await (await next.send()).result()).toBe('next');
    expect(ended).toEqual(['REVOKED']);
    expect(await codeOf(handle.result())).toBe('REVOKED');
  });

  test('while it waits at a worker is not begun', async () => {
    const app = appOf(broker, 'leased');
    const gate = deferred();
    const ran: number[] = [];
    const work = app.task('work', async (_: TaskContext, n: number) => {
      ran.push(n);
      await gate.promise;
    });
    const handles = await work.sendMany([[0], [1], [2]]);
    await started(app, { concurrency: 1, prefetchMultiplier: 3 });
    await eventually(
      () => broker.queue('default', 'leased'),
      ({ leased, started: running }) => leased === 2 && running === 1,
      'the deliveries',
    );
    expect(await handles[1]!.revoke()).toEqual({ revoked: true });
    gate.resolve();
    expect(await Promise.all(handles.map((handle) => codeOf(handle.result())))).toEqual([null, 'REVOKED', null]);
    expect(ran).toEqual([0, 2]);
  });

  test('by its name and headers is found among others, in steps, and counted before', async () => {
    const app = appOf(broker, 'names');
    const resize = app.task('images.resize', () => 'resized');
    const mail = app.task('mail', () => 'sent');
    const sent = await Promise.all([
      resize.with({ headers: { customer: 7 } }).sendMany(Array.from({ length: 1_200 }, () => [] as [])),
      resize.with({ headers: { customer: 8 } }).sendMany(Array.from({ length: 300 }, () => [] as [])),
      mail.with({ headers: { customer: 7 } }).sendMany(Array.from({ length: 300 }, () => [] as [])),
    ]);
    const selection = { name: 'images.resize', headers: { customer: 7 } };
    expect(await app.revoke({ ...selection, dryRun: true })).toBe(1_200);
    expect(await app.revoke({ ...selection, headers: { customer: '7' } })).toBe(0);
    expect(await app.revoke(selection)).toBe(1_200);
    expect(await app.revoke(selection)).toBe(0);
    const states = await Promise.all(sent.map((handles) => handles.at(-1)!.state()));
    expect(states.map(({ state }) => state)).toEqual(['revoked', 'queued', 'queued']);
    expect(await app.revoke({ name: 'mail', priorityMin: 1 })).toBe(0);
    expect(await app.revoke({ queue: 'default', state: 'ready' })).toBe(600);
    expect(await codeOf(app.revoke({ headers: { customer: 7 } }))).toBe('INVALID_ARGUMENT');
    expect(await codeOf(app.revoke({ queue: 'nowhere' }))).toBe('QUEUE_NOT_FOUND');
  });
});

test('what was said to be revoked stays so when the broker is killed, and is not run again', async () => {
  const flags = ['--port', `${await freePort()}`];
  let own = await BrokerProcess.start({ flags });
  const app = appOf(own, 'killed');
  const ran: string[] = [];
  const gates: Deferred<void>[] = [];
  const work = app.task('work', async (_: TaskContext, what: string) => {
    ran.push(what);
    const gate = deferred();
    gates.push(gate);
    await gate.promise;
  });
  const running = await work.sendMany([['runs'], ['runs too']]);
  const worker = await started(app, { concurrency: 2, prefetchMultiplier: 1 });
  await eventually(
    () => worker.active,
    (active) => active === 2,
    'two tasks',
  );
  const waiting = await work.sendMany([['waits'], ['goes on waiting']]);
  const delayed = await work.with({ delayMs: 3_600_000 }).send('later');
  const revoked = [running[0]!, waiting[0]!, delayed];
  expect(await Promise.all(revoked.map((handle) => handle.revoke()))).toEqual(Array(3).fill({ revoked: true }));
  await own.kill();
  own = await BrokerProcess.start({ dataDir: own.dataDir, flags });
  const states = await Promise.all(revoked.map((handle) => handle.state()));
  expect(states.map(({ state }) => state)).toEqual(Array(3).fill('revoked'));
  expect(await codeOf(delayed.result())).toBe('REVOKED');
  // What was revoked still has its place at the worker until its function returns.
  gates[0]!.resolve();
  await eventually(
    () => ran.length,
    (count) => count === 3,
    'the task that waits',
  );
  for (const gate of gates) gate.resolve();
  expect(await codeOf(running[1]!.result())).toBe(null);
  expect(await codeOf(waiting[1]!.result())).toBe(null);
  expect(ran.sort()).toEqual(['goes on waiting', 'runs', 'runs too']);
}, 30_000);
