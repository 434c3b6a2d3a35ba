/** The three values of a payload, content type, headers and body, from its first bytes. */
import { decodeValue, FrameReader, LIMITS, type MessageInfo, type PeekedMessage } from '@lovage/protocol';

/** Bytes of the length in a MessagePack head of bytes or text, by its first byte; short texts have it in that byte. */
const LENGTH_BYTES: Readonly<Record<number, number>> = { 196: 1, 197: 2, 198: 4, 217: 1, 218: 2, 219: 4 };

/** The headers, as MessagePack; null if there are none, undefined if they do not end in `bytes`. `length`: bytes of the whole payload. */
export function headersIn(bytes: Uint8Array, length: number): Uint8Array | null | undefined {
  const reader = new FrameReader().open(bytes);
  try {
    reader.skip('content type');
    const start = reader.position;
    if (reader.nil()) return null;
    reader.skip('headers');
    return bytes.subarray(start, reader.position);
  } catch (error) {
    if (bytes.length < length) return undefined;
    throw error;
  }
}

/** `length`: bytes of the whole payload. Null if the body does not begin in `bytes`. */
export function peekedContents(bytes: Uint8Array, length: number): Omit<PeekedMessage, keyof MessageInfo> | null {
  const reader = new FrameReader().open(bytes);
  const at = [0];
  try {
    for (const what of ['content type', 'headers']) {
      reader.skip(what);
      at.push(reader.position);
    }
  } catch (error) {
    if (bytes.length < length) return null;
    throw error;
  }
  const start = at[2]! + 1 + (LENGTH_BYTES[bytes[at[2]!]!] ?? 0);
  if (start > bytes.length) return null;
  return {
    contentType: decodeValue(bytes.subarray(0, at[1])) as string | null,
    headers: decodeValue(bytes.subarray(at[1], at[2])) as Readonly<Record<string, unknown>> | null,
    body: bytes.slice(start, Math.min(bytes.length, start + LIMITS.peekBodyMax)),
    bodyBytes: length - start,
  };
}
