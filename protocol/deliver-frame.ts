// hot path
/**
 * DELIVER, many deliveries to one consumer or to several of a connection.
 *
 *     [69, consumerId, [delivery...], [consumerId, [delivery...], ...]?]     the last: the runs of deliveries behind the first one
 *     delivery = [tag, id, queueIndex, priority, attempt, redelivered, contentType|nil, headers|nil, body, dead letters|nil?, attempt log?]
 *
 * Tags rise within a session. `queueIndex` counts in the consumer's own list of queues. `attempt` is 1 for the first handler that starts.
 * `contentType`, `headers` and `body` are the published bytes as they came. The last two fields are there for a message that was a dead letter,
 * see `dead-letters.ts`, and for one with failed attempts, see `failed-attempts.ts`.
 */
import type { FrameReader } from './frame-reader.js';
import type { FrameWriter } from './frame-writer.js';
import { LIMITS } from './limits.js';
import { SERVER_OPS } from './ops.js';

const DELIVERY_FIELDS = 9;
/** Bytes of a delivery's own fields at most: headers of arrays and numbers, without the payload. */
export const DELIVERY_OVERHEAD_BYTES = 64;

/** Bytes of a run's own fields at most: a consumer's number, and the header of its deliveries. */
export const DELIVER_RUN_OVERHEAD_BYTES = 14;

/** Starts a DELIVER of so many runs: of deliveries to one consumer each, from `beginRun` to `endRun`. If there are several, `beginMore` follows the first. */
export function beginDeliver(writer: FrameWriter, runs: number): void {
  writer.arrayHeader(runs === 1 ? 3 : 4);
  writer.uint(SERVER_OPS.DELIVER);
}

export function beginMore(writer: FrameWriter, runs: number): void {
  writer.arrayHeader(2 * (runs - 1));
}

/** The number of deliveries is filled in by `endRun`; returns where. */
export function beginRun(writer: FrameWriter, consumerId: number): number {
  writer.uint(consumerId);
  return writer.reserveArray32();
}

export function endRun(writer: FrameWriter, at: number, count: number): void {
  writer.patchArray32(at, count);
}

export interface DeliveryFields {
  readonly tag: number;
  readonly id: number;
  readonly queueIndex: number;
  readonly priority: number;
  readonly attempt: number;
  readonly redelivered: boolean;
}

/**
 * Everything of a delivery but its payload, which the caller appends: `contentType headers body` as they were published. `more`: fields that follow the
 * payload, 1: what `writeDeadLetters` writes, 2: that or nil, and what `writeAttemptLog` writes.
 */
export function writeDeliveryHead(writer: FrameWriter, fields: DeliveryFields, more: 0 | 1 | 2 = 0): void {
  writer.arrayHeader(DELIVERY_FIELDS + more);
  writer.uint(fields.tag);
  writer.uint(fields.id);
  writer.uint(fields.queueIndex);
  writer.uint(fields.priority);
  writer.uint(fields.attempt);
  writer.bool(fields.redelivered);
}

/** One delivery as the reader found it; `headers`, `history` (see `readDeadLetters`) and `attemptLog` (see `readAttemptLog`) are MessagePack bytes or null. Views lie in the frame. */
export interface WireDelivery extends DeliveryFields {
  readonly contentType: string | null;
  readonly headers: Uint8Array | null;
  readonly body: Uint8Array;
  readonly history: Uint8Array | null;
  readonly attemptLog: Uint8Array | null;
}

type Visit = (consumerId: number, delivery: WireDelivery) => void;

/** Reads a DELIVER and hands over each delivery in order. Throws BAD_FRAME. */
export function readDeliver(reader: FrameReader, visit: Visit): void {
  const fields = reader.arrayHeader('DELIVER', 64);
  if (fields < 3) throw reader.bad('DELIVER with 3 fields');
  reader.uint('op');
  const contentType = readRun(reader, null, visit);
  if (fields > 3 && !reader.nil()) readMore(reader, contentType, visit);
  for (let extra = 4; extra < fields; extra++) reader.skip('an unknown field');
  reader.end();
}

function readMore(reader: FrameReader, lastContentType: string | null, visit: Visit): void {
  const length = reader.arrayHeader('more runs', 0xffff_ffff);
  if (length % 2 !== 0) throw reader.bad('pairs of consumer and deliveries');
  let contentType = lastContentType;
  for (let i = 0; i < length; i += 2) contentType = readRun(reader, contentType, visit);
}

/** Answers the last content type: the next one is mostly the same. */
function readRun(reader: FrameReader, lastContentType: string | null, visit: Visit): string | null {
  const consumerId = reader.uint('consumerId');
  const count = reader.arrayHeader('deliveries', 0xffff_ffff);
  let contentType = lastContentType;
  for (let i = 0; i < count; i++) {
    const delivery = readDelivery(reader, contentType);
    contentType = delivery.contentType;
    visit(consumerId, delivery);
  }
  return contentType;
}

function readDelivery(reader: FrameReader, lastContentType: string | null): WireDelivery {
  const fields = reader.arrayHeader('delivery', 64);
  if (fields < DELIVERY_FIELDS) throw reader.bad(`a delivery of ${DELIVERY_FIELDS} fields`);
  const tag = reader.uint('tag');
  const id = reader.uint('id');
  const queueIndex = reader.uint('queueIndex');
  const priority = reader.uint('priority', LIMITS.priorityMax);
  const attempt = reader.uint('attempt');
  const redelivered = reader.bool('redelivered');
  const contentType = reader.strOrNilLike(lastContentType, 'contentType', LIMITS.contentTypeLengthMax);
  const headers = readHeaders(reader);
  const body = reader.bin('body');
  const history = fields > DELIVERY_FIELDS && !reader.nil() ? readRaw(reader, 'dead letters') : null;
  const attemptLog = fields > DELIVERY_FIELDS + 1 && !reader.nil() ? readRaw(reader, 'attempt log') : null;
  for (let extra = DELIVERY_FIELDS + 2; extra < fields; extra++) reader.skip('an unknown field');
  return { tag, id, queueIndex, priority, attempt, redelivered, contentType, headers, body, history, attemptLog };
}

function readHeaders(reader: FrameReader): Uint8Array | null {
  const start = reader.position;
  if (reader.nil()) return null;
  reader.skipHeaders();
  return reader.bytes.subarray(start, reader.position);
}

function readRaw(reader: FrameReader, what: string): Uint8Array {
  const start = reader.position;
  reader.skip(what);
  return reader.bytes.subarray(start, reader.position);
}
