// hot path
/**
 * One piece of memory out of which buffers are taken for good, so that bytes go from one to another without a view of them: `copyWithin` needs none. The view that
 * `set` needs costs more than the copy of a short message, and at 350,000 of them a second views were half of all that the broker had to collect.
 */
export class Arena {
  readonly #size: number;
  /** Made when the first buffer is taken. The system gives the memory page by page, as it is first written to. */
  #bytes: Buffer = Buffer.alloc(0);
  #taken = 0;
  /** The buffers that were copied between last and where they begin, -1 for one that is not of this arena: many copies in a row are between the same. */
  #source: Uint8Array = this.#bytes;
  #sourceAt = -1;
  #target: Uint8Array = this.#bytes;
  #targetAt = -1;

  constructor(bytes: number) {
    this.#size = bytes;
  }

  /** A buffer of so many bytes, whatever they were; null if there is no room for it any more. */
  take(bytes: number): Buffer | null {
    const start = this.#taken;
    if (start + bytes > this.#size) return null;
    if (start === 0) this.#bytes = Buffer.allocUnsafeSlow(this.#size);
    this.#taken += bytes;
    return this.#bytes.subarray(start, this.#taken);
  }

  owns(buffer: Uint8Array): boolean {
    return buffer.buffer === this.#bytes.buffer;
  }

  /** Copies between two buffers of this arena; false, and nothing done, if one is not. Throws a RangeError outside of either. */
  copy(source: Uint8Array, from: number, length: number, target: Uint8Array, at: number): boolean {
    if (source !== this.#source) {
      this.#source = source;
      this.#sourceAt = this.owns(source) ? source.byteOffset : -1;
    }
    if (target !== this.#target) {
      this.#target = target;
      this.#targetAt = this.owns(target) ? target.byteOffset : -1;
    }
    if (this.#sourceAt < 0 || this.#targetAt < 0) return false;
    if (from < 0 || at < 0 || from + length > source.length || at + length > target.length)
      throw new RangeError(`Cannot copy ${length} bytes from ${from} of ${source.length} to ${at} of ${target.length}`);
    const start = this.#sourceAt + from;
    this.#bytes.copyWithin(this.#targetAt + at, start, start + length);
    return true;
  }
}
