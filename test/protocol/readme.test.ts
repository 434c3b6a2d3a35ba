/** protocol/README.md is a specification that people write clients from: its tables and its bytes must be those of the code. */
import { readFileSync } from 'node:fs';
import {
  ACK_MODES,
  type BindingFields,
  type BindingInfo,
  CLIENT_OPS,
  type ConsumeOptions,
  DURABILITY,
  decodeFrame,
  ERRORS,
  type ErrorCode,
  EXCHANGE_TYPES,
  type ExchangeInfo,
  HEADER_MATCHES,
  type Hello,
  LIMITS,
  PUBLISH_FLAGS,
  QUEUE_ORDERS,
  QUEUE_SETTINGS,
  type QueueInfo,
  SERVER_OPS,
  type Welcome,
} from '@lovage/protocol';
import { describe, expect, test } from 'vitest';
import { unhex } from './bytes.js';
import { VECTORS } from './golden.js';

const README = readFileSync(new URL('../../protocol/README.md', import.meta.url), 'utf8').replaceAll('\r\n', '\n');

/** The text from a heading to the next one of the same or a higher level. */
function section(heading: string): string {
  const level = heading.indexOf(' ');
  const start = README.indexOf(`\n${heading}\n`);
  expect(start, `README has the heading "${heading}"`).toBeGreaterThan(0);
  const from = start + heading.length + 2;
  const rest = README.slice(from);
  const end = rest.search(new RegExp(`^#{1,${level}} `, 'm'));
  return end < 0 ? rest : rest.slice(0, end);
}

/** Rows of the first table under a heading, as cells; what is escaped stands as it reads. */
function table(heading: string): string[][] {
  const lines = section(heading).split('\n');
  const first = lines.findIndex((line) => line.startsWith('|---'));
  expect(first, `"${heading}" has a table`).toBeGreaterThan(0);
  const rows: string[][] = [];
  for (const line of lines.slice(first + 1)) {
    if (!line.startsWith('|')) break;
    const cells = line.split(/(?<!\\)\|/).slice(1, -1);
    rows.push(cells.map((cell) => cell.trim().replaceAll('\\|', '|')));
  }
  return rows;
}

function code(cell: string): string {
  const found = /^`([^`]+)`$/.exec(cell);
  expect(found, `${cell} is code`).not.toBeNull();
  return found![1]!;
}

function whole(cell: string): number {
  expect(cell).toMatch(/^[0-9]{1,3}(,[0-9]{3})*$/);
  return Number(cell.replaceAll(',', ''));
}

/** Names of a map's keys, with `?` for those that may be absent. */
function keys(heading: string): string[] {
  return table(heading).map(([key]) => code(key!));
}

/** Comma-separated parts, those inside brackets and braces left together. */
function parts(text: string): string[] {
  const found = [''];
  let depth = 0;
  for (const character of text) {
    if ('[{('.includes(character)) depth++;
    if (']})'.includes(character)) depth--;
    if (character === ',' && depth === 0) found.push('');
    else found[found.length - 1] += character;
  }
  return found.map((part) => part.trim());
}

/** How many fields there may be: `field?` at the end may be left out. */
function countOf(named: readonly string[]): number[] {
  const least = named.filter((field) => !/^[^:]*\?/.test(field)).length;
  return Array.from({ length: named.length - least + 1 }, (_, i) => least + i);
}

describe('errors', () => {
  test('are those of the table, with who raises them, close code and meaning', () => {
    const rows = table('## Errors').map(([name, by, close, text]) => [code(name!), by, close, text]);
    const expected = Object.entries(ERRORS).map(([name, { by, close, text }]) => [name, by, `${close ?? '-'}`, text]);
    expect(rows).toEqual(expected);
  });

  test('each say what to do', () => {
    for (const row of table('## Errors')) expect(row[4]!.length, row[0]).toBeGreaterThan(5);
  });

  test('that are named in the table of ops come from the broker', () => {
    for (const row of table('## Client ops')) {
      for (const [, name] of row[4]!.matchAll(/`([A-Z_]{6,})`/g))
        expect(ERRORS[name as ErrorCode]?.by, name).toBe('broker');
    }
  });

  test('of the broker are all said where they may come, not only in their own table', () => {
    const prose = README.slice(0, README.indexOf('\n## Errors\n'));
    const missing = Object.entries(ERRORS).filter(
      ([name, { by }]) => by === 'broker' && !prose.includes(`\`${name}\``),
    );
    expect(missing.map(([name]) => name)).toEqual(['INTERNAL_ERROR']);
  });
});

