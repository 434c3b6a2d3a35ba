/** Tasks of ack mode early: begun once at most, whatever happens to their worker. */
import { beforeAll, describe, expect, test } from 'vitest';
import type { TaskHandle } from '../../client-sdk/tasks/index.js';
import { deferred } from '../client-sdk/deferred.js';
import { BrokerProcess } from '../support/broker-process.js';
import { eventually } from '../support/deadline.js';
import { appOf, started } from './running.js';

let broker: BrokerProcess;

beforeAll(async () => {
  broker = await BrokerProcess.start({ flags: ['--grace-ms', '200'] });
});

async function until(handle: TaskHandle, wanted: string): Promise<void> {
  await eventually(
    () => handle.state(),
    ({ state }) => state === wanted,
    `the state ${wanted}`,
  );
}

describe('a task of ack mode early', () => {
  test('is seen while it runs, keeps its result, and is not tried again when it fails', async () => {
    const app = appOf(broker, 'plain');
    const gate = deferred<string>();
    const early = app.task('early', () => gate.promise, { ack: 'early' });
    const fails = app.task(
      'fails',
      () => {
        throw new Error('once');
      },
      { ack: 'early', retry: { max: 3, delayMs: 1 } },
    );
    await started(app);
    const handle = await early.send();
    await until(handle, 'started');
    gate.resolve('done');
    expect(await handle.result()).toBe('done');
    expect(await handle.state()).toMatchObject({ state: 'succeeded', attempts: 1 });
    await expect((await fails.send()).result()).rejects.toMatchObject({
      code: 'TASK_FAILED',
      details: { attempts: 1 },
    });
  });

  test('holds its place at the worker until it is done', async () => {
    const app = appOf(broker, 'places');
    const gate = deferred<void>();
    const early = app.task('early', () => gate.promise, { ack: 'early' });
    const worker = await started(app, { concurrency: 1, prefetchMultiplier: 1 });
    const [first, second] = await early.sendMany([[], []]);
    await until(first!, 'started');
    expect(await second!.state()).toMatchObject({ state: 'queued' });
    expect(worker.reserved).toBe(0);
    gate.resolve();
    await Promise.all([first!.result(), second!.result()]);
  });

  test('is not begun again when its worker is gone', async () => {
    const sender = appOf(broker, 'gone').task('early', () => 0, { ack: 'early' });
    let calls = 0;
    const lost = appOf(broker, 'gone', { reconnect: false });
    lost.task('early', () => new Promise(() => calls++), { ack: 'early' });
    await started(lost, { onError: () => undefined });
    const handle = await sender.send();
    await until(handle, 'started');
    (await lost.client()).terminate();
    const other = appOf(broker, 'gone');
    other.task('early', () => calls++, { ack: 'early' });
    await started(other);
    await expect(handle.result()).rejects.toMatchObject({ code: 'TASK_CRASHED' });
    expect(calls).toBe(1);
    expect(await handle.state()).toMatchObject({ state: 'failed', attempts: 2 });
  });

  test.each(['async', 'threads'] as const)(
    'has failed when its worker stops without waiting for it (%s)',
    async (pool) => {
      const app = appOf(broker, `stopped-${pool}`);
      const early = app.task('wait', () => new Promise<void>(() => undefined), { ack: 'early' });
      const modules = [new URL('./pool-tasks.js', import.meta.url)];
      const worker = await started(app, { pool, concurrency: 1, modules });
      const handle = pool === 'async' ? await early.send() : await app.task('early.wait', () => 0).send();
      await until(handle, 'started');
      await worker.stop({ graceMs: 0 });
      await expect(handle.result()).rejects.toMatchObject({ code: 'TASK_CRASHED', details: { attempts: 1 } });
    },
  );

  test('sends what it has sent with its completion', async () => {
    const app = appOf(broker, 'follow-ups');
    const child = app.task('child', () => 'child');
    const parent = app.task('parent', (ctx) => child.sendOnCompletion(ctx), { ack: 'early' });
    await started(app);
    const handle = await parent.send();
    await handle.result();
    expect(await app.handle(handle.id + 1).result()).toBe('child');
  });
});
