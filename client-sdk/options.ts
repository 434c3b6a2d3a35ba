/** What `connect` and `consume` can be told: one table row a number, with unit, range and default. */
import {
  ACK_MODES,
  type AckMode,
  assertName,
  type ConsumeOptions as ConsumeFields,
  LIMITS,
  QUEUE_ORDERS,
  type QueueOrder,
} from '@lovage/protocol';
import type { BackoffOptions } from './backoff.js';
import type { Delivery } from './delivery.js';
import { invalidArgument } from './errors.js';
import type { TlsOptions } from './transport.js';

/** Options of `connect`. A value out of range throws INVALID_ARGUMENT (a name: INVALID_NAME) with the option in `details.field`. */
export interface ConnectOptions {
  /** The broker's token. Default: none. A wrong one rejects `connect` with UNAUTHORIZED. */
  readonly token?: string | null | undefined;
  /** For `wss:` in Node: authorities to trust, and the certificate to show. PEM. Default: those of the system, and none. A browser passes it over. */
  readonly tls?: TlsOptions | undefined;
  /** Queues and producers of another namespace do not exist for this client. A name, default "default". */
  readonly namespace?: string | undefined;
  /** Name of this program, for people to read in listings. A name, default none. */
  readonly name?: string | undefined;
  /** Version of this program, for people to read. At most 200 characters, default none. */
  readonly version?: string | undefined;
  /**
   * Name under which publishes are numbered, so that one that is sent again after a lost connection is not stored twice. It belongs to one
   * client at a time and must be new for each start of the program. A name, default a random UUID.
   */
  readonly producer?: string | undefined;
  /** ms between heartbeats in both directions, 100-600,000. A connection that brings nothing for twice as long is given up. Default: what the broker says (`--heartbeat-ms`, 20,000). */
  readonly heartbeatMs?: number | undefined;
  /** Whether, and with what pauses, a lost connection is made again: exponential with full jitter. Default true: 50-5,000 ms. */
  readonly reconnect?: boolean | { readonly delayMsMin?: number; readonly delayMsMax?: number } | undefined;
  /** ms that one attempt to connect may take, WELCOME included. 1-600,000, default 10,000. Then CONNECT_FAILED. */
  readonly connectTimeoutMs?: number | undefined;
  /** ms from `publish` to its confirm. 1-86,400,000, default 30,000. Then PUBLISH_TIMEOUT, connected or not. */
  readonly publishTimeoutMs?: number | undefined;
  /** Publishes that may wait for their confirm. 1-16,777,216, default 65,536. Beyond: PUBLISH_BUFFER_FULL. */
  readonly publishBufferMessages?: number | undefined;
  /**
   * Bytes of frames that may wait for their confirm. 1,024-4,294,967,296, default 67,108,864. Beyond: PUBLISH_BUFFER_FULL. One message is always
   * taken when none waits, however large.
   */
  readonly publishBufferBytes?: number | undefined;
  /**
   * What `publish` does while the broker is short of memory or disk (`status.current.blocked`): `wait` (default) until it takes messages again, at most
   * `publishTimeoutMs`, or `fail` at once with FLOW_BLOCKED.
   */
  readonly whenBlocked?: 'wait' | 'fail' | undefined;
  /** ms that a request (declare, inspect, consume, ...) may take. 1-86,400,000, default 30,000. Then REQUEST_TIMEOUT, connected or not. */
  readonly requestTimeoutMs?: number | undefined;
  /** Whether a publish declares its queue, with default settings, if there is none. Default false: QUEUE_NOT_FOUND. */
  readonly autoDeclare?: boolean | undefined;
}

/** `ConnectOptions` checked, with their defaults. */
export interface ClientOptions {
  readonly token: string | null;
  readonly tls: TlsOptions | null;
  readonly namespace: string;
  readonly name: string | null;
  readonly version: string | null;
  readonly producer: string;
  /** null: what the broker says. */
  readonly heartbeatMs: number | null;
  /** null: a lost connection closes the client. */
  readonly reconnect: BackoffOptions | null;
  readonly connectTimeoutMs: number;
  readonly publishTimeoutMs: number;
  readonly publishBufferMessages: number;
  readonly publishBufferBytes: number;
  readonly whenBlocked: 'wait' | 'fail';
  readonly requestTimeoutMs: number;
  readonly autoDeclare: boolean;
}

