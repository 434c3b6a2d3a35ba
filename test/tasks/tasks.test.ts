/** Tasks over the real wire: what is sent, what runs, what comes of it. */
import { setTimeout as sleep } from 'node:timers/promises';
import { beforeAll, describe, expect, expectTypeOf, test } from 'vitest';
import { LovageError, type Task, TaskApp, type TaskContext, type TaskHandle } from '../../client-sdk/tasks/index.js';
import { deferred } from '../client-sdk/deferred.js';
import { BrokerProcess } from '../support/broker-process.js';
import { eventually } from '../support/deadline.js';
import { freePort } from '../support/free-port.js';
import { appOf, started } from './running.js';

let broker: BrokerProcess;

beforeAll(async () => {
  broker = await BrokerProcess.start();
});

/** What a promise is rejected with. */
async function errorOf(promise: Promise<unknown>): Promise<LovageError> {
  const error = await promise.then(
    () => null,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(LovageError);
  return error as LovageError;
}

describe('a task', () => {
  test('runs elsewhere, with its arguments, and its result comes back', async () => {
    const app = appOf(broker, 'plain');
    const add = app.task('add', async (ctx, a: number, b: number) => ({
      sum: a + b,
      attempt: ctx.attempt,
      id: ctx.id,
    }));
    expectTypeOf(add.send).parameters.toEqualTypeOf<[number, number]>();
    expectTypeOf(add).toExtend<Task<[number, number], { sum: number; attempt: number; id: number }>>();
    const handle = await add.send(2, 3);
    expect(await handle.state()).toMatchObject({
      ...{ state: 'queued', attempts: 0, queue: 'default', dueAt: null, failures: [] },
    });
    await started(app);
    expect(await handle.result()).toEqual({ sum: 5, attempt: 1, id: handle.id });
    expect(await handle.state()).toMatchObject({ state: 'succeeded', attempts: 1 });
    // A handle again, in another process by its id alone.
    expect(await appOf(broker, 'plain').handle(handle.id).result()).toMatchObject({ sum: 5 });
  });

  test('is sent with its options, many at a time, by its route and in JSON', async () => {
    const app = appOf(broker, 'options', { codec: 'json', routes: { 'mail.*': 'mail' } });
    const seen: unknown[] = [];
    const mail = app.task('mail.send', (ctx: TaskContext, to: string) => {
      seen.push([to, ctx.priority, ctx.queue, ctx.headers.trace]);
      return to.length;
    });
    expect(mail.queue).toBe('mail');
    const handles = await mail.with({ priority: 1, headers: { trace: 't' } }).sendMany([['a'], ['bb']]);
    const urgent = await mail.with({ priority: 9 }).send('ccc');
    const later = await mail.with({ eta: new Date(Date.now() + 3_600_000) }).send('late');
    const [first, second] = [
      await mail.with({ dedupKey: 'k' }).send('x'),
      await mail.with({ dedupKey: 'k' }).send('y'),
    ];
    expect([second!.id, second!.duplicate]).toEqual([first!.id, true]);
    expect(await later.state()).toMatchObject({ state: 'delayed', queue: 'mail' });
    await started(app, { concurrency: 1 });
    expect(await Promise.all([urgent, ...handles].map((handle) => handle.result()))).toEqual([3, 1, 2]);
    expect(seen.slice(0, 3)).toEqual([
      ['ccc', 9, 'mail', undefined],
      ['a', 1, 'mail', 't'],
      ['bb', 1, 'mail', 't'],
    ]);
  });

  test('tells where it is: not there, waiting, tried again, dead', async () => {
    const app = appOf(broker, 'states');
    const client = await app.client();
    await client.queues.declare('picky', { attemptsMax: 2, deadLetterQueue: 'graves' });
    const fail = app.task(
      'fail',
      () => {
        throw new Error('no');
      },
      { queue: 'picky', retry: { max: 9, delayMs: 3_600_000, jitter: false } },
    );
    expect(await app.handle(999_999).state()).toMatchObject({
      state: 'unknown',
      attempts: 0,
      queue: null,
      dueAt: null,
      failures: [],
    });
    const handle = await fail.send();
    expect(await handle.state()).toMatchObject({ state: 'queued', attempts: 0, queue: 'picky' });
    const worker = await started(app);
    const until = (state: string, attempts: number) =>
      eventually(
        () => handle.state(),
        (status) => status.state === state && status.attempts === attempts,
        state,
      );
    const delayed = await until('retrying', 1);
    expect(delayed.dueAt).toBeGreaterThan(Date.now());
    await worker.stop();
    await client.messages.retry('picky', { ids: [handle.id] });
    // Its time has come, and nobody is there to run it.
    expect(await handle.state()).toMatchObject({ state: 'retrying', attempts: 1, dueAt: null });
    await started(app);
    expect(await until('dead', 0)).toMatchObject({ queue: 'graves' });
    const gate = deferred();
    await client.consume('graves', () => gate.promise);
    await until('started', 1);
    gate.resolve();
  });

  test('that throws has failed, and the error comes back whole', async () => {
    const app = appOf(broker, 'throws');
    const cause = new TypeError('inner');
    const fail = app.task('fail', () => {
      throw Object.assign(new RangeError('outer', { cause }), { code: 'E_TEST' });
    });
    const odd = app.task('odd', () => {
      throw { some: 'thing' };
    });
    await started(app);
    const handle = await fail.send();
    const error = await errorOf(handle.result());
    expect(error).toMatchObject({ code: 'TASK_FAILED', details: { attempts: 1, errorCode: 'E_TEST' } });
    expect(error.cause).toMatchObject({ name: 'RangeError', message: 'outer', code: 'E_TEST' });
    expect((error.cause as Error).stack).toContain('tasks.test.ts');
    expect((error.cause as Error).cause).toMatchObject({ name: 'TypeError', message: 'inner' });
    expect(await handle.state()).toMatchObject({ state: 'failed' });
    expect((await errorOf((await odd.send()).result())).cause).toMatchObject({ message: 'thrown: {"some":"thing"}' });
  });

  test('is tried again as its policy says, and no more', async () => {
    const app = appOf(broker, 'retries');
    const attempts: number[] = [];
    const retry = { max: 3, delayMs: 5, jitter: false, on: (error: unknown) => (error as Error).message !== 'no' };
    const flaky = app.task(
      'flaky',
      ({ attempt }: TaskContext, until: number) => {
        attempts.push(attempt);
        if (attempt < until) throw new Error('yet');
        return attempt;
      },
      { retry },
    );
    const hopeless = app.task(
      'hopeless',
      () => {
        throw new Error('no');
      },
      { retry },
    );
    await started(app);
    expect(await (await flaky.send(3)).result()).toBe(3);
    expect(attempts).toEqual([1, 2, 3]);
    expect(await errorOf((await flaky.send(9)).result())).toMatchObject({
      code: 'TASK_FAILED',
      details: { attempts: 4 },
    });
    expect(await errorOf((await hopeless.send()).result())).toMatchObject({ details: { attempts: 1 } });
  });

  test('is sent to a queue that was deleted since the last one: it is made again', async () => {
    const app = appOf(broker, 'deleted');
    const any = app.task('any', () => 7, { queue: 'fleeting' });
    await any.send();
    const client = await app.client();
    await client.queues.delete('fleeting');
    const handle = await any.send();
    await started(app);
    expect(await handle.result()).toBe(7);
  });

  test('is not tried again beyond its age', async () => {
    const app = appOf(broker, 'ages');
    const old = app.task(
      'old',
      () => {
        throw new Error('no');
      },
      { retry: { max: 9, delayMs: 40, factor: 1, jitter: false, maxAgeMs: 100 } },
    );
    const young = app.task(
      'young',
      () => {
        throw new Error('no');
      },
      { retry: { max: 2, delayMs: 1, factor: 1, jitter: false, maxAgeMs: 60_000 } },
    );
    await started(app);
    const { details } = await errorOf((await old.send()).result());
    expect(details!.attempts).toBeGreaterThanOrEqual(1);
    // At 0, 40 and 80 ms at the earliest.
    expect(details!.attempts).toBeLessThanOrEqual(3);
    expect(await errorOf((await young.send()).result())).toMatchObject({ details: { attempts: 3 } });
  });

  test('tells the hooks of its app what it does; what they throw changes nothing', async () => {
    const told: unknown[] = [];
    const warned = new Promise((resolve) => process.once('warning', resolve));
    const app = appOf(broker, 'hooks', {
      hooks: {
        before: (ctx, args) => told.push(['before', ctx.name, ctx.attempt, args]),
        after: async (ctx, result) => {
          await sleep(1);
          told.push(['after', ctx.name, result]);
          throw new Error('the hook itself');
        },
        retried: (ctx, error, delayMs) => told.push(['retried', ctx.attempt, (error as Error).message, delayMs]),
        failed: (ctx, error) => told.push(['failed', ctx.attempt, (error as Error).message]),
      },
    });
    const add = app.task('add', (_, a: number, b: number) => a + b);
    const fail = app.task(
      'fail',
      () => {
        throw new Error('no');
      },
      { retry: { max: 1, delayMs: 3, jitter: false } },
    );
    await started(app);
    expect(await (await add.send(1, 2)).result()).toBe(3);
    await errorOf((await fail.send()).result());
    expect(told).toEqual([
      ['before', 'add', 1, [1, 2]],
      ['after', 'add', 3],
      ['before', 'fail', 1, []],
      ['retried', 1, 'no', 3],
      ['before', 'fail', 2, []],
      ['failed', 2, 'no'],
    ]);
    expect(await warned).toMatchObject({ code: 'LOVAGE_HOOK_FAILED' });
    expect(() => new TaskApp({ hooks: { during: () => 1 } as never })).toThrow('hooks.during');
    expect(() => new TaskApp({ hooks: { before: 1 as never } })).toThrow('hooks.before');
  });

  test('may ask for another attempt by itself; it waits in the broker', async () => {
    const app = appOf(broker, 'asks');
    const again = app.task(
      'again',
      ({ attempt, retry }: TaskContext, delayMs: number): number => {
        if (attempt === 1) retry({ delayMs, cause: new Error('later') });
        return attempt;
      },
      { retry: { max: 1 } },
    );
    await started(app);
    expect(await (await again.send(1)).result()).toBe(2);
    const waiting = await again.send(3_600_000);
    await eventually(
      () => waiting.state(),
      ({ state }) => state === 'retrying',
      'the wait',
    );
    expect((await waiting.state()).failures).toMatchObject([{ attempt: 1, cause: 'failed', reason: 'later' }]);
    expect(await broker.queue('default', 'asks')).toMatchObject({ delayed: 1, started: 0, leased: 0 });
  });

  test('is told to end by its soft limit', async () => {
    const app = appOf(broker, 'limits');
    const slow = app.task(
      'slow',
      async (ctx: TaskContext) => {
        await sleep(60_000, undefined, { signal: ctx.signal });
      },
      { softTimeLimitMs: 20 },
    );
    await started(app);
    const error = await errorOf((await slow.send()).result());
    expect(error.code).toBe('TIME_LIMIT_EXCEEDED');
  });

  test('that has failed goes to the dead letters if it shall', async () => {
    const app = appOf(broker, 'dead');
    const client = await app.client();
    await client.queues.declare('work', { deadLetterQueue: 'dead' });
    const fail = app.task('fail', () => Promise.reject(new Error('x')), { queue: 'work', ackOnFailure: false });
    await started(app);
    const handle = await fail.send();
    expect(await errorOf(handle.result())).toMatchObject({ code: 'DEAD_LETTERED', details: { reason: 'rejected' } });
    expect(await handle.state()).toMatchObject({ state: 'dead', queue: 'dead' });
  });

  test('keeps what it is told to keep', async () => {
    const app = appOf(broker, 'keeps');
    const none = app.task('none', () => 'x', { result: 'none' });
    const errors = app.task(
      'errors',
      (_: TaskContext, fails: boolean) => {
        if (fails) throw new Error('kept');
      },
      { result: 'errors' },
    );
    const brief = app.task('brief', () => 'x', { resultTtlMs: 1 });
    const void_ = app.task('void', () => undefined);
    await started(app);
    expect((await errorOf((await none.send()).result())).code).toBe('RESULT_NOT_FOUND');
    expect((await errorOf((await errors.send(false)).result())).code).toBe('RESULT_NOT_FOUND');
    expect((await errorOf((await errors.send(true)).result())).code).toBe('TASK_FAILED');
    expect(await (await void_.send()).result()).toBeNull();
    const handle = await brief.send();
    await eventually(
      () => handle.state(),
      ({ state }) => state === 'unknown',
      'the end of a result',
    );
  });

  test('waits for its result no longer than it is told', async () => {
    const app = appOf(broker, 'patience');
    const handle = await app.task('nobody', () => 1).send();
    expect((await errorOf(handle.result({ timeoutMs: 20 }))).code).toBe('RESULT_TIMEOUT');
    await started(app);
    expect(await handle.result()).toBe(1);
  });
});

describe('bad input', () => {
  test('tells its state whatever the size of what came of it', async () => {
    const app = appOf(broker, 'sizes');
    const large = app.task('large', () => 'x'.repeat(1_000_000));
    const deep = app.task('deep', () => {
      let cause = new Error('é'.repeat(10_000));
      for (let i = 0; i < 5; i++) cause = new Error('é'.repeat(10_000), { cause });
      throw cause;
    });
    await started(app);
    for (const [task, state] of [
      [large, 'succeeded'],
      [deep, 'failed'],
    ] as const) {
      const handle = await task.send();
      await handle.result().catch(() => undefined);
      expect(await handle.state()).toMatchObject({ state, attempts: 1, queue: null });
    }
  });

  test('results that cannot be kept are coded failures', async () => {
    const app = appOf(broker, 'results');
    const cyclic: Record<string, unknown> = {};
    cyclic.self = cyclic;
    const values: Record<string, unknown> = { cyclic, symbol: Symbol('x'), large: 'x'.repeat(2_000) };
    const bad = app.task('bad', (_: TaskContext, name: string) => values[name], {
      resultBytesMax: 1_000,
      retry: { max: 5 },
    });
    await started(app);
    expect((await errorOf((await bad.send('cyclic')).result())).code).toBe('RESULT_NOT_ENCODABLE');
    expect((await errorOf((await bad.send('symbol')).result())).code).toBe('RESULT_NOT_ENCODABLE');
    expect((await errorOf((await bad.send('large')).result())).code).toBe('RESULT_TOO_LARGE');
  });

  test('a result that is too large for the broker is a coded failure, and the task is done', async () => {
    const small = await BrokerProcess.start({ flags: ['--body-bytes-max', '64KiB'] });
    const app = appOf(small, 'default');
    const large = app.task('large', () => 'x'.repeat(100_000));
    await started(app);
    expect((await errorOf((await large.send()).result())).code).toBe('RESULT_TOO_LARGE');
    const client = await app.client();
    await client.queues.declare('q');
    await client.publish('q', 'x');
    const told = deferred<unknown>();
    await client.consume('q', (delivery) =>
      delivery.complete('x'.repeat(100_000)).catch((error: LovageError) => told.resolve(error.code)),
    );
    expect(await told.promise).toBe('BODY_TOO_LARGE');
    await eventually(
      () => small.queue('default'),
      ({ ready, leased, started: running }) => ready + leased + running === 0,
      'the end of the task',
    );
  });

  test('arguments are checked by a schema where they are sent and where they run', async () => {
    const validate = (args: unknown) =>
      Array.isArray(args) && typeof args[0] === 'number'
        ? { value: args }
        : { issues: [{ message: 'a number, please' }] };
    const schema = { '~standard': { version: 1, validate } } as const;
    const app = appOf(broker, 'schema');
    const square = app.task('square', (_: TaskContext, n: number) => n * n, { schema });
    await started(app);
    expect(await (await square.send(4)).result()).toBe(16);
    const error = await errorOf(square.send('4' as never));
    expect(error).toMatchObject({ code: 'INVALID_ARGUMENT', details: { field: 'args', issues: ['a number, please'] } });
    // What a schema makes of arguments is made once, where they run.
    const parse = (args: unknown) =>
      Number.isInteger(args) ? { value: args } : { value: [Number((args as [string])[0])] };
    const numeric = { '~standard': { version: 1, validate: parse } } as const;
    const twice = app.task('twice', (_: TaskContext, n: string) => (n as unknown as number) * 2, { schema: numeric });
    expect(await (await twice.send('21')).result()).toBe(42);
    const broken = { '~standard': { version: 1, validate: () => JSON.parse('{') as never } } as const;
    const unlucky = app.task('unlucky', () => 1, { schema: broken });
    expect(await errorOf(unlucky.send())).toMatchObject({ code: 'INVALID_ARGUMENT', details: { field: 'args' } });
    // One that does not check sends it all the same.
    const careless = appOf(broker, 'schema').task('square', (_: TaskContext, n: string) => n);
    expect((await errorOf((await careless.send('4')).result())).code).toBe('INVALID_ARGUMENT');
  });

  test('names and options are refused where they are given', async () => {
    const app = appOf(broker, 'names');
    const fn = (): number => 1;
    app.task('twice', fn);
    const codeOf = (act: () => unknown): unknown => {
      try {
        act();
      } catch (error) {
        const { code, details } = error as LovageError;
        return [code, details?.field ?? details?.name];
      }
      return 'taken';
    };
    expect(codeOf(() => app.task('twice', fn))).toEqual(['TASK_EXISTS', 'twice']);
    expect(codeOf(() => app.task('a name', fn))).toEqual(['INVALID_NAME', 'name']);
    expect(codeOf(() => app.task('x', 5 as never))).toEqual(['INVALID_ARGUMENT', 'fn']);
    for (const [field, value] of Object.entries({
      priority: 256,
      resultTtlMs: 0,
      ack: 'never',
      result: 'all',
      softTimeLimitMs: 0,
      resultBytesMax: -1,
    }))
      expect(codeOf(() => app.task('x', fn, { [field]: value }))).toEqual(['INVALID_ARGUMENT', field]);
    expect(codeOf(() => app.task('x', fn, { retry: { factor: 0 } }))).toEqual(['INVALID_ARGUMENT', 'retry.factor']);
    const limits = { softTimeLimitMs: 6, timeLimitMs: 5 };
    expect(codeOf(() => app.task('x', fn, limits))).toEqual(['INVALID_ARGUMENT', 'softTimeLimitMs']);
    expect(codeOf(() => app.worker({ queues: 'names' as never }))).toEqual(['INVALID_ARGUMENT', 'queues']);
    expect(codeOf(() => new TaskApp({ codec: null as never }))).toEqual(['INVALID_ARGUMENT', 'codec']);
    expect(codeOf(() => app.worker({ pool: 'fibers' as never }))).toEqual(['INVALID_ARGUMENT', 'pool']);
    expect(codeOf(() => app.worker({ pool: 'solo', concurrency: 2 }))).toEqual(['INVALID_ARGUMENT', 'concurrency']);
    expect(codeOf(() => new TaskApp({ codec: 'xml' as never }))).toEqual(['INVALID_ARGUMENT', 'codec']);
    app.task('hard', fn, { timeLimitMs: 5 });
    expect((await errorOf(app.worker().start())).details).toEqual({ field: 'timeLimitMs', task: 'hard' });
    const running = appOf(broker, 'names');
    running.task('soft', fn);
    await started(running);
    expect(codeOf(() => running.task('hard', fn, { timeLimitMs: 5 }))).toEqual(['INVALID_ARGUMENT', 'timeLimitMs']);
    expect(running.tasks.has('hard')).toBe(false);
  });

  test('what cannot be sent is refused where it is sent', async () => {
    const circle: unknown[] = [];
    circle.push(circle);
    const bytes = { contentType: 'x/bytes', encode: () => 'text' as never, decode: (): unknown => 1 };
    for (const [codec, given] of [
      ['msgpack', circle],
      ['json', circle],
      ['json', 1n],
      [bytes, 1],
    ] as const) {
      const echo = appOf(broker, 'sends', { codec }).task('echo', (_: TaskContext, value: unknown) => value);
      expect(await errorOf(echo.send(given))).toMatchObject({ code: 'INVALID_ARGUMENT', details: { field: 'args' } });
    }
    const echo = appOf(broker, 'sends').task('echo', (_: TaskContext, value: unknown) => value);
    expect((await errorOf(echo.sendMany(['text'] as never))).details).toEqual({ field: 'args' });
    for (const [field, value] of Object.entries({ headers: 'text', eta: '2030-01-01', priority: 256, expiresInMs: 0 }))
      expect((await errorOf(echo.with({ [field]: value }).send(1))).details).toEqual({ field });
    for (const eta of [Number.NaN, new Date('none'), new Date(8.64e15)])
      expect((await errorOf(echo.with({ eta }).send(1))).details).toEqual({ field: 'eta' });
  });

  test('a result that its reader cannot decode is a coded failure', async () => {
    const codec = { contentType: 'x/odd', encode: () => new Uint8Array([1]), decode: (): unknown => [] };
    const app = appOf(broker, 'odd', { codec });
    const odd = app.task('odd', () => 1);
    await started(app);
    const { id } = await odd.send();
    const reader = appOf(broker, 'odd', { codec: { ...codec, decode: (): unknown => JSON.parse('{') } });
    expect((await errorOf(reader.handle(id).result())).code).toBe('BAD_FRAME');
    expect((await errorOf(appOf(broker, 'odd').handle(id).result())).code).toBe('BAD_FRAME');
  });
});

describe('a worker', () => {
  test('has so many tasks at a time as it is told, and so many more within reach', async () => {
    const app = appOf(broker, 'bounds');
    const gate = deferred<void>();
    let most = 0;
    let now = 0;
    const hold = app.task('hold', async () => {
      most = Math.max(most, ++now);
      await gate.promise;
      now--;
    });
    const handles = await hold.sendMany(Array.from({ length: 50 }, () => []));
    const worker = await started(app, { concurrency: 3, prefetchMultiplier: 2 });
    await eventually(
      () => worker.active,
      (active) => active === 3,
      'three tasks',
    );
    await eventually(
      () => broker.queue('default', 'bounds'),
      ({ started: running, leased, ready }) => running === 3 && leased === 3 && ready === 44,
      'three that run and three within reach',
    );
    gate.resolve();
    await Promise.all(handles.map((handle) => handle.result()));
    expect(most).toBe(3);
  });

  test('gives back what it has not begun when it stops, and ends what runs', async () => {
    const app = appOf(broker, 'stops');
    const gate = deferred<void>();
    const hold = app.task('hold', () => gate.promise);
    const handles = await hold.sendMany(Array.from({ length: 10 }, () => []));
    const worker = await started(app, { concurrency: 2 });
    await eventually(
      () => worker.active,
      (active) => active === 2,
      'two tasks',
    );
    const stopped = worker.stop();
    await eventually(
      () => broker.queue('default', 'stops'),
      ({ ready, started: running }) => ready === 8 && running === 2,
      'the return of the others',
    );
    gate.resolve();
    await stopped;
    const states = await Promise.all(handles.map((handle) => handle.state()));
    expect(states.map(({ state }) => state).sort()).toEqual([...Array(8).fill('queued'), 'succeeded', 'succeeded']);
  });

  test('tells what runs to give up when its grace is over', async () => {
    const app = appOf(broker, 'grace');
    const endless = app.task(
      'endless',
      (ctx: TaskContext) => {
        return new Promise((_, reject) => ctx.signal.addEventListener('abort', () => reject(ctx.signal.reason)));
      },
      { retry: { max: 3 } },
    );
    const handle = await endless.send();
    const worker = await started(app);
    await eventually(
      () => worker.active,
      (active) => active === 1,
      'the task',
    );
    await worker.stop({ graceMs: 10 });
    expect(await handle.state()).toMatchObject({ state: 'retrying', attempts: 1 });
  });

  test('leaves what it does not know to one that does', async () => {
    const knowing = appOf(broker, 'unknown');
    const known = knowing.task('known', () => 'done');
    const ignorant = appOf(broker, 'unknown');
    ignorant.task('other', () => 'other');
    const told: LovageError[] = [];
    const worker = await started(ignorant, { queues: ['default'], onError: (error) => told.push(error) });
    const [handle] = await known.sendMany(Array.from({ length: 20 }, () => []));
    const client = await knowing.client();
    await eventually(
      () => client.queues.inspect('default'),
      ({ delayed }) => delayed === 20,
      'what is given back',
    );
    expect(told).toHaveLength(1);
    expect(told[0]!.message).toContain('task "known"');
    expect(await handle!.state()).toMatchObject({ state: 'delayed', attempts: 0 });
    await worker.stop();
    await client.messages.retry('default', {});
    await started(knowing);
    expect(await handle!.result()).toBe('done');
  });
});

test('a broker that is killed in the middle loses no task and no result, and runs none again that it said was done', async () => {
  const flags = ['--port', `${await freePort()}`];
  let own = await BrokerProcess.start({ flags });
  const app = appOf(own, 'killed', { producer: 'p' });
  const runs = new Map<number, number>();
  const work = app.task('work', async (_: TaskContext, n: number) => {
    await sleep(1);
    runs.set(n, (runs.get(n) ?? 0) + 1);
    return n * 2;
  });
  await started(app, { concurrency: 20 });
  const count = 2_000;
  const done: TaskHandle<number>[] = [];
  const results: Promise<number>[] = [];
  for (let from = 0; from < count; from += 200) {
    const handles = await work.sendMany(Array.from({ length: 200 }, (_, i) => [from + i]));
    done.push(...handles);
    results.push(...handles.map((handle) => handle.result()));
    for (const result of results) result.catch(() => undefined);
    if (from === 600) {
      await own.kill();
      own = await BrokerProcess.start({ dataDir: own.dataDir, flags });
    }
  }
  expect(await Promise.all(results)).toEqual(Array.from({ length: count }, (_, n) => n * 2));
  expect(runs.size).toBe(count);
  await own.kill();
  own = await BrokerProcess.start({ dataDir: own.dataDir, flags });
  const again = appOf(own, 'killed');
  expect(await Promise.all(done.map(({ id }) => again.handle(id).result()))).toEqual(
    Array.from({ length: count }, (_, n) => n * 2),
  );
}, 60_000);
