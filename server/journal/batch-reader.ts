/** Reads the batches of one segment in order and believes none before its place, its links and both checksums are right. */
import { crc32 } from 'node:zlib';
import { countRecords, RecordCursor } from './record-cursor.js';
import {
  BATCH_HEADER_BYTES,
  type BatchHeader,
  type ChainLink,
  emptyBatchHeader,
  type LogIdentity,
  readBatchHeader,
} from './segment-format.js';
import { isZero, type SliceReader } from './slice-reader.js';
import type { StorageFile } from './storage.js';

/** `end`: the file ends here, or zeros begin. `bad`: something is here that is not the batch that has to come next. */
export type BatchOutcome = 'batch' | 'end' | 'bad';

export interface BatchReaderSource {
  readonly slice: SliceReader;
  readonly file: StorageFile;
  readonly segment: number;
  readonly log: LogIdentity;
  readonly position: number;
  /** The batch before, or null if the first one found is to be taken as it comes. */
  readonly link: ChainLink | null;
}

export class BatchReader {
  /** Of the last batch read. */
  readonly header: BatchHeader = emptyBatchHeader();
  readonly records: RecordCursor = new RecordCursor();
  /** Why the outcome was `bad`. */
  reason = '';
  readonly #slice: SliceReader;
  readonly #segment: number;
  readonly #log: LogIdentity;
  readonly #fileBytes: number;
  readonly #candidate: BatchHeader = emptyBatchHeader();
  #position: number;
  #link: ChainLink | null;

  constructor(source: BatchReaderSource) {
    this.#slice = source.slice;
    this.#segment = source.segment;
    this.#log = source.log;
    this.#fileBytes = source.file.size();
    this.#position = source.position;
    this.#link = source.link;
    source.slice.open(source.file);
  }

  /** Offset behind the last good batch. */
  get position(): number {
    return this.#position;
  }

  /** The last good batch. */
  get link(): ChainLink | null {
    return this.#link;
  }

  get fileBytes(): number {
    return this.#fileBytes;
  }

  /** Afterwards `header` and `records` are those of the batch; they and all views live until the next call. */
  next(): BatchOutcome {
    const left = this.#fileBytes - this.#position;
    if (left === 0) return 'end';
    const headerBytes = Math.min(left, BATCH_HEADER_BYTES);
    const at = this.#slice.ensure(this.#position, headerBytes);
    if (isZero(this.#slice.bytes, at, at + headerBytes)) return 'end';
    const fault =
      left < BATCH_HEADER_BYTES
        ? 'the file ends inside a batch header'
        : this.#headerFault(at, left) || this.#bodyFault();
    if (fault !== '') {
      this.reason = fault;
      return 'bad';
    }
    this.#accept();
    return 'batch';
  }

  #headerFault(at: number, left: number): string {
    const header = this.#candidate;
    if (!readBatchHeader(this.#slice.bytes, at, this.#log, header)) return 'the checksum of a batch header is wrong';
    if (header.segment !== this.#segment || header.offset !== this.#position)
      return 'a batch lies where it was not written';
    if (header.bodyBytes > left - BATCH_HEADER_BYTES) return 'a batch is longer than its file';
    if (this.#link === null) return '';
    if (header.number !== this.#link.number + 1) return `batch ${header.number} follows batch ${this.#link.number}`;
    return header.previousCrc === this.#link.crc
      ? ''
      : `batch ${header.number} was written after another batch than the one before it`;
  }

  #bodyFault(): string {
    const { bodyBytes, headerCrc, bodyCrc, records } = this.#candidate;
    const at = this.#slice.ensure(this.#position, BATCH_HEADER_BYTES + bodyBytes) + BATCH_HEADER_BYTES;
    const { bytes } = this.#slice;
    if (crc32(bytes.subarray(at, at + bodyBytes), headerCrc) !== bodyCrc) return 'the checksum of a batch is wrong';
    return countRecords(bytes, at, at + bodyBytes) === records ? '' : 'the records of a batch do not fill it';
  }

  #accept(): void {
    const header = Object.assign(this.header, this.#candidate);
    const size = BATCH_HEADER_BYTES + header.bodyBytes;
    const at = this.#slice.ensure(this.#position, size);
    this.records.open(this.#slice.bytes, at + BATCH_HEADER_BYTES, at + size, this.#segment, this.#position - at);
    this.#position += size;
    this.#link = { number: header.number, crc: header.bodyCrc };
  }
}
