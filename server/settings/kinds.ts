/**
 * The kinds of value that a setting can have. A kind reads a raw value (text from a flag or a variable, anything from a JSON file), says in
 * words what it allows, and shows a value the way a person would type it. Which kind a setting is of stands in `table.ts`.
 */
import { isName } from '@lovage/protocol';
import { parseBytes, showBytes } from './bytes.js';

/** `always`: sync before every confirm. `never`: when the system likes. A number: at least every so many ms. */
export type SyncSetting = 'always' | 'never' | number;

export const LOG_LEVELS = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

/** What a setting of each kind holds once it is parsed. */
export interface KindValues {
  readonly path: string;
  readonly file: string | null;
  readonly host: string;
  readonly url: string;
  readonly name: string;
  readonly secret: string | null;
  readonly integer: number;
  readonly ms: number;
  readonly bytes: number;
  /** Bytes, or up to 1 a share. */
  readonly memory: number;
  readonly flag: boolean;
  readonly sync: SyncSetting;
  readonly level: LogLevel;
  readonly hosts: readonly string[];
}

export type Kind = keyof KindValues;

/** Bounds of the kinds that are numbers, both inclusive. */
export interface Range {
  readonly min: number;
  readonly max: number;
}

interface KindRow<V> {
  /** Stands for the value in `--help`; null for a flag that takes none. */
  readonly placeholder: string | null;
  /** The value, or undefined for a raw value that is not allowed. */
  readonly parse: (raw: unknown, range: Range) => V | undefined;
  /** What is allowed, to follow the word "expected". */
  readonly allowed: (range: Range) => string;
  readonly show: (value: V) => string;
}

const SYNC_RANGE: Range = { min: 1, max: 60_000 };
const HOSTS_MAX = 100;
const HOST = /^[A-Za-z0-9_.:-]{1,253}$/;
const ALLOWED_HOST = /^(\*|\[?[A-Za-z0-9_.:-]{1,253}\]?)$/;
const TOKEN = /^[\x21-\x7e]{1,512}$/;
const FLAG_WORDS: ReadonlyMap<unknown, boolean> = new Map<unknown, boolean>([
  [true, true],
  ['true', true],
  ['1', true],
  ['yes', true],
  [false, false],
  ['false', false],
  ['0', false],
  ['no', false],
]);