describe('ops', () => {
  test.each([
    ['## Client ops', CLIENT_OPS],
    ['## Broker ops', SERVER_OPS],
  ])('under "%s" are those of the table', (heading, ops) => {
    const rows = table(heading).map(([number, name]) => [code(name!), Number(number)]);
    expect(rows).toEqual(Object.entries(ops));
  });

  test.each(['## Client ops', '## Broker ops'])('under "%s" have as many fields as their golden vectors', (heading) => {
    for (const [number, name, fields] of table(heading)) {
      const text = /^`([^`]+)`/.exec(fields!)?.[1] ?? fields!;
      const named = text === 'none' ? [] : parts(text);
      const vectors = VECTORS.filter(({ frame }) => frame[0] === Number(number));
      const count = countOf(named);
      for (const { frame } of vectors) expect(count, `${name}: ${text}`).toContain(frame.length - 1);
    }
  });
});

describe('fields', () => {
  // The compiler holds these lists to the types, the tests hold them to the README.
  const HELLO: Record<keyof Hello, boolean> = {
    version: true,
    token: false,
    client: false,
    namespace: false,
    producer: false,
    heartbeatMs: false,
    resume: false,
  };
  const WELCOME: Record<keyof Welcome, true> = {
    version: true,
    session: true,
    resumed: true,
    held: true,
    settleSeq: true,
    serverTime: true,
    heartbeatMs: true,
    graceMs: true,
    durability: true,
    limits: true,
  };
  const CONSUME: Record<keyof ConsumeOptions, boolean> = {
    queues: true,
    prefetch: true,
    ack: true,
    queueOrder: true,
    weights: false,
    exclusive: false,
    priority: false,
  };
  const QUEUE_INFO: Record<Exclude<keyof QueueInfo, 'totals'>, true> = {
    name: true,
    namespace: true,
    isPaused: true,
    settings: true,
    version: true,
    ready: true,
    limited: true,
    delayed: true,
    leased: true,
    started: true,
    bytes: true,
    consumers: true,
    dedupKeys: true,
  };
  const TOTALS: Record<keyof QueueInfo['totals'], true> = {
    published: true,
    delivered: true,
    acked: true,
    returned: true,
    dropped: true,
    expired: true,
    purged: true,
    duplicates: true,
    deadLettered: true,
    evicted: true,
    exhausted: true,
    arrived: true,
    moved: true,
    archived: true,
  };
  const marked = (fields: Record<string, boolean>): string[] =>
    Object.entries(fields).map(([key, isNeeded]) => (isNeeded ? key : `${key}?`));

  test('of HELLO, WELCOME and CONSUME are those of the types', () => {
    expect(keys('### Hello')).toEqual(marked(HELLO));
    expect(keys('### Welcome')).toEqual(marked(WELCOME));
    expect(keys('### ConsumeOptions')).toEqual(marked(CONSUME));
  });

  test('of QueueInfo are those of the type', () => {
    const [, own, totals] = /`\{([^{}]*), totals: \{([^{}]*)\}\}`/.exec(section('### QueueInfo'))!;
    expect(own!.split(', ')).toEqual(Object.keys(QUEUE_INFO));
    expect(totals!.split(', ')).toEqual(Object.keys(TOTALS));
  });

  test('of Binding, ExchangeInfo and BindingInfo are those of the types', () => {
    const BINDING: Record<keyof BindingFields, boolean> = {
      exchange: true,
      queue: false,
      toExchange: false,
      key: false,
      headers: false,
      match: false,
    };
    const EXCHANGE_INFO: Record<Exclude<keyof ExchangeInfo, 'totals'>, true> = {
      name: true,
      namespace: true,
      type: true,
      alternate: true,
      bindings: true,
    };
    const EXCHANGE_TOTALS: Record<keyof ExchangeInfo['totals'], true> = { published: true, unrouted: true };
    const BINDING_INFO: Record<keyof BindingInfo, true> = {
      id: true,
      namespace: true,
      exchange: true,
      queue: true,
      toExchange: true,
      key: true,
      headers: true,
      match: true,
    };
    expect(keys('### Binding')).toEqual(marked(BINDING));
    const [, own, totals] = /`\{([^{}]*), totals: \{([^{}]*)\}\}`/.exec(section('### ExchangeInfo'))!;
    expect(own!.split(', ')).toEqual(Object.keys(EXCHANGE_INFO));
    expect(totals!.split(', ')).toEqual(Object.keys(EXCHANGE_TOTALS));
    const [, fields] = /`\{([^{}]*)\}`/.exec(section('### BindingInfo'))!;
    expect(fields!.split(', ')).toEqual(Object.keys(BINDING_INFO));
    const types = table('### Exchanges').map(([name]) => code(name!));
    expect(types).toEqual([...EXCHANGE_TYPES]);
    for (const match of HEADER_MATCHES) expect(section('### Exchanges')).toContain(`match: ${match}`);
  });

  test.each([
    ['### Message', CLIENT_OPS.PUBLISH, 4],
    ['### Delivery', SERVER_OPS.DELIVER, 2],
  ])('of %s stand in the order of the golden vectors', (heading, op, at) => {
    const [, list] = /`\[([^\]]*)\]`/.exec(section(heading))!;
    const named = list!.split(', ').map((field) => field.replace('|nil', ''));
    const count = countOf(named);
    const told = table(heading).flatMap(([name]) => name!.split(', '));
    expect(told).toEqual(named.map((field) => field.replace('?', '')));
    for (const { frame } of VECTORS.filter((vector) => vector.frame[0] === op)) {
      for (const item of frame[at] as unknown[][]) expect(count).toContain(item.length);
    }
  });

  test('of choices name every choice', () => {
    const consume = section('### ConsumeOptions');
    for (const choice of [...ACK_MODES, ...QUEUE_ORDERS]) expect(consume).toContain(`\`${choice}\``);
    expect(README).toContain(`\`durabilityIndex\` counts in \`${DURABILITY.join(', ')}\``);
    for (const [flag, bit] of Object.entries(PUBLISH_FLAGS)) expect(section('### Message')).toContain(`${bit} ${flag}`);
  });

  test('of queue settings are those of the table, with their ranges and defaults', () => {
    const shown = (value: unknown): string => (value === null ? 'nil' : (value as number).toLocaleString('en'));
    const values = (row: (typeof QUEUE_SETTINGS)[keyof typeof QUEUE_SETTINGS]): string => {
      if (row.kind === 'integer') return `${shown(row.min)} to ${shown(row.max)}`;
      if (row.kind === 'choice') return row.choices.join(', ');
      return row.kind === 'flag' ? 'true or false' : 'name or nil';
    };
    expect(table('### Queue settings').map(([name, told, fallback]) => [code(name!), told, fallback])).toEqual(
      Object.entries(QUEUE_SETTINGS).map(([name, row]) => [name, values(row), shown(row.fallback)]),
    );
  });
});

