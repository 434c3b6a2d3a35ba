/**
 * Every setting of Lovage, one row each. Flags, variables, keys of the config file, `--help`, the README's table and validation are all
 * drawn from here.
 *
 *     key        dataDir          field of `Settings`, and key of the config file
 *     flag       --data-dir       `flagOf(key)`
 *     variable   LOVAGE_DATA_DIR  `variableOf(key)`
 *
 * How to add one: a row here, and the README's table again (`settingsMarkdown()`; a test compares the two).
 */
import { LIMITS } from '@lovage/protocol';
import type { Kind, KindValues, Range } from './kinds.js';

/** Who reads a setting: `broker` is `lovage start`, `client` every command that talks to a broker. */
export type Scope = 'broker' | 'client';

/** A setting's row. `range` is for kinds that are numbers; ms and bytes are in their unit. */
export type SettingRow = {
  readonly [K in Kind]: {
    readonly kind: K;
    readonly scopes: readonly Scope[];
    readonly range?: Range;
    readonly fallback: KindValues[K];
    /** One line, for `--help` and the README. */
    readonly text: string;
  };
}[Kind];

const KIB = 1_024;
const MIB = 1_024 * KIB;
const GIB = 1_024 * MIB;
const BROKER = ['broker'] as const;
const CLIENT = ['client'] as const;
const BOTH = ['broker', 'client'] as const;

export const SETTINGS = {
  url: { kind: 'url', scopes: CLIENT, fallback: 'ws://127.0.0.1:7420', text: 'The broker to talk to.' },
  namespace: { kind: 'name', scopes: CLIENT, fallback: 'default', text: 'Namespace that queue names belong to.' },
  host: {
    kind: 'host',
    scopes: BROKER,
    fallback: '127.0.0.1',
    text: 'Address to listen on. Beyond loopback only with a token, stored or of --token, or --insecure.',
  },
  port: {
    kind: 'integer',
    scopes: BROKER,
    range: { min: 0, max: 65_535 },
    fallback: 7_420,
    text: 'Port of everything: WebSocket, HTTP API, metrics. 0 takes any free one.',
  },
  dataDir: {
    kind: 'path',
    scopes: BROKER,
    fallback: './lovage-data',
    text: 'Directory of the journal. Made when it does not exist.',
  },
  memory: {
    kind: 'flag',
    scopes: BROKER,
    fallback: false,
    text: 'Keep everything in memory and write no journal: all is gone after a stop.',
  },
  sync: {
    kind: 'sync',
    scopes: BROKER,
    fallback: 'always',
    text: 'When the journal is forced to disk: before every confirm, when the system likes, or every so many ms.',
  },
  token: {
    kind: 'secret',
    scopes: BOTH,
    fallback: null,
    text: 'For a broker: a token of role admin that is not stored. For others: the token to give. The variable keeps it out of process lists.',
  },
  insecure: {
    kind: 'flag',
    scopes: BROKER,
    fallback: false,
    text: 'Allow listening beyond loopback without a token: whoever reaches the port may do anything.',
  },
  tlsCert: {
    kind: 'file',
    scopes: BOTH,
    fallback: null,
    text: 'PEM file of the certificate to show, with those between it and its authority. A broker that has one speaks TLS only (wss: and https:).',
  },
  tlsKey: {
    kind: 'file',
    scopes: BOTH,
    fallback: null,
    text: 'PEM file of the key of --tls-cert.',
  },
  tlsCa: {
    kind: 'file',
    scopes: BOTH,
    fallback: null,
    text: 'PEM file of authorities to trust. A broker that has it wants a certificate of every client; others trust these instead of those of the system.',
  },
  allowHosts: {
    kind: 'hosts',
    scopes: BROKER,
    fallback: [],
    text: 'Host names that requests may be addressed to. By default loopback names while listening on loopback, else any.',
  },
  heartbeatMs: {
    kind: 'ms',
    scopes: BROKER,
    range: { min: LIMITS.heartbeatMsMin, max: LIMITS.heartbeatMsMax },
    fallback: LIMITS.heartbeatMs,
    text: 'Time between heartbeats; a connection that misses two ends.',
  },
  graceMs: {
    kind: 'ms',
    scopes: BROKER,
    range: { min: 0, max: 3_600_000 },
    fallback: 10_000,
    text: 'How long started deliveries wait for a client that lost its connection.',
  },
  messagesMax: {
    kind: 'integer',
    scopes: BROKER,
    range: { min: 1, max: 134_217_728 },
    fallback: 16_777_216,
    text: 'Messages in all queues together; publishes beyond it are refused.',
  },
  queuesMax: {
    kind: 'integer',
    scopes: BROKER,
    range: { min: 1, max: 1_000_000 },
    fallback: 100_000,
    text: 'Queues in all namespaces together.',
  },
  connectionsMax: {
    kind: 'integer',
    scopes: BROKER,
    range: { min: 1, max: 1_000_000 },
    fallback: 20_000,
    text: 'Connections at a time.',
  },
  bodyBytesMax: {
    kind: 'bytes',
    scopes: BROKER,
    range: { min: KIB, max: 256 * MIB },
    fallback: LIMITS.bodyBytesMax,
    text: 'Size of the largest message body.',
  },
  headerBytesMax: {
    kind: 'bytes',
    scopes: BROKER,
    range: { min: 64, max: 512 * KIB },
    fallback: LIMITS.headerBytesMax,
    text: 'Size of the largest headers of a message, as MessagePack.',
  },
  segmentBytes: {
    kind: 'bytes',
    scopes: BROKER,
    range: { min: 64 * KIB, max: 2 * GIB },
    fallback: 64 * MIB,
    text: 'Size at which the journal goes on in a new file.',
  },
  cacheBytes: {
    kind: 'bytes',
    scopes: BROKER,
    range: { min: MIB, max: 64 * GIB },
    fallback: 64 * MIB,
    text: 'Memory for message bodies; others are read from the journal when they are delivered.',
  },
  memoryMax: {
    kind: 'memory',
    scopes: BROKER,
    range: { min: 64 * MIB, max: 1_024 * GIB },
    fallback: 0.75,
    text: 'Memory of the process, as a size or a share of what the container or else the machine has. 96 MiB of it are for the program, --cache-bytes for the cache, the rest, at least 16 MiB, for messages. At 80% of that publishers wait.',
  },
  diskFreeMin: {
    kind: 'bytes',
    scopes: BROKER,
    range: { min: 0, max: 1_024 * GIB },
    fallback: 64 * MIB,
    text: 'Publishers wait while less is free on the disk of the journal; on a small disk a tenth of it at most. 0: they are refused only when it is full.',
  },
  consumerBytesMax: {
    kind: 'bytes',
    scopes: BROKER,
    range: { min: 64 * KIB, max: 64 * GIB },
    fallback: 256 * MIB,
    text: 'Bytes of messages unsettled at one consumer above which it gets no more, whatever its prefetch.',
  },
  unsentBytesMax: {
    kind: 'bytes',
    scopes: BROKER,
    range: { min: 64 * KIB, max: GIB },
    fallback: 8 * MIB,
    text: 'Bytes that may wait unread for one connection before it is closed.',
  },
  logLevel: { kind: 'level', scopes: BROKER, fallback: 'info', text: 'Least severe level that is logged.' },
} as const satisfies Record<string, SettingRow>;

