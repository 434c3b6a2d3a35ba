/**
 * Brings a log into a state to write to, or refuses. What each kind of end means:
 *
 *     last batch          behind it          what is done
 *     none yet            zeros or nothing   go on in the same file
 *     any                 zeros or nothing   cut the zeros, write what may not be synced again (rule W2), go on
 *     any                 torn tail          keep the tail under `torn/`, then the same
 *     any                 damage             JournalDamagedError; nothing is changed (see tail-search.ts)
 *
 * In each case but damage the names of the files are synced first.
 *
 * Written again, because the bytes read here may be in the page cache only: if the last `fdatasync` failed, the kernel has marked them clean and
 * will never write them. Which bytes that can be the log tells itself: each batch names the highest one that had reached the disk
 * when it was written, so all up to the one that the last batch names are safe, and the rest (with sync class `always` the last batch)
 * is written over itself. That dirties and syncs the same pages; each sector holds the same bytes before and after, so a
 * crash meanwhile harms nothing, and it needs no room.
 */
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { BatchReader } from './batch-reader.js';
import { JournalDamagedError } from './errors.js';
import {
  createSegment,
  listSegments,
  publishFile,
  segmentDirectory,
  segmentPath,
  temporaryPath,
  tornDirectory,
  writeFully,
} from './segment-files.js';
import {
  type ChainLink,
  FILE_HEADER_BYTES,
  FLAG_SEAL,
  firstLink,
  LOG_ID_BYTES,
  type LogIdentity,
  logIdentity,
} from './segment-format.js';
import { SLICE_BYTES, SliceReader } from './slice-reader.js';
import type { Storage, StorageFile } from './storage.js';
import { type BatchStart, type LastSegment, type Survey, surveyLog, withFile } from './survey.js';

/** A tail that was cut off: `bytes` from `offset` of `segment`, kept in `copy`. */
export interface TornTail {
  readonly segment: number;
  readonly offset: number;
  readonly bytes: number;
  readonly reason: string;
  readonly copy: string;
}

export interface RecoveredLog {
  readonly log: LogIdentity;
  /** Kept segments, ascending. */
  readonly segments: readonly number[];
  /** Where the last one ends. */
  readonly end: number;
  readonly link: ChainLink;
  readonly isSealed: boolean;
  /** Records in the last segment. */
  readonly lastRecords: number;
  readonly isNew: boolean;
  readonly wasClean: boolean;
  readonly torn: TornTail | null;
}

/** Throws JournalDamagedError. The caller holds the lock. */
export async function recoverLog(storage: Storage, directory: string): Promise<RecoveredLog> {
  await storage.makeDirectory(segmentDirectory(directory));
  for (const name of listSegments(storage, directory).temporary)
    await storage.unlink(join(segmentDirectory(directory), name));
  const survey = surveyLog(storage, directory);
  if (survey === null) return createLog(storage, directory);
  const { last } = survey;
  await removePrepared(storage, directory, survey.prepared);
  const torn = last.tail.end > last.end ? await keepTail(storage, directory, last) : null;
  const isUntouched = last.batches === 0 && torn === null;
  await syncNames(storage, directory);
  if (!isUntouched) await rewriteUnsynced(storage, directory, survey);
  return {
    log: survey.log,
    segments: survey.segments,
    end: last.end,
    link: last.link,
    isSealed: last.isSealed,
    lastRecords: last.records,
    isNew: isUntouched && survey.segments.length === 1,
    wasClean: last.isClean || isUntouched,
    torn,
  };
}

async function createLog(storage: Storage, directory: string): Promise<RecoveredLog> {
  const log = logIdentity(randomBytes(LOG_ID_BYTES));
  (await createSegment(storage, directory, log, 1)).close();
  return {
    log,
    segments: [1],
    end: FILE_HEADER_BYTES,
    link: firstLink(log),
    isSealed: false,
    lastRecords: 0,
    isNew: true,
    wasClean: true,
    torn: null,
  };
}

/** Highest first, and each for good before the next, so that the numbers stay contiguous through a crash. */
export async function removePrepared(storage: Storage, directory: string, prepared: readonly number[]): Promise<void> {
  for (const segment of prepared.toReversed()) {
    await storage.unlink(segmentPath(directory, segment));
    await storage.syncDirectory(segmentDirectory(directory));
  }
}

/** The process before may have died when a segment was made or deleted and that was not durable (rule W5). */
async function syncNames(storage: Storage, directory: string): Promise<void> {
  await storage.syncDirectory(segmentDirectory(directory));
  await storage.syncDirectory(directory);
}

async function keepTail(storage: Storage, directory: string, last: LastSegment): Promise<TornTail> {
  const range = { segment: last.segment, offset: last.end, bytes: last.tail.end - last.end };
  return { ...range, reason: last.reason, copy: await keepRange(storage, directory, range) };
}

/** Copies a range of a segment to `torn/<segment>-<offset>[.n].bin`, durably, and returns the path. */
export async function keepRange(
  storage: Storage,
  directory: string,
  range: { readonly segment: number; readonly offset: number; readonly bytes: number },
): Promise<string> {
  await storage.makeDirectory(tornDirectory(directory));
  const path = freeName(storage, directory, `${String(range.segment).padStart(10, '0')}-${range.offset}`);
  const target = storage.open(temporaryPath(path), 'create');
  try {
    withFile(storage, segmentPath(directory, range.segment), (source) =>
      copyRange(source, target, { from: range.offset, to: 0, bytes: range.bytes }),
    );
    await target.datasync();
    await publishFile(storage, path);
  } finally {
    target.close();
  }
  return path;
}

function freeName(storage: Storage, directory: string, stem: string): string {
  const taken = new Set(storage.list(tornDirectory(directory)));
  let name = `${stem}.bin`;
  for (let count = 2; taken.has(name); count += 1) name = `${stem}.${count}.bin`;
  return join(tornDirectory(directory), name);
}

function copyRange(
  source: StorageFile,
  target: StorageFile,
  { from, to, bytes }: { readonly from: number; readonly to: number; readonly bytes: number },
): void {
  const slice = Buffer.allocUnsafe(Math.min(SLICE_BYTES, bytes));
  for (let done = 0; done < bytes; done += slice.length) {
    const count = source.read(slice, 0, Math.min(slice.length, bytes - done), from + done);
    writeFully(target, [slice.subarray(0, count)], to + done);
  }
}

/** Rule W2, and the cut of a torn tail: what lies behind the last good batch is gone. */
async function rewriteUnsynced(storage: Storage, directory: string, survey: Survey): Promise<void> {
  const { segment, end, unsynced } = survey.last;
  const file = storage.open(segmentPath(directory, segment), 'write');
  try {
    file.truncate(end);
    if (unsynced !== null) {
      copyRange(file, file, { from: unsynced.offset, to: unsynced.offset, bytes: end - unsynced.offset });
      verifyRewritten(file, directory, survey, unsynced);
    }
    await file.datasync();
  } finally {
    file.close();
  }
}

function verifyRewritten(file: StorageFile, directory: string, { log, last }: Survey, from: BatchStart): void {
  const source = { slice: new SliceReader(), file, segment: last.segment, log, position: from.offset, link: from.link };
  const reader = new BatchReader(source);
  while (reader.next() === 'batch' && (reader.header.flags & FLAG_SEAL) === 0);
  if (reader.position === last.end && reader.link?.crc === last.link.crc) return;
  throw new JournalDamagedError({
    directory,
    segment: last.segment,
    offset: reader.position,
    reason: 'what was written again reads differently',
  });
}
