/**
 * Writes zeros ahead of the log, for two reasons: settlements find blocks that are theirs on a disk that is full otherwise (rule W7), and
 * a sync of overwritten blocks costs half of one that has to allocate (measured: 266 kB batches p50 0.25 ms against 0.5 ms; at 17 MB/s in small batches 0.21 ms against 0.35 to
 * 0.48, the zeros for it included, a slice of them every 15 ms).
 *
 * It must not take time from commits: as many zeros as the disk takes, while commits follow each other back to back, made their p99 several times worse
 * (measured: 2-4 ms against 1.2 ms). So how much is written depends on what the log did since the last look, 250 ms ago:
 *
 *     nothing            all that is missing, until a commit comes
 *     up to 8 MiB        a slice for each that the log has used, and a few more if some are missing
 *     more               nothing: the log outruns the zeros and appends
 *     the disk is scarce all that is missing, whatever the log does: now the space counts, not the time
 */
import type { JournalClock } from './clock.js';
import type { DiskSpace } from './disk-space.js';
import { FILE_HEADER_BYTES } from './segment-format.js';
import type { SegmentSupply, WritableSegment } from './segment-supply.js';
import { isDiskFull, type Storage } from './storage.js';

export const SLICE_BYTES: number = 256 * 1024;
/** The room is looked at again so often at least. */
export const WATCH_MS = 250;
/** Bytes that the log may write between two looks and still find zeros ahead. */
const BUSY_BYTES = 8 * 1024 * 1024;
const BUSY_SLICES = 4;
const ALIGNMENT = 4096;
/** Segments made ahead at most; a reserve that does not fit in them stays free space. */
const PREPARED_MAX = 8;
const ZEROS = Buffer.alloc(SLICE_BYTES);

export interface ReserveOptions {
  readonly storage: Storage;
  readonly directory: string;
  readonly clock: JournalClock;
  readonly supply: SegmentSupply;
  readonly space: DiskSpace;
  readonly segmentBytes: number;
  /** Zeros go so far past `segmentBytes`, because the last batch of a segment does. */
  readonly slackBytes: number;
  /** Bytes of records in all segments. */
  readonly logBytes: () => number;
  /** What is not a full disk is fatal. */
  readonly onError: (error: Error) => void;
}

export class Reserve {
  readonly #options: ReserveOptions;
  #cancelWatch: () => void = () => undefined;
  #filling: Promise<void> | null = null;
  /** A slice on its way into a file: nothing else may be written there meanwhile. */
  #slice: { readonly segment: number; readonly start: number; readonly written: Promise<unknown> } | null = null;
  #isStopped = false;
  /** The disk had no room for the last slice. */
  #isBlocked = false;
  #bytesSinceWatch = 0;
  /** The same, in what is more than whole slices. */
  #usedBytes = 0;
  /** Slices that may be written before the next look. */
  #slicesLeft = Number.POSITIVE_INFINITY;
  /** The log was no faster than the zeros may follow. */
  #isFollowing = false;

  constructor(options: ReserveOptions) {
    this.#options = options;
  }

  start(): void {
    this.#watch();
  }

