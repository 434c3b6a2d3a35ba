// hot path
/**
 * The newest bytes of the log in memory: what is being staged, and behind it what was written, for as long as the budget lasts.
 *
 *     segment 7   [ -- ][ -- ][####][####]      chunks of 1 MiB, aligned to the offsets in the segment's file
 *     segment 8   [####][####][##..]            oldest go first, in the log's order; what is not written yet stays
 *                               ^ written
 */
import { Arena } from '../collections/arena.js';
import { assert } from './errors.js';

export const CHUNK_BYTES: number = 1024 * 1024;
const OFFSET_MASK = CHUNK_BYTES - 1;
const CHUNK_SHIFT = 20;

/** Index of the chunk that holds an offset. */
export function chunkIndex(offset: number): number {
  return offset >>> CHUNK_SHIFT;
}

type Chunks = (Buffer | null)[];

/** Chunks that lie in the arena, as far as the budget goes. */
const ARENA_CHUNKS_MAX = 64;
/** Bytes of the arena for `memory`. */
const GUEST_BYTES = 6 * CHUNK_BYTES;

export class ChunkCache {
  readonly #budgetBytes: number;
  readonly #arena: Arena;
  /** Chunks that the arena has room for. */
  #arenaChunks: number;
  /** Its chunks that are not in use any more; they do not count as held. */
  readonly #spare: Buffer[] = [];
  #guestBytes = 0;
  /** Chunks by segment, from `#firstSegment` on, and by index. */
  readonly #segments: Chunks[] = [];
  #firstSegment = 0;
  /** Buffers that are free to be used again. They count as held. */
  readonly #pool: Buffer[] = [];
  #heldBytes = 0;
  /** The next chunk to give up. */
  #oldestSegment = 0;
  #oldestIndex = 0;
  /** Chunks at and behind this place are not written yet. */
  #pinnedSegment = 0;
  #pinnedIndex = 0;
  /** For ranges that lie in more than one chunk. */
  #scratch: Buffer = Buffer.allocUnsafeSlow(0);

  constructor(budgetBytes: number) {
    this.#budgetBytes = budgetBytes;
    this.#arenaChunks = Math.min(ARENA_CHUNKS_MAX, Math.floor(budgetBytes / CHUNK_BYTES));
    this.#arena = new Arena(this.#arenaChunks * CHUNK_BYTES + GUEST_BYTES);
  }

