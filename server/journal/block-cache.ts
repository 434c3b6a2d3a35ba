/**
 * Blocks of segment files that were read back, for bodies that have left the chunks: 128 KiB each, the least recently used goes
 * first. Only bytes that will not change any more are asked for here, so no block is ever stale.
 */
import type { StorageFile } from './storage.js';

export const BLOCK_BYTES: number = 128 * 1024;
const NOTHING = -1;

export class BlockCache {
  readonly #openFile: (segment: number) => StorageFile;
  readonly #blocks: Buffer[] = [];
  readonly #segments: number[] = [];
  readonly #indexes: number[] = [];
  readonly #lengths: number[] = [];
  readonly #lastUses: number[] = [];
  #uses = 0;

  /** `count` blocks, made when they are first needed. */
  constructor(count: number, openFile: (segment: number) => StorageFile) {
    this.#openFile = openFile;
    for (let slot = 0; slot < count; slot += 1) {
      this.#segments.push(NOTHING);
      this.#indexes.push(NOTHING);
      this.#lengths.push(0);
      this.#lastUses.push(0);
    }
  }

  /** A view that is valid until the next call. The range must lie in one block. */
  view(segment: number, offset: number, length: number): Uint8Array {
    const index = Math.floor(offset / BLOCK_BYTES);
    const slot = this.#slotOf(segment, index);
    const at = offset - index * BLOCK_BYTES;
    if (at + length > this.#lengths[slot]!) {
      throw new RangeError(
        `Cannot read ${length} bytes at offset ${offset} of segment ${segment}: the file ends before, expected a location of this journal`,
      );
    }
    const block = this.#blocks[slot]!;
    return new Uint8Array(block.buffer, block.byteOffset + at, length);
  }

  /** Forgets the blocks of all segments below `segment`. */
  release(segment: number): void {
    for (let slot = 0; slot < this.#segments.length; slot += 1)
      if (this.#segments[slot]! < segment) this.#segments[slot] = NOTHING;
  }

  #slotOf(segment: number, index: number): number {
    this.#uses += 1;
    let oldest = 0;
    for (let slot = 0; slot < this.#segments.length; slot += 1) {
      if (this.#indexes[slot] === index && this.#segments[slot] === segment) {
        this.#lastUses[slot] = this.#uses;
        return slot;
      }
      if (this.#lastUses[slot]! < this.#lastUses[oldest]!) oldest = slot;
    }
    this.#load(oldest, segment, index);
    return oldest;
  }

  #load(slot: number, segment: number, index: number): void {
    const block = this.#blocks[slot] ?? Buffer.allocUnsafeSlow(BLOCK_BYTES);
    this.#blocks[slot] = block;
    this.#segments[slot] = NOTHING;
    this.#lengths[slot] = this.#openFile(segment).read(block, 0, BLOCK_BYTES, index * BLOCK_BYTES);
    this.#segments[slot] = segment;
    this.#indexes[slot] = index;
    this.#lastUses[slot] = this.#uses;
  }
}
