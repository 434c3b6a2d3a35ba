// hot path
/** What a caller gives to `publish`, made into the fields of a message on the wire. */
import {
  CONTENT_TYPES,
  type Durability,
  encodeValue,
  LovageError,
  type MessageFields,
  type RateTag,
  type RouteTarget,
} from '@lovage/protocol';
import { invalidArgument } from './errors.js';

/** How a message is to be kept and delivered. A value out of range rejects INVALID_ARGUMENT with the option in `details.field`. */
export interface PublishOptions {
  /** 0-255, 255 most urgent. Default: the queue's `defaultPriority`, which is 0 unless it was declared otherwise. */
  readonly priority?: number | undefined;
  /** For the consumer: values that MessagePack has, at most 64 KiB of them encoded, else HEADERS_TOO_LARGE. */
  readonly headers?: Readonly<Record<string, unknown>> | undefined;
  /** ms during which it is not delivered; it waits in the broker and holds no credit. 0-315,360,000,000, default 0. */
  readonly delayMs?: number | undefined;
  /** ms after which it is dropped if nobody has got it by then. 1-315,360,000,000. Default: the queue's `messageTtlMs`. */
  readonly expiresInMs?: number | undefined;
  /** The second message of a key within the queue's window is not stored: `receipt.duplicate`. At most 200 bytes of UTF-8. */
  readonly dedupKey?: string | undefined;
  /** `disk` (default): confirmed when the broker has it as safe as its `--sync` says. `memory`: never written, gone when the broker ends. */
  readonly durability?: 'disk' | 'memory' | undefined;
  /** At most 200 characters of printable ASCII. Default: `text/plain` for a string, `application/msgpack` for a value, none for bytes. */
  readonly contentType?: string | undefined;
  /** Reject UNROUTABLE if the exchange leads the message to no queue. Default false: its receipt has the id 0, and it is gone. */
  readonly mandatory?: boolean | undefined;
  /** Name of the rate limit that it is under; see `client.rateLimits`. A limit that nobody has declared lets everything through. Default none. */
  readonly rateLimit?: string | undefined;
  /** With `rateLimit`: the rate is for the messages of this key alone. At most 200 bytes of UTF-8. Default: all that have none share it. */
  readonly rateKey?: string | undefined;
}

/** Where a message goes by way of an exchange. */
export interface ExchangeTarget {
  /** Name of an exchange, or empty for the default one, which leads to the queue whose name is the key. */
  readonly exchange: string;
  /** Routing key, at most 255 bytes of UTF-8. Default empty. */
  readonly key?: string | undefined;
}

/** A message of `publishMany`. */
export interface PublishMessage extends PublishOptions {
  /** Bytes as they are, text as UTF-8, anything else as MessagePack. */
  readonly body: unknown;
}

/** What a confirm says. */
export interface Receipt {
  /**
   * The message's number in the broker; of a duplicate, the number of the first; of a message that an exchange led to several queues, the number
   * of its first copy (each has one of its own); 0 of one that it led to no queue.
   */
  readonly id: number;
  /** True if a message of the same `dedupKey` was there and this one was not stored. */
  readonly duplicate: boolean;
  /** What the confirm rests on: `disk`, `interval` or `never` as the broker syncs, or `memory`. */
  readonly durability: Durability;
}

/** Bounds that WELCOME tells. */
export interface MessageLimits {
  readonly bodyBytesMax: number;
  readonly headerBytesMax: number;
}

const NO_OPTIONS: PublishOptions = {};
const textEncoder = new TextEncoder();

/** Throws INVALID_ARGUMENT, BODY_TOO_LARGE or HEADERS_TOO_LARGE. What `PublishFrameWriter.add` checks is left to it. */
export function messageFields(
  target: string | ExchangeTarget,
  body: unknown,
  options: PublishOptions = NO_OPTIONS,
  limits: MessageLimits,
): MessageFields {
  if (options === null) throw invalidArgument('options', options, 'an object');
  const { priority, headers, delayMs, expiresInMs, dedupKey, contentType, rateLimit, rateKey } = options;
  if (priority !== undefined && !(priority >= 0))
    throw invalidArgument('priority', priority, 'a whole number from 0 to 255');
  if (expiresInMs !== undefined && !(expiresInMs >= 1))
    throw invalidArgument('expiresInMs', expiresInMs, 'a whole number from 1');
  if (dedupKey !== undefined && typeof dedupKey !== 'string') throw invalidArgument('dedupKey', dedupKey, 'text');
  if (contentType !== undefined && typeof contentType !== 'string')
    throw invalidArgument('contentType', contentType, 'text');
  const isText = typeof body === 'string';
  const isBytes = !isText && body instanceof Uint8Array;
  return {
    target: typeof target === 'string' ? target : routeTarget(target),
    priority: priority ?? -1,
    delayMs: delayMs ?? 0,
    expiresInMs: expiresInMs ?? 0,
    dedupKey: dedupKey ?? null,
    contentType: contentType ?? (isText ? CONTENT_TYPES.text : isBytes ? null : CONTENT_TYPES.value),
    headers: headers === undefined ? null : encodeHeaders(headers, limits.headerBytesMax),
    body: isText
      ? boundedText(body, limits.bodyBytesMax)
      : boundedBytes(isBytes ? body : encodeValue(body), limits.bodyBytesMax),
    rate: rateLimit === undefined && rateKey === undefined ? null : rateTag(rateLimit, rateKey),
  };
}

/** Names and lengths are left to `PublishFrameWriter.add`. */
function rateTag(limit: unknown, key: unknown = null): RateTag {
  if (typeof limit !== 'string') throw invalidArgument('rateLimit', limit, 'the name of a rate limit');
  if (key !== null && typeof key !== 'string') throw invalidArgument('rateKey', key, 'text');
  return { limit, key };
}

/** Names and lengths are left to `PublishFrameWriter.add`. */
function routeTarget(target: ExchangeTarget): RouteTarget {
  if (typeof target !== 'object' || target === null)
    throw invalidArgument('queue', target, 'the name of a queue, or { exchange, key }');
  const { exchange, key = '' } = target;
  if (typeof exchange !== 'string') throw invalidArgument('exchange', exchange, 'the name of an exchange');
  if (typeof key !== 'string') throw invalidArgument('key', key, 'text');
  return [exchange, key];
}

/** A character has three bytes of UTF-8 at most (a surrogate pair, which counts two, has four). */
function boundedText(text: string, bytesMax: number): string | Uint8Array {
  return text.length * 3 <= bytesMax ? text : boundedBytes(textEncoder.encode(text), bytesMax);
}

function boundedBytes(body: Uint8Array, bytesMax: number): Uint8Array {
  if (body.length <= bytesMax) return body;
  const message = `Cannot publish: the body has ${body.length} bytes, expected at most ${bytesMax}`;
  throw new LovageError('BODY_TOO_LARGE', message, { details: { bytes: body.length, bytesMax } });
}

function encodeHeaders(headers: Readonly<Record<string, unknown>>, bytesMax: number): Uint8Array {
  if (typeof headers !== 'object' || headers === null || Array.isArray(headers))
    throw invalidArgument('headers', headers, 'an object');
  const bytes = encodeValue(headers);
  if (bytes.length <= bytesMax) return bytes;
  const message = `Cannot publish: the headers have ${bytes.length} bytes, expected at most ${bytesMax}`;
  throw new LovageError('HEADERS_TOO_LARGE', message, { details: { bytes: bytes.length, bytesMax } });
}
