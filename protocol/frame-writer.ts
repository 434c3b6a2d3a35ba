// hot path
/**
 * Writes MessagePack into a growing buffer. Only the shapes that frames of a known form need; other values go through `value-codec.ts`.
 * A number that is not known yet is written at its full width and filled in later (`patch…`): MessagePack allows that.
 */
import { LovageError } from './errors.js';

const TWO_32 = 4_294_967_296;
/** Text up to this length is written by a loop, longer text by TextEncoder, whose call costs as much as some hundred characters. */
const LOOP_CHARACTERS_MAX = 127;
/** A reused buffer that one big frame has made larger than this is given up. */
const KEPT_BYTES_MAX = 4 * 1024 * 1024;
const encoder = new TextEncoder();

const FLOAT = new Float64Array(1);
const FLOAT_BYTES = new Uint8Array(FLOAT.buffer);
const IS_LITTLE_ENDIAN = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1;

/** Makes the buffers. In Node `Buffer.allocUnsafeSlow` saves the zero fill; a browser has `new Uint8Array`. */
export type Allocate = (bytes: number) => Uint8Array;

const allocateZeroed: Allocate = (bytes) => new Uint8Array(bytes);

export class FrameWriter {
  readonly #allocate: Allocate;
  readonly #firstBytes: number;
  bytes: Uint8Array;
  /** Bytes written so far. */
  length = 0;

  constructor(firstBytes = 4_096, allocate: Allocate = allocateZeroed) {
    this.#allocate = allocate;
    this.#firstBytes = firstBytes;
    this.bytes = allocate(firstBytes);
  }

  /** The finished frame. The writer starts over with a fresh buffer of `nextBytes`, so the frame stays valid. */
  take(nextBytes: number = this.#firstBytes): Uint8Array {
    const frame = this.bytes.subarray(0, this.length);
    this.bytes = this.#allocate(nextBytes);
    this.length = 0;
    return frame;
  }

  /** A copy of what was written, exactly as long; the buffer is used again. */
  copy(): Uint8Array {
    // `slice` of a Buffer, which `Allocate` may give, would be a view.
    const frame = new Uint8Array(this.bytes.subarray(0, this.length));
    this.length = 0;
    if (this.bytes.length > KEPT_BYTES_MAX) this.bytes = this.#allocate(this.#firstBytes);
    return frame;
  }

  reset(): void {
    this.length = 0;
  }

  /** Makes room for `more` bytes; every method below has called it for its own. */
  ensure(more: number): void {
    const needed = this.length + more;
    if (needed <= this.bytes.length) return;
    const grown = this.#allocate(Math.max(needed, this.bytes.length * 2));
    grown.set(this.bytes.length === this.length ? this.bytes : this.bytes.subarray(0, this.length));
    this.bytes = grown;
  }

  nil(): void {
    this.ensure(1);
    this.bytes[this.length++] = 0xc0;
  }

  bool(value: boolean): void {
    this.ensure(1);
    this.bytes[this.length++] = value ? 0xc3 : 0xc2;
  }

  /** A whole number from 0 to 2^53-1, in its shortest form. Throws INVALID_ARGUMENT for anything else. */
  uint(value: number): void {
    if (!Number.isSafeInteger(value) || value < 0) throw notWhole(value, '0');
    this.ensure(9);
    const { bytes } = this;
    if (value < 0x80) {
      bytes[this.length++] = value;
    } else if (value < 0x100) {
      bytes[this.length++] = 0xcc;
      bytes[this.length++] = value;
    } else if (value < 0x1_0000) {
      bytes[this.length++] = 0xcd;
      bytes[this.length++] = value >>> 8;
      bytes[this.length++] = value;
    } else if (value < TWO_32) {
      bytes[this.length++] = 0xce;
      this.#uint32(value);
    } else {
      bytes[this.length++] = 0xcf;
      this.#uint32(Math.floor(value / TWO_32));
      this.#uint32(value >>> 0);
    }
  }

  /** A whole number from -(2^53-1) to 2^53-1. Throws INVALID_ARGUMENT for anything else. */
  int(value: number): void {
    if (value >= 0) return this.uint(value);
    if (!Number.isSafeInteger(value)) throw notWhole(value, '-(2^53-1)');
    this.ensure(9);
    if (value >= -32) {
      this.bytes[this.length++] = value;
    } else if (value >= -0x8000_0000) {
      this.bytes[this.length++] = 0xd2;
      this.#uint32(value >>> 0);
    } else {
      this.bytes[this.length++] = 0xd3;
      this.#uint32(Math.floor(value / TWO_32) >>> 0);
      this.#uint32(value >>> 0);
    }
  }

  float64(value: number): void {
    this.ensure(9);
    FLOAT[0] = value;
    this.bytes[this.length++] = 0xcb;
    for (let i = 0; i < 8; i++) this.bytes[this.length++] = FLOAT_BYTES[IS_LITTLE_ENDIAN ? 7 - i : i]!;
  }

  /** A moment, as the timestamp extension of 32, 64 or 96 bits, the shortest that fits. Throws INVALID_ARGUMENT for an invalid date. */
  timestamp(date: Date): void {
    const ms = date.getTime();
    if (Number.isNaN(ms)) throw new LovageError('INVALID_ARGUMENT', 'Cannot encode the date: it is invalid');
    this.ensure(15);
    const seconds = Math.floor(ms / 1_000);
    const nanoseconds = (ms - seconds * 1_000) * 1_000_000;
    if (seconds >= 0 && seconds < TWO_32 && nanoseconds === 0) {
      this.#extension(0xd6);
      this.#uint32(seconds);
    } else if (seconds >= 0 && seconds < TWO_32 * 4) {
      this.#extension(0xd7);
      // 30 bits of nanoseconds, then 34 bits of seconds.
      this.#uint32(((nanoseconds << 2) | Math.floor(seconds / TWO_32)) >>> 0);
      this.#uint32(seconds >>> 0);
    } else {
      this.bytes[this.length++] = 0xc7;
      this.#extension(12);
      this.#uint32(nanoseconds);
      this.#uint32(Math.floor(seconds / TWO_32) >>> 0);
      this.#uint32(seconds >>> 0);
    }
  }

