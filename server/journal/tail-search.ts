/**
 * Looks at what lies behind the last good batch of a log. Three things can be there:
 *
 *     zeros only             space that was written ahead: the log ends here
 *     a bad frame, no more   a write that a crash cut short: a torn tail, nobody was told that it is safe
 *     a bad frame, and then  if the good one says that the bad one was on disk when it was written, acknowledged
 *     a good one             data is damaged
 *
 * With sync class `always` at most one batch is not on disk at any time, so every later frame says that, and "bad, then good" is always
 * damage. With `interval` and `never` several batches may be on their way when power goes, and the disk may keep any of them:
 * then a later frame proves nothing unless it is known (`durableNumber`) that the bad one had been synced.
 */
import {
  BATCH_HEADER_BYTES,
  BATCH_MAGIC,
  type ChainLink,
  emptyBatchHeader,
  type LogIdentity,
  readBatchHeader,
} from './segment-format.js';
import { isZero, SLICE_BYTES, type SliceReader } from './slice-reader.js';
import type { StorageFile } from './storage.js';

export interface Tail {
  /** Behind the last byte that is not zero; the position that was given if all are zero. */
  readonly end: number;
  /** Why the tail cannot have come from a crash, empty if it can. */
  readonly damage: string;
  /** Valid later frames that nothing shows to have been on disk (sync class `interval` and `never` only). */
  readonly looseBatches: number;
}

export interface TailSource {
  readonly slice: SliceReader;
  readonly file: StorageFile;
  readonly segment: number;
  readonly log: LogIdentity;
  /** Behind the last good batch. */
  readonly position: number;
  readonly link: ChainLink;
}

interface Findings {
  end: number;
  damage: string;
  looseBatches: number;
}

export function searchTail(source: TailSource): Tail {
  const { slice, file, position } = source;
  const fileBytes = file.size();
  slice.open(file);
  const found: Findings = { end: position, damage: '', looseBatches: 0 };
  // Slices overlap by a header, so that one that lies across a border is found.
  for (let from = position; from < fileBytes; from += SLICE_BYTES) {
    const length = Math.min(fileBytes - from, SLICE_BYTES + BATCH_HEADER_BYTES - 1);
    const at = slice.ensure(from, length);
    searchSlice(source, found, slice.bytes.subarray(at, at + length), from);
  }
  return found;
}

function searchSlice(source: TailSource, found: Findings, bytes: Buffer, base: number): void {
  if (isZero(bytes, 0, bytes.length)) return;
  found.end = Math.max(found.end, base + lastNonZero(bytes) + 1);
  const header = emptyBatchHeader();
  for (let at = bytes.indexOf(BATCH_MAGIC); at !== -1; at = bytes.indexOf(BATCH_MAGIC, at + 1)) {
    if (at >= SLICE_BYTES || at + BATCH_HEADER_BYTES > bytes.length) break;
    if (!readBatchHeader(bytes, at, source.log, header)) continue;
    if (header.segment !== source.segment || header.offset !== base + at) continue;
    const bad = source.link.number + 1;
    if (header.number < bad) continue;
    if (header.durableNumber >= bad) {
      found.damage ||= `batch ${bad} is bad, but batch ${header.number} at offset ${header.offset} was written after it had reached the disk`;
    } else if (header.number === bad && header.previousCrc !== source.link.crc) {
      found.damage ||= `batch ${bad} was written after another batch than the one before it`;
    } else if (header.number > bad) {
      found.looseBatches += 1;
    }
  }
}

function lastNonZero(bytes: Buffer): number {
  let at = bytes.length - 1;
  while (at >= 0 && bytes[at] === 0) at -= 1;
  return at;
}
