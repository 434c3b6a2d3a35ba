/**
 * Makes a damaged log one that can be opened, by going on without what cannot be believed. Nothing is destroyed: what is taken out of the log
 * goes to `torn/` in the data directory.
 *
 *     segment 7 [ok][ok][ok]   segment 8 [ok][ok][BAD][ok]   segment 9 [ok][ok]
 *                                                └─ cut ─┘             └─ set aside ─┘
 *
 * What lies behind the damage is given up although it may be readable: it was written on top of what is lost (a settlement of a message
 * that is not there, an id that is given out again), and the log's promise is a prefix without holes. Only a file header is
 * written again when the batches behind it are whole.
 */
import { JournalMissingError } from './errors.js';
import { nodeStorage } from './node-storage.js';
import { keepRange } from './recovery.js';
import { findLog, type LogFiles, planRepair, type RepairPlan } from './repair-plan.js';
import { listSegments, segmentDirectory, segmentPath, writeFully } from './segment-files.js';
import { encodeFileHeader } from './segment-format.js';
import type { Storage, StorageFile } from './storage.js';

export interface Repair {
  readonly plan: RepairPlan;
  /** Where what was taken out lies; empty if the plan was not carried out. */
  readonly copies: readonly string[];
}

/**
 * Finds out what a repair would do, and with `apply` does it. Null if there is nothing to do, which a torn tail does not change: the next start
 * cuts it. Throws DataDirLockedError, JournalMissingError, JournalDamagedError when no file header can be read, and what the disk says;
 * after a failure it may be run again.
 */
export async function repairJournal(
  directory: string,
  { apply }: { readonly apply: boolean },
  storage: Storage = nodeStorage,
): Promise<Repair | null> {
  if (listSegments(storage, directory).numbers.length === 0) throw new JournalMissingError(directory);
  const lock = storage.lock(directory, apply ? 'exclusive' : 'shared');
  try {
    const files = { storage, directory, numbers: listSegments(storage, directory).numbers };
    const plan = planRepair(files);
    if (plan === null) return null;
    return { plan, copies: apply ? await carryOut(files, plan) : [] };
  } finally {
    lock.release();
  }
}

/** Highest segment first, so that the numbers stay contiguous through a crash; each step is on the disk before the next. */
async function carryOut(files: LogFiles, { headers, cut, dropped }: RepairPlan): Promise<string[]> {
  const { storage, directory } = files;
  // Before files go: the log's id may stand in them only.
  const log = findLog(files);
  const copies: string[] = [];
  for (const { segment, bytes } of dropped.toReversed()) {
    copies.push(await keepRange(storage, directory, { segment, offset: 0, bytes }));
    await storage.unlink(segmentPath(directory, segment));
    await storage.syncDirectory(segmentDirectory(directory));
  }
  for (const segment of headers) {
    const header = encodeFileHeader({ segment, log });
    await change(files, segment, (file) => writeFully(file, [header], 0));
  }
  if (cut !== null) {
    if (cut.bytes > 0) copies.push(await keepRange(storage, directory, cut));
    await change(files, cut.segment, (file) => file.truncate(cut.offset));
  }
  return copies;
}

async function change(
  { storage, directory }: LogFiles,
  segment: number,
  by: (file: StorageFile) => void,
): Promise<void> {
  const file = storage.open(segmentPath(directory, segment), 'write');
  try {
    by(file);
    await file.datasync();
  } finally {
    file.close();
  }
}