  /** 9 bytes for a number that `patchUint64` fills in; returns where. */
  reserveUint64(): number {
    this.ensure(9);
    const at = this.length;
    this.bytes[at] = 0xcf;
    this.length += 9;
    return at;
  }

  patchUint64(at: number, value: number): void {
    const end = this.length;
    this.length = at + 1;
    this.#uint32(Math.floor(value / TWO_32));
    this.#uint32(value >>> 0);
    this.length = end;
  }

  arrayHeader(count: number): void {
    this.ensure(5);
    if (count < 16) {
      this.bytes[this.length++] = 0x90 | count;
    } else if (count < 0x1_0000) {
      this.bytes[this.length++] = 0xdc;
      this.bytes[this.length++] = count >>> 8;
      this.bytes[this.length++] = count;
    } else {
      this.bytes[this.length++] = 0xdd;
      this.#uint32(count);
    }
  }

  mapHeader(count: number): void {
    this.ensure(5);
    if (count < 16) {
      this.bytes[this.length++] = 0x80 | count;
    } else if (count < 0x1_0000) {
      this.bytes[this.length++] = 0xde;
      this.bytes[this.length++] = count >>> 8;
      this.bytes[this.length++] = count;
    } else {
      this.bytes[this.length++] = 0xdf;
      this.#uint32(count);
    }
  }

  /** 5 bytes for an array header that `patchArray32` fills in; returns where. */
  reserveArray32(): number {
    this.ensure(5);
    const at = this.length;
    this.bytes[at] = 0xdd;
    this.length += 5;
    return at;
  }

  patchArray32(at: number, count: number): void {
    const end = this.length;
    this.length = at + 1;
    this.#uint32(count);
    this.length = end;
  }

  str(text: string): void {
    const { length } = text;
    this.ensure(5 + length * 3);
    if (length <= LOOP_CHARACTERS_MAX && this.#ascii(text)) return;
    // The header's width depends on the encoded length, so the text goes in after the widest header first.
    const at = this.length;
    const { written } = encoder.encodeInto(text, this.bytes.subarray(at + 5));
    this.#strHeader(written);
    if (this.length !== at + 5) this.bytes.copyWithin(this.length, at + 5, at + 5 + written);
    this.length += written;
  }

  bin(body: Uint8Array): void {
    const { length } = body;
    this.ensure(5 + length);
    this.binHeader(length);
    this.bytes.set(body, this.length);
    this.length += length;
  }

  binHeader(length: number): void {
    this.ensure(5);
    if (length < 0x100) {
      this.bytes[this.length++] = 0xc4;
      this.bytes[this.length++] = length;
    } else if (length < 0x1_0000) {
      this.bytes[this.length++] = 0xc5;
      this.bytes[this.length++] = length >>> 8;
      this.bytes[this.length++] = length;
    } else if (length < TWO_32) {
      this.bytes[this.length++] = 0xc6;
      this.#uint32(length);
    } else {
      throw new LovageError('BODY_TOO_LARGE');
    }
  }

  /** Text as a bin, UTF-8: what a string body is on the wire. */
  textAsBin(text: string): void {
    this.ensure(5 + text.length * 3);
    const at = this.length;
    const { written } = encoder.encodeInto(text, this.bytes.subarray(at + 5));
    this.binHeader(written);
    if (this.length !== at + 5) this.bytes.copyWithin(this.length, at + 5, at + 5 + written);
    this.length += written;
  }

  /** Bytes that are MessagePack already. */
  raw(bytes: Uint8Array): void {
    this.ensure(bytes.length);
    this.bytes.set(bytes, this.length);
    this.length += bytes.length;
  }

  /** Short text that is all ASCII; false, and nothing written, if it is not. */
  #ascii(text: string): boolean {
    const { bytes } = this;
    const { length } = text;
    const start = this.length;
    let at = length < 32 ? start + 1 : start + 2;
    for (let i = 0; i < length; i++) {
      const code = text.charCodeAt(i);
      if (code > 0x7f) return false;
      bytes[at++] = code;
    }
    this.#strHeader(length);
    this.length = at;
    return true;
  }

  #extension(header: number): void {
    this.bytes[this.length++] = header;
    this.bytes[this.length++] = 0xff;
  }

  #strHeader(bytes: number): void {
    if (bytes < 32) {
      this.bytes[this.length++] = 0xa0 | bytes;
    } else if (bytes < 0x100) {
      this.bytes[this.length++] = 0xd9;
      this.bytes[this.length++] = bytes;
    } else if (bytes < 0x1_0000) {
      this.bytes[this.length++] = 0xda;
      this.bytes[this.length++] = bytes >>> 8;
      this.bytes[this.length++] = bytes;
    } else {
      this.bytes[this.length++] = 0xdb;
      this.#uint32(bytes);
    }
  }

  #uint32(value: number): void {
    const { bytes } = this;
    bytes[this.length++] = value >>> 24;
    bytes[this.length++] = value >>> 16;
    bytes[this.length++] = value >>> 8;
    bytes[this.length++] = value;
  }
}

function notWhole(value: number, from: string): LovageError {
  return new LovageError(
    'INVALID_ARGUMENT',
    `Cannot write the number ${value}: expected a whole number from ${from} to 2^53-1`,
  );
}