test('limits are those of the table', () => {
  expect(table('## Limits').map(([name, value]) => [code(name!), whole(value!)])).toEqual(Object.entries(LIMITS));
});

describe('bytes', () => {
  test('under "Golden vectors" are those of the file', () => {
    const [, block] = /```text\n([\s\S]*?)```/.exec(section('## Golden vectors'))!;
    const lines = block!.trimEnd().split('\n');
    const told = Array.from({ length: lines.length / 3 }, (_, i) => ({
      name: lines[i * 3],
      frame: JSON.parse(lines[i * 3 + 1]!) as unknown,
      hex: lines[i * 3 + 2]!.trim(),
    }));
    expect(told).toEqual(VECTORS);
  });

  test('of the hello world that are whole are frames', () => {
    const [, block] = /```text\n([\s\S]*?)```/.exec(section('## Hello world'))!;
    const lines = block!.trimEnd().split('\n');
    const frames = lines.map((line) => /^[<>] ([0-9a-f ]+?) {2,}\[([0-9]+) |^[<>] ([0-9a-f ]+) \[([0-9]+) /.exec(line));
    const read = frames.filter((match) => match !== null);
    expect(read.length).toBeGreaterThanOrEqual(7);
    for (const [, wide, wideOp, narrow, narrowOp] of read) {
      expect(decodeFrame(unhex((wide ?? narrow)!))[0]).toBe(Number(wideOp ?? narrowOp));
    }
  });
});
