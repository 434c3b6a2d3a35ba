/** The golden vectors: frames as JSON and as hex. Bytes are `{"$bytes": hex}`. protocol/README.md shows the same. */
import { readFileSync } from 'node:fs';
import {
  beginDeliver,
  beginMore,
  beginRun,
  CLIENT_OPS,
  CompleteBatch,
  type DeadLetter,
  encodeFrame,
  encodeValue,
  endRun,
  type FailureCause,
  FrameReader,
  FrameWriter,
  PublishBatch,
  PublishFrameWriter,
  type RouteTarget,
  readDeliver,
  readResults,
  SERVER_OPS,
  SettleFrame,
  TagRanges,
  type WireDelivery,
  writeComplete,
  writeDeadLetters,
  writeDeliveryHead,
  writeNack,
  writeSettle,
} from '@lovage/protocol';
import { unhex } from './bytes.js';

export interface Vector {
  readonly name: string;
  readonly frame: readonly unknown[];
  readonly hex: string;
}

export const VECTORS = JSON.parse(readFileSync(new URL('golden-vectors.json', import.meta.url), 'utf8')) as Vector[];

export const LIMITS_OF_TESTS = { bodyBytesMax: 16 * 1024 * 1024, headerBytesMax: 64 * 1024 };

/** The frame with its bytes as Uint8Array. */
export function revive(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(revive);
  if (typeof value !== 'object' || value === null) return value;
  if ('$bytes' in value) return unhex(value.$bytes as string);
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, revive(inner)]));
}

/** A frame's bytes, by the codec that the product uses for its op. */
export function encodeByOp(frame: unknown[]): Uint8Array {
  const [op] = frame;
  if (op === CLIENT_OPS.PUBLISH) return encodePublish(frame);
  if (op === SERVER_OPS.DELIVER) return encodeDeliver(frame);
  if (isSettle(op)) return encodeSettle(frame);
  if (op === CLIENT_OPS.COMPLETE) return encodeComplete(frame);
  return encodeFrame(frame);
}

/** Reads a frame with the reader that the product uses for its op; null if that is the general one. */
export function hotReaderOf(op: number): ((bytes: Uint8Array) => unknown) | null {
  const reader = new FrameReader();
  if (op === CLIENT_OPS.PUBLISH) return (bytes) => new PublishBatch().scan(reader.open(bytes), LIMITS_OF_TESTS);
  if (op === SERVER_OPS.DELIVER) return (bytes) => deliveriesOf(bytes);
  if (op === CLIENT_OPS.COMPLETE) return (bytes) => new CompleteBatch().scan(reader.open(bytes), LIMITS_OF_TESTS);
  if (op === SERVER_OPS.RESULT) return (bytes) => readResults(reader.open(bytes), () => undefined);
  if (isSettle(op)) return (bytes) => new SettleFrame().read(reader.open(bytes), op === CLIENT_OPS.NACK);
  return null;
}

export function deliveriesOf(bytes: Uint8Array): { consumerIds: number[]; deliveries: WireDelivery[] } {
  const deliveries: WireDelivery[] = [];
  const consumerIds: number[] = [];
  readDeliver(new FrameReader().open(bytes), (id, delivery) => {
    consumerIds.push(id);
    deliveries.push(delivery);
  });
  return { consumerIds, deliveries };
}

function isSettle(op: unknown): boolean {
  return op === CLIENT_OPS.START || op === CLIENT_OPS.ACK || op === CLIENT_OPS.NACK || op === CLIENT_OPS.RELEASE;
}

type WireMessage = [
  number,
  number | null,
  number,
  number,
  string | null,
  string | null,
  Record<string, unknown> | null,
  Uint8Array,
  [limit: string, key: string | null]?,
];

