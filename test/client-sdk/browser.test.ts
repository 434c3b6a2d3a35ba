import { readFileSync } from 'node:fs';
import { createRequire, isBuiltin } from 'node:module';
import { dirname, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { WebSocket as NodeWebSocket } from 'ws';
import type { Client } from '../../client-sdk/index.js';
import { BrokerProcess } from '../support/broker-process.js';
import { atEnd } from '../support/cleanup.js';
import { within } from '../support/deadline.js';
import { CuttingProxy } from './cutting-proxy.js';
import { deferred } from './deferred.js';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const ENTRY = resolve(ROOT, 'client-sdk/dist/browser.js');
const IMPORT =
  /(?:^|[\s;}])(?:import|export)\s*(?:[\w*\s{},$]+\s*from\s*)?['"]([^'"]+)['"]|\bimport\(\s*['"]([^'"]+)['"]/g;
/** Conditions of package.json's `exports` that a bundler for browsers goes by. */
const CONDITIONS = ['browser', 'import', 'module', 'default'];

type Exports = string | { readonly [condition: string]: Exports };

/** The file that a bundler for browsers would take. */
function target(exports: Exports): string {
  if (typeof exports === 'string') return exports;
  for (const [condition, inner] of Object.entries(exports)) if (CONDITIONS.includes(condition)) return target(inner);
  throw new Error(`No file for browsers among ${Object.keys(exports).join(', ')}`);
}

function resolveImport(specifier: string, from: string): string {
  if (specifier.startsWith('.')) return resolve(dirname(from), specifier);
  const require = createRequire(from);
  const directory = require.resolve.paths(specifier)!.map((path) => resolve(path, specifier));
  for (const path of directory) {
    let text: string;
    try {
      text = readFileSync(resolve(path, 'package.json'), 'utf8');
    } catch {
      continue;
    }
    const { exports } = JSON.parse(text) as { exports: { readonly '.': Exports } };
    return resolve(path, target(exports['.']));
  }
  throw new Error(`Cannot find "${specifier}" from ${from}`);
}

/** Every file that comes with `entry`; each import of what is no file is left in `strangers`. */
function graph(entry: string): { readonly files: Set<string>; readonly strangers: string[] } {
  const files = new Set<string>();
  const strangers: string[] = [];
  const waiting = [entry];
  for (let file = waiting.pop(); file !== undefined; file = waiting.pop()) {
    if (files.has(file)) continue;
    files.add(file);
    for (const match of readFileSync(file, 'utf8').matchAll(IMPORT)) {
      const specifier = (match[1] ?? match[2])!;
      if (isBuiltin(specifier) || specifier === 'ws') strangers.push(`${specifier} in ${file}`);
      else waiting.push(resolveImport(specifier, file));
    }
  }
  return { files, strangers };
}

describe('the build for browsers', () => {
  test('imports nothing of Node, itself or through others', () => {
    const { files, strangers } = graph(ENTRY);
    expect(strangers).toEqual([]);
    expect(files.size).toBeGreaterThan(30);
    expect([...files].some((file) => file.includes('msgpackr'))).toBe(true);
  });

  test('would be caught importing something of Node', () => {
    expect(graph(resolve(ROOT, 'client-sdk/dist/index.js').replace('index.js', 'node-platform.js')).strangers).toEqual([
      expect.stringMatching(/^ws in /),
    ]);
  });

  test('uses no global of Node without asking whether it is there', () => {
    for (const file of graph(ENTRY).files) {
      if (file.includes('node_modules')) continue;
      const code = readFileSync(file, 'utf8').replace(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, '');
      expect(code, file).not.toMatch(/\b(process|setImmediate|__dirname|require)\b/);
      if (/\bBuffer\b/.test(code)) expect(code, file).toMatch(/typeof Buffer|globalThis\.Buffer|globalThis[^;]*Buffer/);
    }
  });

  test('is what package.json gives to a bundler', () => {
    const { exports } = JSON.parse(readFileSync(resolve(ROOT, 'client-sdk/package.json'), 'utf8')) as {
      exports: { '.': Exports };
    };
    expect(resolve(ROOT, 'client-sdk', target(exports['.']))).toBe(ENTRY);
  });
});

describe('the client for browsers', () => {
  const before = globalThis.WebSocket as unknown;
  let connect: typeof import('../../client-sdk/browser.js').connect;

  beforeAll(async () => {
    Object.assign(globalThis, { WebSocket: NodeWebSocket });
    ({ connect } = await import('../../client-sdk/browser.js'));
  });
  afterAll(() => {
    Object.assign(globalThis, { WebSocket: before });
  });

  test('publishes and consumes, over a cut connection too, and closes', async () => {
    const broker = await BrokerProcess.start();
    const proxy = await CuttingProxy.start(broker.url);
    const client: Client = await connect(proxy.url, { autoDeclare: true });
    atEnd(() => client.terminate());
    await client.publish('sms', 'before');
    const seen: unknown[] = [];
    const all = deferred();
    await client.consume('sms', (delivery) => {
      if (seen.push(delivery.value()) === 3) all.resolve();
    });
    proxy.cut();
    // Large enough to be held back and let go again.
    await Promise.all([client.publish('sms', { after: 1 }), client.publish('sms', new Uint8Array(6_000_000))]);
    await within(all.promise, () => `three messages; ${seen.length} came`);
    expect(new Set(seen.map((value) => (value instanceof Uint8Array ? value.length : JSON.stringify(value))))).toEqual(
      new Set(['"before"', '{"after":1}', 6_000_000]),
    );
    await client.close();
    expect(client.status.current).toEqual({ state: 'closed', reason: null, blocked: null });
    expect(await broker.queue('sms')).toMatchObject({ ready: 0, leased: 0, started: 0 });
  });

  test('rejects CONNECT_FAILED when nobody is there, or when the page may not open the socket', async () => {
    await expect(connect('ws://127.0.0.1:9')).rejects.toMatchObject({ code: 'CONNECT_FAILED' });
    class Forbidden {
      constructor() {
        throw new DOMException('mixed content', 'SecurityError');
      }
    }
    Object.assign(globalThis, { WebSocket: Forbidden });
    await expect(connect('ws://broker.test')).rejects.toMatchObject({
      code: 'CONNECT_FAILED',
      message: expect.stringContaining('mixed content'),
    });
    Object.assign(globalThis, { WebSocket: NodeWebSocket });
  });
});
