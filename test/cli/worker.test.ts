/** `lovage worker` with modules of its user, against a real broker. */
import { execFile } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { connect } from '../../client-sdk/index.js';
import { BrokerProcess } from '../support/broker-process.js';
import { tempDirectory } from '../support/temp-directory.js';
import { appOf } from '../tasks/running.js';
import { command } from './command.js';
import { Running } from './running.js';

const SDK = import.meta.resolve('@lovage/client/tasks');

/** A module file with this text behind the import of the SDK. */
function moduleOf(text: string): string {
  const path = join(tempDirectory(), 'tasks.mjs');
  writeFileSync(path, `import { TaskApp } from ${JSON.stringify(SDK)};\n${text}`);
  return path;
}

test('runs the tasks of a module, and ends what runs when it is told to stop', async () => {
  const broker = await BrokerProcess.start();
  const path = moduleOf(`
    const app = new TaskApp({ url: 'ws://127.0.0.1:1' });
    export const shout = app.task('shout', async (ctx, text) => text.toUpperCase());
    export const slow = app.task('slow', (ctx, ms) => new Promise((resolve) => setTimeout(resolve, ms, 'slept')), { queue: 'slow' });
  `);
  const worker = new Running(['worker', path, '--concurrency', '3', '--json'], { LOVAGE_URL: broker.url });
  await worker.until(({ lines }) => lines.length > 0, 'the ready line');
  expect(worker.lines[0]).toEqual({
    ...{ ready: true, tasks: ['shout', 'slow'], queues: ['default', 'slow'] },
    ...{ pool: 'async', concurrency: 3, pid: worker.child.pid },
  });
  const app = appOf(broker, 'default');
  const shout = app.task('shout', (_: unknown, text: string) => text);
  const slow = app.task('slow', (_: unknown, ms: number) => `${ms}`, { queue: 'slow' });
  expect(await (await shout.send('hello')).result()).toBe('HELLO');
  const handle = await slow.send(300);
  while ((await handle.state()).state !== 'started');
  worker.child.kill('SIGTERM');
  expect(await handle.result()).toBe('slept');
  expect(await worker.ended()).toMatchObject({ code: 0 });
});

test.each([
  [
    'cannot be loaded',
    'throw new Error("broken on purpose");',
    /MODULE_FAILED: .*broken on purpose \(file:.*tasks\.mjs:2:7\)/,
  ],
  ['has no tasks', 'export const nothing = 1;', /MODULE_FAILED: .*exports neither a TaskApp nor a task/],
  ['has two apps', 'export const a = new TaskApp(); export const b = new TaskApp();', /MODULE_FAILED: .*2 apps/],
  [
    'has a task that this pool cannot kill',
    'const app = new TaskApp(); export const t = app.task("t", () => 1, { timeLimitMs: 5 });',
    /INVALID_ARGUMENT: .*"t".*timeLimitMs/,
  ],
])('ends with 1 and says why when the module %s', async (_, text, expected) => {
  const broker = await BrokerProcess.start();
  const { code, error } = await command(['worker', moduleOf(text)], { variables: { LOVAGE_URL: broker.url } });
  expect(code).toBe(1);
  expect(error).toMatch(expected);
});

/** Ends when it is told to, and says in which attempt it runs. */
const WAITING = `
  const app = new TaskApp();
  export const wait = app.task('wait', async (ctx, ms) => {
    console.error('attempt ' + ctx.attempt);
    await new Promise((resolve) => setTimeout(resolve, ms));
    return ctx.attempt;
  });`;

async function startedWorker(broker: BrokerProcess, path: string, flags: readonly string[]): Promise<Running> {
  const worker = new Running(['worker', path, '--json', ...flags], { LOVAGE_URL: broker.url });
  await worker.until(({ lines }) => lines.length > 0, 'the ready line');
  return worker;
}

test.each(['async', 'processes'])(
  'a task whose worker is killed with kill -9 begins again elsewhere (%s)',
  async (pool) => {
    const broker = await BrokerProcess.start({ flags: ['--grace-ms', '200'] });
    const path = moduleOf(WAITING);
    const first = await startedWorker(broker, path, ['--pool', pool, '--concurrency', '1']);
    const app = appOf(broker, 'default');
    const wait = app.task('wait', (_: unknown, ms: number) => ms);
    const handle = await wait.send(1_500);
    while ((await handle.state()).state !== 'started');
    first.child.kill('SIGKILL');
    await startedWorker(broker, path, ['--pool', pool, '--concurrency', '1']);
    expect(await handle.result()).toBe(2);
  },
);

test('a child that blocks its event loop dies with its worker, and its task begins again elsewhere', async () => {
  const broker = await BrokerProcess.start({ flags: ['--grace-ms', '200'] });
  const path = moduleOf(`
    export const app = new TaskApp();
    app.task('block', (ctx) => {
      console.error('pid ' + process.pid);
      while (ctx.attempt === 1);
      return process.pid;
    });`);
  const first = await startedWorker(broker, path, ['--pool', 'processes', '--concurrency', '1']);
  const handle = await appOf(broker, 'default')
    .task('block', () => 0)
    .send();
  await first.until(({ error }) => error.includes('pid'), 'the task');
  const child = Number(first.error.replace(/\D/g, ''));
  // What has begun without the broker having heard of it is no attempt yet: the next one would be the first, too.
  while ((await handle.state()).state !== 'started');
  first.child.kill('SIGKILL');
  while (isAlive(child)) await sleep(10);
  await startedWorker(broker, path, ['--pool', 'processes', '--concurrency', '1']);
  expect(await handle.result()).not.toBe(child);
});

