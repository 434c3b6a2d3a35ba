// hot path
/**
 * PUBLISH, the frame that most bytes travel in. The broker journals it as it came, so what stands here is a format on the disk, too.
 *
 *     [3, firstSeq, confirmedSeq, flags, [message...], [target...]]
 *     message = [target, priority|nil, delayMs, expiresInMs, dedupKey|nil, contentType|nil, headers|nil, body]
 *                                                                          └───────── payload ─────────┘
 *
 * The payload is copied as it stands into DELIVER. Message i has the sequence number firstSeq + i. Targets come last because
 * a producer knows them only when the batch is full.
 *
 * How to change this: add fields to the end of the frame or of the message (readers skip what they do not know); anything else is a new op.
 */
import { type ErrorCode, LovageError } from './errors.js';
import { FrameReader } from './frame-reader.js';
import type { FrameWriter } from './frame-writer.js';
import { LIMITS } from './limits.js';
import { assertName, isName } from './names.js';
import { CLIENT_OPS } from './ops.js';

const MESSAGE_FIELDS = 8;
/** Where the numbers that are filled in late stand: behind the array's header, the op, and 0xcf each. */
const FIRST_SEQ_AT = 3;
const CONFIRMED_SEQ_AT = 12;

/** What is wrong with a well-formed PUBLISH: the broker refuses the frame whole with this code. */
export interface PublishProblem {
  readonly code: ErrorCode;
  readonly field: string;
  /** Index of the first message at fault. */
  readonly index: number;
}

/** Bounds that the broker may set. */
export interface PublishLimits {
  readonly bodyBytesMax: number;
  readonly headerBytesMax: number;
}

/** One scanned PUBLISH, a column a field. The broker keeps one of these and scans every frame into it. */
export class PublishBatch {
  bytes: Uint8Array = new Uint8Array(0);
  firstSeq = 0;
  confirmedSeq = 0;
  flags = 0;
  count = 0;
  targets: string[] = [];
  problem: PublishProblem | null = null;
  /** Index into `targets`. */
  target = new Int32Array(1_024);
  /** 0-255, or -1 for the queue's default. */
  priority = new Int16Array(1_024);
  delayMs = new Float64Array(1_024);
  /** 0 for never. */
  expiresInMs = new Float64Array(1_024);
  /** Where `contentType headers body` lie in `bytes`. */
  payloadOffset = new Int32Array(1_024);
  payloadLength = new Int32Array(1_024);
  /** Dedup keys by message index; empty when no message has one. */
  readonly dedupKeys = new Map<number, string>();

  /** Scans a frame. Throws BAD_FRAME for one that is not of the form above; values out of range leave a `problem`. */
  scan(reader: FrameReader, limits: PublishLimits): this {
    const fields = reader.arrayHeader('PUBLISH', 64);
    if (fields < 6) throw reader.bad('PUBLISH with 6 fields');
    reader.uint('op');
    this.bytes = reader.bytes;
    this.problem = null;
    this.dedupKeys.clear();
    this.firstSeq = reader.uint('firstSeq', Number.MAX_SAFE_INTEGER - LIMITS.publishMessagesMax);
    this.confirmedSeq = reader.uint('confirmedSeq');
    this.flags = reader.uint('flags', 0xff);
    this.count = reader.arrayHeader('messages', LIMITS.publishMessagesMax);
    this.#grow(this.count);
    for (let i = 0; i < this.count; i++) this.#scanMessage(reader, i, limits);
    this.#scanTargets(reader);
    for (let i = 6; i < fields; i++) reader.skip('an unknown field');
    reader.end();
    return this;
  }

