/** Tasks that are sent with the completion of another one (promise P6): once, whatever is killed, or not at all. */
import { describe, expect, test } from 'vitest';
import type { PoolKind } from '../../client-sdk/tasks/pool.js';
import { Killed } from '../durability/killed.js';
import { BrokerProcess } from '../support/broker-process.js';
import { atEnd } from '../support/cleanup.js';
import { eventually } from '../support/deadline.js';
import { appOf, started } from './running.js';

const TASKS = new URL('./pool-tasks.js', import.meta.url);

describe('a task that is sent on completion', () => {
  test('is sent when the task has succeeded, with its options', async () => {
    const app = appOf(await BrokerProcess.start(), 'sent');
    const seen: unknown[] = [];
    const child = app.task('child', (ctx, text: string) => seen.push([text, ctx.priority, ctx.headers.from]));
    const parent = app.task('parent', async (ctx) => {
      await child.sendOnCompletion(ctx, 'plain');
      await child.with({ priority: 7, headers: { from: ctx.id }, queue: 'other' }).sendOnCompletion(ctx, 'bound');
      expect(seen).toEqual([]);
      return 'done';
    });
    await started(app, { queues: ['default', 'other'] });
    const handle = await parent.send();
    expect(await handle.result()).toBe('done');
    await eventually(
      () => seen.length,
      (count) => count === 2,
      'both children',
    );
    expect(seen.sort()).toEqual([
      ['bound', 7, handle.id],
      ['plain', 0, undefined],
    ]);
  });

  test('is not sent by an attempt that fails, and once by the one that does not', async () => {
    const app = appOf(await BrokerProcess.start(), 'failed');
    const ran: number[] = [];
    const child = app.task('child', (_, attempt: number) => ran.push(attempt));
    const parent = app.task(
      'parent',
      async (ctx) => {
        await child.sendOnCompletion(ctx, ctx.attempt);
        if (ctx.attempt < 3) throw new Error('not yet');
        return null;
      },
      { retry: { max: 5, delayMs: 1 }, result: 'none' },
    );
    await started(app);
    await (await parent.send()).state();
    await eventually(
      () => ran.length,
      (count) => count > 0,
      'the child',
    );
    expect(ran).toEqual([3]);
    const client = await app.client();
    expect(await client.queues.inspect('default')).toMatchObject({ ready: 0, totals: { published: 2 } });
  });

  test('that the broker refuses makes an attempt that has failed', async () => {
    const broker = await BrokerProcess.start();
    const app = appOf(broker, 'refused', { autoDeclare: false });
    await (await app.client()).queues.declare('lovage.results');
    const child = app.task('child', () => 1);
    const errors: unknown[] = [];
    const parent = app.task('parent', async (ctx) => {
      await child.with({ queue: 'nowhere' }).sendOnCompletion(ctx);
      return 'never seen';
    });
    await started(app, { onError: (error) => errors.push(error) });
    const handle = await parent.send();
    await expect(handle.result()).rejects.toMatchObject({ code: 'TASK_FAILED', cause: { code: 'QUEUE_NOT_FOUND' } });
    expect(await (await app.client()).queues.inspect('default')).toMatchObject({ started: 0, delayed: 0 });
  });

  test('waits with the task when its queue is full', async () => {
    const app = appOf(await BrokerProcess.start(), 'full');
    const client = await app.client();
    await client.queues.declare('default', { backoffMsMin: 1, backoffMsMax: 10 });
    await client.queues.declare('small', { messagesMax: 1 });
    await client.publish('small', 'in the way');
    let attempts = 0;
    const child = app.task('child', () => 1, { queue: 'small' });
    const parent = app.task('parent', async (ctx) => {
      attempts++;
      await child.sendOnCompletion(ctx);
      return 'done';
    });
    await started(app, { queues: ['default'] });
    const handle = await parent.send();
    await eventually(
      () => attempts,
      (count) => count >= 2,
      'another attempt',
    );
    await client.queues.purge('small');
    expect(await handle.result()).toBe('done');
    expect(await client.queues.inspect('small')).toMatchObject({ ready: 1 });
  });

  test('wants the context of an attempt that goes on', async () => {
    const app = appOf(await BrokerProcess.start(), 'contexts');
    const child = app.task('child', () => 1);
    let kept: unknown;
    const late = app.task('late', (ctx) => {
      kept = ctx;
    });
    await started(app);
    await (await late.send()).result();
    const error = { code: 'INVALID_ARGUMENT', details: { field: 'ctx' } };
    await expect(child.sendOnCompletion(kept as never)).rejects.toMatchObject(error);
    await expect(child.sendOnCompletion({} as never)).rejects.toMatchObject(error);
  });
});

describe.each<PoolKind>(['async', 'threads', 'processes'])('%s', (pool) => {
  test('a broker that is killed meanwhile has one child of each parent, and one result', async () => {
    const killed = await Killed.start(['--grace-ms', '2000']);
    const app = appOf(killed.broker, 'killed');
    const child = app.task('child', (_, n: number) => n);
    const parent = app.task('parent', async (ctx, n: number) => {
      await child.with({ queue: 'children' }).sendOnCompletion(ctx, n);
      return n;
    });
    const inChildren = pool === 'async' ? {} : { pool, modules: [TASKS] };
    const worker = await started(app, { concurrency: 2, queues: ['default'], onError: () => undefined, ...inChildren });
    atEnd(() => worker.stop({ graceMs: 0 }));
    const results: Promise<unknown>[] = [];
    for (let round = 0; round < 3; round++) {
      const handles = await parent.sendMany(Array.from({ length: 100 }, (_, n) => [round * 100 + n]));
      for (const handle of handles) {
        const result = handle.result();
        result.catch(() => undefined);
        results.push(result);
      }
      await results[round * 100 + 10];
      await killed.kill();
    }
    const all = Array.from({ length: 300 }, (_, n) => n);
    expect(await Promise.all(results)).toEqual(all);
    const client = await app.client();
    const seen: number[] = [];
    await client.consume('children', (delivery) => {
      seen.push((delivery.value() as [number])[0]);
    });
    await eventually(
      () => seen.length,
      (count) => count >= 300,
      'every child',
    );
    expect(seen.sort((a, b) => a - b)).toEqual(all);
    expect(await client.queues.inspect('children')).toMatchObject({ ready: 0, totals: { duplicates: 0 } });
  });
});
