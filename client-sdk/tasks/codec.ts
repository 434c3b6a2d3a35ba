/** Arguments and results as bytes. Each payload says by its content type how it is to be read, so that apps of different codecs understand each other. */
import { CONTENT_TYPES, decodeValue, encodeValue, LovageError } from '@lovage/protocol';

/** How an app encodes what it sends. `decode` is asked for payloads of its own content type. */
export interface TaskCodec {
  /** At most 200 characters of printable ASCII. */
  readonly contentType: string;
  encode(value: unknown): Uint8Array;
  decode(bytes: Uint8Array): unknown;
}

const textEncoder = new TextEncoder();
const textDecoder = new TextDecoder();

export const MSGPACK: TaskCodec = { contentType: CONTENT_TYPES.value, encode: encodeValue, decode: decodeValue };

export const JSON_CODEC: TaskCodec = {
  contentType: 'application/json',
  encode: (value) => textEncoder.encode(JSON.stringify(value) ?? 'null'),
  decode: (bytes) => JSON.parse(textDecoder.decode(bytes)),
};

/** Reads a payload by its content type: the app's own codec, MessagePack or JSON. Throws BAD_FRAME for another one. */
export function decodePayload(own: TaskCodec, contentType: string | null, bytes: Uint8Array): unknown {
  const codec = [own, MSGPACK, JSON_CODEC].find((known) => known.contentType === contentType);
  if (codec !== undefined) return codec.decode(bytes);
  throw new LovageError(
    'BAD_FRAME',
    `Cannot read a payload of content type "${contentType}": no codec of the app has it`,
  );
}
