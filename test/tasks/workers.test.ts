/** Workers seen and told from elsewhere, over the real wire. */
import { setTimeout as sleep } from 'node:timers/promises';
import { beforeAll, describe, expect, test } from 'vitest';
import { type Client, connect, type WorkerList } from '../../client-sdk/index.js';
import { BrokerProcess } from '../support/broker-process.js';
import { atEnd } from '../support/cleanup.js';
import { eventually } from '../support/deadline.js';
import { appOf, started } from './running.js';

let broker: BrokerProcess;

beforeAll(async () => {
  broker = await BrokerProcess.start();
});

async function operator(namespace: string, token?: string): Promise<Client> {
  const client = await connect(broker.url, { namespace, token });
  atEnd(() => client.close());
  return client;
}

describe('workers', () => {
  test('are listed with what they run, as long as they are there', async () => {
    const app = appOf(broker, 'listed', { name: 'worker-1', version: '2.1' });
    app.task('a', () => 1, { queue: 'one', version: '7' });
    app.task('b', () => 1, { queue: 'two' });
    const worker = await started(app, { concurrency: 3 });
    const client = await operator('listed');
    const { workers } = await client.workers.list();
    const shown = await fetch(`${broker.url.replace('ws', 'http')}/api/v1/workers?namespace=listed`);
    expect(await shown.json()).toEqual({ workers, stranded: [] });
    expect(workers).toMatchObject([
      {
        ...{ clientName: 'worker-1', version: '2.1', pid: process.pid, pool: 'async', concurrency: 3 },
        ...{ queues: ['one', 'two'], unknown: [] },
        tasks: [
          ['a', '7'],
          ['b', null],
        ],
      },
    ]);
    expect((await (await operator('elsewhere')).workers.list()).workers).toEqual([]);
    await worker.stop();
    expect((await client.workers.list()).workers).toEqual([]);
    const gone = appOf(broker, 'listed');
    gone.task('c', () => 1);
    await started(gone);
    expect((await client.workers.list()).workers).toHaveLength(1);
    (await gone.client()).terminate();
    await eventually(
      () => client.workers.list(),
      ({ workers: left }) => left.length === 0,
      'the end of the worker',
    );
  });

  test('that were given what they do not have make it seen, until somebody comes who has it', async () => {
    const app = appOf(broker, 'stranded');
    app.task('known', () => 1);
    const sender = appOf(broker, 'stranded');
    const stray = sender.task('stray', () => 1);
    const worker = app.worker({ onError: () => undefined });
    await worker.start();
    await stray.send();
    const client = await operator('stranded');
    const seen = await eventually<WorkerList>(
      () => client.workers.list(),
      ({ stranded }) => stranded.length > 0,
      'the stray task',
    );
    expect(seen.stranded).toEqual([{ queue: 'default', task: 'stray', count: 1 }]);
    await started(sender);
    expect((await client.workers.list()).stranded).toEqual([]);
  });

  test('do what they are told: look, grow, shrink, scale, other queues, stop', async () => {
    const app = appOf(broker, 'told');
    const wait = app.task('wait', (ctx) => sleep(60_000, null, { signal: ctx.signal }), { queue: 'first' });
    const worker = await started(app, { concurrency: 1 });
    const client = await operator('told');
    const id = (await client.workers.list()).workers[0]!.id;
    expect(await client.workers.control(id, 'ping')).toBe('pong');
    expect(await client.workers.control(id, 'registered')).toEqual(['wait']);
    const handles = await wait.sendMany([[], [], []]);
    await eventually(
      () => client.workers.control(id, 'stats') as Promise<{ active: number; reserved: number }>,
      ({ active, reserved }) => active === 1 && reserved === 2,
      'one task to run and two to wait',
    );
    expect(await client.workers.control(id, 'reserved')).toEqual({ waiting: 2 });
    expect(await client.workers.control(id, 'active')).toEqual([
      { id: handles[0]!.id, name: 'wait', queue: 'first', attempt: 1 },
    ]);
    expect(await client.workers.control(id, 'resize', { concurrency: 2 })).toEqual({ concurrency: 2 });
    await eventually(
      () => worker.active,
      (active) => active === 2,
      'two tasks to run',
    );
    expect((await client.workers.list()).workers[0]!.concurrency).toBe(2);
    await client.workers.control(id, 'autoscale', { min: 1, max: 3 });
    await eventually(
      () => worker.active,
      (active) => active === 3,
      'three tasks to run',
    );
    await client.workers.control(id, 'autoscale');
    expect(await client.workers.control(id, 'add-queue', { queue: 'second' })).toEqual({ queues: ['first', 'second'] });
    const other = await wait.with({ queue: 'second' }).send();
    expect(await client.workers.control(id, 'resize', { concurrency: 4 })).toEqual({ concurrency: 4 });
    await eventually(
      () => other.state(),
      ({ state }) => state === 'started',
      'a task of the other queue',
    );
    expect(await client.workers.control(id, 'cancel-queue', { queue: 'first' })).toEqual({ queues: ['second'] });
    const left = await wait.send();
    expect((await left.state()).state).toBe('queued');
    await expect(client.workers.control(id, 'cancel-queue', { queue: 'second' })).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
    });
    await expect(client.workers.control(id, 'resize', { concurrency: 0 })).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
    });
    await expect(client.workers.control(id, 'time-limit', { task: 'wait', timeLimitMs: 5 })).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
    });
    expect(await client.workers.control(id, 'time-limit', { task: 'wait', softTimeLimitMs: 5_000 })).toBe(null);
    await expect(client.workers.control(id, 'restart')).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
    expect(await client.workers.control(id, 'shutdown', { graceMs: 0 })).toBe(null);
    await eventually(
      () => client.workers.list(),
      ({ workers }) => workers.length === 0,
      'its end',
    );
    for (const handle of handles) expect((await handle.state()).state).toBe('retrying');
  });

  test('whose last queue is deleted make it again and go on, and so does what they run', async () => {
    const app = appOf(broker, 'deleted');
    const late = app.task('late', async (_, ms: number) => await sleep(ms, ms));
    const told: string[] = [];
    const worker = await started(app, { concurrency: 2, onError: ({ code }) => told.push(code) });
    await late.send(300);
    await eventually(
      () => worker.active,
      (active) => active === 1,
      'the first task',
    );
    const client = await operator('deleted');
    await client.queues.delete('default');
    expect(await (await late.send(1)).result()).toBe(1);
    expect(told).toEqual(['QUEUE_DELETED']);
    await eventually(
      () => worker.active,
      (active) => active === 0,
      'the end of the first task',
    );
    const handles = await late.sendMany([[200], [200]]);
    await eventually(
      () => worker.active,
      (active) => active === 2,
      'two tasks at a time',
    );
    await Promise.all(handles.map((handle) => handle.result()));
    await client.queues.delete('default');
    await worker.stop();
    expect(await worker.ended).toBeNull();
    await expect(client.queues.inspect('default')).rejects.toMatchObject({ code: 'QUEUE_NOT_FOUND' });
  });

  test('go on serving all of their queues when one of several is deleted', async () => {
    const app = appOf(broker, 'one-deleted');
    const a = app.task('a', async (_, ms: number) => await sleep(ms, ms), { queue: 'one' });
    const b = app.task('b', () => 'b', { queue: 'two' });
    const told: unknown[] = [];
    const worker = await started(app, { concurrency: 2, onError: (error) => told.push(error) });
    const runs = await a.send(300);
    await eventually(
      () => worker.active,
      (active) => active === 1,
      'a task that runs',
    );
    const client = await operator('one-deleted');
    for (const round of [1, 2]) {
      await client.queues.delete('two');
      await eventually(
        () => told.length,
        (count) => count === round,
        'the news of it',
      );
      expect(await (await b.send()).result({ timeoutMs: 10_000 })).toBe('b');
    }
    expect(await runs.result()).toBe(300);
    expect(told).toMatchObject(Array(2).fill({ code: 'QUEUE_DELETED', details: { queue: 'two' } }));
    expect(worker.queues).toEqual(['one', 'two']);
    for (const queue of worker.queues) expect(await client.queues.inspect(queue)).toMatchObject({ consumers: 1 });
  });

  test('that are stopped while they start do not start, whenever that is', async () => {
    for (const turns of [0, 1, 2, 5, 20, 100]) {
      const app = appOf(broker, `stopped-${turns}`);
      app.task('any', () => 1);
      const worker = app.worker();
      const start = worker.start().then(
        () => 'started',
        ({ code }) => code,
      );
      for (let i = 0; i < turns; i++) await new Promise((resolve) => setImmediate(resolve));
      await worker.stop();
      expect(['started', 'CLIENT_CLOSED']).toContain(await start);
      const client = await operator(`stopped-${turns}`);
      await eventually(
        async () => (await client.queues.list())[0]?.consumers ?? 0,
        (consumers) => consumers === 0,
        'the end of its consumer',
      );
    }
  });

  test('say why they have ended when their connection is over for good', async () => {
    const app = appOf(broker, 'over', { reconnect: false });
    app.task('any', () => 1);
    const told: string[] = [];
    const worker = await started(app, { onError: ({ code }) => told.push(code) });
    (await app.client()).terminate();
    expect(await worker.ended).toMatchObject({ code: 'CLIENT_CLOSED' });
    expect(told).toEqual(['CLIENT_CLOSED']);
  });

  test('that are not there, or of others, are told of nothing', async () => {
    const app = appOf(broker, 'mine');
    app.task('a', () => 1);
    await started(app);
    const id = (await (await operator('mine')).workers.list()).workers[0]!.id;
    const stranger = await operator('other');
    await expect(stranger.workers.control(id, 'ping')).rejects.toMatchObject({ code: 'WORKER_NOT_FOUND' });
    await expect(stranger.workers.control('0.0', 'ping')).rejects.toMatchObject({ code: 'WORKER_NOT_FOUND' });
    await expect(stranger.workers.control(id, 'dance' as never)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
  });

  test('announce themselves again after a broken connection and after a restart of the broker', async () => {
    const own = await BrokerProcess.start();
    const app = appOf(own, 'again');
    app.task('a', () => 1);
    const worker = await started(app);
    await own.kill();
    const next = await BrokerProcess.start({ dataDir: own.dataDir, flags: ['--port', new URL(own.url).port] });
    const client = await connect(next.url, { namespace: 'again' });
    atEnd(() => client.close());
    await eventually(
      () => client.workers.list(),
      ({ workers }) => workers.length === 1,
      'the worker',
    );
    await worker.stop();
  });

  test('are controlled by those who may configure their queues', async () => {
    const admin = await BrokerProcess.start();
    const first = await connect(admin.url);
    const { secret: token } = await first.tokens.create({ name: 'root', role: 'admin' });
    await first.close();
    const boss = await connect(admin.url, { token });
    atEnd(() => boss.close());
    const { secret } = await boss.tokens.create({ name: 'ops', role: 'operator', configure: ['mail*'], read: ['*'] });
    const app = appOf(admin, 'default', { token });
    app.task('a', () => 1, { queue: 'payments' });
    app.task('b', () => 1, { queue: 'mail' });
    await started(app);
    const id = (await boss.workers.list()).workers[0]!.id;
    const ops = await connect(admin.url, { token: secret });
    atEnd(() => ops.close());
    await expect(ops.workers.control(id, 'ping')).rejects.toMatchObject({ code: 'FORBIDDEN' });
    await boss.workers.control(id, 'cancel-queue', { queue: 'payments' });
    expect(await ops.workers.control(id, 'ping')).toBe('pong');
  });
});
