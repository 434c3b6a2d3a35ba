/**
 * Gathers records into a batch and finishes the batch: its place and its length are fixed when it is closed, its header when it is
 * written, because the header says what is on disk by then.
 *
 *     ── batch ──┬─ header ─┬─ record ─┬─ record ─┐┄┄ next batch gathers ┄┄
 *              start                             end
 */
import { crc32 } from 'node:zlib';
import type { ChunkCache } from './chunk-cache.js';
import { assert } from './errors.js';
import type { SyncClass } from './journal.js';
import { RecordStager } from './record-stager.js';
import {
  BATCH_HEADER_BYTES,
  type ChainLink,
  emptyBatchHeader,
  encodeBatchHeader,
  FILE_HEADER_BYTES,
  FLAG_SEAL,
  type LogIdentity,
  syncClassFlags,
  writeBodyCrc,
} from './segment-format.js';

/** A batch whose bytes are laid out and will not change any more, but for its header. */
export interface ClosedBatch {
  readonly segment: number;
  readonly start: number;
  readonly end: number;
  readonly records: number;
  readonly flags: number;
}

export interface BatchStagerPlace {
  readonly segment: number;
  readonly end: number;
  readonly link: ChainLink;
  readonly isSealed: boolean;
  /** Records of the segment so far. */
  readonly records: number;
}

export interface BatchStagerOptions {
  readonly cache: ChunkCache;
  readonly log: LogIdentity;
  readonly syncClass: SyncClass;
  /** A batch that ends at or behind this offset seals its segment. */
  readonly sealBytes: number;
}

const BLANK_HEADER = Buffer.alloc(BATCH_HEADER_BYTES);

export class BatchStager {
  readonly #options: BatchStagerOptions;
  readonly #records: RecordStager;
  readonly #headerBytes: Buffer = Buffer.alloc(BATCH_HEADER_BYTES);
  readonly #header = emptyBatchHeader();
  #link: ChainLink;
  #start: number;
  /** Records in the gathering batch. */
  #count = 0;
  #segmentRecords: number;
  #isSealed: boolean;

  constructor(options: BatchStagerOptions, place: BatchStagerPlace) {
    this.#options = options;
    this.#records = new RecordStager(options.cache);
    this.#link = place.link;
    this.#start = place.end;
    this.#isSealed = place.isSealed;
    this.#segmentRecords = place.records;
  }

  /** Call once when the chunk that holds the log's end is in the cache. */
  open(segment: number): void {
    this.#records.moveTo(segment, this.#start);
  }

  get segment(): number {
    return this.#records.segment;
  }

  /** Bytes of the gathering batch, its header included. */
  get bytes(): number {
    return this.#records.end - this.#start;
  }

  get count(): number {
    return this.#count;
  }

  /** The next record has to go to a new segment. */
  get isSealed(): boolean {
    return this.#isSealed;
  }

  /** The segment has no record yet (it may have marks). */
  get isAtSegmentStart(): boolean {
    return this.#segmentRecords === 0;
  }

  /** The last batch that was finished. */
  get link(): ChainLink {
    return this.#link;
  }

  /** Goes on in the next segment. */
  roll(): void {
    assert(this.#isSealed && this.#count === 0, 'only a sealed segment is left');
    this.#start = FILE_HEADER_BYTES;
    this.#isSealed = false;
    this.#segmentRecords = 0;
    this.#records.moveTo(this.segment + 1, FILE_HEADER_BYTES);
  }

  stage(type: number, head: Uint8Array, body?: Uint8Array): number {
    if (this.#count === 0) this.#begin();
    this.#count += 1;
    this.#segmentRecords += 1;
    return this.#records.stage(type, head, body);
  }

  /** Ends the gathering batch; without records it is a mark. What is staged from now on is the next batch. */
  close(flags: number): ClosedBatch {
    if (this.#count === 0) this.#begin();
    const { segment, end } = this.#records;
    const { sealBytes, syncClass } = this.#options;
    this.#isSealed = end >= sealBytes;
    const allFlags = flags | (this.#isSealed ? FLAG_SEAL : 0) | syncClassFlags(syncClass);
    const batch = { segment, start: this.#start, end, records: this.#count, flags: allFlags };
    this.#start = end;
    this.#count = 0;
    return batch;
  }

  /** Numbers the batch, chains it to the one before, and returns its bytes. Batches are finished in the order they were closed. */
  finish(batch: ClosedBatch, durableNumber: number): Uint8Array[] {
    const { cache, log } = this.#options;
    const header = this.#header;
    header.bodyBytes = batch.end - batch.start - BATCH_HEADER_BYTES;
    header.segment = batch.segment;
    header.offset = batch.start;
    header.number = this.#link.number + 1;
    header.durableNumber = durableNumber;
    header.previousCrc = this.#link.crc;
    header.flags = batch.flags;
    header.records = batch.records;
    encodeBatchHeader(header, log, this.#headerBytes);
    const body: Uint8Array[] = [];
    cache.parts(batch.segment, batch.start + BATCH_HEADER_BYTES, batch.end, body);
    const crc = body.reduce((seed, part) => crc32(part, seed), header.headerCrc);
    writeBodyCrc(this.#headerBytes, crc);
    cache.overwrite(batch.segment, batch.start, this.#headerBytes);
    this.#link = { number: header.number, crc };
    const parts: Uint8Array[] = [];
    cache.parts(batch.segment, batch.start, batch.end, parts);
    return parts;
  }

  #begin(): void {
    assert(!this.#isSealed, 'a batch opens with prepare() when the segment is sealed');
    this.#records.append(BLANK_HEADER);
  }
}