/** One row a kind; see `KindRow` for the columns. */
export const KINDS: { readonly [K in Kind]: KindRow<KindValues[K]> } = {
  path: {
    placeholder: 'path',
    parse: (raw) => matching(raw, isPath),
    allowed: () => 'a path of 1-4096 characters',
    show: (value) => value,
  },
  file: {
    placeholder: 'path',
    parse: (raw) => matching(raw, isPath),
    allowed: () => 'a path of 1-4096 characters',
    show: (value) => value ?? 'none',
  },
  host: {
    placeholder: 'address',
    parse: (raw) => matching(raw, (text) => HOST.test(text)),
    allowed: () => 'an IP address or host name, without a port',
    show: (value) => value,
  },
  url: {
    placeholder: 'url',
    parse: (raw) => matching(raw, isBrokerUrl),
    allowed: () => 'a URL such as ws://127.0.0.1:7420 (ws: or wss:, without user, query or fragment)',
    show: (value) => value,
  },
  name: {
    placeholder: 'name',
    parse: (raw) => matching(raw, isName),
    allowed: () => '1-200 of A-Z a-z 0-9 _ . : / -',
    show: (value) => value,
  },
  secret: {
    placeholder: 'text',
    parse: (raw) => matching(raw, (text) => TOKEN.test(text)),
    allowed: () => '1-512 visible ASCII characters without spaces',
    show: (value) => (value === null ? 'none' : '(hidden)'),
  },
  integer: {
    placeholder: 'number',
    parse: integerIn,
    allowed: (range) => `a whole number from ${range.min} to ${range.max}`,
    show: String,
  },
  ms: {
    placeholder: 'ms',
    parse: integerIn,
    allowed: (range) => `a whole number of ms from ${range.min} to ${range.max}`,
    show: String,
  },
  bytes: {
    placeholder: 'bytes',
    parse: (raw, range) => inRange(parseBytes(raw), range),
    allowed: (range) =>
      `a size from ${showBytes(range.min)} to ${showBytes(range.max)}, in bytes or as 64KiB, 64MiB, 1GiB`,
    show: showBytes,
  },
  memory: {
    placeholder: 'bytes|percent',
    parse: (raw, range) => parseShare(raw) ?? inRange(parseBytes(raw), range),
    allowed: (range) => `1% to 100%, or a size from ${showBytes(range.min)} to ${showBytes(range.max)}`,
    show: (value) => (value <= 1 ? `${Math.round(value * 100)}%` : showBytes(value)),
  },
  flag: {
    placeholder: null,
    parse: (raw) => FLAG_WORDS.get(typeof raw === 'string' ? raw.toLowerCase() : raw),
    allowed: () => 'true or false',
    show: String,
  },
  sync: {
    placeholder: 'when',
    parse: (raw) => (raw === 'always' || raw === 'never' ? raw : integerIn(raw, SYNC_RANGE)),
    allowed: () => `always, never, or a whole number of ms from ${SYNC_RANGE.min} to ${SYNC_RANGE.max}`,
    show: String,
  },
  level: {
    placeholder: 'level',
    parse: (raw) => LOG_LEVELS.find((level) => level === raw),
    allowed: () => `one of ${LOG_LEVELS.join(', ')}`,
    show: (value) => value,
  },
  hosts: {
    placeholder: 'names',
    parse: parseHosts,
    allowed: () => `up to ${HOSTS_MAX} host names without ports, separated by commas, or * for any`,
    show: (value) => (value.length === 0 ? 'none' : value.join(',')),
  },
};

function isPath(text: string): boolean {
  return text.length > 0 && text.length <= 4_096 && !text.includes('\0');
}

function matching(raw: unknown, isAllowed: (text: string) => boolean): string | undefined {
  return typeof raw === 'string' && isAllowed(raw) ? raw : undefined;
}

function integerIn(raw: unknown, range: Range): number | undefined {
  const isDigits = typeof raw === 'string' && /^[0-9]{1,16}$/.test(raw);
  return inRange(isDigits ? Number(raw) : raw, range);
}

function inRange(value: unknown, { min, max }: Range): number | undefined {
  if (typeof value !== 'number' || !Number.isSafeInteger(value)) return undefined;
  return value >= min && value <= max ? value : undefined;
}

/** `75%`, or 0.75: a share between 0.01 and 1. */
function parseShare(raw: unknown): number | undefined {
  if (typeof raw === 'number') return raw >= 0.01 && raw <= 1 ? raw : undefined;
  const percent = typeof raw === 'string' ? /^([1-9][0-9]?|100)%$/.exec(raw) : null;
  return percent === null ? undefined : Number(percent[1]) / 100;
}

function parseHosts(raw: unknown): readonly string[] | undefined {
  const list: readonly unknown[] | null = typeof raw === 'string' ? raw.split(',') : Array.isArray(raw) ? raw : null;
  if (list === null || list.length > HOSTS_MAX) return undefined;
  const hosts = list.map((host) => (typeof host === 'string' ? host.trim().toLowerCase() : ''));
  return hosts.every((host) => ALLOWED_HOST.test(host)) ? hosts : undefined;
}

function isBrokerUrl(text: string): boolean {
  if (!URL.canParse(text)) return false;
  const url = new URL(text);
  const isBare = url.username === '' && url.password === '' && url.search === '' && url.hash === '';
  return (url.protocol === 'ws:' || url.protocol === 'wss:') && isBare;
}
