/** COMPLETE frames for the engine: written and scanned by the real codec. */
import { CompleteBatch, FrameReader, FrameWriter, TagRanges, writeComplete } from '@lovage/protocol';

/** A body of null keeps nothing. */
export type TestResult = readonly [tag: number, body: string | null, ttlMs?: number];

export function completeBatch(
  settleSeq: number,
  results: readonly TestResult[],
  follow: Uint8Array | null = null,
): CompleteBatch {
  const writer = new FrameWriter(256);
  const ranges = new TagRanges();
  for (const [tag] of results) ranges.add(tag);
  const fields = results.map(([, body, ttlMs = 0]) =>
    body === null ? null : { ttlMs, contentType: null, body: Buffer.from(body) },
  );
  writeComplete(writer, settleSeq, ranges, fields, { follow });
  const limits = { bodyBytesMax: 1_000_000, headerBytesMax: 1_000 };
  return new CompleteBatch().scan(new FrameReader().open(writer.copy()), limits);
}

/** The body of a payload without content type and headers. */
export function bodyOf(payload: Uint8Array | undefined): string | null {
  if (payload === undefined) return null;
  const reader = new FrameReader().open(payload);
  reader.nil();
  reader.skipHeaders();
  return Buffer.from(reader.bin('body')).toString();
}
