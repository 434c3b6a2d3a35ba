/** Reads a file in big slices and keeps the one that is being looked at. Lengths are checked by the caller before they are asked for (rule W17). */
import type { StorageFile } from './storage.js';

export const SLICE_BYTES: number = 4 * 1024 * 1024;

export class SliceReader {
  readonly #sliceBytes: number;
  #bytes: Buffer = Buffer.alloc(0);
  #file: StorageFile | null = null;
  /** File offsets that the buffer holds. */
  #start = 0;
  #end = 0;
  /** Reads done so far; whoever walks a log yields to the event loop when it has changed. */
  slices = 0;

  constructor(sliceBytes: number = SLICE_BYTES) {
    this.#sliceBytes = sliceBytes;
  }

  get bytes(): Buffer {
    return this.#bytes;
  }

  open(file: StorageFile): void {
    this.#file = file;
    const wanted = Math.min(this.#sliceBytes, file.size());
    if (this.#bytes.length < wanted) this.#bytes = Buffer.allocUnsafeSlow(wanted);
    this.#start = 0;
    this.#end = 0;
  }

  /** Makes the range contiguous in `bytes` and returns where it starts there. The file must have it. Earlier views die. */
  ensure(position: number, length: number): number {
    if (position >= this.#start && position + length <= this.#end) return position - this.#start;
    this.#refill(position, length);
    return 0;
  }

  #refill(position: number, length: number): void {
    const kept = position >= this.#start && position < this.#end ? this.#end - position : 0;
    const old = this.#bytes;
    if (length > old.length) this.#bytes = Buffer.allocUnsafeSlow(length);
    if (kept > 0) old.copy(this.#bytes, 0, position - this.#start, this.#end - this.#start);
    const count = this.#file!.read(this.#bytes, kept, this.#bytes.length - kept, position + kept);
    this.slices += 1;
    this.#start = position;
    this.#end = position + kept + count;
    if (kept + count < length) {
      throw new Error(
        `Cannot read ${length} bytes at offset ${position}: the file ends after ${kept + count}, expected the length it had`,
      );
    }
  }
}

const ZEROS = Buffer.alloc(64 * 1024);

/** True if every byte of the range is zero. */
export function isZero(bytes: Buffer, from: number, to: number): boolean {
  for (let at = from; at < to; at += ZEROS.length) {
    const end = Math.min(to, at + ZEROS.length);
    if (bytes.compare(ZEROS, 0, end - at, at, end) !== 0) return false;
  }
  return true;
}
