/** What can be wrong with a journal that a person has to decide about. Callers match `code`. */

export interface JournalDamage {
  /** The data directory, for the command in the message. */
  readonly directory: string;
  readonly segment: number;
  /** Offset in the segment's file of the first byte that cannot be believed. */
  readonly offset: number;
  readonly reason: string;
}

/**
 * Bytes that were acknowledged, or may have been, are damaged or missing. The journal refuses to open and cuts nothing there: to go on would
 * be to lose data without a word.
 */
export class JournalDamagedError extends Error {
  readonly code = 'JOURNAL_DAMAGED';
  readonly directory: string;
  readonly segment: number;
  readonly offset: number;
  readonly reason: string;
  /** The command that shows what would be lost, and with `--apply` goes on without it. */
  readonly command: string;

  constructor(damage: JournalDamage) {
    const command = `lovage journal repair ${damage.directory}`;
    super(
      `Cannot open the journal: segment ${damage.segment} is damaged at offset ${damage.offset} (${damage.reason}), expected valid ` +
        `batches there. See what would be lost: "${command}"`,
    );
    this.name = 'JournalDamagedError';
    this.directory = damage.directory;
    this.segment = damage.segment;
    this.offset = damage.offset;
    this.reason = damage.reason;
    this.command = command;
  }
}

/** Another process, or another journal in this one, holds the data directory. */
export class DataDirLockedError extends Error {
  readonly code = 'DATA_DIR_LOCKED';
  readonly directory: string;
  /** Process id of the holder, null if the lock file does not tell. */
  readonly pid: number | null;
  /** When the holder took the lock (ISO 8601), null if the lock file does not tell. */
  readonly startedAt: string | null;

  constructor(directory: string, pid: number | null, startedAt: string | null) {
    super(
      `Cannot open the data directory "${directory}": process ${pid ?? '(unknown)'} holds it since ${startedAt ?? '(unknown)'}, ` +
        'expected no other holder',
    );
    this.name = 'DataDirLockedError';
    this.directory = directory;
    this.pid = pid;
    this.startedAt = startedAt;
  }
}

/** There is no log in the directory, so there is nothing to look at. */
export class JournalMissingError extends Error {
  readonly code = 'JOURNAL_MISSING';

  constructor(directory: string) {
    super(`Cannot read a journal in "${directory}": it has no segments, expected the data directory of a broker`);
    this.name = 'JournalMissingError';
  }
}

/** The disk has no room for a batch even after all that was kept aside was given up. Reaches `onFatal`, never a caller. */
export class JournalDiskFullError extends Error {
  readonly code = 'JOURNAL_DISK_FULL';

  constructor(segment: number, missingBytes: number) {
    super(`Cannot write a batch to segment ${segment}: the disk is full, expected room for ${missingBytes} more bytes`);
    this.name = 'JournalDiskFullError';
  }
}

/** For programmer's errors: what must hold, and the process ends when it does not. */
export function assert(condition: boolean, message: string): asserts condition {
  if (!condition) throw new Error(`Journal assertion: ${message}`);
}
