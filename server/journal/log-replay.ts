/** Walks the records of closed segments and of whole logs, in big slices, and lets the event loop run in between. */
import { setImmediate as turn } from 'node:timers/promises';
import { BatchReader } from './batch-reader.js';
import { JournalDamagedError } from './errors.js';
import type { ReplayedRecord } from './journal.js';
import { segmentPath } from './segment-files.js';
import { type ChainLink, FILE_HEADER_BYTES, FLAG_SEAL, firstLink, type LogIdentity } from './segment-format.js';
import { SliceReader } from './slice-reader.js';
import type { Storage } from './storage.js';

export interface ReplaySource {
  readonly storage: Storage;
  readonly directory: string;
  readonly log: LogIdentity;
}

/** What was walked, for the books of the one who asked. */
export interface ReplayTotals {
  batches: number;
  records: number;
  /** Where each segment ends, in the order of `segments`. */
  readonly ends: number[];
}

export interface WholeLog extends ReplaySource {
  readonly segments: readonly number[];
  /** Where the last segment ends, as recovery found it. */
  readonly end: number;
  readonly visit: (record: ReplayedRecord) => void;
  readonly progress: (share: number) => void;
}

/** Throws JournalDamagedError at the first batch that is not what it has to be. */
export async function replayLog(whole: WholeLog): Promise<ReplayTotals> {
  const totals: ReplayTotals = { batches: 0, records: 0, ends: [] };
  const slice = new SliceReader();
  const { segments } = whole;
  let link: ChainLink | null = segments[0] === 1 ? firstLink(whole.log) : null;
  for (const [index, segment] of segments.entries()) {
    const isLast = index === segments.length - 1;
    const walk = new SegmentWalk(whole, slice, segment, link);
    try {
      await walk.run(visitAll(whole.visit), (share) => whole.progress((index + share) / segments.length));
      if (isLast ? walk.reader.position !== whole.end : !walk.isSealed) throw walk.damage();
    } finally {
      walk.close();
    }
    link = walk.reader.link;
    totals.batches += walk.batches;
    totals.records += walk.records;
    totals.ends.push(walk.reader.position);
  }
  whole.progress(1);
  return totals;
}

function visitAll(visit: (record: ReplayedRecord) => void): (record: ReplayedRecord) => boolean {
  return (record) => {
    visit(record);
    return true;
  };
}

/** The records of one closed segment until `visit` says false. Throws JournalDamagedError. */
export async function replayClosedSegment(
  source: ReplaySource,
  segment: number,
  visit: (record: ReplayedRecord) => boolean,
): Promise<void> {
  const walk = new SegmentWalk(source, new SliceReader(), segment, null);
  try {
    const wasStopped = await walk.run(visit, () => undefined);
    if (!wasStopped && !walk.isSealed) throw walk.damage();
  } finally {
    walk.close();
  }
}

class SegmentWalk {
  readonly reader: BatchReader;
  isSealed = false;
  batches = 0;
  records = 0;
  readonly #slice: SliceReader;
  readonly #close: () => void;
  readonly #place: { readonly directory: string; readonly segment: number };

  constructor(source: ReplaySource, slice: SliceReader, segment: number, link: ChainLink | null) {
    const { storage, directory, log } = source;
    const file = storage.open(segmentPath(directory, segment), 'read');
    this.#close = () => file.close();
    this.#slice = slice;
    this.#place = { directory, segment };
    this.reader = new BatchReader({ slice, file, segment, log, position: FILE_HEADER_BYTES, link });
  }

  /** True if the visitor stopped it. */
  async run(visit: (record: ReplayedRecord) => boolean, progress: (share: number) => void): Promise<boolean> {
    const { reader } = this;
    const { records } = reader;
    let slices = this.#slice.slices;
    while (!this.isSealed && reader.next() === 'batch') {
      this.batches += 1;
      this.records += reader.header.records;
      this.isSealed = (reader.header.flags & FLAG_SEAL) !== 0;
      while (records.next()) if (!visit(records)) return true;
      if (this.#slice.slices !== slices) {
        slices = this.#slice.slices;
        progress(reader.position / reader.fileBytes);
        await turn();
      }
    }
    return false;
  }

  damage(): JournalDamagedError {
    const reason = this.reader.reason || 'the segment ends before it is sealed';
    return new JournalDamagedError({ ...this.#place, offset: this.reader.position, reason });
  }

  close(): void {
    this.#close();
  }
}
