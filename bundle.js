/**
 * Makes one file of each package's many, behind `tsc -b`: Node looks for modules one by one, and starts in half the time when there are few. It reads no
 * `.ts`, and tests and browsers' bundlers go on with the files of `tsc`. Outside of a bundle stay what has compiled parts, and our other packages: a class is
 * the same one for the command, for the SDK and for the tasks that `lovage worker` loads only if all of them take it from one file.
 */
import { fileURLToPath } from 'node:url';
import { build } from 'rolldown';

const OURS = /^@lovage\//;

await bundle('protocol', { index: 'index.js' }, ['msgpackr']);
await bundle('client-sdk', { index: 'index.js', tasks: 'tasks/index.js', child: 'tasks/child.js' }, [
  OURS,
  '@opentelemetry/api',
]);
await bundle('server', { main: 'cli/main.js', 'writer-thread': 'archive/writer-thread.js' }, [
  OURS,
  'better-sqlite3',
  'fs-native-extensions',
  /^@fastify\/(ajv|fast-json-stringify)-compiler/,
]);

/** `<path>/dist/bundle/<name>.js` of each entry, a file below `<path>/dist`. */
async function bundle(path, entries, external) {
  const dist = (name) => fileURLToPath(new URL(`${path}/dist/${name}`, import.meta.url));
  await build({
    input: Object.fromEntries(Object.entries(entries).map(([name, file]) => [name, dist(file)])),
    external,
    platform: 'node',
    output: { dir: dist('bundle'), format: 'esm', chunkFileNames: '[name].js', cleanDir: true },
  });
}
