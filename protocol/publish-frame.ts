// hot path
/**
 * PUBLISH, the frame that most bytes travel in. The broker journals it as it came, so what stands here is a format on the disk, too.
 *
 *     [3, firstSeq, confirmedSeq, flags, [message...], [target...]]
 *     message = [target, priority|nil, delayMs, expiresInMs, dedupKey|nil, contentType|nil, headers|nil, body, rate?]
 *                                                                          └───────── payload ─────────┘
 *     rate    = nil, or [name of a rate limit, key|nil]
 *     target  = queue name, or [exchange name or empty, routing key]
 *
 * The payload is copied as it stands into DELIVER. Message i has the sequence number firstSeq + i. Targets come last because
 * a producer knows them only when the batch is full.
 *
 * How to change this: add fields to the end of the frame or of the message (readers skip what they do not know); anything else is a new op.
 */
import type { ErrorCode } from './errors.js';
import { FrameReader } from './frame-reader.js';
import { LIMITS } from './limits.js';
import { isName } from './names.js';
import { type FrameProblem, type PayloadLimits, scanPayload } from './payload.js';
import type { RateTag } from './rate-limits.js';
import { decodeValue } from './value-codec.js';

const MESSAGE_FIELDS = 8;
const headersReader = new FrameReader();

/** One scanned PUBLISH, a column a field. The broker keeps one of these and scans every frame into it. */
export class PublishBatch {
  bytes: Uint8Array = new Uint8Array(0);
  firstSeq = 0;
  confirmedSeq = 0;
  flags = 0;
  count = 0;
  /** Names of queues; the routing key where `exchanges` has a name. */
  targets: string[] = [];
  /** Exchange of each target, null for a queue's name; empty when all targets are queues. */
  exchanges: (string | null)[] = [];
  problem: FrameProblem | null = null;
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
  /** Rate limits by message index; empty when no message has one. */
  readonly rates = new Map<number, RateTag>();
  /** The message at hand. */
  #index = 0;

  /** Scans a frame. Throws BAD_FRAME for one that is not of the form above; values out of range leave a `problem`. */
  scan(reader: FrameReader, limits: PayloadLimits): this {
    const fields = reader.arrayHeader('PUBLISH', 64);
    if (fields < 6) throw reader.bad('PUBLISH with 6 fields');
    reader.uint('op');
    this.bytes = reader.bytes;
    this.problem = null;
    this.dedupKeys.clear();
    this.rates.clear();
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

  #scanMessage(reader: FrameReader, i: number, limits: PayloadLimits): void {
    const fields = reader.arrayHeader('message', 64);
    if (fields < MESSAGE_FIELDS) throw reader.bad(`a message of ${MESSAGE_FIELDS} fields`);
    this.target[i] = reader.uint('target', LIMITS.publishTargetsMax);
    const priority = reader.nil() ? -1 : reader.uint('priority');
    const delayMs = reader.uint('delayMs');
    const expiresInMs = reader.uint('expiresInMs');
    if (!reader.nil()) this.#scanDedupKey(reader, i);
    const payload = reader.position;
    this.#index = i;
    scanPayload(reader, limits, this.#refusePayload);
    this.payloadOffset[i] = payload;
    this.payloadLength[i] = reader.position - payload;
    if (fields > MESSAGE_FIELDS) this.#scanTrailer(reader, i, fields);
    if (priority > LIMITS.priorityMax) this.#refuse('INVALID_ARGUMENT', 'priority', i);
    if (delayMs > LIMITS.delayMsMax) this.#refuse('INVALID_ARGUMENT', 'delayMs', i);
    if (expiresInMs > LIMITS.delayMsMax) this.#refuse('INVALID_ARGUMENT', 'expiresInMs', i);
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

  /** What stands behind the body of few messages. */
  #scanTrailer(reader: FrameReader, i: number, fields: number): void {
    if (!reader.nil()) this.#scanRate(reader, i);
    for (let extra = MESSAGE_FIELDS + 1; extra < fields; extra++) reader.skip('an unknown field');
  }

  #scanRate(reader: FrameReader, i: number): void {
    const fields = reader.arrayHeader('rate', 64);
    if (fields < 2) throw reader.bad('a rate of limit and key');
    const limit = reader.str('rateLimit', 65_535);
    const key = reader.nil() ? null : this.#scanRateKey(reader, i);
    for (let extra = 2; extra < fields; extra++) reader.skip('an unknown field');
    if (!isName(limit)) this.#refuse('INVALID_NAME', 'rateLimit', i);
    this.rates.set(i, { limit, key });
  }

