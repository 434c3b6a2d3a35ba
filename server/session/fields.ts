/**
 * The fields of a client's control frame, parsed once at the door: type, range, and nothing else is believed. A wrong type is BAD_FRAME (the client
 * does not speak the protocol), a value outside its range is INVALID_ARGUMENT or INVALID_NAME for that request.
 */
import {
  ACK_MODES,
  type BindingFields,
  type ConsumeOptions,
  DECLARE_MODES,
  type DeclareMode,
  EXCHANGE_TYPES,
  type ExchangeType,
  HEADER_MATCHES,
  type HeaderValue,
  type Hello,
  isName,
  LIMITS,
  LovageError,
  parseGivenSettings,
  QUEUE_ORDERS,
  type QueueSettings,
} from '@lovage/protocol';
import type { ConsumeCommand } from '../engine/command.js';
import type { BindingFacts } from '../engine/exchange.js';

export type Fields = readonly unknown[];

export function badFrame(what: string, value: unknown, expected: string): LovageError {
  return new LovageError('BAD_FRAME', `Cannot read field "${what}": ${shown(value)}, expected ${expected}`, {
    details: { field: what },
  });
}

export function invalid(what: string, value: unknown, expected: string): LovageError {
  return new LovageError('INVALID_ARGUMENT', `Cannot accept field "${what}": ${shown(value)}, expected ${expected}`, {
    details: { field: what },
  });
}

function shown(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value.slice(0, 40));
  if (typeof value === 'number' || typeof value === 'boolean' || value === null || value === undefined)
    return String(value);
  return Array.isArray(value) ? 'an array' : typeof value;
}

/** A whole number in `[min, max]`. */
export function whole(value: unknown, what: string, min: number, max: number): number {
  if (typeof value !== 'number') throw badFrame(what, value, 'a whole number');
  if (!Number.isSafeInteger(value) || value < min || value > max)
    throw invalid(what, value, `a whole number from ${min} to ${max}`);
  return value;
}

export function text(value: unknown, what: string): string {
  if (typeof value !== 'string') throw badFrame(what, value, 'text');
  return value;
}

export function name(value: unknown, what: string): string {
  const given = text(value, what);
  if (!isName(given)) {
    throw new LovageError(
      'INVALID_NAME',
      `Cannot use ${shown(given)} as ${what}: expected 1-${LIMITS.nameLengthMax} of A-Z a-z 0-9 _ . : / -`,
      {
        details: { field: what },
      },
    );
  }
  return given;
}

export function flag(value: unknown, what: string): boolean {
  if (value === null || value === undefined) return false;
  if (typeof value !== 'boolean') throw badFrame(what, value, 'true, false or nil');
  return value;
}

export function map(value: unknown, what: string): Record<string, unknown> {
  if (value === null || value === undefined) return {};
  if (typeof value !== 'object' || Array.isArray(value) || ArrayBuffer.isView(value) || value instanceof Date)
    throw badFrame(what, value, 'a map');
  return value as Record<string, unknown>;
}

export function bytes(value: unknown, what: string): Uint8Array {
  if (!(value instanceof Uint8Array)) throw badFrame(what, value, 'bytes');
  return value;
}

export function list(value: unknown, what: string, max: number): readonly unknown[] {
  if (!Array.isArray(value)) throw badFrame(what, value, 'an array');
  if (value.length > max) throw invalid(what, value.length, `at most ${max} elements`);
  return value;
}

export function oneOf<T extends string>(value: unknown, what: string, choices: readonly T[]): T {
  const given = text(value, what);
  const found = choices.find((choice) => choice === given);
  if (found === undefined) throw invalid(what, given, `one of ${choices.join(', ')}`);
  return found;
}

/** HELLO's map with its defaults. */
export interface ParsedHello {
  readonly version: number;
  readonly token: string | null;
  readonly clientName: string | null;
  readonly namespace: string;
  readonly producer: string | null;
  readonly heartbeatMs: number;
  readonly resumeKey: string | null;
  readonly lastTag: number;
}

export function parseHello(value: unknown, defaultHeartbeatMs: number): ParsedHello {
  const hello = map(value, 'hello') as { [K in keyof Hello]?: unknown };
  const client = map(hello.client, 'client');
  const resume = map(hello.resume, 'resume');
  return {
    version: whole(hello.version, 'version', 0, Number.MAX_SAFE_INTEGER),
    token: hello.token === null || hello.token === undefined ? null : text(hello.token, 'token'),
    clientName: client.name === null || client.name === undefined ? null : name(client.name, 'client.name'),
    namespace:
      hello.namespace === null || hello.namespace === undefined ? 'default' : name(hello.namespace, 'namespace'),
    producer: hello.producer === null || hello.producer === undefined ? null : name(hello.producer, 'producer'),
    heartbeatMs:
      hello.heartbeatMs === null || hello.heartbeatMs === undefined
        ? defaultHeartbeatMs
        : whole(hello.heartbeatMs, 'heartbeatMs', LIMITS.heartbeatMsMin, LIMITS.heartbeatMsMax),
    resumeKey: resume.session === null || resume.session === undefined ? null : text(resume.session, 'resume.session'),
    lastTag:
      resume.lastTag === null || resume.lastTag === undefined
        ? 0
        : whole(resume.lastTag, 'resume.lastTag', 0, Number.MAX_SAFE_INTEGER / 2),
  };
}