  /** A buffer for good, one that `copyTo` is quickest to fill, as long as there is room for it beside the chunks. */
  memory(bytes: number): Buffer {
    if (this.#guestBytes + bytes > GUEST_BYTES) return Buffer.allocUnsafeSlow(bytes);
    this.#guestBytes += bytes;
    return this.#arena.take(bytes)!;
  }

  /** Bytes of all buffers, in use and free. Above the budget only by what is not written yet. */
  get heldBytes(): number {
    return this.#heldBytes;
  }

  /** A new chunk behind all others. Its bytes are whatever they were. */
  add(segment: number, index: number): Buffer {
    if (this.#segments.length === 0) this.#startAt(segment, index);
    while (this.#firstSegment + this.#segments.length <= segment) this.#segments.push([]);
    const chunks = this.#segments[segment - this.#firstSegment]!;
    while (chunks.length < index) chunks.push(null);
    assert(chunks.length === index, 'chunks are added in order');
    const chunk = this.#take();
    chunks.push(chunk);
    return chunk;
  }

  find(segment: number, index: number): Buffer | null {
    const at = segment - this.#firstSegment;
    return at < 0 || at >= this.#segments.length ? null : (this.#segments[at]![index] ?? null);
  }

  /** Everything below is written: chunks before it may be given up. */
  written(segment: number, offset: number): void {
    this.#pinnedSegment = segment;
    this.#pinnedIndex = chunkIndex(offset);
    while (this.#heldBytes > this.#budgetBytes) {
      const chunk = this.#pool.pop() ?? this.#evict();
      if (chunk === null) return;
      this.#giveUp(chunk);
    }
  }

  /** A view of the range, null if not all of it is here. Valid until the next call of `view` or `add`. */
  view(segment: number, offset: number, length: number): Uint8Array | null {
    const chunk = this.find(segment, chunkIndex(offset));
    if (chunk === null) return null;
    const at = offset & OFFSET_MASK;
    if (at + length <= CHUNK_BYTES) return new Uint8Array(chunk.buffer, chunk.byteOffset + at, length);
    if (this.#scratch.length < length) this.#scratch = Buffer.allocUnsafeSlow(Math.max(length, CHUNK_BYTES));
    if (!this.copyTo(segment, offset, length, this.#scratch, 0)) return null;
    return new Uint8Array(this.#scratch.buffer, 0, length);
  }

  /** Copies the range, or says false if not all of it is here. */
  copyTo(segment: number, offset: number, length: number, target: Uint8Array, targetOffset: number): boolean {
    let at = offset;
    const end = offset + length;
    while (at < end) {
      const chunk = this.find(segment, chunkIndex(at));
      if (chunk === null) return false;
      const from = at & OFFSET_MASK;
      const count = Math.min(end - at, CHUNK_BYTES - from);
      this.copyFrom(chunk, from, count, target, targetOffset + at - offset);
      at += count;
    }
    return true;
  }

  /** Copies a piece of a chunk. */
  copyFrom(chunk: Buffer, from: number, length: number, target: Uint8Array, targetOffset: number): void {
    if (this.#arena.copy(chunk, from, length, target, targetOffset)) return;
    copyBytes(chunk, from, length, target, targetOffset);
  }

  /** Writes over bytes that are here already: the header of a batch, once the batch is known. */
  overwrite(segment: number, offset: number, bytes: Uint8Array): void {
    for (let done = 0; done < bytes.length; ) {
      const chunk = this.find(segment, chunkIndex(offset + done))!;
      const at = (offset + done) & OFFSET_MASK;
      const count = Math.min(bytes.length - done, CHUNK_BYTES - at);
      copyBytes(bytes, done, count, chunk, at);
      done += count;
    }
  }

  /** Views of the range, one for each chunk, appended to `parts`. All of it must be here. */
  parts(segment: number, from: number, to: number, parts: Uint8Array[]): void {
    for (let at = from; at < to; ) {
      const start = at & OFFSET_MASK;
      const count = Math.min(to - at, CHUNK_BYTES - start);
      parts.push(this.find(segment, chunkIndex(at))!.subarray(start, start + count));
      at += count;
    }
  }

  /** Forgets all segments below `segment`. */
  release(segment: number): void {
    while (this.#segments.length > 0 && this.#firstSegment < segment) {
      for (const chunk of this.#segments.shift()!) if (chunk !== null) this.#pool.push(chunk);
      this.#firstSegment += 1;
    }
    if (this.#oldestSegment < segment) {
      this.#oldestSegment = segment;
      this.#oldestIndex = 0;
    }
    this.#trimPool();
  }

  #startAt(segment: number, index: number): void {
    this.#firstSegment = segment;
    this.#oldestSegment = segment;
    this.#oldestIndex = index;
  }

  #take(): Buffer {
    const free = this.#pool.pop() ?? (this.#heldBytes + CHUNK_BYTES > this.#budgetBytes ? this.#evict() : null);
    if (free !== null) return free;
    this.#heldBytes += CHUNK_BYTES;
    const spare = this.#spare.pop();
    if (spare !== undefined) return spare;
    if (this.#arenaChunks === 0) return Buffer.allocUnsafeSlow(CHUNK_BYTES);
    this.#arenaChunks--;
    return this.#arena.take(CHUNK_BYTES)!;
  }

  #giveUp(chunk: Buffer): void {
    this.#heldBytes -= CHUNK_BYTES;
    if (this.#arena.owns(chunk)) this.#spare.push(chunk);
  }

  /** Takes the oldest written chunk out, null if there is none. */
  #evict(): Buffer | null {
    for (;;) {
      const isPinned = this.#oldestSegment === this.#pinnedSegment && this.#oldestIndex >= this.#pinnedIndex;
      if (isPinned || this.#oldestSegment > this.#pinnedSegment) return null;
      const chunks = this.#segments[this.#oldestSegment - this.#firstSegment];
      if (chunks === undefined || this.#oldestIndex >= chunks.length) {
        this.#oldestSegment += 1;
        this.#oldestIndex = 0;
        continue;
      }
      const chunk = chunks[this.#oldestIndex]!;
      chunks[this.#oldestIndex] = null;
      this.#oldestIndex += 1;
      if (chunk !== null) return chunk;
    }
  }

  #trimPool(): void {
    while (this.#pool.length > POOL_CHUNKS_MAX) this.#giveUp(this.#pool.pop()!);
  }
}

/** Free buffers kept after segments were deleted; the rest goes back to the system. */
const POOL_CHUNKS_MAX = 64;

/** Measured: below about 48 bytes a loop is faster than making the view that `set` needs. */
const LOOP_BYTES_MAX = 48;

export function copyBytes(
  source: Uint8Array,
  from: number,
  length: number,
  target: Uint8Array,
  targetOffset: number,
): void {
  if (length > LOOP_BYTES_MAX) {
    target.set(new Uint8Array(source.buffer, source.byteOffset + from, length), targetOffset);
    return;
  }
  for (let index = 0; index < length; index += 1) target[targetOffset + index] = source[from + index]!;
}
