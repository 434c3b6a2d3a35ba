/**
 * Values of any shape: request fields, headers, bodies of content type `application/msgpack`.
 *
 * Encoding is strict: a value that would arrive as something else, or that `decodeValue` would refuse, is refused before it is sent.
 * (msgpackr's encoder writes `undefined` and functions as an extension, and other typed arrays than Uint8Array as bytes that lay in the buffer.)
 * Decoding is msgpackr's, with its private record extension and extra types off; every frame is scanned first, so that a few bytes cannot
 * make it build a giant.
 */
import { Unpackr } from 'msgpackr';
import { LovageError } from './errors.js';
import { FrameReader } from './frame-reader.js';
import { FrameWriter } from './frame-writer.js';
import { LIMITS } from './limits.js';

const unpackr = new Unpackr({ useRecords: false, moreTypes: false, int64AsType: 'number' });
const scanner = new FrameReader();

/** Encoded values are cut from one buffer after the other, as `Buffer.from` cuts small ones. */
const SLAB_BYTES = 8_192;
const SLAB_BYTES_LEFT_MIN = 1_024;
let writer = new FrameWriter(SLAB_BYTES);
let elementsLeft = 0;
let isEncoding = false;

/**
 * MessagePack of a value: null, booleans, numbers, strings, `Uint8Array`, `ArrayBuffer`, `Date`, arrays and objects of such values, at most
 * 2,097,152 of them and 128 levels deep. `undefined` becomes nil, -0 becomes 0; an instance of a class goes by its `toJSON`, else by its own
 * fields. Throws INVALID_ARGUMENT for anything else (bigint, function, symbol, Map, Set, Error, other typed arrays, a key `__proto__`).
 * The bytes are a view into a buffer that is shared: send or copy them, do not transfer `bytes.buffer`.
 */
export function encodeValue(value: unknown): Uint8Array {
  // A `toJSON` or a getter may encode something itself, in the middle of this.
  if (isEncoding) return encodeApart(value);
  const start = writer.length;
  elementsLeft = LIMITS.bodyElementsMax;
  isEncoding = true;
  try {
    writeValue(value, LIMITS.bodyDepthMax);
  } catch (cause) {
    writer.length = start;
    if (cause instanceof LovageError) throw cause;
    throw new LovageError('INVALID_ARGUMENT', 'Cannot encode the value as MessagePack', { cause });
  } finally {
    isEncoding = false;
  }
  const bytes = writer.bytes.subarray(start, writer.length);
  if (writer.bytes.length > SLAB_BYTES || SLAB_BYTES - writer.length < SLAB_BYTES_LEFT_MIN) writer.take();
  return bytes;
}

function encodeApart(value: unknown): Uint8Array {
  const outerWriter = writer;
  const outerElementsLeft = elementsLeft;
  writer = new FrameWriter(SLAB_BYTES);
  isEncoding = false;
  try {
    return encodeValue(value);
  } finally {
    writer = outerWriter;
    elementsLeft = outerElementsLeft;
    isEncoding = true;
  }
}

/** The value in `bytes`, a body of content type `application/msgpack`. Throws BAD_FRAME for what `encodeValue` would not have made. */
export function decodeValue(bytes: Uint8Array): unknown {
  scanner.open(bytes, LIMITS.bodyElementsMax).skip('body', LIMITS.bodyDepthMax, true);
  scanner.end();
  return unpack(bytes);
}

/** A whole frame of a form that is not on the hot path: `[op, ...fields]`, within the protocol's limits of depth and size. */
export function decodeFrame(bytes: Uint8Array): unknown[] {
  checkFrame(bytes);
  const frame = unpack(bytes);
  if (!Array.isArray(frame) || frame.length === 0)
    throw new LovageError('BAD_FRAME', 'Cannot read the frame: expected an array [op, ...fields]');
  return frame;
}

/** Throws BAD_FRAME unless the bytes are one whole value within the protocol's limits, its text in UTF-8. Builds nothing. */
export function checkFrame(bytes: Uint8Array): void {
  scanner.open(bytes, LIMITS.elementsMax, true).skip('frame');
  scanner.end();
}

/** `[op, ...fields]` as bytes. */
export function encodeFrame(fields: readonly unknown[]): Uint8Array {
  return encodeValue(fields);
}

/** The op of a frame without decoding the rest. Throws BAD_FRAME. */
export function readOp(bytes: Uint8Array): number {
  scanner.open(bytes);
  if (scanner.arrayHeader('frame', 64) === 0) throw scanner.bad('an op');
  return scanner.uint('op', 0xffff);
}

function writeValue(value: unknown, depthLeft: number): void {
  if (--elementsLeft < 0) throw refused(`more than ${LIMITS.bodyElementsMax} values`, 'fewer');
  switch (typeof value) {
    case 'string':
      return writer.str(value);
    case 'number':
      return Number.isSafeInteger(value) ? writer.int(value) : writer.float64(value);
    case 'boolean':
      return writer.bool(value);
    case 'undefined':
      return writer.nil();
    case 'object':
      return value === null ? writer.nil() : writeObject(value, depthLeft);
    default:
      throw refused(`a ${typeof value}`);
  }
}

function writeObject(value: object, depthLeft: number): void {
  if (depthLeft === 0) throw refused(`more than ${LIMITS.bodyDepthMax} levels of nesting (or a cycle)`, 'fewer');
  if (Array.isArray(value)) return writeArray(value, depthLeft);
  const prototype = Object.getPrototypeOf(value);
  if (prototype === Object.prototype || prototype === null)
    return writeMap(value as Record<string, unknown>, depthLeft);
  if (value instanceof Uint8Array) return writer.bin(value);
  if (value instanceof Date) return writer.timestamp(value);
  if (value instanceof ArrayBuffer) return writer.bin(new Uint8Array(value));
  if ('toJSON' in value && typeof value.toJSON === 'function') return writeValue(value.toJSON(), depthLeft - 1);
  const tag = Object.prototype.toString.call(value).slice(8, -1);
  if (tag !== 'Object') throw refused(`a value of type ${tag}`);
  writeMap(value as Record<string, unknown>, depthLeft);
}

function writeArray(values: readonly unknown[], depthLeft: number): void {
  const count = values.length;
  writer.arrayHeader(count);
  for (let i = 0; i < count; i++) writeValue(values[i], depthLeft - 1);
}

function writeMap(map: Record<string, unknown>, depthLeft: number): void {
  const keys = Object.keys(map);
  writer.mapHeader(keys.length);
  for (const key of keys) {
    if (key === '__proto__') throw refused('an object with the key "__proto__"', 'none');
    writer.str(key);
    writeValue(map[key], depthLeft - 1);
  }
}

function refused(found: string, expected = 'null, boolean, number, string, bytes, Date, array or object'): LovageError {
  return new LovageError('INVALID_ARGUMENT', `Cannot encode the value as MessagePack: ${found}, expected ${expected}`);
}

function unpack(bytes: Uint8Array): unknown {
  try {
    return unpackr.unpack(bytes);
  } catch (cause) {
    throw new LovageError('BAD_FRAME', 'Cannot decode the MessagePack value', { cause });
  }
}
