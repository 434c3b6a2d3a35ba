/** PUBLISH frames for the engine: written and scanned by the real codec. */
import {
  decodeValue,
  encodeValue,
  FrameReader,
  FrameWriter,
  PublishBatch,
  PublishFrameWriter,
  type RateTag,
} from '@lovage/protocol';

export interface TestMessage {
  /** Name of a queue; the routing key when `exchange` is given. */
  readonly queue: string;
  readonly exchange?: string | undefined;
  readonly headers?: Readonly<Record<string, unknown>> | undefined;
  /** -1 for the queue's default. */
  readonly priority?: number;
  readonly delayMs?: number;
  readonly expiresInMs?: number;
  readonly dedupKey?: string | null;
  readonly body?: string;
  readonly rate?: RateTag | null;
}

export interface TestFrame {
  readonly firstSeq: number;
  readonly confirmedSeq?: number;
  readonly flags?: number;
  readonly bodyBytesMax?: number;
  readonly messages: readonly TestMessage[];
}

export function publishBatch(frame: TestFrame): PublishBatch {
  const writer = new PublishFrameWriter(new FrameWriter(256));
  writer.begin(frame.firstSeq, frame.flags ?? 0);
  for (const message of frame.messages) {
    writer.add({
      target: message.exchange === undefined ? message.queue : [message.exchange, message.queue],
      priority: message.priority ?? -1,
      delayMs: message.delayMs ?? 0,
      expiresInMs: message.expiresInMs ?? 0,
      dedupKey: message.dedupKey ?? null,
      contentType: null,
      headers: message.headers === undefined ? null : encodeValue(message.headers),
      body: message.body ?? '',
      rate: message.rate ?? null,
    });
  }
  const bytes = writer.finish(frame.confirmedSeq ?? 0);
  return new PublishBatch().scan(new FrameReader().open(bytes), {
    bodyBytesMax: frame.bodyBytesMax ?? 1_000_000,
    headerBytesMax: 1_000,
  });
}

/** `contentType headers body` of message `i` as they stand in the frame. */
export function payloadOf(
  batch: Pick<PublishBatch, 'bytes' | 'payloadOffset' | 'payloadLength'>,
  i: number,
): Uint8Array {
  const start = batch.payloadOffset[i]!;
  return batch.bytes.slice(start, start + batch.payloadLength[i]!);
}

/** The headers of a payload; none are an empty map. */
export function headersOf(payload: Uint8Array): Readonly<Record<string, unknown>> {
  const reader = new FrameReader().open(payload);
  reader.skip('content type');
  const start = reader.position;
  reader.skip('headers');
  return (decodeValue(payload.subarray(start, reader.position)) ?? {}) as Record<string, unknown>;
}
