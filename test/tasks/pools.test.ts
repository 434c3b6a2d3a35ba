/** The pools of children over the real wire: what a task does to its child, and what comes of it. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { beforeAll, describe, expect, test } from 'vitest';
import {
  LovageError,
  type TaskApp,
  type TaskHandle,
  type Worker,
  type WorkerOptions,
} from '../../client-sdk/tasks/index.js';
import { CuttingProxy } from '../client-sdk/cutting-proxy.js';
import { BrokerProcess } from '../support/broker-process.js';
import { atEnd } from '../support/cleanup.js';
import { eventually, within } from '../support/deadline.js';
import { freePort } from '../support/free-port.js';
import { tempDirectory } from '../support/temp-directory.js';
import { appOf } from './running.js';

const TASKS = new URL('./pool-tasks.js', import.meta.url);
const SDK = import.meta.resolve('@lovage/client/tasks');

let broker: BrokerProcess;

beforeAll(async () => {
  broker = await BrokerProcess.start();
});

interface Bench {
  readonly app: TaskApp;
  readonly worker: Worker;
  readonly errors: LovageError[];
  /** Sends a task of `pool-tasks.js`. */
  send(name: string, ...args: unknown[]): Promise<TaskHandle<never>>;
}

let namespaces = 0;

const isTrue = (value: boolean): boolean => value;

async function bench(pool: 'threads' | 'processes', options: WorkerOptions = {}): Promise<Bench> {
  const app = appOf(broker, `pools-${++namespaces}`, { heartbeatMs: 200 });
  const errors: LovageError[] = [];
  const worker = app.worker({
    pool,
    concurrency: 2,
    modules: [TASKS],
    onError: (error) => errors.push(error),
    ...options,
  });
  atEnd(() => worker.stop({ graceMs: 0 }));
  await worker.start();
  return { app, worker, errors, send: (name, ...args) => senderOf(app, name).send(...args) };
}

/** The app here has no task: it sends what the children have. */
function senderOf(
  app: TaskApp,
  name: string,
  queue = 'default',
): { send(...args: unknown[]): Promise<TaskHandle<never>> } {
  const known = app.tasks.get(name) as unknown;
  return (known ?? app.task(name, () => undefined, { queue })) as {
    send(...args: unknown[]): Promise<TaskHandle<never>>;
  };
}

