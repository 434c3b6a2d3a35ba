// hot path
/**
 * COMPLETE: deliveries that are done, each with what came of it. The broker journals the frame as it came: the settlement and the result are one record.
 *
 *     [38, settleSeq, [first, count, ...], [result...], follow?, mayWait?]      a result for each tag, in the order of the ranges
 *     result = nil, or [ttlMs, contentType|nil, headers|nil, body]      nil: nothing is kept; ttlMs 0: as long as the queue of results keeps messages
 *     follow = nil, or bin                                            a whole PUBLISH to queues, taken with the one delivery that is named, or not at all
 *     mayWait = true: nobody waits for the SETTLED
 *
 * How to change this: add fields to the end of the frame or of a result (readers skip what they do not know); anything else is a new op.
 */
import { FrameReader } from './frame-reader.js';
import type { FrameWriter } from './frame-writer.js';
import { LIMITS } from './limits.js';
import { CLIENT_OPS, PUBLISH_FLAGS } from './ops.js';
import { type FrameProblem, type PayloadLimits, scanPayload } from './payload.js';
import { PublishBatch } from './publish-frame.js';
import { TagRanges } from './settle-frame.js';
import { readOp } from './value-codec.js';

/** What came of a delivery. */
export interface ResultFields {
  /** ms that it is kept, 0-315,360,000,000; 0 for what the queue of results says. */
  readonly ttlMs: number;
  /** At most 200 characters of printable ASCII, or null for none. */
  readonly contentType: string | null;
  readonly body: Uint8Array;
}

/** One scanned COMPLETE, a column a field. The broker keeps one of these and scans every frame into it. */
export class CompleteBatch {
  bytes: Uint8Array = new Uint8Array(0);
  settleSeq = 0;
  readonly ranges = new TagRanges();
  count = 0;
  problem: FrameProblem | null = null;
  ttlMs = new Float64Array(256);
  /** Where `contentType headers body` lie in `bytes`. */
  payloadOffset = new Int32Array(256);
  /** 0 where nothing is kept. */
  payloadLength = new Int32Array(256);
  /** What is published with it, null for nothing; its `bytes` are a part of these. */
  follow: PublishBatch | null = null;
  /** Where those begin in `bytes`. */
  followOffset = 0;
  /** Nobody waits for the SETTLED. */
  mayWait = false;
  #followBatch: PublishBatch | null = null;
  readonly #followReader = new FrameReader();

  /** Scans a frame. Throws BAD_FRAME for one that is not of the form above; values out of range leave a `problem`. */
  scan(reader: FrameReader, limits: PayloadLimits): this {
    const fields = reader.arrayHeader('COMPLETE', 64);
    if (fields < 4) throw reader.bad('COMPLETE with 4 fields');
    reader.uint('op');
    this.bytes = reader.bytes;
    this.problem = null;
    this.follow = null;
    this.mayWait = false;
    this.settleSeq = reader.uint('settleSeq');
    this.ranges.read(reader);
    this.count = reader.arrayHeader('results', LIMITS.resultsMax);
    let tags = 0;
    for (let i = 1; i < this.ranges.pairs.length; i += 2) tags += this.ranges.pairs[i]!;
    if (tags !== this.count) throw reader.bad('a result for each tag');
    this.#grow(this.count);
    for (let i = 0; i < this.count; i++) this.#scanResult(reader, i, limits);
    if (fields > 4) this.#scanTrailer(reader, fields, limits);
    reader.end();
    return this;
  }

  #scanTrailer(reader: FrameReader, fields: number, limits: PayloadLimits): void {
    if (!reader.nil()) this.#scanFollow(reader, limits);
    if (fields > 5) this.mayWait = reader.bool('mayWait');
    for (let extra = 6; extra < fields; extra++) reader.skip('an unknown field');
  }

  /** A frame in the frame: messages to queues, kept as what they follow is. */
  #scanFollow(reader: FrameReader, limits: PayloadLimits): void {
    const frame = reader.bin('follow');
    this.followOffset = reader.position - frame.length;
    if (readOp(frame) !== CLIENT_OPS.PUBLISH) throw reader.bad('a PUBLISH (follow)');
    this.#followBatch ??= new PublishBatch();
    const follow = this.#followBatch.scan(this.#followReader.open(frame), limits);
    const isAllowed =
      this.count === 1 && follow.exchanges.length === 0 && (follow.flags & ~PUBLISH_FLAGS.AUTO_DECLARE) === 0;
    if (!isAllowed) this.problem ??= { code: 'INVALID_ARGUMENT', field: 'follow', index: 0 };
    else if (follow.problem !== null) this.problem ??= follow.problem;
    this.follow = follow;
  }

  #scanResult(reader: FrameReader, i: number, limits: PayloadLimits): void {
    if (reader.nil()) {
      this.ttlMs[i] = 0;
      this.payloadOffset[i] = 0;
      this.payloadLength[i] = 0;
      return;
    }
    const fields = reader.arrayHeader('result', 64);
    if (fields < 4) throw reader.bad('a result of 4 fields');
    const ttlMs = reader.uint('ttlMs');
    if (ttlMs > LIMITS.delayMsMax) this.problem ??= { code: 'INVALID_ARGUMENT', field: 'ttlMs', index: i };
    const start = reader.position;
    scanPayload(reader, limits, (code, field) => {
      this.problem ??= { code, field, index: i };
    });
    this.ttlMs[i] = ttlMs;
    this.payloadOffset[i] = start;
    this.payloadLength[i] = reader.position - start;
    for (let extra = 4; extra < fields; extra++) reader.skip('an unknown field');
  }

  #grow(count: number): void {
    if (count <= this.ttlMs.length) return;
    const size = 2 ** Math.ceil(Math.log2(count));
    this.ttlMs = new Float64Array(size);
    this.payloadOffset = new Int32Array(size);
    this.payloadLength = new Int32Array(size);
  }
}

/** What a COMPLETE may have behind its results. `follow`: a PUBLISH, for a frame of one tag. */
export interface CompleteTrailer {
  readonly follow?: Uint8Array | null;
  readonly mayWait?: boolean;
}

/** Writes a COMPLETE; `results` in the order of the tags, null for one that keeps nothing. */
export function writeComplete(
  writer: FrameWriter,
  settleSeq: number,
  ranges: TagRanges,
  results: readonly (ResultFields | null)[],
  { follow = null, mayWait = false }: CompleteTrailer = {},
): void {
  writer.arrayHeader(mayWait ? 6 : follow === null ? 4 : 5);
  writer.uint(CLIENT_OPS.COMPLETE);
  writer.uint(settleSeq);
  ranges.write(writer);
  writer.arrayHeader(results.length);
  for (const result of results) writeResult(writer, result);
  if (follow !== null) writer.bin(follow);
  else if (mayWait) writer.nil();
  if (mayWait) writer.bool(true);
}

function writeResult(writer: FrameWriter, result: ResultFields | null): void {
  if (result === null) return writer.nil();
  const { ttlMs, contentType, body } = result;
  writer.arrayHeader(4);
  writer.uint(ttlMs);
  if (contentType === null) writer.nil();
  else writer.str(contentType);
  writer.nil();
  writer.bin(body);
}