/** A zombie is not: nobody here is there to wait for it. */
function isAlive(pid: number): boolean {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}

test.each(['async', 'processes'])('a second signal gives back what runs (%s)', async (pool) => {
  const broker = await BrokerProcess.start();
  const worker = await startedWorker(broker, moduleOf(WAITING), ['--pool', pool, '--concurrency', '1']);
  const app = appOf(broker, 'default');
  const handle = await app.task('wait', (_: unknown, ms: number) => ms).send(60_000);
  while ((await handle.state()).state !== 'started');
  worker.child.kill('SIGTERM');
  // Two signals at once are one for the system.
  const client = await app.client();
  while ((await client.queues.inspect('default')).consumers > 0);
  worker.child.kill('SIGTERM');
  expect(await worker.ended()).toMatchObject({ code: 0 });
  expect(await handle.state()).toMatchObject({ state: 'retrying', attempts: 1 });
});

test('works in the namespace of its app, unless another one is given', async () => {
  const broker = await BrokerProcess.start();
  const path = moduleOf(`
    const app = new TaskApp({ namespace: 'own' });
    export const where = app.task('where', () => 'here');`);
  for (const [namespace, flags] of [
    ['own', []],
    ['other', ['--namespace', 'other']],
  ] as const) {
    await startedWorker(broker, path, flags);
    expect(
      await (
        await appOf(broker, namespace)
          .task('where', () => '')
          .send()
      ).result(),
    ).toBe('here');
  }
});

test('ends with 0 when it is told to from elsewhere, and with 1 when its token is no longer one', async () => {
  const broker = await BrokerProcess.start({ flags: ['--token', 'admin'] });
  const admin = await connect(broker.url, { token: 'admin' });
  const path = moduleOf('export const app = new TaskApp(); app.task("any", () => 1);');
  const told = await startedWorker(broker, path, ['--token', 'admin']);
  const { workers } = await admin.workers.list();
  await admin.workers.control(workers[0]!.id, 'shutdown', { graceMs: 0 });
  expect(await told.ended()).toMatchObject({ code: 0 });
  await admin.tokens.create({ name: 'first', role: 'admin' });
  const { token, secret } = await admin.tokens.create({ name: 'w', role: 'admin' });
  const expelled = await startedWorker(broker, path, ['--token', secret]);
  await admin.tokens.revoke(token.id);
  const { code, error } = await expelled.ended();
  expect(code).toBe(1);
  expect(error).toContain('UNAUTHORIZED');
  await admin.close();
});

test.each(['async', 'processes'])('ends with 1 when it may not take from its queue (%s)', async (pool) => {
  const broker = await BrokerProcess.start({ flags: ['--token', 'admin'] });
  const admin = await connect(broker.url, { token: 'admin' });
  await admin.tokens.create({ name: 'first', role: 'admin' });
  const { secret } = await admin.tokens.create({ name: 'w', role: 'consumer', read: ['other'] });
  await admin.close();
  const path = moduleOf('export const app = new TaskApp(); app.task("any", () => 1);');
  const { code, error } = await command(['worker', path, '--pool', pool, '--token', secret], {
    variables: { LOVAGE_URL: broker.url },
  });
  expect(code).toBe(1);
  expect(error).toContain('FORBIDDEN');
});

test('SIGHUP loads the code anew in processes', async () => {
  const broker = await BrokerProcess.start();
  const path = moduleOf('export const app = new TaskApp(); app.task("version", () => 1);');
  const worker = await startedWorker(broker, path, ['--pool', 'processes', '--autoscale', '2,1']);
  const app = appOf(broker, 'default');
  const version = app.task('version', () => 0);
  expect(await (await version.send()).result()).toBe(1);
  writeFileSync(path, readFileSync(path, 'utf8').replace('() => 1', '() => 2'));
  worker.child.kill('SIGHUP');
  while ((await (await version.send()).result()) !== 2);
});

test('a file that declares its tasks and starts its worker itself is loaded by the children, up to there', async () => {
  const broker = await BrokerProcess.start();
  const path = moduleOf(`
    const app = new TaskApp({ url: ${JSON.stringify(broker.url)} });
    const where = app.task('where', () => process.pid);
    await app.worker({ pool: 'processes', concurrency: 1 }).start();
    const handle = await where.send();
    console.log(JSON.stringify([handle.id, process.pid, await handle.result()]));
    await app.close();
  `);
  const { stdout } = await promisify(execFile)(process.execPath, [path]);
  const [id, parent, child] = JSON.parse(stdout) as number[];
  expect(id).toBe(1);
  expect(child).not.toBe(parent);
});

test.each(['3', '1,2', '2,x', '0,0'])('--autoscale %s is wrong usage', async (value) => {
  const { code, error } = await command(['worker', 'any.js', '--autoscale', value]);
  expect(code).toBe(2);
  expect(error).toContain('the larger one first');
});
