// hot path
/**
 * A cursor over one MessagePack frame that may come from anybody. It allocates nothing while it skips, checks every declared length
 * against the bytes left before it believes it, and throws BAD_FRAME with the byte position for whatever does not fit.
 */
import { LovageError } from './errors.js';
import { LIMITS } from './limits.js';

const TWO_32 = 4_294_967_296;
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
/** Text up to this length is built eight characters at a time: half the cost of TextDecoder at 20 ASCII characters (49 ns against 110). */
const LOOP_BYTES_MAX = 48;
/** `__proto__` in UTF-8: MessagePack libraries rename such a key in silence, so a frame that has one is refused. */
const PROTO = [0x5f, 0x5f, 0x70, 0x72, 0x6f, 0x74, 0x6f, 0x5f, 0x5f];

export class FrameReader {
  bytes: Uint8Array = new Uint8Array(0);
  /** Next byte to read. */
  position = 0;
  #elementsMax = 0;
  #elementsLeft = 0;
  #checksText = false;

  /** Starts on a frame. `elementsMax` bounds the values that `skip` may pass over in it; with `checksText` it refuses text that is no UTF-8. */
  open(bytes: Uint8Array, elementsMax: number = LIMITS.elementsMax, checksText = false): this {
    this.bytes = bytes;
    this.position = 0;
    this.#checksText = checksText;
    this.#elementsMax = elementsMax;
    this.#elementsLeft = elementsMax;
    return this;
  }

  get bytesLeft(): number {
    return this.bytes.length - this.position;
  }

  /** Every byte must have been read. */
  end(): void {
    if (this.position !== this.bytes.length) throw this.bad('the end of the frame');
  }

  /** Whether an array comes next. */
  get isArray(): boolean {
    const byte = this.bytes[this.position] ?? 0;
    return (byte >= 0x90 && byte <= 0x9f) || byte === 0xdc || byte === 0xdd;
  }

  /** The number of elements of an array, at most `max`. */
  arrayHeader(what: string, max: number): number {
    const byte = this.#byte(what);
    let count: number;
    if (byte >= 0x90 && byte <= 0x9f) count = byte & 0x0f;
    else if (byte === 0xdc) count = this.#uint16(what);
    else if (byte === 0xdd) count = this.#uint32(what);
    else throw this.bad(`an array (${what})`);
    // Each element takes a byte at least, so a larger count is a lie.
    if (count > max || count > this.bytesLeft) throw this.bad(`${what} of at most ${max} elements`);
    return count;
  }

  /** A whole number from 0 to `max` (2^53-1 at most), in any of MessagePack's integer formats. */
  uint(what: string, max: number = Number.MAX_SAFE_INTEGER): number {
    const value = this.#uintAny(what);
    if (value > max) throw this.bad(`${what} of at most ${max}`);
    return value;
  }

  /** A whole number from -(2^53-1) to 2^53-1, in any of MessagePack's integer formats. */
  int(what: string): number {
    const byte = this.bytes[this.position] ?? -1;
    if (byte >= 0xe0) {
      this.position++;
      return byte - 0x100;
    }
    if (byte < 0xd0 || byte > 0xd3) return this.#uintAny(what);
    this.position++;
    return this.#signed(byte, what);
  }

  bool(what: string): boolean {
    const byte = this.#byte(what);
    if (byte === 0xc2) return false;
    if (byte === 0xc3) return true;
    throw this.bad(`true or false (${what})`);
  }

  /** Passes over a nil and says whether there was one. */
  nil(): boolean {
    if (this.bytes[this.position] !== 0xc0) return false;
    this.position++;
    return true;
  }

  /** Text of at most `bytesMax` bytes of UTF-8. */
  str(what: string, bytesMax: number): string {
    const length = this.#strLength(what);
    if (length > bytesMax) throw this.bad(`${what} of at most ${bytesMax} bytes`);
    const start = this.position;
    this.#advance(length, what);
    return this.#text(start, start + length, what);
  }

  /**
   * Text or nil where the same text comes again and again: `last` itself is returned if the bytes spell it. Comparing is cheaper than building
   * a string, and the reader of a thousand deliveries keeps one.
   */
  strOrNilLike(last: string | null, what: string, bytesMax: number): string | null {
    if (this.nil()) return null;
    if (last === null) return this.str(what, bytesMax);
    const start = this.position;
    const length = this.#strLength(what);
    if (length === last.length && length <= this.bytesLeft && this.#spells(last)) {
      this.position += length;
      return last;
    }
    this.position = start;
    return this.str(what, bytesMax);
  }

  /** Text or nil. */
  strOrNil(what: string, bytesMax: number): string | null {
    return this.nil() ? null : this.str(what, bytesMax);
  }

