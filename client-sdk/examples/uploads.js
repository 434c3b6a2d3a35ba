/**
 * Small uploads many at a time with spare ones at hand, big ones one at a time and none in advance: two workers with different prefetch.
 *
 *     node client-sdk/examples/uploads.js        (with a broker at ws://127.0.0.1:7420, or LOVAGE_URL)
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { TaskApp } from '@lovage/client/tasks';

const MIB = 1_048_576;
const app = new TaskApp({ url: process.env.LOVAGE_URL });
const now = { small: 0, big: 0 };
const most = { small: 0, big: 0 };

const small = app.task('upload.small', (_, name, bytes) => upload('small', name, bytes), { queue: 'uploads-small' });
const big = app.task('upload.big', (_, name, bytes) => upload('big', name, bytes), { queue: 'uploads-big' });

/** By its size. */
const store = (name, bytes) => (bytes < 10 * MIB ? small : big).send(name, bytes);

/** Stands for a line of 10 GiB/s. */
async function upload(size, name, bytes) {
  now[size]++;
  most[size] = Math.max(most[size], now[size]);
  await sleep(Math.ceil(bytes / (10 * MIB)));
  now[size]--;
  return `s3://files/${name}`;
}

// 8 at a time, and as many as 32 at this worker: the next one is there as soon as one is done.
const many = app.worker({ queues: ['uploads-small'], concurrency: 8, prefetchMultiplier: 4 });
// One at a time, and none that waits here while another worker has nothing to do.
const few = app.worker({ queues: ['uploads-big'], concurrency: 1, prefetchMultiplier: 1 });

const uploads = [];
for (let i = 0; i < 40; i++) uploads.push(await store(`note-${i}.txt`, 100_000));
for (let i = 0; i < 3; i++) uploads.push(await store(`film-${i}.mp4`, 500 * MIB));
await Promise.all([many.start(), few.start()]);
const stored = await Promise.all(uploads.map((handle) => handle.result()));
console.log(`${stored.length} files are stored, the last one at ${stored.at(-1)}`);
console.log(`at most ${most.small} small ones and ${most.big} big one at a time`);
await app.close();