  /** The log has grown. */
  used(bytes: number): void {
    this.#bytesSinceWatch += bytes;
    if (this.#options.space.used(bytes)) this.look();
    if (!this.#isFollowing) return;
    this.#usedBytes += bytes;
    if (this.#usedBytes < SLICE_BYTES) return;
    this.#slicesLeft += Math.floor(this.#usedBytes / SLICE_BYTES);
    this.#usedBytes %= SLICE_BYTES;
    this.#kick();
  }

  /** Looks at the disk again and fills up what may be filled. */
  look(): void {
    const { storage, directory, supply, space, logBytes } = this.#options;
    space.measure({
      freeBytes: storage.freeBytes(directory),
      reservedBytes: supply.reservedBytes,
      logBytes: logBytes(),
    });
    this.#isBlocked = false;
    this.#kick();
  }

  /** What to wait for before a batch that ends at `end` may be written, null if nothing is in its way. */
  obstacle(segment: number, end: number): Promise<unknown> | null {
    const slice = this.#slice;
    return slice !== null && slice.segment === segment && slice.start < end ? slice.written : null;
  }

  /** Gives the zeros in segments made ahead back to the disk, for a batch that found no room. False if there are none left. */
  async release(): Promise<boolean> {
    this.#isBlocked = true;
    await this.#slice?.written;
    const segment = this.#options.supply.prepared.findLast((prepared) => prepared.reservedBytes > 0);
    if (segment === undefined) return false;
    segment.filler.truncate(FILE_HEADER_BYTES);
    segment.zeroEnd = segment.end;
    await segment.filler.datasync();
    return true;
  }

  /** Begins nothing any more. What is under way ends by itself. */
  halt(): void {
    this.#isStopped = true;
    this.#cancelWatch();
  }

  /** Resolves when nothing of it is under way any more. */
  async stop(): Promise<void> {
    this.halt();
    await this.#filling;
    await this.#options.supply.settle();
  }

  #watch(): void {
    if (this.#isStopped) return;
    const bytes = this.#bytesSinceWatch;
    this.#bytesSinceWatch = 0;
    this.#isFollowing = bytes > 0 && bytes <= BUSY_BYTES;
    this.#slicesLeft = bytes === 0 ? Number.POSITIVE_INFINITY : this.#isFollowing ? BUSY_SLICES : 0;
    try {
      this.look();
    } catch (error) {
      this.#options.onError(error as Error);
      return;
    }
    this.#cancelWatch = this.#options.clock.after(WATCH_MS, () => this.#watch());
  }

  #kick(): void {
    if (this.#filling !== null || this.#isStopped) return;
    this.#filling = this.#fill().finally(() => {
      this.#filling = null;
    });
  }

  async #fill(): Promise<void> {
    try {
      if (this.#isNextDue()) await this.#options.supply.prepare();
      while (this.#mayFill()) await this.#fillOne();
    } catch (error) {
      if (isDiskFull(error)) this.#isBlocked = true;
      else if (!this.#isStopped) this.#options.onError(error as Error);
    }
  }

  /** The next segment's file is made early, so that no commit waits for it. */
  #isNextDue(): boolean {
    const { supply, segmentBytes } = this.#options;
    return !this.#isStopped && supply.prepared.length === 0 && supply.current.end >= segmentBytes / 2;
  }

  #mayFill(): boolean {
    const { supply, space } = this.#options;
    if (this.#isStopped || this.#isBlocked || supply.reservedBytes >= space.targetBytes) return false;
    if (space.isScarce) return true;
    if (this.#slicesLeft === Number.POSITIVE_INFINITY) return this.#bytesSinceWatch === 0;
    if (this.#slicesLeft === 0 || this.#bytesSinceWatch > BUSY_BYTES) return false;
    this.#slicesLeft -= 1;
    return true;
  }

  async #fillOne(): Promise<void> {
    const { supply, segmentBytes, slackBytes } = this.#options;
    const limit = segmentBytes + slackBytes;
    const segment = [supply.current, ...supply.prepared].find(
      (candidate) => Math.max(candidate.zeroEnd, candidate.end) + ALIGNMENT <= limit,
    );
    if (segment === undefined && supply.prepared.length >= PREPARED_MAX) this.#isBlocked = true;
    else if (segment === undefined) await supply.prepare();
    else await this.#writeSlice(segment, limit);
  }

  async #writeSlice(segment: WritableSegment, limit: number): Promise<void> {
    const { supply, space } = this.#options;
    const start = Math.max(segment.zeroEnd, Math.ceil(segment.end / ALIGNMENT) * ALIGNMENT);
    const missing = Math.ceil((space.targetBytes - supply.reservedBytes) / ALIGNMENT) * ALIGNMENT;
    const length = Math.min(SLICE_BYTES, missing, limit - start);
    const writing = segment.filler.writeLater(ZEROS, length, start);
    // Who waits for the slice only wants it out of the way; its error is seen here.
    const written = writing.catch(() => undefined);
    this.#slice = { segment: segment.number, start, written };
    try {
      const count = await writing;
      if (start > segment.zeroEnd) segment.zeroStart = start;
      segment.zeroEnd = start + count;
      if (count < length) this.#isBlocked = true;
    } finally {
      this.#slice = null;
    }
    // The log may have gone on to the next segment meanwhile.
    if (!segment.isClosed) await segment.filler.datasync();
  }
}
