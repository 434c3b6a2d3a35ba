/**
 * What the broker asks of a journal, whatever stands behind it: segments on a disk, memory, or one day a replicated log.
 *
 * A journal knows bytes and order. A record is a type (0-255, meaning nothing here), a small head, and an optional body; the
 * body of a publish record is the client's frame as it came. Records staged between two commits form one batch: one
 * write, one `fdatasync`, all or nothing after a crash.
 *
 *     stage() stage() stage() ──► commit() ── write ── fdatasync ──► durablePosition moves, the promise resolves
 *                    stage() stage() … gather the next batch meanwhile; at most one batch is in flight
 */

/** When a written batch is forced to disk, and therefore what a confirm means. */
export type SyncClass = 'always' | 'interval' | 'never' | 'memory';

/** Where bytes lie. `segment` counts from 1 and never falls; `offset` is in bytes from the start of the segment (below 2^32). */
export interface Location {
  readonly segment: number;
  readonly offset: number;
}

/** One record as replay hands it over. `head` and `body` are views that are valid only until the visitor returns. */
export interface ReplayedRecord {
  readonly type: number;
  readonly head: Uint8Array;
  readonly body: Uint8Array;
  readonly segment: number;
  /** Offset of the first byte of `body` in its segment; what `stage` returned when the record was written. */
  readonly bodyOffset: number;
}

export interface JournalStats {
  readonly segments: number;
  /** Bytes of records in all segments, without space reserved ahead. */
  readonly bytes: number;
  /** Bytes reserved on the disk beyond the last record, for settlements on a full disk. */
  readonly reservedBytes: number;
  readonly batches: number;
  readonly records: number;
  readonly syncs: number;
  /** True while there is no room for 4 KiB of publishes; settlements still go through. */
  readonly isFull: boolean;
}

export interface Journal {
  readonly syncClass: SyncClass;
  /**
   * Replays every record from the oldest segment on, in order; call once, before the first `stage`. Yields to the event loop
   * between slices. `visit` must not stage. `progress` gets the share done, 0 to 1.
   */
  replay(visit: (record: ReplayedRecord) => void, progress?: (share: number) => void): Promise<void>;

  /**
   * Adds a record to the gathering batch and returns the offset of its body in `stagedSegment`. Copies both arrays. Synchronous: no I/O.
   * Call `prepare()` first at the beginning of each batch: a batch never spans two segments.
   */
  stage(type: number, head: Uint8Array, body?: Uint8Array): number;
  /** Segment that the gathering batch goes to. */
  readonly stagedSegment: number;
  /** Bytes staged in the gathering batch. */
  readonly stagedBytes: number;
  /**
   * To be called before the first `stage` of a batch. True when this batch opens a new segment: the caller stages a checkpoint
   * (all state that is not a message) as its first record, so that older segments may be deleted. Stays true until a record is staged.
   */
  prepare(): boolean;
  /**
   * Writes and syncs what is staged, resolves when it is durable by the rules of `syncClass`. Must not be called while a commit is
   * under way. A failed write or sync never rejects: it calls `onFatal` once and nothing resolves any more (rule W1). What is staged after
   * the call belongs to the next batch. Resolves at once when nothing is staged.
   */
  commit(): Promise<void>;
  /** True if the byte range that starts at `offset` in `segment` is covered by a commit that has resolved. */
  isDurable(segment: number, offset: number): boolean;

  /**
   * The bytes at a location, staged or written: a view into a cached chunk or into a read-ahead buffer, valid until the next
   * `read` or `stage`. Synchronous, because what is asked for is in memory or in the page cache nearly always. Throws when the disk
   * cannot give the bytes, or when the location is not of this journal (a programmer's error).
   */
  read(segment: number, offset: number, length: number): Uint8Array;
  /** Copies the bytes at a location to `target` at `targetOffset`: `read` without the view in between. */
  copyTo(segment: number, offset: number, length: number, target: Uint8Array, targetOffset: number): void;
  /** A buffer of so many bytes that `copyTo` is quickest to fill, for whoever keeps it as long as the journal: 6 MiB in all are as quick, what goes beyond is not. */
  memory(bytes: number): Buffer;

  /** First segment still kept. */
  readonly firstSegment: number;
  /** Bytes of records in one segment (0 if it is not kept). */
  segmentBytes(segment: number): number;
  /** The records of one closed segment, oldest first, in slices, for copying live messages forward. Stops when `visit` returns false. */
  replaySegment(segment: number, visit: (record: ReplayedRecord) => boolean): Promise<void>;
  /**
   * Deletes closed segments below `segment`, head first, and syncs the directory after each. The caller's copies must be durable. Segments that
   * are still being written or whose successor holds nothing durable yet stay.
   */
  reclaim(segment: number): Promise<void>;
  /**
   * Tells how many bytes settlements of what is alive may need; the journal keeps at least so much reserved ahead on the disk and turns
   * `isFull` on when it cannot.
   */
  reserve(bytes: number): void;
  /** True while there is no room for 4 KiB of publishes: for people to see, `hasRoom` decides. */
  readonly isFull: boolean;
  /**
   * True if `bytes` more may be staged now without touching what is kept for settlements. Ask with the size of each publish, because a batch
   * that meets the end of the disk all the same ends the process.
   */
  hasRoom(bytes: number): boolean;

  stats(): JournalStats;
  /**
   * Waits for the commit under way, commits what is staged, writes the clean-stop record, syncs, releases the lock. Idempotent. Afterwards
   * nothing is staged, committed or read any more: that is a programmer's error, and throws where it would touch a file.
   */
  close(): Promise<void>;
}
