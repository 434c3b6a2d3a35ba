/**
 * Makes one file of each package's many, behind `tsc -b`, whose files it reads: Node looks for modules one by one, and starts sooner when there are few. Bundlers
 * for browsers go on with the files of `tsc`. Outside of a bundle stay what has compiled parts, and our other packages: a class is
 * the same one for the command, for the SDK and for the tasks that `lovage worker` loads only if all of them take it from one file.
 */
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'rolldown';

const OURS = /^@lovage\//;

const here = (path) => fileURLToPath(new URL(path, import.meta.url));

await bundle('protocol', { index: 'index.js' }, ['msgpackr']);
await bundle('client-sdk', { index: 'index.js', tasks: 'tasks/index.js', child: 'tasks/child.js' }, [
  OURS,
  '@opentelemetry/api',
]);
const external = [OURS, 'better-sqlite3', 'fs-native-extensions', /^@fastify\/(ajv|fast-json-stringify)-compiler/];
// Modules of ES have no bytecode that could be kept.
await bundle('server', { main: 'cli/main.js' }, external, {
  format: 'cjs',
  entryFileNames: '[name].cjs',
  chunkFileNames: '[name].cjs',
});
await bundle('server', { 'writer-thread': 'archive/writer-thread.js' }, external, { cleanDir: false });
await keepBytecode();

/** `<path>/dist/bundle/<name>.js` of each entry, a file below `<path>/dist`. */
async function bundle(path, entries, external, output = {}) {
  const dist = (name) => here(`${path}/dist/${name}`);
  await build({
    input: Object.fromEntries(Object.entries(entries).map(([name, file]) => [name, dist(file)])),
    external,
    platform: 'node',
    output: { dir: dist('bundle'), format: 'esm', chunkFileNames: '[name].js', cleanDir: true, ...output },
  });
}

/** Starts a broker and stops it again. Settings of whoever builds are not for it. */
async function keepBytecode() {
  const dataDir = mkdtempSync(join(tmpdir(), 'lovage-build-'));
  const words = [
    here('server/bin/keep-bytecode.js'),
    'start',
    '--port',
    '0',
    '--data-dir',
    dataDir,
    '--log-level',
    'error',
  ];
  const variables = Object.entries(process.env).filter(([name]) => !name.startsWith('LOVAGE_'));
  const env = Object.fromEntries(variables);
  const broker = spawn(process.execPath, words, { env, stdio: ['ignore', 'pipe', 'inherit'] });
  broker.stdout.once('data', () => broker.kill('SIGTERM'));
  const code = await new Promise((resolve) => broker.on('close', resolve));
  rmSync(dataDir, { recursive: true });
  if (code !== 0) throw new Error(`the broker that was to show what a start compiles has ended with ${code}`);
}
