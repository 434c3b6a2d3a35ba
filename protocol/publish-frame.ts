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
import type { FrameReader } from './frame-reader.js';
import type { FrameWriter } from './frame-writer.js';
import { LIMITS } from './limits.js';
import { isName } from './names.js';
import { CLIENT_OPS } from './ops.js';

const MESSAGE_FIELDS = 8;

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
    if (!reader.nil()) this.dedupKeys.set(i, reader.str('dedupKey', LIMITS.dedupKeyLengthMax));
    const payload = reader.position;
    if (!reader.nil()) reader.skipStr('contentType', LIMITS.contentTypeLengthMax);
    const headers = reader.position;
    if (!reader.nil()) this.#scanHeaders(reader);
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

  #scanHeaders(reader: FrameReader): void {
    const byte = reader.bytes[reader.position] ?? 0;
    if (!((byte >= 0x80 && byte <= 0x8f) || byte === 0xde || byte === 0xdf)) throw reader.bad('a map (headers)');
    reader.skip('headers');
  }

  #scanTargets(reader: FrameReader): void {
    const count = reader.arrayHeader('targets', LIMITS.publishTargetsMax);
    this.targets.length = 0;
    for (let i = 0; i < count; i++) {
      const name = reader.str('target', 65_535);
      if (!isName(name)) this.#refuse('INVALID_NAME', 'target', i);
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

/** Fields of one message for `PublishFrameWriter`; `contentType` and `dedupKey` null when there is none, `priority` -1 for the queue's default. */
export interface MessageFields {
  readonly target: string;
  readonly priority: number;
  readonly delayMs: number;
  readonly expiresInMs: number;
  readonly dedupKey: string | null;
  readonly contentType: string | null;
  /** MessagePack map, or null. */
  readonly headers: Uint8Array | null;
  readonly body: Uint8Array | string;
}

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
  count = 0;

  constructor(writer: FrameWriter) {
    this.#writer = writer;
  }

  get bytes(): number {
    return this.#writer.length;
  }

  begin(firstSeq: number, flags: number): void {
    const writer = this.#writer;
    writer.reset();
    this.#targets.clear();
    this.#lastIndex = -1;
    this.#firstSeq = firstSeq;
    this.count = 0;
    writer.arrayHeader(6);
    writer.uint(CLIENT_OPS.PUBLISH);
    this.#seqAt = writer.reserveUint64();
    this.#confirmedAt = writer.reserveUint64();
    writer.uint(flags);
    this.#messagesAt = writer.reserveArray32();
  }

  add(message: MessageFields): void {
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
      index = this.#targets.size;
      this.#targets.set(name, index);
    }
    this.#lastTarget = name;
    this.#lastIndex = index;
    return index;
  }
}