/** Options of `client.consume`. A value out of range rejects INVALID_ARGUMENT with the option in `details.field`. */
export interface ConsumeOptions {
  /** Unsettled deliveries that the broker may have out at this consumer. 0-65,535, default 100; 0 is unlimited. */
  readonly prefetch?: number | undefined;
  /** Handlers at once, 1-65,535. Default: the prefetch, and without limit when that is 0. Deliveries beyond it wait un-started. */
  readonly concurrency?: number | undefined;
  /** When a delivery is settled: `late` when its handler is done (default), `early` when it starts, `none` when it is sent. */
  readonly ack?: AckMode | undefined;
  /** Which of several queues is served: `strict` the first that has messages (default), `weighted` by `weights`, `fair` each in turn. */
  readonly queueOrder?: QueueOrder | undefined;
  /** For `weighted`: deliveries in a row from each queue, 1-1,000, one number for each queue. Default: 1 each. */
  readonly weights?: readonly number[] | undefined;
  /** True: no other consumer on these queues, else QUEUE_EXCLUSIVE. Default false. */
  readonly exclusive?: boolean | undefined;
  /** 0-255, default 0. While consumers of a higher priority have credit, they get every message. */
  readonly priority?: number | undefined;
  /**
   * Told what a handler has thrown, in every ack mode; and, with null for the delivery, that one of several queues was deleted (QUEUE_DELETED, `details.queue`): the
   * consumer goes on with the others, and takes nothing from one that is made again under this name until somebody consumes it again. Whatever it throws itself is
   * dropped. Default: nobody is told; in mode `late` the text of what a handler has thrown travels to the broker as the reason of the return.
   */
  readonly onError?: ((error: unknown, delivery: Delivery | null) => void) | undefined;
  /**
   * Asked for each delivery before anything of it starts: null takes it, a number of ms (0-315,360,000,000) gives it back for so long, to whoever gets it then. What is
   * given back costs no attempt. Not in mode `none`.
   */
  readonly giveBack?: ((delivery: Delivery) => number | null) | undefined;
  /**
   * ms that what handlers do may gather before the broker is told, 0-1,000, because fewer frames cost less: that one has begun (one that is done by then says both at once), and, as
   * long as twice as many deliveries wait here as may run, that one is done. Until it is told that a handler has begun, the broker takes the message for one that waits here: a lost
   * connection gives it to another consumer, and it has cost no attempt. Only in mode `late`. Default 0: at the end of the turn.
   */
  readonly gatherMs?: number | undefined;
}

/** `ConsumeOptions` checked. */
export interface ConsumerOptions {
  readonly fields: ConsumeFields;
  /** null: as the prefetch, also when that changes. */
  readonly concurrency: number | null;
  readonly onError: ((error: unknown, delivery: Delivery | null) => void) | null;
  readonly giveBack: ((delivery: Delivery) => number | null) | null;
  readonly gatherMs: number;
}

/** `fallback` is taken for undefined. */
interface NumberRow<F = number> {
  readonly min: number;
  readonly max: number;
  readonly fallback: F;
}

const DAY_MS = 86_400_000;

/** The numbers of `ConnectOptions`. */
export const CONNECT_NUMBERS = {
  heartbeatMs: { min: LIMITS.heartbeatMsMin, max: LIMITS.heartbeatMsMax, fallback: null },
  connectTimeoutMs: { min: 1, max: 600_000, fallback: 10_000 },
  publishTimeoutMs: { min: 1, max: DAY_MS, fallback: 30_000 },
  publishBufferMessages: { min: 1, max: 16_777_216, fallback: 65_536 },
  publishBufferBytes: { min: 1_024, max: 4_294_967_296, fallback: 67_108_864 },
  requestTimeoutMs: { min: 1, max: DAY_MS, fallback: 30_000 },
} as const satisfies Record<string, NumberRow<number | null>>;

