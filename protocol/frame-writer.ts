// hot path
/**
 * Writes MessagePack into a growing buffer. Only the shapes that frames of a known form need; other values go through `value-codec.ts`.
 * A number that is not known yet is written at its full width and filled in later (`patch…`): MessagePack allows that.
 */
import { LovageError } from './errors.js';

const TWO_32 = 4_294_967_296;
const encoder = new TextEncoder();

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
    const frame = this.bytes.slice(0, this.length);
    this.length = 0;
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

  /** A whole number from 0 to 2^53-1, in its shortest form. */
  uint(value: number): void {
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

  /** A whole number that may be negative, from -2^31. */
  int(value: number): void {
    if (value >= 0) return this.uint(value);
    this.ensure(5);
    if (value >= -32) {
      this.bytes[this.length++] = value;
      return;
    }
    this.bytes[this.length++] = 0xd2;
    this.#uint32(value >>> 0);
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
    if (length < 32 && this.#ascii(text)) return;
    // The header's width depends on the encoded length, so the text goes in after the widest header first.
    const at = this.length;
    const { written } = encoder.encodeInto(text, this.bytes.subarray(at + 5));
    const bytes = written;
    this.#strHeader(bytes);
    if (this.length !== at + 5) this.bytes.copyWithin(this.length, at + 5, at + 5 + bytes);
    this.length += bytes;
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

  #ascii(text: string): boolean {
    const { bytes } = this;
    const start = this.length;
    let at = start + 1;
    for (let i = 0; i < text.length; i++) {
      const code = text.charCodeAt(i);
      if (code > 0x7f) return false;
      bytes[at++] = code;
    }
    bytes[start] = 0xa0 | text.length;
    this.length = at;
    return true;
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
