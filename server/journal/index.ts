/** The public names of the journal. */
export { type JournalClock, systemClock } from './clock.js';
export {
  DataDirLockedError,
  type JournalDamage,
  JournalDamagedError,
  JournalDiskFullError,
  JournalMissingError,
} from './errors.js';
export { FileJournal, type FileJournalOptions, openFileJournal } from './file-journal.js';
export { dumpJournal, type JournalHealth, journalStats, type SegmentStats, verifyJournal } from './inspect.js';
export type { Journal, JournalStats, Location, ReplayedRecord, SyncClass } from './journal.js';
export { MemoryJournal, type MemoryJournalOptions } from './memory-journal.js';
export { nodeStorage } from './node-storage.js';
export type { TornTail } from './recovery.js';
export { type Repair, repairJournal } from './repair.js';
export type { RepairPlan } from './repair-plan.js';
export { isDiskFull, type OpenMode, type Storage, type StorageFile, type StorageLock } from './storage.js';
