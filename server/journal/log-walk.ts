/** Walks the batches of a log from segment to segment, and checks that each segment ends as it has to. */
import { BatchReader } from './batch-reader.js';
import { JournalDamagedError } from './errors.js';
import { segmentPath } from './segment-files.js';
import { type ChainLink, FILE_HEADER_BYTES, FLAG_SEAL, firstLink, type LogIdentity } from './segment-format.js';
import type { SliceReader } from './slice-reader.js';
import type { Storage } from './storage.js';

export interface LogExtent {
  readonly storage: Storage;
  readonly directory: string;
  readonly log: LogIdentity;
  /** Ascending, without a gap. */
  readonly segments: readonly number[];
  /** Where the last of them ends; null if that is sealed like the others. */
  readonly end: number | null;
}

/** Every batch in order, each valid until the next one is asked for. Throws JournalDamagedError at the first that is not what it has to be. */
export function* walkBatches(extent: LogExtent, slice: SliceReader): Generator<BatchReader, void, undefined> {
  const { storage, directory, log, segments, end } = extent;
  let link: ChainLink | null = segments[0] === 1 ? firstLink(log) : null;
  for (const segment of segments) {
    const file = storage.open(segmentPath(directory, segment), 'read');
    try {
      const reader = new BatchReader({ slice, file, segment, log, position: FILE_HEADER_BYTES, link });
      let isSealed = false;
      while (!isSealed && reader.next() === 'batch') {
        isSealed = (reader.header.flags & FLAG_SEAL) !== 0;
        yield reader;
      }
      const isWhole = end !== null && segment === segments.at(-1) ? reader.position === end : isSealed;
      if (!isWhole) {
        const reason = reader.reason || 'the segment ends before it is sealed';
        throw new JournalDamagedError({ directory, segment, offset: reader.position, reason });
      }
      link = reader.link;
    } finally {
      file.close();
    }
  }
}
