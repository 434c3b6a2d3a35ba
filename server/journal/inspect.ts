/** Looks at a log that nobody writes to: is it whole, what is in it. Changes nothing; a broker on the directory is DataDirLockedError. */
import type { BatchReader } from './batch-reader.js';
import { JournalMissingError } from './errors.js';
import type { ReplayedRecord } from './journal.js';
import { walkBatches } from './log-walk.js';
import { nodeStorage } from './node-storage.js';
import { FLAG_SEAL } from './segment-format.js';
import { SliceReader } from './slice-reader.js';
import type { Storage, StorageLock } from './storage.js';
import { type Survey, surveyLog } from './survey.js';

/** A log that can be opened. */
export interface JournalHealth {
  readonly segments: number;
  readonly firstSegment: number;
  readonly lastSegment: number;
  readonly batches: number;
  readonly records: number;
  /** Of batches, without file headers and space reserved ahead. */
  readonly bytes: number;
  /** The last process closed the journal. */
  readonly isClean: boolean;
  /** What the next start will cut off, with a copy kept: the rest of a write that a crash interrupted. */
  readonly torn: TornPlace | null;
}

export interface TornPlace {
  readonly segment: number;
  readonly offset: number;
  readonly bytes: number;
  readonly reason: string;
}

export interface SegmentStats {
  readonly segment: number;
  bytes: number;
  batches: number;
  records: number;
  isSealed: boolean;
  /** Records and their bytes, heads and bodies, by record type. */
  readonly types: Map<number, { records: number; bytes: number }>;
}

/** Reads the whole log. Throws JournalDamagedError for the first thing that is wrong, JournalMissingError. */
export function verifyJournal(directory: string, storage: Storage = nodeStorage): JournalHealth {
  return inspect(directory, storage, (survey) => {
    const { segments, last } = survey;
    const totals = { batches: 0, records: 0, bytes: 0 };
    for (const { header } of walkFrom(storage, directory, survey)) {
      totals.batches += 1;
      totals.records += header.records;
      totals.bytes += header.bodyBytes;
    }
    const { segment, end: offset, tail, reason, isClean } = last;
    return {
      segments: segments.length,
      firstSegment: segments[0]!,
      lastSegment: segment,
      ...totals,
      isClean,
      torn: tail.end > offset ? { segment, offset, bytes: tail.end - offset, reason } : null,
    };
  });
}

/**
 * The records from a segment on, oldest first, each valid until the next is asked for. The directory stays locked until the end, or until the caller
 * returns. Throws as `verifyJournal`, when it comes to the damage.
 */
export function* dumpJournal(
  directory: string,
  fromSegment = 1,
  storage: Storage = nodeStorage,
): Generator<ReplayedRecord, void, undefined> {
  const { lock, survey } = open(directory, storage);
  try {
    for (const { records } of walkFrom(storage, directory, survey, fromSegment)) while (records.next()) yield records;
  } finally {
    lock.release();
  }
}

/** Counts by segment and type of record. Throws as `verifyJournal`. */
export function journalStats(directory: string, storage: Storage = nodeStorage): SegmentStats[] {
  return inspect(directory, storage, (survey) => {
    const found = new Map<number, SegmentStats>();
    for (const { header, records } of walkFrom(storage, directory, survey)) {
      const stats = found.get(header.segment) ?? emptyStats(header.segment);
      found.set(header.segment, stats);
      stats.bytes += header.bodyBytes;
      stats.batches += 1;
      stats.isSealed = (header.flags & FLAG_SEAL) !== 0;
      while (records.next()) countRecord(stats, records);
    }
    return [...found.values()];
  });
}

function inspect<T>(directory: string, storage: Storage, use: (survey: Survey) => T): T {
  const { lock, survey } = open(directory, storage);
  try {
    return use(survey);
  } finally {
    lock.release();
  }
}

function open(directory: string, storage: Storage): { readonly lock: StorageLock; readonly survey: Survey } {
  const lock = storage.lock(directory, 'shared');
  try {
    const survey = surveyLog(storage, directory);
    if (survey === null) throw new JournalMissingError(directory);
    return { lock, survey };
  } catch (error) {
    lock.release();
    throw error;
  }
}

/** Every batch of a segment or a later one, each valid until the next one. */
function walkFrom(
  storage: Storage,
  directory: string,
  { log, segments, last }: Survey,
  fromSegment = 1,
): Generator<BatchReader, void, undefined> {
  const wanted = segments.filter((segment) => segment >= fromSegment);
  return walkBatches({ storage, directory, log, segments: wanted, end: last.end }, new SliceReader());
}

function emptyStats(segment: number): SegmentStats {
  return { segment, bytes: 0, batches: 0, records: 0, isSealed: false, types: new Map() };
}

function countRecord(stats: SegmentStats, { type, head, body }: ReplayedRecord): void {
  const count = stats.types.get(type) ?? { records: 0, bytes: 0 };
  stats.types.set(type, count);
  count.records += 1;
  count.bytes += head.length + body.length;
  stats.records += 1;
}
