/**
 * Thumbnails of PNG files, made by a native library (sharp, libvips) in child processes: a picture that crashes the library costs one child, and one that takes
 * too long is killed.
 *
 *     npm install sharp
 *     node client-sdk/examples/thumbnails.js <into>        (with a broker at ws://127.0.0.1:7420, or LOVAGE_URL)
 */
import { mkdir, readdir } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { TaskApp } from '@lovage/client/tasks';
import sharp from 'sharp';

const app = new TaskApp({ url: process.env.LOVAGE_URL });

const thumbnail = app.task(
  'images.thumbnail',
  async (_, from, into, width) => {
    const to = join(into, basename(from));
    const { height, size } = await sharp(from).resize({ width }).png().toFile(to);
    return { to, width, height, size, pid: process.pid };
  },
  { queue: 'images', timeLimitMs: 30_000, maxCrashes: 2 },
);

// What follows is not done in the children.
await app.worker({ pool: 'processes', concurrency: 2, maxTasksPerChild: 100 }).start();

const pictures = fileURLToPath(new URL('./pictures/', import.meta.url));
const into = process.argv[2] ?? 'thumbnails';
await mkdir(into, { recursive: true });
const names = (await readdir(pictures)).sort();
const handles = await thumbnail.sendMany(names.map((name) => [join(pictures, name), into, 64]));
for (const handle of handles) {
  const { to, width, height, pid } = await handle.result();
  console.log(`${basename(to)}: ${width} x ${height}${pid === process.pid ? '' : ', made by a child'}`);
}
// What is no picture is a failed task, and the error of the library comes back.
const broken = await thumbnail.send(fileURLToPath(import.meta.url), into, 64);
console.log(await broken.result().catch((error) => `${error.code}: ${error.cause.message}`));
await app.close();
