/** Visits the records of closed segments and of whole logs, in big slices, and lets the event loop run in between. */
import { setImmediate as turn } from 'node:timers/promises';
import type { ReplayedRecord } from './journal.js';
import { type LogExtent, walkBatches } from './log-walk.js';
import { FILE_HEADER_BYTES } from './segment-format.js';
import { SliceReader } from './slice-reader.js';

/** What was walked, for the books of the one who asked. */
export interface ReplayTotals {
  batches: number;
  records: number;
  /** Where each segment ends, in the order of `segments`. */
  readonly ends: number[];
}

export interface WholeLog extends LogExtent {
  readonly visit: (record: ReplayedRecord) => void;
  readonly progress: (share: number) => void;
}

/** Throws JournalDamagedError at the first batch that is not what it has to be. */
export async function replayLog(whole: WholeLog): Promise<ReplayTotals> {
  const { segments, visit, progress } = whole;
  const totals: ReplayTotals = { batches: 0, records: 0, ends: segments.map(() => FILE_HEADER_BYTES) };
  const slice = new SliceReader();
  let { slices } = slice;
  for (const { header, records, position, fileBytes } of walkBatches(whole, slice)) {
    const index = header.segment - segments[0]!;
    totals.batches += 1;
    totals.records += header.records;
    totals.ends[index] = position;
    while (records.next()) visit(records);
    if (slice.slices !== slices) {
      slices = slice.slices;
      progress((index + position / fileBytes) / segments.length);
      await turn();
    }
  }
  progress(1);
  return totals;
}

/** The records of one closed segment until `visit` says false. Throws JournalDamagedError. */
export async function replayClosedSegment(
  source: Pick<LogExtent, 'storage' | 'directory' | 'log'>,
  segment: number,
  visit: (record: ReplayedRecord) => boolean,
): Promise<void> {
  const slice = new SliceReader();
  let { slices } = slice;
  for (const { records } of walkBatches({ ...source, segments: [segment], end: null }, slice)) {
    while (records.next()) if (!visit(records)) return;
    if (slice.slices !== slices) {
      slices = slice.slices;
      await turn();
    }
  }
}
