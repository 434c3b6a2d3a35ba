// hot path
/** Bytes at a location, wherever they are now: in the chunks of the cache, else in the segment's file. */
import { BLOCK_BYTES, BlockCache } from './block-cache.js';
import { CHUNK_BYTES, type ChunkCache, chunkIndex, copyBytes } from './chunk-cache.js';
import type { ReadFiles } from './read-files.js';

/** Read-ahead buffers, 4 MiB together. */
const BLOCKS = 32;
/** A larger body gets a buffer of its own. */
const SCRATCH_BYTES_MAX = 1024 * 1024;

export class BodyReader {
  readonly #chunks: ChunkCache;
  readonly #blocks: BlockCache;
  #scratch: Uint8Array = new Uint8Array(0);

  constructor(chunks: ChunkCache, files: ReadFiles) {
    this.#chunks = chunks;
    this.#blocks = new BlockCache(BLOCKS, (segment) => files.open(segment));
  }

  /** Valid until the next `read`. */
  read(segment: number, offset: number, length: number): Uint8Array {
    const view = this.#chunks.view(segment, offset, length);
    if (view !== null) return view;
    const at = offset % BLOCK_BYTES;
    if (at + length <= BLOCK_BYTES) return this.#blocks.view(segment, offset, length);
    const target = this.#scratchFor(length);
    this.copyTo(segment, offset, length, target, 0);
    return target.subarray(0, length);
  }

  copyTo(segment: number, offset: number, length: number, target: Uint8Array, targetOffset: number): void {
    if (this.#chunks.copyTo(segment, offset, length, target, targetOffset)) return;
    const end = offset + length;
    for (let at = offset; at < end; ) {
      const count = Math.min(end - at, BLOCK_BYTES - (at % BLOCK_BYTES));
      this.#copyPiece(segment, at, count, target, targetOffset + at - offset);
      at += count;
    }
  }

  /** Forgets all segments below `segment`. */
  release(segment: number): void {
    this.#blocks.release(segment);
  }

  /** A piece lies in one block, and so in one chunk: part of a range may still be in a chunk that was never on its way out. */
  #copyPiece(segment: number, offset: number, length: number, target: Uint8Array, targetOffset: number): void {
    const chunk = this.#chunks.find(segment, chunkIndex(offset));
    if (chunk !== null) this.#chunks.copyFrom(chunk, offset % CHUNK_BYTES, length, target, targetOffset);
    else copyBytes(this.#blocks.view(segment, offset, length), 0, length, target, targetOffset);
  }

  #scratchFor(length: number): Uint8Array {
    if (length > SCRATCH_BYTES_MAX) return new Uint8Array(length);
    if (this.#scratch.length < length) this.#scratch = new Uint8Array(SCRATCH_BYTES_MAX);
    return this.#scratch;
  }
}
