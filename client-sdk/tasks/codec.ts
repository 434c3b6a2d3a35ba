/** Arguments and results as bytes. Each payload says by its content type how it is to be read, so that apps of different codecs understand each other. */
import { CONTENT_TYPES, decodeValue, encodeValue, LovageError } from '@lovage/protocol';
import { textOf } from '../errors.js';

/** How an app encodes what it sends, at once and not by a promise. `decode` is asked for payloads of its own content type. */
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

/** Throws what the codec throws, and INVALID_ARGUMENT if it gives no bytes. */
export function encodePayload(codec: TaskCodec, value: unknown): Uint8Array {
  const bytes: unknown = codec.encode(value);
  if (bytes instanceof Uint8Array) return bytes;
  const given = bytes instanceof Promise ? 'a promise' : `a value of type ${typeof bytes}`;
  throw new LovageError(
    'INVALID_ARGUMENT',
    `Cannot encode with the codec "${codec.contentType}": it gave ${given}, expected bytes`,
  );
}

/** Reads a payload by its content type: the app's own codec, MessagePack or JSON. Throws BAD_FRAME for another one, and for bytes that the codec cannot read. */
export function decodePayload(own: TaskCodec, contentType: string | null, bytes: Uint8Array): unknown {
  const codec = [own, MSGPACK, JSON_CODEC].find((known) => known.contentType === contentType);
  if (codec === undefined)
    throw new LovageError(
      'BAD_FRAME',
      `Cannot read a payload of content type "${contentType}": no codec of the app has it`,
    );
  try {
    return codec.decode(bytes);
  } catch (cause) {
    throw new LovageError('BAD_FRAME', `Cannot read a payload of content type "${contentType}": ${textOf(cause)}`, {
      cause,
    });
  }
}