async function errorOf(promise: Promise<unknown>): Promise<LovageError> {
  const error = await promise.then(
    () => null,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(LovageError);
  return error as LovageError;
}

async function resultOf(handle: Promise<TaskHandle<never>>): Promise<unknown> {
  return await (await handle).result();
}

describe.each(['threads', 'processes'] as const)('%s', (pool) => {
  test('run tasks with their arguments, and give results, errors and retries as others do', async () => {
    const { app, send } = await bench(pool);
    const handle = await senderOf(app, 'add').send(2, 3);
    expect(await handle.result()).toEqual({ sum: 5, id: handle.id, queue: 'default', priority: 0, trace: 'none' });
    const { where } = (await resultOf(send('where'))) as { where: string };
    expect(where).not.toBe(`${process.pid}/0`);
    const error = await errorOf(resultOf(send('fail')));
    expect(error).toMatchObject({ code: 'TASK_FAILED', details: { errorCode: 'E_PURPOSE' } });
    expect(error.cause).toMatchObject({ name: 'RangeError', message: 'on purpose', cause: { name: 'TypeError' } });
    expect(await resultOf(send('flaky'))).toBe(3);
    expect((await errorOf(resultOf(send('value', 'cyclic')))).code).toBe('RESULT_NOT_ENCODABLE');
    expect((await errorOf(resultOf(send('large', 2_000_000)))).code).toBe('RESULT_TOO_LARGE');
    expect(await resultOf(send('large', 1_000_000))).toHaveLength(1_000_000);
  });

  test('tell how far their tasks are before they are done', async () => {
    const { app, send } = await bench(pool);
    const client = await app.client();
    await client.queues.pause('default');
    const handle = await send('tell');
    const told: unknown[] = [];
    const result = handle.result({ onProgress: (step) => told.push(step), onLog: (line) => told.push(line) });
    // Behind the question for the result.
    await handle.state();
    await client.queues.resume('default');
    expect(await result).not.toBe(`${process.pid}/0`);
    expect(told.sort()).toEqual(['from a child', { half: true }].sort());
  });

  test('keep the connection while a task blocks its event loop', async () => {
    const { worker, send } = await bench(pool, { concurrency: 2 });
    const blocked = await send('block', 1_500);
    expect(await resultOf(send('add', 1, 1))).toMatchObject({ sum: 2 });
    // The first attempt: the broker has not given it up, with heartbeats every 200 ms.
    expect(await blocked.result()).toBe(1);
    expect(worker.active).toBe(0);
  });

  test('kill what exceeds its hard limit, and nothing else', async () => {
    const { worker, send } = await bench(pool);
    const bystander = await send('wait', 600);
    const error = await errorOf(resultOf(send('endless')));
    expect(error).toMatchObject({ code: 'TIME_LIMIT_EXCEEDED', details: { attempts: 1 } });
    expect(error.cause).toMatchObject({ message: expect.stringContaining('killed after 200 ms') });
    expect(await resultOf(send('add', 1, 1))).toMatchObject({ sum: 2 });
    expect(await bystander.result()).toBe(1);
    expect(worker.active).toBe(0);
  });

  test('give what exceeds its hard limit to the dead letters where the task says so', async () => {
    const { app } = await bench(pool, { queues: ['given-up'] });
    const client = await app.client();
    await client.queues.declare('graveyard');
    await client.queues.declare('given-up', { deadLetterQueue: 'graveyard' }, { merge: true });
    const handle = await senderOf(app, 'endless.dead', 'given-up').send();
    expect((await errorOf(handle.result())).code).toBe('DEAD_LETTERED');
    expect(await handle.state()).toMatchObject({ state: 'dead', queue: 'graveyard' });
  });

  test('abort the signal of what exceeds its soft limit', async () => {
    const { send } = await bench(pool);
    const error = await errorOf(resultOf(send('soft')));
    expect(error).toMatchObject({ code: 'TIME_LIMIT_EXCEEDED' });
    expect(error.cause).toMatchObject({ message: expect.stringContaining('softTimeLimitMs') });
  });

  test('try again what has ended its child, up to its cap, and charge nobody else', async () => {
    const { errors, send } = await bench(pool);
    const bystanders = [await send('wait', 300), await send('where')];
    expect(await resultOf(send('exit.once'))).toBe(2);
    // A cap of its own: what has failed before does not count.
    expect(await resultOf(send('fails.and.exits'))).toBe(4);
    const error = await errorOf(resultOf(send('exit')));
    expect(error).toMatchObject({ code: 'TASK_CRASHED', details: { attempts: 2 } });
    expect(error.cause).toMatchObject({ message: 'Task "exit" has ended its child: exit code 3' });
    expect((await errorOf(resultOf(send('thrown.later')))).code).toBe('TASK_CRASHED');
    expect(await bystanders[0]!.result()).toBe(1);
    expect(await bystanders[1]!.result()).toMatchObject({ attempt: 1 });
    expect(errors.map(({ code }) => code)).toEqual(new Array(5).fill('TASK_CRASHED'));
    // Begun once at most: nothing is left to try again.
    const early = await errorOf(resultOf(send('early')));
    expect(early).toMatchObject({ code: 'TASK_CRASHED', details: { attempts: 1 } });
    expect(errors).toHaveLength(6);
    expect(await resultOf(send('add', 1, 1))).toMatchObject({ sum: 2 });
  });

  test('give what has ended its child too often to the dead letters', async () => {
    const { app } = await bench(pool, { queues: ['given-up'] });
    const client = await app.client();
    await client.queues.declare('graveyard');
    await client.queues.declare('given-up', { deadLetterQueue: 'graveyard' }, { merge: true });
    const handle = await senderOf(app, 'exit.dead', 'given-up').send();
    expect((await errorOf(handle.result())).code).toBe('DEAD_LETTERED');
    expect(await handle.state()).toMatchObject({ state: 'dead', queue: 'graveyard' });
  });

  test('tell of their work, however often they do, the newest of it and a few times a second', async () => {
    const { send } = await bench(pool);
    const handle = await send('tell.often', 60_000);
    const { log } = await eventually(
      () => handle.state(),
      ({ progress, log: lines }) => progress === 49_999 && lines.length === 100,
      'the last progress and lines',
    );
    expect(log).toEqual(Array.from({ length: 100 }, (_, i) => `line ${49_900 + i}`));
    const lines: string[] = [];
    const brief = await send('tell.often', 300);
    await brief.result({ onLog: (line) => lines.push(line) });
    expect(lines.at(-1)).toBe('the end');
  });

  test('go by other time limits when they are told to', async () => {
    const { app, worker, send } = await bench(pool, { concurrency: 1 });
    const { workers } = await app.client();
    const { id } = (await workers.list()).workers[0]!;
    await workers.control(id, 'time-limit', { task: 'endless', timeLimitMs: 50 });
    await workers.control(id, 'time-limit', { task: 'wait', softTimeLimitMs: 20 });
    expect((await errorOf(resultOf(send('endless')))).cause).toMatchObject({
      message: expect.stringContaining('after 50 ms'),
    });
    expect((await errorOf(resultOf(send('wait', 60_000)))).code).toBe('TIME_LIMIT_EXCEEDED');
    await workers.control(id, 'time-limit', { task: 'wait', softTimeLimitMs: null });
    expect(await resultOf(send('wait', 60))).toBe(1);
    expect(worker.active).toBe(0);
    for (const options of [{ task: 'no-such' }, { task: 'wait', timeLimitMs: 0 }])
      await expect(workers.control(id, 'time-limit', options)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
  });

  test('tell what is revoked to give up, and kill it where that is asked for', async () => {
    const { worker, send } = await bench(pool, { concurrency: 1 });
    const listens = await send('wait', 60_000);
    await eventually(() => worker.active === 1, isTrue, 'the task');
    expect(await listens.revoke()).toEqual({ revoked: true });
    await eventually(() => worker.active === 0, isTrue, 'its end');
    // For longer than a test may take.
    const blocks = await send('block', 600_000);
    await eventually(() => worker.active === 1, isTrue, 'the task that blocks');
    expect(await blocks.revoke({ terminate: true })).toEqual({ revoked: true });
    expect(await resultOf(send('add', 1, 1))).toMatchObject({ sum: 2 });
    expect((await errorOf(blocks.result())).code).toBe('REVOKED');
  });

  test('kill what is revoked by force while the connection is lost, when it is back', async () => {
    const namespace = `pools-${++namespaces}`;
    const proxy = await CuttingProxy.start(broker.url);
    const app = appOf(broker, namespace, { url: proxy.url });
    const worker = app.worker({ pool, concurrency: 1, modules: [TASKS], onError: () => undefined });
    await worker.start();
    const elsewhere = appOf(broker, namespace);
    const blocks = await senderOf(elsewhere, 'block').send(60_000);
    const started = async (): Promise<number> => (await broker.queue('default', namespace)).started;
    await eventually(started, (count) => count === 1, 'the task that blocks');
    proxy.target = 'ws://127.0.0.1:1';
    proxy.cut();
    expect(await blocks.revoke({ terminate: true })).toEqual({ revoked: true });
    expect(worker.active).toBe(1);
    proxy.target = broker.url;
    expect(await resultOf(senderOf(elsewhere, 'add').send(1, 1))).toMatchObject({ sum: 2 });
    expect((await errorOf(blocks.result())).code).toBe('REVOKED');
  });

  test('replace a child after so many tasks, and lose none', async () => {
    const { send } = await bench(pool, { maxTasksPerChild: 3 });
    const runs = await Promise.all(Array.from({ length: 20 }, () => resultOf(send('where'))));
    const counts = new Map<string, number>();
    for (const run of runs as { where: string; attempt: number }[]) {
      expect(run.attempt).toBe(1);
      counts.set(run.where, (counts.get(run.where) ?? 0) + 1);
    }
    expect(Math.max(...counts.values())).toBeLessThanOrEqual(3);
    expect(counts.size).toBeGreaterThanOrEqual(7);
  });

  test('replace a child that has grown, or is old, and lose none', async () => {
    const grown = await bench(pool, { concurrency: 1, maxMemoryPerChildMb: 200 });
    const first = await resultOf(grown.send('leak', 300));
    await eventually(async () => (await resultOf(grown.send('leak', 1))) !== first, isTrue, 'another child');
    const aged = await bench(pool, { concurrency: 1, maxChildAgeMs: 1 });
    const seen = new Set<unknown>();
    await eventually(
      async () => {
        seen.add(((await resultOf(aged.send('where'))) as { where: string }).where);
        return seen.size > 2;
      },
      isTrue,
      'several children',
    );
  });

  test('run more or fewer at a time when told, and leave alone what runs', async () => {
    const { worker, send } = await bench(pool, { concurrency: 1 });
    const waiting = await Promise.all([1, 2, 3].map(() => send('wait', 60_000)));
    await eventually(() => worker.active === 1, isTrue, 'the first');
    await worker.resize(3);
    expect(worker.concurrency).toBe(3);
    await eventually(() => worker.active === 3, isTrue, 'all three');
    // The broker hears of a start and of this question over two connections.
    const started = async (): Promise<number> =>
      (await Promise.all(waiting.map((handle) => handle.state()))).filter(({ state }) => state === 'started').length;
    await eventually(started, (count) => count === 3, 'the broker to know of all three');
    await worker.resize(1);
    expect(await started()).toBe(3);
    await expect(worker.resize(0)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
  });

  test('follow the work with autoscale', async () => {
    const { worker, send } = await bench(pool, { concurrency: undefined, autoscale: { min: 1, max: 3 } });
    expect(worker.concurrency).toBe(1);
    await Promise.all([1, 2, 3].map(() => send('wait', 60_000)));
    await eventually(() => worker.active === 3, isTrue, 'three at a time');
    expect(worker.concurrency).toBe(3);
  });

  test('load the code anew when told, one that cannot be loaded leaving the old one at work', async () => {
    const path = join(tempDirectory(), 'tasks.mjs');
    const write = (text: string): void =>
      writeFileSync(path, `import { TaskApp } from ${JSON.stringify(SDK)};\nconst app = new TaskApp();\n${text}`);
    write('app.task("version", () => 1);');
    const { worker, errors, send } = await bench(pool, { modules: [path], concurrency: 1 });
    expect(await resultOf(send('version'))).toBe(1);
    write('throw new Error("broken on purpose");');
    worker.restart();
    await eventually(() => errors.length > 0, isTrue, 'the broken one');
    expect(errors[0]).toMatchObject({ code: 'MODULE_FAILED', message: expect.stringContaining('broken on purpose') });
    expect(await resultOf(send('version'))).toBe(1);
    write('app.task("version", () => 2); app.task("new", () => 3);');
    await eventually(async () => (await resultOf(send('version'))) === 2, isTrue, 'the new code');
    expect(await resultOf(send('new'))).toBe(3);
  });

  test('stop when what runs is done, and give back at once what has not begun', async () => {
    const { app, worker, send } = await bench(pool, { concurrency: 1 });
    const [runs, waits] = [await send('wait', 500), await send('wait', 0)];
    await eventually(() => worker.active === 1, isTrue, 'the first');
    const stopped = worker.stop();
    await eventually(async () => (await waits.state()).state === 'queued', isTrue, 'the second to be given back');
    await stopped;
    expect((await runs.state()).state).toBe('succeeded');
    const other = app.worker({ pool, modules: [TASKS] });
    await other.start();
    expect(await waits.result()).toBe(1);
    await other.stop();
  });

  test('abort and then kill what runs beyond the grace, and its work goes back', async () => {
    const { app, worker, send } = await bench(pool);
    const [listens, deaf] = [await send('wait', 60_000), await send('deaf', 60_000)];
    await eventually(() => worker.active === 2, isTrue, 'both');
    await worker.stop({ graceMs: 0 });
    for (const handle of [listens, deaf])
      await eventually(async () => (await handle.state()).state === 'retrying', isTrue, 'both to be given back');
    expect((await app.handle(deaf.id).state()).attempts).toBe(1);
  });

  test('go on when the broker is killed and comes back, and no task and no result is lost', async () => {
    const flags = ['--port', `${await freePort()}`, '--grace-ms', '500'];
    let own = await BrokerProcess.start({ flags });
    const app = appOf(own, 'killed');
    const worker = app.worker({ pool, concurrency: 2, modules: [TASKS], onError: () => undefined });
    atEnd(() => worker.stop({ graceMs: 0 }));
    await worker.start();
    const add = senderOf(app, 'add');
    const results: Promise<unknown>[] = [];
    for (let round = 0; round < 3; round++) {
      const handles = await Promise.all(Array.from({ length: 200 }, (_, n) => add.send(round, n)));
      results.push(...handles.map((handle) => handle.result()));
      for (const result of results) result.catch(() => undefined);
      await own.kill();
      own = await BrokerProcess.start({ dataDir: own.dataDir, flags });
    }
    const sums = (await Promise.all(results)) as { sum: number }[];
    expect(sums.map(({ sum }) => sum)).toEqual(
      [0, 1, 2].flatMap((round) => Array.from({ length: 200 }, (_, n) => round + n)),
    );
  });

  test('end when their worker is stopped while they load, and so does its start', async () => {
    const path = join(tempDirectory(), 'slow.mjs');
    writeFileSync(path, 'await new Promise((resolve) => setTimeout(resolve, 60_000));');
    const app = appOf(broker, `pools-${++namespaces}`);
    const worker = app.worker({ pool, concurrency: 2, modules: [path] });
    const error = errorOf(worker.start());
    await eventually(
      () => worker.stats().children.length,
      (count) => count === 2,
      'the children',
    );
    await within(worker.stop(), 'the end of the worker');
    expect(await within(error, 'the end of the start')).toMatchObject({ code: 'CLIENT_CLOSED' });
    expect(worker.stats().children).toEqual([]);
    expect(await worker.ended).toBeNull();
  });

  test('refuse a module that cannot be loaded', async () => {
    const path = join(tempDirectory(), 'broken.mjs');
    writeFileSync(path, 'throw new Error("broken on purpose");');
    const error = await errorOf(bench(pool, { modules: [path] }));
    expect(error).toMatchObject({ code: 'MODULE_FAILED', message: expect.stringContaining('broken on purpose') });
    writeFileSync(path, 'process.exit(7);');
    expect((await errorOf(bench(pool, { modules: [path] }))).message).toContain('exit code 7');
  });
});

test('options out of range are named', () => {
  const app = appOf(broker, 'options');
  const cases: [string, WorkerOptions][] = [
    ['pool', { pool: 'fibers' as never }],
    ['concurrency', { pool: 'processes', concurrency: 1_001 }],
    ['autoscale.min', { autoscale: { min: 3, max: 2 } }],
    ['autoscale.max', { autoscale: { min: 1 } as never }],
    ['autoscale', { pool: 'solo', autoscale: { min: 1, max: 1 } }],
    ['maxTasksPerChild', { maxTasksPerChild: 0 }],
    ['maxMemoryPerChildMb', { maxMemoryPerChildMb: 0.5 }],
    ['maxChildAgeMs', { maxChildAgeMs: -1 }],
    ['modules', { modules: ['./relative.js'] }],
  ];
  for (const [field, options] of cases)
    expect(() => app.worker(options)).toThrow(
      expect.objectContaining({ code: 'INVALID_ARGUMENT', details: { field } }),
    );
});

test('only children load code anew', async () => {
  const app = appOf(broker, 'anew');
  app.task('any', () => 1);
  const worker = app.worker();
  await worker.start();
  expect(() => worker.restart()).toThrow(expect.objectContaining({ code: 'INVALID_ARGUMENT' }));
  await sleep(0);
});