  #scanRateKey(reader: FrameReader, i: number): string | null {
    const start = reader.position;
    if (reader.skipStr('rateKey', 0xffff_ffff) > LIMITS.rateKeyLengthMax) {
      this.#refuse('INVALID_ARGUMENT', 'rateKey', i);
      return null;
    }
    reader.position = start;
    return reader.str('rateKey', LIMITS.rateKeyLengthMax);
  }

  #scanTargets(reader: FrameReader): void {
    const count = reader.arrayHeader('targets', LIMITS.publishTargetsMax);
    this.targets.length = 0;
    this.exchanges.length = 0;
    for (let i = 0; i < count; i++) {
      if (reader.isArray) {
        this.#scanRoute(reader, i);
        continue;
      }
      const name = reader.str('target', 65_535);
      if (!isName(name)) this.#refuse('INVALID_NAME', 'target', this.#firstWith(i));
      this.targets.push(name);
      if (this.exchanges.length > 0) this.exchanges.push(null);
    }
    for (let i = 0; i < this.count; i++) if (this.target[i]! >= count) throw reader.bad('a target for every message');
  }

  /** Target `i`, an exchange and a routing key. */
  #scanRoute(reader: FrameReader, i: number): void {
    const fields = reader.arrayHeader('target', 64);
    if (fields < 2) throw reader.bad('a target of exchange and routing key');
    const exchange = reader.str('exchange', 65_535);
    if (exchange !== '' && !isName(exchange)) this.#refuse('INVALID_NAME', 'exchange', this.#firstWith(i));
    const start = reader.position;
    const isTooLong = reader.skipStr('key', 0xffff_ffff) > LIMITS.routingKeyLengthMax;
    if (isTooLong) {
      this.#refuse('INVALID_ARGUMENT', 'key', this.#firstWith(i));
      this.targets.push('');
    } else {
      reader.position = start;
      this.targets.push(reader.str('key', LIMITS.routingKeyLengthMax));
    }
    while (this.exchanges.length < i) this.exchanges.push(null);
    this.exchanges.push(exchange);
    for (let extra = 2; extra < fields; extra++) reader.skip('an unknown field');
  }

  /** Index of the first message with target `i`. */
  #firstWith(i: number): number {
    return Math.max(0, this.target.subarray(0, this.count).indexOf(i));
  }

  /** The headers of message `i`, decoded for an exchange that asks for them; null if it has none, or none that can be read. */
  headersOf(i: number): Readonly<Record<string, unknown>> | null {
    const start = this.payloadOffset[i]!;
    const reader = headersReader.open(this.bytes.subarray(start, start + this.payloadLength[i]!));
    if (!reader.nil()) reader.skipStr('contentType', 0xffff_ffff);
    const from = reader.position;
    if (reader.nil()) return null;
    reader.skipHeaders();
    try {
      return decodeValue(reader.bytes.subarray(from, reader.position)) as Record<string, unknown>;
    } catch {
      // What MessagePack can say and JavaScript cannot hold goes to the consumer as it is, and matches nothing here.
      return null;
    }
  }

  readonly #refusePayload = (code: ErrorCode, field: string): void => this.#refuse(code, field, this.#index);

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