function encodePublish(frame: unknown[]): Uint8Array {
  const [, firstSeq, confirmedSeq, flags, messages, targets] = frame as [
    number,
    number,
    number,
    number,
    WireMessage[],
    (string | RouteTarget)[],
  ];
  const writer = new PublishFrameWriter(new FrameWriter(16));
  writer.begin(firstSeq, flags);
  for (const [target, priority, delayMs, expiresInMs, dedupKey, contentType, headers, body, rate] of messages) {
    writer.add({
      target: targets[target]!,
      priority: priority ?? -1,
      delayMs,
      expiresInMs,
      dedupKey,
      contentType,
      headers: headers && encodeValue(headers),
      body,
      rate: rate === undefined ? null : { limit: rate[0], key: rate[1] },
    });
  }
  return writer.finish(confirmedSeq);
}

type Delivery = [
  number,
  number,
  number,
  number,
  number,
  boolean,
  string | null,
  Record<string, unknown> | null,
  Uint8Array,
  DeadLetterFields[]?,
];
type DeadLetterFields = [queue: string, reason: DeadLetter['reason'], timeMs: number, count: number];

function encodeDeliver(frame: unknown[]): Uint8Array {
  const [, consumerId, deliveries, more = []] = frame as [number, number, Delivery[], unknown[]?];
  const runs = 1 + more.length / 2;
  const writer = new FrameWriter(16);
  beginDeliver(writer, runs);
  encodeRun(writer, consumerId, deliveries);
  if (runs > 1) beginMore(writer, runs);
  for (let i = 0; i < more.length; i += 2) encodeRun(writer, more[i] as number, more[i + 1] as Delivery[]);
  return writer.take();
}

function encodeRun(writer: FrameWriter, consumerId: number, deliveries: readonly Delivery[]): void {
  const at = beginRun(writer, consumerId);
  for (const [tag, id, queueIndex, priority, attempt, redelivered, contentType, headers, body, history] of deliveries) {
    writeDeliveryHead(writer, { tag, id, queueIndex, priority, attempt, redelivered }, history === undefined ? 0 : 1);
    writer.raw(encodeValue(contentType));
    writer.raw(encodeValue(headers));
    writer.bin(body);
    if (history === undefined) continue;
    writeDeadLetters(
      writer,
      history.map(([queue, reason, timeMs, count]) => ({ queue, reason, timeMs, count })),
    );
  }
  endRun(writer, at, deliveries.length);
}

function encodeSettle(frame: unknown[]): Uint8Array {
  const [op, settleSeq, pairs, requeue, delayMs, reason, cause = 'failed'] = frame as [
    number,
    number,
    number[],
    boolean,
    number,
    string | null,
    FailureCause?,
  ];
  const ranges = new TagRanges();
  for (let i = 0; i < pairs.length; i += 2) {
    for (let n = 0; n < pairs[i + 1]!; n++) ranges.add(pairs[i]! + n);
  }
  const writer = new FrameWriter(16);
  if (op === CLIENT_OPS.NACK) writeNack(writer, op, settleSeq, ranges, { requeue, delayMs, reason, cause });
  // The field behind the ranges is that of a RELEASE, START or ACK here.
  else writeSettle(writer, op, settleSeq, ranges, requeue);
  return writer.copy();
}

function encodeComplete(frame: unknown[]): Uint8Array {
  const [, settleSeq, pairs, results, follow = null, mayWait = false] = frame as [
    number,
    number,
    number[],
    ([number, string | null, null, Uint8Array] | null)[],
    (Uint8Array | null)?,
    boolean?,
  ];
  const ranges = new TagRanges();
  for (let i = 0; i < pairs.length; i += 2) for (let n = 0; n < pairs[i + 1]!; n++) ranges.add(pairs[i]! + n);
  const writer = new FrameWriter(16);
  const fields = results.map((result) => result && { ttlMs: result[0], contentType: result[1], body: result[3] });
  writeComplete(writer, settleSeq, ranges, fields, { follow, mayWait });
  return writer.copy();
}