const RECONNECT_NUMBERS = {
  delayMsMin: { min: 1, max: 600_000, fallback: 50 },
  delayMsMax: { min: 1, max: 600_000, fallback: 5_000 },
} as const satisfies Record<string, NumberRow>;

const PREFETCH = { min: 0, max: LIMITS.prefetchMax, fallback: 100 } as const;
const VERSION_LENGTH_MAX = 200;

/** Checks what `connect` was given. Throws INVALID_ARGUMENT or INVALID_NAME. `randomName` makes the producer's default. */
export function parseConnectOptions(given: ConnectOptions, randomName: () => string): ClientOptions {
  if (typeof given !== 'object' || given === null) throw invalidArgument('options', given, 'an object');
  const number = (name: Exclude<keyof typeof CONNECT_NUMBERS, 'heartbeatMs'>): number =>
    whole(name, given[name], CONNECT_NUMBERS[name]);
  return {
    token: optionalText('token', given.token ?? undefined, Number.POSITIVE_INFINITY),
    tls: parseTls(given.tls),
    namespace: optionalName('namespace', given.namespace) ?? 'default',
    name: optionalName('name', given.name),
    version: optionalText('version', given.version, VERSION_LENGTH_MAX),
    producer: optionalName('producer', given.producer) ?? randomName(),
    heartbeatMs: whole('heartbeatMs', given.heartbeatMs, CONNECT_NUMBERS.heartbeatMs),
    reconnect: parseReconnect(given.reconnect ?? true),
    connectTimeoutMs: number('connectTimeoutMs'),
    publishTimeoutMs: number('publishTimeoutMs'),
    publishBufferMessages: number('publishBufferMessages'),
    publishBufferBytes: number('publishBufferBytes'),
    whenBlocked: oneOf('whenBlocked', given.whenBlocked ?? 'wait', ['wait', 'fail']),
    requestTimeoutMs: number('requestTimeoutMs'),
    autoDeclare: flag('autoDeclare', given.autoDeclare),
  };
}

/** Checks what `consume` was given. Throws INVALID_ARGUMENT or INVALID_NAME. */
export function parseConsumeOptions(queues: string | readonly string[], given: ConsumeOptions): ConsumerOptions {
  if (typeof given !== 'object' || given === null) throw invalidArgument('options', given, 'an object');
  const names = parseQueues(queues);
  const { concurrency, onError, giveBack } = given;
  if (giveBack !== undefined && typeof giveBack !== 'function')
    throw invalidArgument('giveBack', giveBack, 'a function');
  if (onError !== undefined && typeof onError !== 'function') throw invalidArgument('onError', onError, 'a function');
  const order = oneOf('queueOrder', given.queueOrder ?? 'strict', QUEUE_ORDERS);
  return {
    fields: {
      queues: names,
      prefetch: parsePrefetch(given.prefetch),
      ack: oneOf('ack', given.ack ?? 'late', ACK_MODES),
      queueOrder: order,
      weights: parseWeights(given.weights, names.length, order),
      exclusive: flag('exclusive', given.exclusive),
      priority: whole('priority', given.priority, { min: 0, max: LIMITS.priorityMax, fallback: 0 }),
    },
    concurrency: concurrency === undefined ? null : parseConcurrency(concurrency),
    onError: onError ?? null,
    giveBack: giveBack ?? null,
    gatherMs: whole('gatherMs', given.gatherMs, { min: 0, max: 1_000, fallback: 0 }),
  };
}

/** Checks a prefetch: 0-65,535, default 100. Throws INVALID_ARGUMENT. */
/** Handlers at once. Throws INVALID_ARGUMENT. */
export function parseConcurrency(concurrency: number): number {
  return whole('concurrency', concurrency, { min: 1, max: LIMITS.prefetchMax, fallback: 1 });
}

export function parsePrefetch(prefetch: number | undefined): number {
  return whole('prefetch', prefetch, PREFETCH);
}

