// hot path
/** Writes PUBLISH, for whoever publishes. `publish-frame.ts` draws the frame and reads it. */
import { LovageError } from './errors.js';
import { FrameReader } from './frame-reader.js';
import type { FrameWriter } from './frame-writer.js';
import { LIMITS } from './limits.js';
import { assertName } from './names.js';
import { CLIENT_OPS } from './ops.js';
import type { RateTag } from './rate-limits.js';

const MESSAGE_FIELDS = 8;
/** Where the numbers that are filled in late stand: behind the array's header, the op, and 0xcf each. */
const FIRST_SEQ_AT = 3;
const CONFIRMED_SEQ_AT = 12;

const headersReader = new FrameReader();

/** An exchange and a routing key, where a message may be published to instead of a queue. */
export type RouteTarget = readonly [exchange: string, key: string];

/** Fields of one message for `PublishFrameWriter`. */
export interface MessageFields {
  /** Name of a queue, or an exchange (empty for the default one) and a routing key of at most 255 bytes of UTF-8. */
  readonly target: string | RouteTarget;
  /** 0-255, or -1 for the queue's default. */
  readonly priority: number;
  /** ms, 0-315,360,000,000. */
  readonly delayMs: number;
  /** ms, 0-315,360,000,000; 0 for the queue's `messageTtlMs`. */
  readonly expiresInMs: number;
  /** At most 200 bytes of UTF-8, or null for none. */
  readonly dedupKey: string | null;
  /** At most 200 characters of printable ASCII, or null for none. */
  readonly contentType: string | null;
  /** A MessagePack map, at most 16 levels deep, without extension types; or null. */
  readonly headers: Uint8Array | null;
  readonly body: Uint8Array | string;
  /** The rate limit that it is under; absent or null for none. */
  readonly rate?: RateTag | null;
}

/** What a broker would refuse a whole frame, or end the connection, for, is refused to the one caller at fault. */
function checkMessage(message: MessageFields): void {
  const { priority, delayMs, expiresInMs, dedupKey, contentType, headers } = message;
  if (!(Number.isInteger(priority) && priority >= -1 && priority <= LIMITS.priorityMax))
    throw invalid('priority', `a whole number from 0 to ${LIMITS.priorityMax}`);
  if (!isDelay(delayMs)) throw invalid('delayMs', `a whole number from 0 to ${LIMITS.delayMsMax}`);
  if (!isDelay(expiresInMs)) throw invalid('expiresInMs', `a whole number from 0 to ${LIMITS.delayMsMax}`);
  if (dedupKey !== null && !isWithin(dedupKey, LIMITS.dedupKeyLengthMax))
    throw invalid('dedupKey', `at most ${LIMITS.dedupKeyLengthMax} bytes of UTF-8`);
  if (contentType !== null && !isContentType(contentType))
    throw invalid('contentType', `at most ${LIMITS.contentTypeLengthMax} characters of printable ASCII`);
  if (headers !== null) checkHeaders(headers);
  if (message.rate) checkRate(message.rate);
}

function checkRate({ limit, key }: RateTag): void {
  assertName(limit, 'rateLimit');
  if (key !== null && !(typeof key === 'string' && isWithin(key, LIMITS.rateKeyLengthMax)))
    throw invalid('rateKey', `at most ${LIMITS.rateKeyLengthMax} bytes of UTF-8`);
}

function checkRoute([exchange, key]: RouteTarget): void {
  if (exchange !== '') assertName(exchange, 'exchange');
  if (typeof key !== 'string' || !isWithin(key, LIMITS.routingKeyLengthMax))
    throw invalid('key', `at most ${LIMITS.routingKeyLengthMax} bytes of UTF-8`);
}

function isDelay(ms: number): boolean {
  return Number.isInteger(ms) && ms >= 0 && ms <= LIMITS.delayMsMax;
}

/** Whether text has at most so many bytes in UTF-8. A UTF-16 unit makes three at most. */
function isWithin(text: string, bytesMax: number): boolean {
  if (text.length * 3 <= bytesMax) return true;
  return text.length <= bytesMax && new TextEncoder().encode(text).length <= bytesMax;
}

/** The one found right last: content types are few, and each message has one. */
let lastContentType = '';

/** Whether text can be a content type: at most 200 characters of printable ASCII. */
export function isContentType(text: string): boolean {
  if (text === lastContentType) return true;
  if (text.length > LIMITS.contentTypeLengthMax || !/^[ -~]*$/.test(text)) return false;
  lastContentType = text;
  return true;
}

function checkHeaders(headers: Uint8Array): void {
  try {
    headersReader.open(headers).skipHeaders();
    headersReader.end();
  } catch (cause) {
    throw invalid(
      'headers',
      `a MessagePack map of at most ${LIMITS.depthMax} levels without dates or a key "__proto__"`,
      cause,
    );
  }
}

function invalid(field: string, expected: string, cause?: unknown): LovageError {
  return new LovageError('INVALID_ARGUMENT', `Cannot publish: "${field}" is out of range, expected ${expected}`, {
    cause,
    details: { field },
  });
}

