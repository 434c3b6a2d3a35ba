// hot path
/** Lays records out in the cache's chunks, at the offsets they will have in the segment's file. */
import { CHUNK_BYTES, type ChunkCache, chunkIndex } from './chunk-cache.js';
import { assert } from './errors.js';
import { HEAD_BYTES_MAX, RECORD_HEADER_BYTES, SEGMENT_OFFSET_MAX } from './segment-format.js';

const NO_BODY = new Uint8Array(0);

export class RecordStager {
  readonly #cache: ChunkCache;
  readonly #header: Buffer = Buffer.alloc(RECORD_HEADER_BYTES);
  #segment = 0;
  #end = 0;
  #chunk: Buffer = Buffer.alloc(0);
  /** Segment offsets that `#chunk` covers. Both are `#end` when the next byte needs a new chunk. */
  #chunkStart = 0;
  #chunkEnd = 0;

  constructor(cache: ChunkCache) {
    this.#cache = cache;
  }

  get segment(): number {
    return this.#segment;
  }

  /** Offset of the next byte. */
  get end(): number {
    return this.#end;
  }

  /** Goes on at a place; if that lies inside a chunk, the chunk holds the bytes before it already. */
  moveTo(segment: number, offset: number): void {
    this.#segment = segment;
    this.#end = offset;
    const chunk = this.#cache.find(segment, chunkIndex(offset)) ?? this.#cache.add(segment, chunkIndex(offset));
    this.#open(chunk, offset);
  }

  /** Returns the offset of the body. */
  stage(type: number, head: Uint8Array, body: Uint8Array = NO_BODY): number {
    const headBytes = head.length;
    const length = headBytes + body.length;
    assert(
      headBytes <= HEAD_BYTES_MAX && this.#end + RECORD_HEADER_BYTES + length <= SEGMENT_OFFSET_MAX,
      'a record fits its segment',
    );
    const header = this.#header;
    header[0] = length;
    header[1] = length >>> 8;
    header[2] = length >>> 16;
    header[3] = length >>> 24;
    header[4] = type;
    header[5] = headBytes;
    header[6] = headBytes >>> 8;
    header[7] = headBytes >>> 16;
    this.append(header);
    this.append(head);
    const bodyOffset = this.#end;
    this.append(body);
    return bodyOffset;
  }

  append(bytes: Uint8Array): void {
    const end = this.#end + bytes.length;
    if (end > this.#chunkEnd) {
      this.#appendOver(bytes);
      return;
    }
    this.#chunk.set(bytes, this.#end - this.#chunkStart);
    this.#end = end;
  }

  #appendOver(bytes: Uint8Array): void {
    for (let done = 0; done < bytes.length; ) {
      if (this.#end === this.#chunkEnd) this.#open(this.#cache.add(this.#segment, chunkIndex(this.#end)), this.#end);
      const count = Math.min(bytes.length - done, this.#chunkEnd - this.#end);
      this.#chunk.set(bytes.subarray(done, done + count), this.#end - this.#chunkStart);
      this.#end += count;
      done += count;
    }
  }

  #open(chunk: Buffer, offset: number): void {
    this.#chunk = chunk;
    this.#chunkStart = chunkIndex(offset) * CHUNK_BYTES;
    this.#chunkEnd = this.#chunkStart + CHUNK_BYTES;
  }
}
