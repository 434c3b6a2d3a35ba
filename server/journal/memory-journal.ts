/** The journal without a disk: for tests, for `--memory`, and for messages that were published as `durability: 'memory'`. */
import { CHUNK_BYTES, ChunkCache } from './chunk-cache.js';
import { assert } from './errors.js';
import type { Journal, JournalStats, ReplayedRecord, SyncClass } from './journal.js';
import { countRecords, RecordCursor } from './record-cursor.js';
import { RecordStager } from './record-stager.js';

export interface MemoryJournalOptions {
  /** A batch that ends at or behind this offset is the last of its segment. Bytes, default 8 MiB. */
  readonly segmentBytes?: number;
}

const SEGMENT_BYTES = 8 * CHUNK_BYTES;

export class MemoryJournal implements Journal {
  readonly syncClass: SyncClass = 'memory';
  readonly #segmentBytes: number;
  readonly #cache = new ChunkCache(Number.POSITIVE_INFINITY);
  readonly #stager: RecordStager;
  /** Where the gathering batch begins. */
  #start = 0;
  #durableSegment = 1;
  #durableOffset = 0;
  #firstSegment = 1;
  /** Ends of the closed segments, from `#firstSegment` on. */
  readonly #ends: number[] = [];
  #batches = 0;
  #records = 0;
  #isClosed = false;

  constructor(options: MemoryJournalOptions = {}) {
    this.#segmentBytes = options.segmentBytes ?? SEGMENT_BYTES;
    this.#stager = new RecordStager(this.#cache);
    this.#stager.moveTo(1, 0);
  }

  /** There is nothing to replay. */
  async replay(_visit: (record: ReplayedRecord) => void, progress?: (share: number) => void): Promise<void> {
    progress?.(1);
  }

  prepare(): boolean {
    assert(!this.#isClosed, 'a closed journal is not written to');
    if (this.stagedBytes > 0) return false;
    if (this.#stager.end >= this.#segmentBytes) this.#roll();
    return this.#stager.end === 0;
  }

  // hot path
  stage(type: number, head: Uint8Array, body?: Uint8Array): number {
    this.#records += 1;
    return this.#stager.stage(type, head, body);
  }

  get stagedSegment(): number {
    return this.#stager.segment;
  }

  get stagedBytes(): number {
    return this.#stager.end - this.#start;
  }

  async commit(): Promise<void> {
    if (this.stagedBytes === 0) return;
    assert(!this.#isClosed, 'a closed journal is not written to');
    this.#batches += 1;
    this.#start = this.#stager.end;
    this.#durableSegment = this.#stager.segment;
    this.#durableOffset = this.#start;
  }

  isDurable(segment: number, offset: number): boolean {
    return segment < this.#durableSegment || (segment === this.#durableSegment && offset < this.#durableOffset);
  }

  read(segment: number, offset: number, length: number): Uint8Array {
    const view = this.#cache.view(segment, offset, length);
    assert(view !== null, 'a location is of this journal');
    return view;
  }

  copyTo(segment: number, offset: number, length: number, target: Uint8Array, targetOffset: number): void {
    assert(this.#cache.copyTo(segment, offset, length, target, targetOffset), 'a location is of this journal');
  }

  memory(bytes: number): Buffer {
    return this.#cache.memory(bytes);
  }

  get firstSegment(): number {
    return this.#firstSegment;
  }

  segmentBytes(segment: number): number {
    return segment === this.stagedSegment ? this.#stager.end : (this.#ends[segment - this.#firstSegment] ?? 0);
  }

  async replaySegment(segment: number, visit: (record: ReplayedRecord) => boolean): Promise<void> {
    assert(segment >= this.#firstSegment && segment < this.stagedSegment, 'only closed segments are replayed');
    const length = this.segmentBytes(segment);
    const bytes = Buffer.allocUnsafe(length);
    this.copyTo(segment, 0, length, bytes, 0);
    assert(countRecords(bytes, 0, length) >= 0, 'records fill their segment');
    const records = new RecordCursor();
    records.open(bytes, 0, length, segment, 0);
    while (records.next() && visit(records));
  }

  async reclaim(segment: number): Promise<void> {
    const limit = Math.min(segment, this.#durableSegment);
    while (this.#firstSegment < limit) {
      this.#ends.shift();
      this.#firstSegment += 1;
    }
    this.#cache.release(this.#firstSegment);
  }

  /** Memory has no settlements to keep room for: the broker counts it. */
  reserve(_bytes: number): void {
    return undefined;
  }

  get isFull(): boolean {
    return false;
  }

  hasRoom(_bytes: number): boolean {
    return true;
  }

  stats(): JournalStats {
    let bytes = this.#stager.end;
    for (const end of this.#ends) bytes += end;
    return {
      segments: this.#ends.length + 1,
      bytes,
      reservedBytes: 0,
      batches: this.#batches,
      records: this.#records,
      syncs: 0,
      isFull: false,
    };
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    await this.commit();
    this.#isClosed = true;
  }

  #roll(): void {
    this.#ends.push(this.#stager.end);
    this.#stager.moveTo(this.#stager.segment + 1, 0);
    this.#start = 0;
  }
}
