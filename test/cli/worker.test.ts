/** `lovage worker` with modules of its user, against a real broker. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { expect, test } from 'vitest';
import { BrokerProcess } from '../support/broker-process.js';
import { tempDirectory } from '../support/temp-directory.js';
import { appOf } from '../tasks/running.js';
import { command } from './command.js';
import { Running } from './running.js';

const SDK = pathToFileURL(join(import.meta.dirname, '../../client-sdk/dist/tasks/index.js')).href;

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
  ['cannot be loaded', 'throw new Error("broken on purpose");', /MODULE_FAILED: .*broken on purpose/s],
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