export function parseConsume(value: unknown): ConsumeCommand['options'] {
  const options = map(value, 'options') as { [K in keyof ConsumeOptions]?: unknown };
  const queues = list(options.queues, 'queues', LIMITS.consumerQueuesMax).map((queue) => name(queue, 'queues'));
  if (queues.length === 0 || new Set(queues).size !== queues.length)
    throw invalid('queues', 'the list', 'one queue or more, each once');
  const weights =
    options.weights === null || options.weights === undefined ? [] : list(options.weights, 'weights', queues.length);
  if (weights.length > 0 && weights.length !== queues.length)
    throw invalid('weights', weights.length, `${queues.length} weights, one for each queue`);
  return {
    queues,
    prefetch: whole(options.prefetch, 'prefetch', 0, LIMITS.prefetchMax),
    ack: oneOf(options.ack ?? 'late', 'ack', ACK_MODES),
    queueOrder: oneOf(options.queueOrder ?? 'strict', 'queueOrder', QUEUE_ORDERS),
    weights: weights.map((weight) => whole(weight, 'weights', 1, LIMITS.weightMax)),
    exclusive: flag(options.exclusive, 'exclusive'),
    priority:
      options.priority === null || options.priority === undefined
        ? 0
        : whole(options.priority, 'priority', 0, LIMITS.priorityMax),
  };
}

/** The settings that a declaration gives; nil asks for the queue whatever its settings. */
export function parseSettings(value: unknown): Partial<QueueSettings> | null {
  return value === null || value === undefined ? null : parseGivenSettings(map(value, 'settings'));
}

export function parseMode(value: unknown): DeclareMode {
  return value === null || value === undefined ? 'check' : oneOf(value, 'mode', DECLARE_MODES);
}

/** Type and alternate of an exchange. */
export function parseExchange(value: unknown): { readonly kind: ExchangeType; readonly alternate: string | null } {
  const { type, alternate } = map(value, 'exchange');
  return {
    kind: oneOf(type, 'type', EXCHANGE_TYPES),
    alternate: alternate === null || alternate === undefined ? null : name(alternate, 'alternate'),
  };
}

/** Whether the exchange goes by what the binding says, its type decides. */
export function parseBinding(value: unknown): BindingFacts {
  const fields = map(value, 'binding') as { [K in keyof BindingFields]?: unknown };
  const { queue, toExchange } = fields;
  const isToQueue = queue !== null && queue !== undefined;
  if (isToQueue === (toExchange !== null && toExchange !== undefined))
    throw invalid('queue', isToQueue ? 'given with "toExchange"' : queue, 'one of "queue" and "toExchange"');
  const headers = fields.headers === null || fields.headers === undefined ? null : parseHeaders(fields.headers);
  const match =
    fields.match === null || fields.match === undefined ? null : oneOf(fields.match, 'match', HEADER_MATCHES);
  return {
    exchange: name(fields.exchange, 'exchange'),
    to: isToQueue ? 'queue' : 'exchange',
    name: isToQueue ? name(queue, 'queue') : name(toExchange, 'toExchange'),
    key: fields.key === null || fields.key === undefined ? '' : short(fields.key, 'key'),
    headers,
    match: headers === null ? match : (match ?? 'all'),
  };
}

/** Headers to compare others with. */
export function parseHeaders(value: unknown): Record<string, HeaderValue> {
  const headers = map(value, 'headers');
  const names = Object.keys(headers);
  if (names.length > LIMITS.bindingHeadersMax)
    throw invalid('headers', names.length, `at most ${LIMITS.bindingHeadersMax} headers`);
  for (const name of names) {
    short(name, 'headers');
    const header = headers[name];
    if (typeof header === 'string') short(header, 'headers');
    else if (typeof header !== 'boolean' && !(typeof header === 'number' && Number.isFinite(header)))
      throw invalid('headers', header, 'text, a number, true or false');
  }
  return headers as Record<string, HeaderValue>;
}

/** Text as long as a routing key. */
function short(value: unknown, what: string): string {
  const given = text(value, what);
  if (Buffer.byteLength(given) > LIMITS.routingKeyLengthMax)
    throw invalid(what, given, `at most ${LIMITS.routingKeyLengthMax} bytes of UTF-8`);
  return given;
}
