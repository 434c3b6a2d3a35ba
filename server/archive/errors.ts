/** What can be wrong with an archive that a person has to decide about. Callers match `code`. */

/** The file is no archive, or one whose bytes have changed. */
export class ArchiveDamagedError extends Error {
  readonly code = 'ARCHIVE_DAMAGED';

  constructor(file: string, reason: string, cause?: unknown) {
    super(
      `Cannot open the archive "${file}": ${reason}, expected an archive of this broker. It holds results only: move it away with its "-wal" and "-shm", and the broker starts without those`,
      { cause },
    );
    this.name = 'ArchiveDamagedError';
  }
}

/** A later version of the broker has written the file. */
export class ArchiveTooNewError extends Error {
  readonly code = 'ARCHIVE_TOO_NEW';

  constructor(file: string, version: number, known: number) {
    super(
      `Cannot open the archive "${file}": it has version ${version}, expected at most ${known}; a later version of the broker wrote it`,
    );
    this.name = 'ArchiveTooNewError';
  }
}
