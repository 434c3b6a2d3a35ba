/** What the client's README shows is what happens: its programs run, its tables are compared with the code. */
import { spawn } from 'node:child_process';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { ERRORS, type ErrorCode, LIMITS, MESSAGE_SKIPS, QUEUE_SETTINGS } from '@lovage/protocol';
import { beforeAll, describe, expect, test } from 'vitest';
import { CONNECT_NUMBERS, parseConnectOptions, parseConsumeOptions } from '../../client-sdk/options.js';
import { ended } from '../cli/command.js';
import { BrokerProcess } from '../support/broker-process.js';
import { atEnd } from '../support/cleanup.js';

const ROOT = new URL('../../', import.meta.url);
const README = readFileSync(new URL('client-sdk/README.md', ROOT), 'utf8').replaceAll('\r\n', '\n');

/** The program behind `<!-- run: <name> -->`, started in the clone with another address. */
function start(name: string, url: string): ReturnType<typeof spawn> {
  const program = new RegExp(`<!-- run: ${name} -->\\n\`\`\`js\\n([\\s\\S]*?)\`\`\``).exec(README)?.[1];
  if (program === undefined) throw new Error(`client-sdk/README.md has no program "${name}"`);
  const file = fileURLToPath(new URL(`.client-readme-${name}-${process.pid}.mjs`, ROOT));
  atEnd(() => rmSync(file, { force: true }));
  writeFileSync(file, program.replace('ws://127.0.0.1:7420', url));
  const child = spawn(process.execPath, [file]);
  atEnd(() => void child.kill('SIGKILL'));
  return child;
}

/** Rows of the tables between two headings: the names in their first cell, and the whole row. */
function rowsOf(heading: string): Map<string, string> {
  const from = README.indexOf(`\n## ${heading}\n`);
  const to = README.indexOf('\n## ', from + 1);
  const rows = new Map<string, string>();
  for (const row of README.slice(from, to === -1 ? undefined : to).matchAll(/^\| (`[^|]*`) \|.*$/gm))
    for (const [, name] of row[1]!.matchAll(/`(\w+)`/g)) rows.set(name!, row[0]);
  return rows;
}

const grouped = (value: number): string => value.toLocaleString('en-US');

describe('the programs', () => {
  let broker: BrokerProcess;
  beforeAll(async () => {
    broker = await BrokerProcess.start();
  });

  test.each([
    ['ten-lines', 'mail to ada@example.org attempt 1\n'],
    ['loop', 'sum 6\n'],
    ['tasks', 'img-1-200.png\n'],
    ['testing', 'hello again, Ada\n'],
  ])('%s does what it says', async (name, output) => {
    const child = start(name, broker.url);
    expect(await ended(child as Parameters<typeof ended>[0])).toEqual({
      code: 0,
      signal: null,
      out: output,
      error: '',
    });
  });

  test('worker stops on SIGTERM when its work is done', async () => {
    const child = start('worker', broker.url) as Parameters<typeof ended>[0];
    const end = ended(child);
    await new Promise((resolve) => child.stdout.once('data', resolve));
    child.kill('SIGTERM');
    expect(await end).toEqual({ code: 0, signal: null, out: 'working\n', error: '' });
  });
});

describe('the tables', () => {
  test('name every option of connect, with its range and default', () => {
    const rows = rowsOf('Connecting');
    expect([...rows.keys()].sort()).toEqual(Object.keys(parseConnectOptions({}, () => 'p')).sort());
    for (const [name, { min, max, fallback }] of Object.entries(CONNECT_NUMBERS)) {
      const byDefault = fallback === null ? `the broker's: ${grouped(LIMITS.heartbeatMs)}` : grouped(fallback);
      expect(rows.get(name)).toContain(`${grouped(min)}-${grouped(max)} | ${byDefault} |`);
    }
  });

  test('name every option of consume', () => {
    const { fields, ...others } = parseConsumeOptions('q', {});
    const names = [...Object.keys(fields), ...Object.keys(others)].filter((name) => name !== 'queues').sort();
    expect([...rowsOf('Consuming').keys()].filter((name) => name !== 'late' && name !== 'strict').sort()).toEqual(
      names,
    );
    expect(rowsOf('Consuming').get('prefetch')).toContain(
      `0-${grouped(LIMITS.prefetchMax)} | ${grouped(fields.prefetch)} |`,
    );
  });

  test('name every option of publish', () => {
    const source = readFileSync(new URL('client-sdk/message.ts', ROOT), 'utf8');
    const block = /export interface PublishOptions \{([\s\S]*?)\n\}/.exec(source)![1]!;
    const names = [...block.matchAll(/readonly (\w+)\?/g)].map(([, name]) => name!);
    expect([...rowsOf('Publishing').keys()].sort()).toEqual(names.sort());
  });

  test('name every setting of a queue, with its range and default', () => {
    const rows = rowsOf('Queues');
    expect([...rows.keys()]).toEqual(Object.keys(QUEUE_SETTINGS));
    for (const [name, row] of Object.entries(QUEUE_SETTINGS)) {
      const told = rows.get(name);
      if (row.kind === 'integer')
        expect(told).toContain(`${grouped(row.min)}-${grouped(row.max)} | ${grouped(row.fallback)} |`);
      else if (row.kind === 'choice')
        expect(told).toContain(`${row.choices.map((choice) => `\`${choice}\``).join(', ')} | \`${row.fallback}\` |`);
      else expect(told).toContain(`${row.kind === 'flag' ? 'true, false' : 'null'} | ${row.fallback} |`);
    }
  });

  test('name every code that the client raises by itself', () => {
    const own = (Object.keys(ERRORS) as ErrorCode[]).filter((code) => ERRORS[code].by === 'client');
    expect([...rowsOf('Errors').keys()].sort()).toEqual(own.sort());
  });

  test('and the text name no code that there is not', () => {
    const codes = [...README.matchAll(/`([A-Z]+(?:_[A-Z]+)+)`/g)].map(([, code]) => code!);
    // Why a message is left as it is, is told beside codes.
    const known = new Set<string>([...Object.keys(ERRORS), ...MESSAGE_SKIPS]);
    expect(codes.filter((code) => !known.has(code))).toEqual([]);
  });
});
