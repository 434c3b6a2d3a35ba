/**
 * What the broker asks of the archive: the truth for what *has happened*, while the journal is the truth for what is still to happen. So far that is results.
 *
 * Results stand on shelves, one for each namespace and era. A namespace's era changes when its results are purged, and is another one when its queue of results is made anew; so
 * one number that the journal keeps says of every result here whether it still counts. What stands on an older shelf is never found, however long it takes until it is swept.
 */

/** Where results stand: those of a namespace since they were last purged. */
export interface Shelf {
  readonly namespace: string;
  readonly era: number;
}

/** Numbers that `ResultSlice.facts` has of each result. */
export const FACTS = 6;

/** Results to be stored: columns, so that they go to another thread without being copied. The sender has them no longer afterwards. */
export interface ResultSlice extends Shelf {
  /** id, priority, attempts, expiry ms (0: never), flags, bytes of payload, id, ... */
  readonly facts: Float64Array<ArrayBuffer>;
  /** The payloads, one behind the other. */
  readonly payloads: Uint8Array<ArrayBuffer>;
}

/** Flags of a result. */
export const RESULT_FLAG = { REDELIVERED: 1, MEMORY: 2 } as const;

/** A result without its payload. */
export interface ArchivedFacts {
  readonly priority: number;
  readonly attempts: number;
  /** ms, 0 for never. */
  readonly expiryMs: number;
  readonly flags: number;
  /** Bytes of its payload. */
  readonly bytes: number;
}

export interface ArchiveStats {
  /** Results on shelves that count, expired ones that are not swept yet included. */
  readonly results: number;
  /** Bytes of their payloads. */
  readonly resultBytes: number;
  /** Bytes of the file; room of what is gone in it is used again. */
  readonly fileBytes: number;
  /** Times that something could not be read or written since the start. */
  readonly failures: number;
}

export interface Archive {
  /**
   * Stores results; resolves when they are on disk and `find` finds them. Storing one again changes nothing. One call at a time is enough: the next waits for the one before. Rejects when the disk refuses,
   * and nothing of the slice is stored then.
   */
  store(slice: ResultSlice): Promise<void>;
  /** The payload of a result that has not expired at `nowMs`; null if there is none. Synchronous: 32 us among a million, 9 us if there is none (measured on a slow machine). */
  find(shelf: Shelf, id: number, nowMs: number): Uint8Array | null;
  /** The same without the payload. */
  describe(shelf: Shelf, id: number, nowMs: number): ArchivedFacts | null;
  /** How many results stand on a shelf. */
  count(shelf: Shelf): number;
  /**
   * Only these shelves count from now on, and of them only results of ids below `idsBelow`: all others are never found again, and are swept by and by. Resolves when that is on disk.
   */
  keep(shelves: readonly Shelf[], idsBelow: number): Promise<void>;
  /** Whether there is a shelf that is not one of these. */
  hasOthers(isOne: (shelf: Shelf) => boolean): boolean;
  /** The highest id of all results, those included that do not count or have expired; 0 if there are none. Synchronous. */
  lastId(): number;
  /** Removes a slice of what has expired at `nowMs`, and of what stands on shelves that do not count; resolves to whether there is more. */
  sweep(nowMs: number): Promise<boolean>;
  stats(): ArchiveStats;
  /** Waits for what is under way. Idempotent. */
  close(): Promise<void>;
}