  /** Passes over text of at most `bytesMax` bytes without decoding it and returns how many bytes it has. */
  skipStr(what: string, bytesMax: number): number {
    const length = this.#strLength(what);
    if (length > bytesMax) throw this.bad(`${what} of at most ${bytesMax} bytes`);
    this.#advance(length, what);
    return length;
  }

  /**
   * Passes over a message's headers, nil or a map. Each message may have as many elements as a frame of another op: a batch whose messages
   * all have headers is no bomb, because nothing is built here.
   */
  skipHeaders(): void {
    if (this.nil()) return;
    const byte = this.bytes[this.position] ?? 0;
    if (!((byte >= 0x80 && byte <= 0x8f) || byte === 0xde || byte === 0xdf)) throw this.bad('a map (headers)');
    this.#elementsLeft = this.#elementsMax;
    this.skip('headers');
  }

  /** Length of a bin; the cursor stands on its first byte. */
  binHeader(what: string): number {
    const byte = this.#byte(what);
    let length: number;
    if (byte === 0xc4) length = this.#byte(what);
    else if (byte === 0xc5) length = this.#uint16(what);
    else if (byte === 0xc6) length = this.#uint32(what);
    else throw this.bad(`bytes (${what})`);
    if (length > this.bytesLeft) throw this.bad(`${what} within the frame`);
    return length;
  }

  /** A view of a bin's bytes. */
  bin(what: string): Uint8Array {
    const length = this.binHeader(what);
    this.position += length;
    return this.bytes.subarray(this.position - length, this.position);
  }

  /** Passes over one value of any kind, `depthMax` levels deep at most. Extensions are refused but for the timestamp (-1) where allowed. */
  skip(what: string, depthMax: number = LIMITS.depthMax, timestamps = false): void {
    if (--this.#elementsLeft < 0) throw this.bad('fewer elements');
    const byte = this.#byte(what);
    if (byte <= 0x7f || byte >= 0xe0) return;
    if (byte <= 0x8f) return this.#skipMap(byte & 0x0f, what, depthMax, timestamps);
    if (byte <= 0x9f) return this.#skipArray(byte & 0x0f, what, depthMax, timestamps);
    if (byte <= 0xbf) return this.#skipText(byte & 0x1f, what);
    switch (byte) {
      case 0xc0:
      case 0xc2:
      case 0xc3:
        return;
      case 0xc4:
        return this.#advance(this.#byte(what), what);
      case 0xc5:
        return this.#advance(this.#uint16(what), what);
      case 0xc6:
        return this.#advance(this.#uint32(what), what);
      case 0xd9:
        return this.#skipText(this.#byte(what), what);
      case 0xda:
        return this.#skipText(this.#uint16(what), what);
      case 0xdb:
        return this.#skipText(this.#uint32(what), what);
      case 0xcc:
      case 0xd0:
        return this.#advance(1, what);
      case 0xcd:
      case 0xd1:
        return this.#advance(2, what);
      case 0xca:
      case 0xce:
      case 0xd2:
        return this.#advance(4, what);
      case 0xcb:
      case 0xcf:
      case 0xd3:
        return this.#advance(8, what);
      case 0xdc:
        return this.#skipArray(this.#uint16(what), what, depthMax, timestamps);
      case 0xdd:
        return this.#skipArray(this.#uint32(what), what, depthMax, timestamps);
      case 0xde:
        return this.#skipMap(this.#uint16(what), what, depthMax, timestamps);
      case 0xdf:
        return this.#skipMap(this.#uint32(what), what, depthMax, timestamps);
      case 0xd6:
      case 0xd7:
      case 0xc7:
        if (timestamps) return this.#skipTimestamp(byte, what);
        throw this.bad(`${what} without extension types`);
      default:
        throw this.bad(`${what} without extension types`);
    }
  }

  bad(expected: string): LovageError {
    return new LovageError('BAD_FRAME', `Cannot read the frame at byte ${this.position}: expected ${expected}`);
  }

  #skipArray(count: number, what: string, depthLeft: number, timestamps: boolean): void {
    if (depthLeft <= 0) throw this.bad(`${what} less deeply nested`);
    if (count > this.bytesLeft) throw this.bad(`${what} within the frame`);
    for (let i = 0; i < count; i++) this.skip(what, depthLeft - 1, timestamps);
  }

  #skipMap(count: number, what: string, depthLeft: number, timestamps: boolean): void {
    if (depthLeft <= 0) throw this.bad(`${what} less deeply nested`);
    if (count * 2 > this.bytesLeft) throw this.bad(`${what} within the frame`);
    for (let i = 0; i < count; i++) {
      const length = this.#strLength(`a key of ${what}`);
      if (length === PROTO.length && this.#isProto()) throw this.bad(`${what} without the key "__proto__"`);
      this.#skipText(length, what);
      this.skip(what, depthLeft - 1, timestamps);
    }
  }