/** Gives a frame of `PublishFrameWriter.finish` its numbers, for a producer that knows them only when it sends. */
export function numberPublishFrame(frame: Uint8Array, firstSeq: number, confirmedSeq: number): void {
  const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
  view.setBigUint64(FIRST_SEQ_AT, BigInt(firstSeq));
  view.setBigUint64(CONFIRMED_SEQ_AT, BigInt(confirmedSeq));
}

/** Headers of the table of targets, and of a name in it, at most. */
const TARGETS_HEADER_BYTES = 3;
const TEXT_HEADER_BYTES = 2;

/** Gathers messages into one PUBLISH. `begin`, `add` any number of times, `finish`. */
export class PublishFrameWriter {
  readonly #writer: FrameWriter;
  readonly #targets = new Map<string, number>();
  #lastTarget = '';
  #lastIndex = -1;
  #seqAt = 0;
  #confirmedAt = 0;
  #messagesAt = 0;
  #firstSeq = 0;
  #targetBytes = 0;
  count = 0;

  constructor(writer: FrameWriter) {
    this.#writer = writer;
  }

  /** Of the frame as far as it has come, its table of targets included, which is written last. */
  get bytes(): number {
    return this.#writer.length + this.#targetBytes;
  }

  /** True when one more message, or one more target, might be too many for a frame: finish it first. */
  get isFull(): boolean {
    return this.count >= LIMITS.publishMessagesMax || this.#targets.size >= LIMITS.publishTargetsMax;
  }

  begin(firstSeq: number, flags: number): void {
    const writer = this.#writer;
    writer.reset();
    this.#targets.clear();
    this.#lastIndex = -1;
    this.#targetBytes = TARGETS_HEADER_BYTES;
    this.#firstSeq = firstSeq;
    this.count = 0;
    writer.arrayHeader(6);
    writer.uint(CLIENT_OPS.PUBLISH);
    this.#seqAt = writer.reserveUint64();
    this.#confirmedAt = writer.reserveUint64();
    writer.uint(flags);
    this.#messagesAt = writer.reserveArray32();
  }

  /**
   * Appends a message. Throws INVALID_ARGUMENT or INVALID_NAME, and leaves the frame as it was, for fields that the broker would refuse
   * the whole frame for; FRAME_TOO_LARGE when `isFull` was true.
   */
  add(message: MessageFields): void {
    checkMessage(message);
    if (this.isFull)
      throw new LovageError('FRAME_TOO_LARGE', 'Cannot add a message to the frame: it is full, expected room');
    const writer = this.#writer;
    const start = writer.length;
    try {
      const rate = message.rate ?? null;
      writer.arrayHeader(rate === null ? MESSAGE_FIELDS : MESSAGE_FIELDS + 1);
      writer.uint(this.#targetIndex(message.target));
      if (message.priority < 0) writer.nil();
      else writer.uint(message.priority);
      writer.uint(message.delayMs);
      writer.uint(message.expiresInMs);
      if (message.dedupKey === null) writer.nil();
      else writer.str(message.dedupKey);
      if (message.contentType === null) writer.nil();
      else writer.str(message.contentType);
      if (message.headers === null) writer.nil();
      else writer.raw(message.headers);
      if (typeof message.body === 'string') writer.textAsBin(message.body);
      else writer.bin(message.body);
      if (rate !== null) this.#writeRate(rate);
    } catch (error) {
      writer.length = start;
      throw error;
    }
    this.count++;
  }

  /** The frame, valid for good; the writer may be begun again. `confirmedSeq`: every publish up to it was confirmed to this producer. */
  finish(confirmedSeq: number): Uint8Array {
    const writer = this.#writer;
    writer.patchUint64(this.#seqAt, this.#firstSeq);
    writer.patchUint64(this.#confirmedAt, confirmedSeq);
    writer.patchArray32(this.#messagesAt, this.count);
    writer.arrayHeader(this.#targets.size);
    for (const target of this.#targets.keys()) this.#writeTarget(target);
    if (writer.length > 0xffff_ffff) throw new LovageError('FRAME_TOO_LARGE');
    return writer.copy();
  }

  #writeRate({ limit, key }: RateTag): void {
    const writer = this.#writer;
    writer.arrayHeader(2);
    writer.str(limit);
    if (key === null) writer.nil();
    else writer.str(key);
  }

  /** Names have no spaces, so one tells an exchange and its key from a queue. */
  #writeTarget(target: string): void {
    const writer = this.#writer;
    const space = target.indexOf(' ');
    if (space < 0) return writer.str(target);
    writer.arrayHeader(2);
    writer.str(target.slice(0, space));
    writer.str(target.slice(space + 1));
  }

  #targetIndex(target: string | RouteTarget): number {
    const name = typeof target === 'string' ? target : `${target[0]} ${target[1]}`;
    if (name === this.#lastTarget && this.#lastIndex >= 0) return this.#lastIndex;
    let index = this.#targets.get(name);
    if (index === undefined) {
      if (typeof target === 'string') assertName(target, 'queue');
      else checkRoute(target);
      index = this.#targets.size;
      this.#targets.set(name, index);
      // Of a key, whose bytes are counted when it is written, as many as it may have.
      this.#targetBytes += typeof target === 'string' ? TEXT_HEADER_BYTES + name.length : 6 + 3 * name.length;
    }
    this.#lastTarget = name;
    this.#lastIndex = index;
    return index;
  }
}
