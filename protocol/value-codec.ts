/**
 * Values of any shape: request fields, headers, bodies of content type `application/msgpack`. Encoded and decoded by msgpackr with its
 * private record extension and extra types off; every frame is scanned before it is decoded, so that a few bytes cannot make it build a giant.
 */
import { Packr } from 'msgpackr';
import { LovageError } from './errors.js';
import { FrameReader } from './frame-reader.js';

const packr = new Packr({ useRecords: false, moreTypes: false, variableMapSize: true, int64AsType: 'number' });
const scanner = new FrameReader();

/** Levels of nesting in a body's value. Requests and headers have their own, smaller bound. */
const BODY_DEPTH_MAX = 128;

/** MessagePack of a value: null, booleans, numbers, strings, `Uint8Array`, `Date`, arrays and plain objects. `undefined` becomes nil. */
export function encodeValue(value: unknown): Uint8Array {
  try {
    return packr.pack(value);
  } catch (cause) {
    throw new LovageError('INVALID_ARGUMENT', 'Cannot encode the value as MessagePack', { cause });
  }
}

/** The value in `bytes`, a body that `encodeValue` made. Throws BAD_FRAME for anything else. */
export function decodeValue(bytes: Uint8Array): unknown {
  scanner.open(bytes, Number.MAX_SAFE_INTEGER).skip('body', BODY_DEPTH_MAX, true);
  scanner.end();
  return unpack(bytes);
}

/** A whole frame of a form that is not on the hot path: `[op, ...fields]`, within the protocol's limits of depth and size. */
export function decodeFrame(bytes: Uint8Array): unknown[] {
  scanner.open(bytes).skip('frame');
  scanner.end();
  const frame = unpack(bytes);
  if (!Array.isArray(frame) || frame.length === 0)
    throw new LovageError('BAD_FRAME', 'Cannot read the frame: expected an array [op, ...fields]');
  return frame;
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

function unpack(bytes: Uint8Array): unknown {
  try {
    return packr.unpack(bytes);
  } catch (cause) {
    throw new LovageError('BAD_FRAME', 'Cannot decode the MessagePack value', { cause });
  }
}
