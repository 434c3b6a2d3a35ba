#!/usr/bin/env node
/**
 * Runs the `lovage` command from `dist/bundle`, with the bytecode that `keep-bytecode.js` has kept of it: compiling takes a sixth of a start. V8 takes bytecode only with the same version of V8,
 * the same flags and a source of the same length (https://nodejs.org/docs/latest-v20.x/api/vm.html#scriptcreatecacheddata), and compiles what it does not take. So whoever changes the source makes
 * the bytecode anew, as the build does.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import v8 from 'node:v8';
import vm from 'node:vm';
import * as protocol from '@lovage/protocol';

// A broker makes few objects and many large buffers. Node 20 frees dead buffers when it collects the young generation, and counts only objects
// towards doing so: with 16 MiB of young generation the buffers of a fifth of a second pile up until a full collection is forced.
// Kept at its first size, 1 MiB, the same load spends 0.35 s instead of 0.75 s of 8 s on collections, and memory stays lower.
v8.setFlagsFromString('--semi-space-growth-factor=1');
// Old objects are collected when there are twice as many as after the last time. V8 would choose a factor from 1.1 to 4, and chooses 1.1 when objects grow
// old slowly, as here: then it collects 16 MB twice a second for the first six seconds, and each of these collections takes 10 to 15 ms in steps.
v8.setFlagsFromString('--heap-growing-percent=100');
// A collection of 1 MiB is over before other threads have woken up to help with it, and then the loop waits for them.
v8.setFlagsFromString('--no-parallel-scavenge');

const DIRECTORY = fileURLToPath(new URL('../dist/bundle/', import.meta.url));
const BYTECODE = '.bytecode';

const requireOthers = createRequire(`${DIRECTORY}main.cjs`);
/** By file name: what has been loaded. */
const loaded = new Map();

// It tells of its own failures.
load('main.cjs').run(process.argv.slice(2), (specifier) => import(specifier));

/** Writes down the bytecode of what has been loaded and run so far. */
export function keepBytecode() {
  for (const { script, filename } of loaded.values()) writeFileSync(filename + BYTECODE, script.createCachedData());
}

/** What a file of the bundle exports. */
function load(name) {
  const known = loaded.get(name);
  if (known !== undefined) return known.module.exports;
  const filename = DIRECTORY + name;
  const source = `(function (exports, require, module, __filename, __dirname) {${readFileSync(filename, 'utf8')}\n})`;
  const script = new vm.Script(source, {
    filename,
    cachedData: bytecodeOf(filename),
  });
  const module = { exports: {} };
  loaded.set(name, { script, filename, module });
  script.runInThisContext()(module.exports, requireFrom, module, filename, DIRECTORY);
  return module.exports;
}

function requireFrom(id) {
  if (id.startsWith('./')) return load(id.slice(2));
  return id === '@lovage/protocol' ? protocol : requireOthers(id);
}

function bytecodeOf(filename) {
  try {
    return readFileSync(filename + BYTECODE);
  } catch {
    return undefined;
  }
}
