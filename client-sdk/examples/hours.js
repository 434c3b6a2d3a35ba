/**
 * Work that takes an hour: one at a time, settled when it is done. Kill the worker in the middle (`kill -9`), and the next one begins it again.
 *
 *     npx lovage worker client-sdk/examples/hours.js --concurrency 1 --prefetch-multiplier 1
 *     node client-sdk/examples/hours.js 3600000 3600000        (ms of each; another console)
 */
import { pathToFileURL } from 'node:url';
import { TaskApp } from '@lovage/client/tasks';

export const app = new TaskApp({ url: process.env.LOVAGE_URL });

export const render = app.task(
  'render',
  async (ctx, ms) => {
    console.error(`rendering, attempt ${ctx.attempt}`);
    const endsAt = Date.now() + ms;
    // In steps, so that whoever stops the worker is heard: the work goes back, and is no failure.
    while (Date.now() < endsAt) {
      ctx.signal.throwIfAborted();
      await new Promise((resolve) => setTimeout(resolve, Math.min(100, ms)));
    }
    return { attempt: ctx.attempt };
  },
  // Late is the default: with a worker that dies the task is not lost. Nobody waits an hour for a fourth attempt.
  { queue: 'hours', ack: 'late', retry: { max: 2, delayMs: 1_000 } },
);

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const handles = await render.sendMany(process.argv.slice(2).map((ms) => [Number(ms)]));
  for (const handle of handles)
    console.log(`task ${handle.id}: attempt ${(await handle.result()).attempt} has done it`);
  await app.close();
}
