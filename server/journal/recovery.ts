/**
 * Brings a log into a state to write to, or refuses. What each kind of end means:
 *
 *     last batch          behind it          what is done
 *     none yet            zeros or nothing   sync the names, go on in the same file
 *     clean stop          zeros or nothing   write the clean stop once more, go on in the same file
 *     any                 zeros or nothing   the process died: copy the last segment (rule W2), go on in the copy
 *     any                 torn tail          keep the tail under `torn/`, copy the last segment without it, go on
 *     any                 damage             JournalDamagedError; nothing is changed (see tail-search.ts)
 *
 * The copy is there because the bytes read here may be in the page cache only: if the last `fdatasync` failed, the kernel has marked them
 * clean and will never write them. Written anew and synced they are on the disk before anything is served that rests on them. On a
 * disk too full for a copy the segment is written over itself with the same bytes, which dirties and syncs the same pages; each
 * sector holds the same bytes before and after, so a crash meanwhile harms nothing.
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
  BATCH_HEADER_BYTES,
  type ChainLink,
  FILE_HEADER_BYTES,
  FLAG_SEAL,
  firstLink,
  LOG_ID_BYTES,
  type LogIdentity,
  logIdentity,
} from './segment-format.js';
import { SLICE_BYTES, SliceReader } from './slice-reader.js';
import { isDiskFull, type Storage, type StorageFile } from './storage.js';
import { type LastSegment, type Survey, surveyLog, withFile } from './survey.js';

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
  if (isUntouched) await syncNames(storage, directory);
  else if (last.isClean) await rewriteStop(storage, directory, last);
  else await rewriteLast(storage, directory, survey);
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

/** The process that made the first segment may have died before its name was durable (rule W5). */
async function syncNames(storage: Storage, directory: string): Promise<void> {
  await storage.syncDirectory(segmentDirectory(directory));
  await storage.syncDirectory(directory);
}

/**
 * Everything before a clean stop was synced, but the sync of the clean stop itself may have failed: then only the page cache has it, and the
 * batches that are chained to it would be damage without it (rule W2).
 */
async function rewriteStop(storage: Storage, directory: string, { segment, end }: LastSegment): Promise<void> {
  const file = storage.open(segmentPath(directory, segment), 'write');
  try {
    const stop = Buffer.alloc(BATCH_HEADER_BYTES);
    const start = end - stop.length;
    file.read(stop, 0, stop.length, start);
    writeFully(file, [stop], start);
    await file.datasync();
  } finally {
    file.close();
  }
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
    withFile(storage, segmentPath(directory, range.segment), (source) => copyRange(source, target, range));
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
  range: { readonly offset: number; readonly bytes: number },
): void {
  const slice = Buffer.allocUnsafe(Math.min(SLICE_BYTES, range.bytes));
  for (let done = 0; done < range.bytes; done += slice.length) {
    const count = source.read(slice, 0, Math.min(slice.length, range.bytes - done), range.offset + done);
    writeFully(target, [slice.subarray(0, count)], done);
  }
}

/** Rule W2, and the cut of a torn tail: what is not copied is gone. */
async function rewriteLast(storage: Storage, directory: string, survey: Survey): Promise<void> {
  try {
    await copyLast(storage, directory, survey);
  } catch (error) {
    if (!isDiskFull(error)) throw error;
    for (const name of listSegments(storage, directory).temporary)
      await storage.unlink(join(segmentDirectory(directory), name));
    await overwriteLast(storage, directory, survey);
  }
}

async function copyLast(storage: Storage, directory: string, survey: Survey): Promise<void> {
  const { segment, end } = survey.last;
  const path = segmentPath(directory, segment);
  const target = storage.open(temporaryPath(path), 'create');
  try {
    withFile(storage, path, (source) => copyRange(source, target, { offset: 0, bytes: end }));
  } finally {
    target.close();
  }
  const copy = storage.open(temporaryPath(path), 'write');
  try {
    verifyCopy(copy, directory, survey);
    await copy.datasync();
    await publishFile(storage, path);
  } finally {
    copy.close();
  }
}

async function overwriteLast(storage: Storage, directory: string, survey: Survey): Promise<void> {
  const { segment, end } = survey.last;
  const file = storage.open(segmentPath(directory, segment), 'write');
  try {
    file.truncate(end);
    const slice = Buffer.allocUnsafe(Math.min(SLICE_BYTES, end));
    for (let at = 0; at < end; at += slice.length) {
      const count = file.read(slice, 0, Math.min(slice.length, end - at), at);
      writeFully(file, [slice.subarray(0, count)], at);
    }
    verifyCopy(file, directory, survey);
    await file.datasync();
  } finally {
    file.close();
  }
}

function verifyCopy(file: StorageFile, directory: string, survey: Survey): void {
  const { log, last } = survey;
  const link = last.segment === 1 ? firstLink(log) : null;
  const source = { slice: new SliceReader(), file, segment: last.segment, log, position: FILE_HEADER_BYTES, link };
  const reader = new BatchReader(source);
  while (reader.next() === 'batch' && (reader.header.flags & FLAG_SEAL) === 0);
  if (reader.position === last.end && (reader.link === null || reader.link.crc === last.link.crc)) return;
  throw new JournalDamagedError({
    directory,
    segment: last.segment,
    offset: reader.position,
    reason: 'its copy reads differently',
  });
}