  #scanMessage(reader: FrameReader, i: number, limits: PublishLimits): void {
    const fields = reader.arrayHeader('message', 64);
    if (fields < MESSAGE_FIELDS) throw reader.bad(`a message of ${MESSAGE_FIELDS} fields`);
    this.target[i] = reader.uint('target', LIMITS.publishTargetsMax);
    const priority = reader.nil() ? -1 : reader.uint('priority');
    const delayMs = reader.uint('delayMs');
    const expiresInMs = reader.uint('expiresInMs');
    if (!reader.nil()) this.#scanDedupKey(reader, i);
    const payload = reader.position;
    if (!reader.nil()) this.#scanContentType(reader, i);
    const headers = reader.position;
    reader.skipHeaders();
    const headerBytes = reader.position - headers;
    const bodyBytes = reader.binHeader('body');
    reader.position += bodyBytes;
    this.payloadOffset[i] = payload;
    this.payloadLength[i] = reader.position - payload;
    for (let extra = MESSAGE_FIELDS; extra < fields; extra++) reader.skip('an unknown field');
    if (priority > LIMITS.priorityMax) this.#refuse('INVALID_ARGUMENT', 'priority', i);
    if (delayMs > LIMITS.delayMsMax) this.#refuse('INVALID_ARGUMENT', 'delayMs', i);
    if (expiresInMs > LIMITS.delayMsMax) this.#refuse('INVALID_ARGUMENT', 'expiresInMs', i);
    if (bodyBytes > limits.bodyBytesMax) this.#refuse('BODY_TOO_LARGE', 'body', i);
    if (headerBytes > limits.headerBytesMax) this.#refuse('HEADERS_TOO_LARGE', 'headers', i);
    this.priority[i] = priority;
    this.delayMs[i] = delayMs;
    this.expiresInMs[i] = expiresInMs;
  }

  #scanDedupKey(reader: FrameReader, i: number): void {
    const start = reader.position;
    if (reader.skipStr('dedupKey', 0xffff_ffff) > LIMITS.dedupKeyLengthMax)
      return this.#refuse('INVALID_ARGUMENT', 'dedupKey', i);
    reader.position = start;
    this.dedupKeys.set(i, reader.str('dedupKey', LIMITS.dedupKeyLengthMax));
  }

  /** The bytes go on to consumers as they are, so they are looked at here: text that a strict reader refuses would end its connection. */
  #scanContentType(reader: FrameReader, i: number): void {
    const length = reader.skipStr('contentType', 0xffff_ffff);
    if (length > LIMITS.contentTypeLengthMax) return this.#refuse('INVALID_ARGUMENT', 'contentType', i);
    const { bytes, position } = reader;
    for (let at = position - length; at < position; at++) {
      if (bytes[at]! < 0x20 || bytes[at]! > 0x7e) return this.#refuse('INVALID_ARGUMENT', 'contentType', i);
    }
  }

  #scanTargets(reader: FrameReader): void {
    const count = reader.arrayHeader('targets', LIMITS.publishTargetsMax);
    this.targets.length = 0;
    for (let i = 0; i < count; i++) {
      const name = reader.str('target', 65_535);
      if (!isName(name))
        this.#refuse('INVALID_NAME', 'target', Math.max(0, this.target.subarray(0, this.count).indexOf(i)));
      this.targets.push(name);
    }
    for (let i = 0; i < this.count; i++) if (this.target[i]! >= count) throw reader.bad('a target for every message');
  }

  #refuse(code: ErrorCode, field: string, index: number): void {
    this.problem ??= { code, field, index };
  }

  #grow(count: number): void {
    if (count <= this.target.length) return;
    const size = 2 ** Math.ceil(Math.log2(count));
    this.target = new Int32Array(size);
    this.priority = new Int16Array(size);
    this.delayMs = new Float64Array(size);
    this.expiresInMs = new Float64Array(size);
    this.payloadOffset = new Int32Array(size);
    this.payloadLength = new Int32Array(size);
  }
}

/** Fields of one message for `PublishFrameWriter`. */
export interface MessageFields {
  /** Name of a queue. */
  readonly target: string;
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
}

const headersReader = new FrameReader();

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

function isContentType(text: string): boolean {
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
      writer.arrayHeader(MESSAGE_FIELDS);
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
    for (const name of this.#targets.keys()) writer.str(name);
    if (writer.length > 0xffff_ffff) throw new LovageError('FRAME_TOO_LARGE');
    return writer.copy();
  }

  #targetIndex(name: string): number {
    if (name === this.#lastTarget && this.#lastIndex >= 0) return this.#lastIndex;
    let index = this.#targets.get(name);
    if (index === undefined) {
      assertName(name, 'queue');
      index = this.#targets.size;
      this.#targets.set(name, index);
      this.#targetBytes += TEXT_HEADER_BYTES + name.length;
    }
    this.#lastTarget = name;
    this.#lastIndex = index;
    return index;
  }
}
