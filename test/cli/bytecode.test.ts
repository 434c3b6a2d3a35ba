/** The bytecode that the build has kept of the command: V8 says whether it takes it. */
import { spawn } from 'node:child_process';
import { expect, test } from 'vitest';
import { tempDirectory } from '../support/temp-directory.js';
import { BIN } from './command.js';

/** Tells of each script that is compiled: its file, and whether bytecode was refused; undefined if there was none. */
const WATCH = `
  import { writeSync } from 'node:fs';
  import vm from 'node:vm';
  const { Script } = vm;
  vm.Script = class extends Script {
    constructor(source, options) {
      super(source, options);
      writeSync(1, JSON.stringify([options.filename, this.cachedDataRejected]) + '\\n');
    }
  };`;

async function compiled(...words: string[]): Promise<[file: string, isRejected: boolean | null][]> {
  const watch = `data:text/javascript,${encodeURIComponent(WATCH)}`;
  const child = spawn(process.execPath, ['--import', watch, BIN, ...words], { stdio: ['ignore', 'pipe', 'ignore'] });
  let out = '';
  child.stdout.on('data', (text) => {
    out += text;
    if (out.includes('is ready')) child.kill('SIGTERM');
  });
  await new Promise((resolve) => child.on('close', resolve));
  const lines = out.split('\n').filter((line) => line.startsWith('["'));
  return lines.map((line) => JSON.parse(line) as [string, boolean | null]);
}

test('is there for all that a broker loads, and is taken', async () => {
  const scripts = await compiled('start', '--port', '0', '--data-dir', tempDirectory());
  expect(scripts.length).toBeGreaterThan(2);
  expect(scripts.filter(([, isRejected]) => isRejected !== false)).toEqual([]);
});

test('is taken by the other commands, which load no broker', async () => {
  const scripts = await compiled('--version');
  expect(scripts.map(([file]) => file.split('/').at(-1))).toContain('main.cjs');
  expect(scripts.map(([file]) => file.split('/').at(-1))).not.toContain('app.cjs');
  expect(scripts.filter(([, isRejected]) => isRejected !== false)).toEqual([]);
});
