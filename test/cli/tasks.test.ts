/** `lovage tasks` against a real broker. */
import { beforeAll, expect, test } from 'vitest';
import type { TaskContext } from '../../client-sdk/tasks/index.js';
import { deferred } from '../client-sdk/deferred.js';
import { BrokerProcess } from '../support/broker-process.js';
import { eventually } from '../support/deadline.js';
import { appOf, started } from '../tasks/running.js';
import { command, type Ended } from './command.js';

let broker: BrokerProcess;
beforeAll(async () => {
  broker = await BrokerProcess.start();
});

function run(line: string): Promise<Ended> {
  return command(line.split(' '), { variables: { LOVAGE_URL: broker.url } });
}

/** What the command printed, which must have ended well. */
async function printed(line: string): Promise<string> {
  const { code, out, error } = await run(line);
  expect([code, error]).toEqual([0, '']);
  return out;
}

test('tasks are shown and revoked, by their numbers or by name and headers', async () => {
  const app = appOf(broker, 'default');
  const resize = app.task('resize', () => {
    throw new Error('no such image');
  });
  const mail = app.task('mail', () => 'sent', { queue: 'mail' });
  const [first, second] = await resize.sendMany([[], []]);
  const third = await mail.with({ headers: { customer: 'ada' } }).send();
  const later = await mail.with({ delayMs: 3_600_000 }).send();
  expect(await printed(`tasks show ${first!.id}`)).toBe(
    `id: ${first!.id}\nstate: queued\nattempts: 0\nqueue: default\n`,
  );
  expect(await printed(`tasks show ${later.id}`)).toMatch(/\nstate: delayed\n.*\nqueue: mail\ndueAt: 20.*Z\n$/);
  expect(await printed(`tasks revoke ${first!.id} 999999 --terminate`)).toBe('Revoked 1 of 2 tasks\n');
  expect(await printed(`tasks show ${first!.id}`)).toMatch(
    /\nstate: revoked\n.*\nfailure: REVOKED: Task .* was revoked\n$/,
  );
  expect(await printed('tasks revoke --name mail --queue mail --dry-run')).toBe('Without --dry-run: Revoked 2 tasks\n');
  expect(await printed('tasks revoke --queue mail --header customer=ada')).toBe('Revoked 1 task\n');
  expect(JSON.parse(await printed('tasks revoke --name nothing --json'))).toEqual({ revoked: 0 });
  await started(app);
  await expect(second!.result()).rejects.toMatchObject({ code: 'TASK_FAILED' });
  expect(JSON.parse(await printed(`tasks show ${second!.id} --json`))).toMatchObject({
    id: second!.id,
    state: 'failed',
    attempts: 1,
    failure: { code: 'TASK_FAILED', message: expect.stringContaining('no such image') },
  });
  expect((await third.state()).state).toBe('revoked');
  expect(JSON.parse(await printed('tasks show 999999 --json'))).toMatchObject({ state: 'unknown', failure: null });
});

test('a task that tells how far it is shows that, and its log', async () => {
  const app = appOf(broker, 'default');
  const gate = deferred();
  const work = app.task(
    'work',
    async (ctx: TaskContext) => {
      ctx.progress({ done: 1, of: 2 });
      ctx.log('one');
      ctx.log('two');
      await gate.promise;
    },
    { queue: 'telling' },
  );
  const handle = await work.send();
  await started(app);
  await eventually(
    () => handle.state(),
    ({ log }) => log.length === 2,
    'the log',
  );
  expect(await printed(`tasks show ${handle.id}`)).toMatch(/\nprogress: {"done":1,"of":2}\nlog: \n {2}one\n {2}two\n$/);
  gate.resolve();
});

test.each([
  ['nothing', 'tasks revoke', /expected numbers, --name or --queue/],
  ['numbers and a name', 'tasks revoke 1 --name a', /expected numbers alone/],
  ['a number that is none', 'tasks show zero', /whole number from 1/],
  ['a name that is none', 'tasks revoke --name a,b', /1-200 of/],
])('(%s) is wrong usage', async (_what, line, message) => {
  const { code, out, error } = await run(line);
  expect([code, out]).toEqual([2, '']);
  expect(error).toMatch(message);
});