  #skipText(length: number, what: string): void {
    const start = this.position;
    this.#advance(length, what);
    if (!this.#checksText) return;
    // ASCII needs no decoder.
    for (let i = start; i < this.position; i++) {
      if (this.bytes[i]! > 0x7f) {
        this.#utf8(i, this.position, what);
        return;
      }
    }
  }

  /** Timestamp 32, 64 and 96: fixext 4, fixext 8 and ext 8 of 12 bytes, all of type -1. */
  #skipTimestamp(byte: number, what: string): void {
    let length = byte === 0xd6 ? 4 : 8;
    if (byte === 0xc7) length = this.#byte(what);
    if (byte === 0xc7 && length !== 12) throw this.bad('a timestamp');
    if (this.#byte(what) !== 0xff) throw this.bad(`${what} without extension types`);
    this.#advance(length, what);
  }

  #spells(text: string): boolean {
    const { bytes, position } = this;
    for (let i = 0; i < text.length; i++) {
      const byte = bytes[position + i]!;
      if (byte > 0x7f || byte !== text.charCodeAt(i)) return false;
    }
    return true;
  }

  #isProto(): boolean {
    for (let i = 0; i < PROTO.length; i++) if (this.bytes[this.position + i] !== PROTO[i]) return false;
    return true;
  }

  #strLength(what: string): number {
    const byte = this.#byte(what);
    if (byte >= 0xa0 && byte <= 0xbf) return byte & 0x1f;
    if (byte === 0xd9) return this.#byte(what);
    if (byte === 0xda) return this.#uint16(what);
    if (byte === 0xdb) return this.#uint32(what);
    throw this.bad(`text (${what})`);
  }

  #text(start: number, end: number, what: string): string {
    if (end - start > LOOP_BYTES_MAX) return this.#utf8(start, end, what);
    const { bytes } = this;
    let text = '';
    let i = start;
    for (; i + 8 <= end; i += 8) {
      const a = bytes[i]!;
      const b = bytes[i + 1]!;
      const c = bytes[i + 2]!;
      const d = bytes[i + 3]!;
      const e = bytes[i + 4]!;
      const f = bytes[i + 5]!;
      const g = bytes[i + 6]!;
      const h = bytes[i + 7]!;
      if ((a | b | c | d | e | f | g | h) > 0x7f) return this.#utf8(start, end, what);
      text += String.fromCharCode(a, b, c, d, e, f, g, h);
    }
    for (; i < end; i++) {
      const code = bytes[i]!;
      if (code > 0x7f) return this.#utf8(start, end, what);
      text += String.fromCharCode(code);
    }
    return text;
  }

  #utf8(start: number, end: number, what: string): string {
    try {
      return decoder.decode(this.bytes.subarray(start, end));
    } catch {
      throw this.bad(`${what} in UTF-8`);
    }
  }

  #uintAny(what: string): number {
    const byte = this.#byte(what);
    if (byte <= 0x7f) return byte;
    switch (byte) {
      case 0xcc:
        return this.#byte(what);
      case 0xcd:
        return this.#uint16(what);
      case 0xce:
        return this.#uint32(what);
      case 0xcf: {
        const high = this.#uint32(what);
        const low = this.#uint32(what);
        if (high > 0x1f_ffff) throw this.bad(`${what} of at most 2^53-1`);
        return high * TWO_32 + low;
      }
      case 0xd0:
      case 0xd1:
      case 0xd2:
      case 0xd3: {
        // Some encoders write every whole number of a signed type in a signed format.
        const value = this.#signed(byte, what);
        if (value < 0) throw this.bad(`a whole number from 0 (${what})`);
        return value;
      }
      default:
        throw this.bad(`a whole number (${what})`);
    }
  }

  /** The number behind `d0`, `d1`, `d2` or `d3`. */
  #signed(byte: number, what: string): number {
    if (byte === 0xd0) return (this.#byte(what) << 24) >> 24;
    if (byte === 0xd1) return (this.#uint16(what) << 16) >> 16;
    if (byte === 0xd2) return this.#uint32(what) | 0;
    const value = (this.#uint32(what) | 0) * TWO_32 + this.#uint32(what);
    if (!Number.isSafeInteger(value)) throw this.bad(`${what} from -(2^53-1) to 2^53-1`);
    return value;
  }

  #byte(what: string): number {
    if (this.position >= this.bytes.length) throw this.bad(`${what}, not the end of the frame`);
    return this.bytes[this.position++]!;
  }

  #uint16(what: string): number {
    const at = this.position;
    this.#advance(2, what);
    return (this.bytes[at]! << 8) | this.bytes[at + 1]!;
  }

  #uint32(what: string): number {
    const at = this.position;
    this.#advance(4, what);
    const { bytes } = this;
    return ((bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!) >>> 0;
  }

  #advance(bytes: number, what: string): void {
    if (bytes > this.bytes.length - this.position) throw this.bad(`${what} within the frame`);
    this.position += bytes;
  }
}
