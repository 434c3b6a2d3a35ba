/** Tasks for children of pools: what they do to the child that runs them. */
import { setTimeout as sleep } from 'node:timers/promises';
import { threadId } from 'node:worker_threads';
import { TaskApp } from '@lovage/client/tasks';

export const app = new TaskApp();

/** Which child runs it. */
const where = () => `${process.pid}/${threadId}`;

app.task('where', (ctx) => ({ where: where(), attempt: ctx.attempt }));
app.task('add', async (ctx, a, b) => ({
  sum: a + b,
  id: ctx.id,
  queue: ctx.queue,
  priority: ctx.priority,
  trace: ctx.headers.trace ?? 'none',
}));
app.task('tell', (ctx) => {
  ctx.log('from a child');
  ctx.progress({ half: true });
  return where();
});
app.task('fail', () => {
  throw Object.assign(new RangeError('on purpose', { cause: new TypeError('inner') }), { code: 'E_PURPOSE' });
});
app.task(
  'flaky',
  (ctx) => {
    if (ctx.attempt < 3) throw new Error(`attempt ${ctx.attempt}`);
    return ctx.attempt;
  },
  { retry: { max: 5, delayMs: 1 } },
);
app.task('block', (ctx, ms) => {
  for (const end = Date.now() + ms; Date.now() < end; );
  return ctx.attempt;
});
app.task(
  'endless',
  () => {
    for (;;);
  },
  { timeLimitMs: 200, retry: { max: 3 } },
);
app.task(
  'endless.dead',
  () => {
    for (;;);
  },
  { queue: 'given-up', timeLimitMs: 100, ackOnTimeout: false },
);
app.task(
  'soft',
  async (ctx) => {
    await sleep(60_000, null, { signal: ctx.signal }).catch(() => undefined);
    throw ctx.signal.reason;
  },
  { softTimeLimitMs: 50 },
);
app.task('exit', () => process.exit(3), { maxCrashes: 2 });
app.task('exit.dead', () => process.exit(3), { queue: 'given-up', maxCrashes: 2 });
app.task('exit.once', (ctx) => (ctx.attempt === 1 ? process.exit(3) : ctx.attempt));
app.task(
  'fails.and.exits',
  (ctx) => {
    if (ctx.attempt <= 2) throw new Error(`failure ${ctx.attempt}`);
    if (ctx.attempt === 3) process.exit(3);
    return ctx.attempt;
  },
  { maxCrashes: 2, retry: { max: 2, delayMs: 1 } },
);
app.task(
  'thrown.later',
  () => {
    setImmediate(() => {
      throw new Error('outside of the task');
    });
    return sleep(60_000);
  },
  { maxCrashes: 1 },
);
app.task('early', () => process.exit(3), { ack: 'early' });
app.task('early.wait', () => new Promise((resolve) => setTimeout(resolve, 60_000)), { ack: 'early' });
app.task('wait', async (ctx, ms) => {
  await sleep(ms, null, { signal: ctx.signal }).catch(() => undefined);
  if (ctx.signal.aborted) throw ctx.signal.reason;
  return ctx.attempt;
});
app.task('tell.often', async (ctx, ms) => {
  for (let i = 0; i < 50_000; i++) {
    ctx.progress(i);
    ctx.log(`line ${i}`);
  }
  await sleep(ms, null, { signal: ctx.signal }).catch(() => undefined);
  ctx.log('the end');
});
app.task('deaf', async (_, ms) => {
  await sleep(ms);
});
const child = app.task('child', (_, n) => n);
app.task('parent', async (ctx, n) => {
  await child.with({ queue: 'children' }).sendOnCompletion(ctx, n);
  return n;
});
const held = [];
app.task('leak', (_, mebibytes) => {
  held.push(Buffer.alloc(mebibytes * 1_048_576, 1));
  return where();
});
app.task('value', (_, kind) => ({ cyclic: cyclic(), function: () => 1, undefined })[kind]);
app.task('large', (_, bytes) => new Uint8Array(bytes));

function cyclic() {
  const value = {};
  value.self = value;
  return value;
}
