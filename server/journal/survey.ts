/**
 * Finds out, without changing anything, where the log in a data directory ends and in what state it was left.
 *
 *     0000000007 ... 0000000011      closed: each sealed and valid, which replay checks as it goes
 *     0000000012                     last: the highest one that holds anything; read whole here, up to its end or its torn tail
 *     0000000013                     prepared: a header and zeros, made early for the batches to come
 */
import { BatchReader } from './batch-reader.js';
import { JournalDamagedError } from './errors.js';
import { listSegments, segmentPath } from './segment-files.js';
import {
  type ChainLink,
  FILE_HEADER_BYTES,
  FLAG_CLEAN_STOP,
  FLAG_SEAL,
  firstLink,
  type LogIdentity,
  readFileHeader,
} from './segment-format.js';
import { isZero, SliceReader } from './slice-reader.js';
import type { Storage, StorageFile } from './storage.js';
import { searchTail, type Tail } from './tail-search.js';

export interface BatchStart {
  readonly number: number;
  readonly offset: number;
  /** The batch before, null at the start of a segment whose predecessor was not read. */
  readonly link: ChainLink | null;
}

export interface LastSegment {
  readonly segment: number;
  /** Behind the last good batch. */
  readonly end: number;
  readonly link: ChainLink;
  readonly isSealed: boolean;
  /** The last batch is a clean stop and nothing lies behind it. */
  readonly isClean: boolean;
  readonly records: number;
  readonly batches: number;
  /** The first batch that no other shows to have reached the disk; null if the segment has no batch. */
  readonly unsynced: BatchStart | null;
  readonly tail: Tail;
  /** What was found at `end`, if it was no batch. */
  readonly reason: string;
}

export interface Survey {
  readonly log: LogIdentity;
  /** Kept segments that hold something, ascending; the last one is `last.segment`. */
  readonly segments: readonly number[];
  readonly prepared: readonly number[];
  readonly last: LastSegment;
}

/** Null if there is no journal yet. Throws JournalDamagedError. */
export function surveyLog(storage: Storage, directory: string): Survey | null {
  const { numbers } = listSegments(storage, directory);
  if (numbers.length === 0) return null;
  checkContiguous(directory, numbers);
  const log = readHeaders(storage, directory, numbers);
  const slice = new SliceReader();
  let count = numbers.length;
  while (count > 1 && isPrepared(storage, directory, numbers[count - 1]!, slice)) count -= 1;
  const segments = numbers.slice(0, count);
  const last = surveyLast({ storage, directory, log, slice }, segments);
  return { log, segments, prepared: numbers.slice(count), last };
}

function checkContiguous(directory: string, numbers: readonly number[]): void {
  for (let index = 1; index < numbers.length; index += 1) {
    const segment = numbers[index - 1]! + 1;
    if (numbers[index] !== segment)
      throw new JournalDamagedError({ directory, segment, offset: 0, reason: 'its file is missing' });
  }
}

/** Every file is a segment of one log, and the one that its name says. */
function readHeaders(storage: Storage, directory: string, numbers: readonly number[]): LogIdentity {
  const bytes = Buffer.alloc(FILE_HEADER_BYTES);
  let log: LogIdentity | null = null;
  for (const segment of numbers) {
    const fault = withFile(storage, segmentPath(directory, segment), (file) => {
      const header = readFileHeader(bytes.subarray(0, file.read(bytes, 0, FILE_HEADER_BYTES, 0)));
      if (typeof header === 'string') return header;
      if (header.segment !== segment) return `its header says segment ${header.segment}`;
      log ??= header.log;
      return Buffer.compare(header.log.id, log.id) === 0 ? '' : 'it belongs to another log';
    });
    if (fault !== '') throw new JournalDamagedError({ directory, segment, offset: 0, reason: fault });
  }
  return log!;
}

/** A header and nothing but zeros. */
export function isPrepared(storage: Storage, directory: string, segment: number, slice: SliceReader): boolean {
  return withFile(storage, segmentPath(directory, segment), (file) => {
    const bytes = file.size();
    slice.open(file);
    for (let at = FILE_HEADER_BYTES; at < bytes; at += slice.bytes.length) {
      const length = Math.min(bytes - at, slice.bytes.length);
      const start = slice.ensure(at, length);
      if (!isZero(slice.bytes, start, start + length)) return false;
    }
    return true;
  });
}

interface Place {
  readonly storage: Storage;
  readonly directory: string;
  readonly log: LogIdentity;
  readonly slice: SliceReader;
}

function surveyLast(place: Place, segments: readonly number[]): LastSegment {
  const { storage, directory, log, slice } = place;
  const segment = segments.at(-1)!;
  return withFile(storage, segmentPath(directory, segment), (file) => {
    const link = segment === 1 ? firstLink(log) : null;
    const reader = new BatchReader({ slice, file, segment, log, position: FILE_HEADER_BYTES, link });
    const counts = { batches: 0, records: 0 };
    const unsynced: BatchStart[] = [];
    for (let before = reader.link; reader.next() === 'batch'; before = reader.link) {
      const { number, offset, records, durableNumber, flags } = reader.header;
      counts.batches += 1;
      counts.records += records;
      unsynced.push({ number, offset, link: before });
      unsynced.splice(
        0,
        unsynced.findIndex((start) => start.number > durableNumber),
      );
      if ((flags & FLAG_SEAL) !== 0) break;
    }
    const end = reader.position;
    const known = reader.link ?? linkBefore(place, segments, segment);
    const tail = searchTail({ slice, file, segment, log, position: end, link: known });
    if (tail.damage !== '') throw new JournalDamagedError({ directory, segment, offset: end, reason: tail.damage });
    const flags = counts.batches === 0 ? 0 : reader.header.flags;
    return {
      segment,
      end,
      link: known,
      isSealed: (flags & FLAG_SEAL) !== 0,
      isClean: (flags & FLAG_CLEAN_STOP) !== 0 && tail.end === end,
      ...counts,
      unsynced: unsynced[0] ?? null,
      tail,
      reason: reader.reason || 'bytes behind the last batch',
    };
  });
}

/** The first batch of the last segment is not whole: the one before it is the last of the segment before, which is sealed or damaged. */
function linkBefore(place: Place, segments: readonly number[], segment: number): ChainLink {
  const { storage, directory, log, slice } = place;
  const before = segments.at(-2);
  if (before === undefined) {
    // Segments are only deleted when a later one holds something durable, so the first one kept cannot be without a batch.
    throw new JournalDamagedError({
      directory,
      segment,
      offset: FILE_HEADER_BYTES,
      reason: 'the oldest segment has no valid batch',
    });
  }
  return withFile(storage, segmentPath(directory, before), (file) => {
    const reader = new BatchReader({ slice, file, segment: before, log, position: FILE_HEADER_BYTES, link: null });
    while (reader.next() === 'batch') {
      if ((reader.header.flags & FLAG_SEAL) !== 0) return reader.link!;
    }
    const reason = reader.reason || 'it is not sealed, although a later segment was written to';
    throw new JournalDamagedError({ directory, segment: before, offset: reader.position, reason });
  });
}

export function withFile<T>(storage: Storage, path: string, use: (file: StorageFile) => T): T {
  const file = storage.open(path, 'read');
  try {
    return use(file);
  } finally {
    file.close();
  }
}
