// hot path
/** Walks the records of one batch that has been checked. One object for all of them: `head` and `body` are made only if they are asked for. */
import type { ReplayedRecord } from './journal.js';
import { RECORD_HEADER_BYTES } from './segment-format.js';

const NO_BYTES = Buffer.alloc(0);

export class RecordCursor implements ReplayedRecord {
  type = 0;
  segment = 0;
  bodyOffset = 0;
  #bytes: Buffer = NO_BYTES;
  #next = 0;
  #end = 0;
  /** Segment offset of `#bytes[0]`. */
  #base = 0;
  #headAt = 0;
  #bodyAt = 0;

  /** `bytes[from]` lies at `base + from` in its segment. */
  open(bytes: Buffer, from: number, to: number, segment: number, base: number): void {
    this.#bytes = bytes;
    this.#next = from;
    this.#end = to;
    this.segment = segment;
    this.#base = base;
  }

  next(): boolean {
    const at = this.#next;
    if (at >= this.#end) return false;
    const bytes = this.#bytes;
    this.type = bytes[at + 4]!;
    this.#headAt = at + RECORD_HEADER_BYTES;
    this.#bodyAt = this.#headAt + headBytesAt(bytes, at);
    this.#next = this.#headAt + bytes.readUInt32LE(at);
    this.bodyOffset = this.#base + this.#bodyAt;
    return true;
  }

  get head(): Uint8Array {
    return this.#bytes.subarray(this.#headAt, this.#bodyAt);
  }

  get body(): Uint8Array {
    return this.#bytes.subarray(this.#bodyAt, this.#next);
  }
}

/** Number of records that fill the range exactly, or -1 if some length does not fit the bytes left. */
export function countRecords(bytes: Buffer, from: number, to: number): number {
  let count = 0;
  let at = from;
  while (at < to) {
    if (to - at < RECORD_HEADER_BYTES) return -1;
    const length = bytes.readUInt32LE(at);
    if (length > to - at - RECORD_HEADER_BYTES || headBytesAt(bytes, at) > length) return -1;
    at += RECORD_HEADER_BYTES + length;
    count += 1;
  }
  return count;
}

function headBytesAt(bytes: Buffer, at: number): number {
  return bytes[at + 5]! | (bytes[at + 6]! << 8) | (bytes[at + 7]! << 16);
}