type Table = typeof SETTINGS;
export type SettingKey = keyof Table;
type KeyOf<S extends Scope> = {
  [K in SettingKey]: S extends Table[K]['scopes'][number] ? K : never;
}[SettingKey];
type ValuesOf<S extends Scope> = { readonly [K in KeyOf<S>]: KindValues[Table[K]['kind']] };

/** Everything that `lovage start` can be told, complete and checked. `token` is null when there is none. */
export interface Settings extends ValuesOf<'broker'> {}

/** What every command that talks to a broker can be told. */
export interface ClientSettings extends ValuesOf<'client'> {}

/** What each scope's settings look like. */
export interface SettingsOf {
  readonly broker: Settings;
  readonly client: ClientSettings;
}

const KEYS = Object.keys(SETTINGS) as SettingKey[];

/** Keys of a scope's settings, in the table's order. */
export function keysOf(scope: Scope): SettingKey[] {
  return KEYS.filter((key) => rowOf(key).scopes.includes(scope));
}

export function rowOf(key: SettingKey): SettingRow {
  return SETTINGS[key];
}

export function isSettingKey(key: string): key is SettingKey {
  return Object.hasOwn(SETTINGS, key);
}

/** `dataDir` as `--data-dir`. */
export function flagOf(key: SettingKey): string {
  return `--${words(key).join('-')}`;
}

/** `dataDir` as `LOVAGE_DATA_DIR`. */
export function variableOf(key: SettingKey): string {
  return `LOVAGE_${words(key).join('_').toUpperCase()}`;
}

function words(key: string): string[] {
  return key.split(/(?=[A-Z])/).map((word) => word.toLowerCase());
}
