/** What tasks tell before they are done: how far they are, and lines for people. */
import { beforeAll, describe, expect, test } from 'vitest';
import type { TaskContext } from '../../client-sdk/tasks/index.js';
import { deferred } from '../client-sdk/deferred.js';
import { BrokerProcess } from '../support/broker-process.js';
import { eventually } from '../support/deadline.js';
import { freePort } from '../support/free-port.js';
import { appOf, started } from './running.js';

let broker: BrokerProcess;

beforeAll(async () => {
  broker = await BrokerProcess.start();
});

describe('a task that tells of itself', () => {
  test('is heard by whoever waits for it, the last time always, and shows it in its state', async () => {
    const app = appOf(broker, 'tells');
    const gate = deferred();
    const work = app.task('work', async (ctx: TaskContext) => {
      ctx.log('begins');
      ctx.progress({ done: 1, of: 3 });
      await gate.promise;
      for (let done = 2; done <= 3; done++) {
        ctx.progress({ done, of: 3 });
        ctx.log(`line ${done}`);
      }
      return 'all of it';
    });
    const handle = await work.send();
    const steps: unknown[] = [];
    const lines: string[] = [];
    const result = handle.result({ onProgress: (step) => steps.push(step), onLog: (line) => lines.push(line) });
    await started(app);
    await eventually(
      () => handle.state(),
      ({ progress, log }) => progress !== null && log.length === 1,
      'the first progress',
    );
    expect(await handle.state()).toMatchObject({
      state: 'started',
      progress: { done: 1, of: 3 },
      log: ['begins'],
    });
    // Who asks later is told what there is.
    const late: unknown[] = [];
    const other = appOf(broker, 'tells')
      .handle(handle.id)
      .result({ onProgress: (step) => late.push(step) });
    await eventually(
      () => late.length,
      (count) => count > 0,
      'what there is',
    );
    gate.resolve();
    expect(await result).toBe('all of it');
    expect(await other).toBe('all of it');
    expect([steps[0], steps.at(-1)]).toEqual([
      { done: 1, of: 3 },
      { done: 3, of: 3 },
    ]);
    expect([late[0], late.at(-1)]).toEqual([steps[0], steps.at(-1)]);
    expect(lines).toEqual(['begins', 'line 2', 'line 3']);
    expect(await handle.state()).toMatchObject({ state: 'succeeded', progress: null, log: [] });
  });

  test('very often is not sent each time, and the last hundred lines are kept', async () => {
    const app = appOf(broker, 'often');
    const gate = deferred();
    const work = app.task('work', async (ctx: TaskContext) => {
      for (let i = 0; i < 5_000; i++) {
        ctx.progress(i);
        ctx.log(`${i} ${'x'.repeat(2_000)}`);
      }
      await gate.promise;
    });
    const handle = await work.send();
    const steps: unknown[] = [];
    const result = handle.result({ onProgress: (step) => steps.push(step) });
    await started(app);
    const { log } = await eventually(
      () => handle.state(),
      ({ progress }) => progress === 4_999,
      'the last progress',
    );
    expect(log.map((line) => Number(line.split(' ')[0]))).toEqual(Array.from({ length: 100 }, (_, i) => 4_900 + i));
    expect(new Set(log.map((line) => line.length))).toEqual(new Set([1_000]));
    gate.resolve();
    await result;
    expect(steps.at(-1)).toBe(4_999);
    expect(steps.length).toBeLessThan(20);
  });

  test('and fails begins anew with its next attempt; what cannot be told is refused', async () => {
    const app = appOf(broker, 'anew');
    const gate = deferred();
    const refused: unknown[] = [];
    const work = app.task(
      'work',
      async (ctx: TaskContext) => {
        for (const value of ['x'.repeat(65_536), () => undefined])
          try {
            ctx.progress(value);
          } catch (error) {
            refused.push((error as { code: unknown }).code);
          }
        if (ctx.attempt === 1) {
          ctx.progress('first');
          ctx.log('first');
          throw new Error('once more');
        }
        ctx.log('second');
        await gate.promise;
      },
      { retry: { max: 1, delayMs: 0 } },
    );
    await started(app);
    const handle = await work.send();
    const status = await eventually(
      () => handle.state(),
      ({ attempts, log }) => attempts === 2 && log.length > 0,
      'the second attempt',
    );
    expect(status).toMatchObject({ progress: null, log: ['second'] });
    expect(refused.slice(0, 2)).toEqual(['INVALID_ARGUMENT', 'INVALID_ARGUMENT']);
    gate.resolve();
    expect(await handle.result()).toBe(null);
  });

  test('to a listener that throws fails its wait and nothing else', async () => {
    const app = appOf(broker, 'throws');
    const work = app.task('work', (ctx: TaskContext) => {
      ctx.progress(1);
      return 'done';
    });
    const handle = await work.send();
    const told = handle.result({
      onProgress: () => {
        throw new RangeError('no');
      },
    });
    const quiet = handle.result();
    const failed = expect(told).rejects.toThrow(RangeError);
    await started(app);
    await failed;
    expect(await quiet).toBe('done');
  });
});

test('progress is not on the disk: it is told anew after a kill, by the attempt that goes on', async () => {
  const flags = ['--port', `${await freePort()}`];
  let own = await BrokerProcess.start({ flags });
  const app = appOf(own, 'killed');
  const contexts: TaskContext[] = [];
  const gate = deferred();
  const work = app.task('work', async (ctx: TaskContext) => {
    contexts.push(ctx);
    ctx.progress('before');
    await gate.promise;
    return 'done';
  });
  const handle = await work.send();
  await started(app);
  const until = (wanted: unknown) =>
    eventually(
      () => handle.state(),
      ({ progress }) => progress === wanted,
      `progress ${wanted}`,
    );
  await until('before');
  const result = handle.result();
  await own.kill();
  own = await BrokerProcess.start({ dataDir: own.dataDir, flags });
  expect(await handle.state()).toMatchObject({ state: 'started', progress: null });
  contexts[0]!.progress('after');
  await until('after');
  gate.resolve();
  expect(await result).toBe('done');
  expect(contexts).toHaveLength(1);
}, 30_000);