/** A whole number of a row's range. Throws INVALID_ARGUMENT. */
export function whole<F>(name: string, value: unknown, { min, max, fallback }: NumberRow<F>): number | F {
  if (value === undefined) return fallback;
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= min && value <= max) return value;
  throw invalidArgument(name, value, `a whole number from ${min} to ${max}`);
}

function parseQueues(queues: string | readonly string[]): readonly string[] {
  const names = typeof queues === 'string' ? [queues] : queues;
  if (!Array.isArray(names) || names.length === 0 || names.length > LIMITS.consumerQueuesMax)
    throw invalidArgument('queues', queues, `1-${LIMITS.consumerQueuesMax} names of queues`);
  for (const name of names) assertName(name, 'queue');
  if (new Set(names).size !== names.length) throw invalidArgument('queues', queues, 'each queue once');
  return [...names];
}

function parseWeights(weights: readonly number[] | undefined, queues: number, order: QueueOrder): number[] | null {
  if (weights === undefined) return null;
  if (order !== 'weighted') throw invalidArgument('weights', weights, 'none unless queueOrder is "weighted"');
  if (!Array.isArray(weights) || weights.length !== queues)
    throw invalidArgument('weights', weights, `${queues} numbers, one for each queue`);
  return weights.map((weight: unknown) => {
    if (weight === undefined) throw invalidArgument('weights', weight, 'a number for each queue');
    return whole('weights', weight, { min: 1, max: LIMITS.weightMax, fallback: 1 });
  });
}

function parseReconnect(given: NonNullable<ConnectOptions['reconnect']>): BackoffOptions | null {
  if (given === false) return null;
  if (given !== true && typeof given !== 'object')
    throw invalidArgument('reconnect', given, 'true, false or an object');
  const bounds = given === true ? {} : given;
  const delayMsMin = whole('reconnect.delayMsMin', bounds.delayMsMin, RECONNECT_NUMBERS.delayMsMin);
  const delayMsMax = whole('reconnect.delayMsMax', bounds.delayMsMax, {
    ...RECONNECT_NUMBERS.delayMsMax,
    min: delayMsMin,
    fallback: Math.max(delayMsMin, RECONNECT_NUMBERS.delayMsMax.fallback),
  });
  return { delayMsMin, delayMsMax };
}

const TLS_NAMES: readonly (keyof TlsOptions)[] = ['ca', 'cert', 'key'];

function parseTls(given: TlsOptions | undefined): TlsOptions | null {
  if (given === undefined) return null;
  if (typeof given !== 'object' || given === null)
    throw invalidArgument('tls', given, 'an object with ca, cert and key');
  for (const [name, pem] of Object.entries(given)) {
    if (!TLS_NAMES.includes(name as keyof TlsOptions))
      throw invalidArgument(`tls.${name}`, 'an unknown name', `one of ${TLS_NAMES.join(', ')}`);
    if (pem !== undefined && typeof pem !== 'string' && !(pem instanceof Uint8Array))
      throw invalidArgument(`tls.${name}`, pem, 'PEM, as text or bytes');
  }
  if ((given.cert === undefined) !== (given.key === undefined))
    throw invalidArgument('tls.key', given.key, 'cert and key together');
  return { ...given };
}

export function oneOf<T extends string>(name: string, value: unknown, choices: readonly T[]): T {
  const found = choices.find((choice) => choice === value);
  if (found === undefined) throw invalidArgument(name, value, `one of ${choices.join(', ')}`);
  return found;
}

/** true or false, default false. Throws INVALID_ARGUMENT. */
export function flag(name: string, value: unknown): boolean {
  if (value === undefined) return false;
  if (typeof value !== 'boolean') throw invalidArgument(name, value, 'true or false');
  return value;
}

function optionalName(what: string, value: unknown): string | null {
  if (value === undefined) return null;
  assertName(value, what);
  return value;
}

function optionalText(name: string, value: unknown, lengthMax: number): string | null {
  if (value === undefined) return null;
  if (typeof value !== 'string' || value.length > lengthMax)
    throw invalidArgument(name, value, Number.isFinite(lengthMax) ? `text of at most ${lengthMax} characters` : 'text');
  return value;
}
