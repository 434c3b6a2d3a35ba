/**
 * The journal in segment files. This file puts the pieces together and answers the `Journal` interface; the pieces are:
 *
 *     stage()   BatchStager ── RecordStager ── ChunkCache        bytes in memory, at their final offsets
 *     commit()  CommitPipeline ── SegmentSupply ── Reserve       one write, one fdatasync
 *                    └── DurablePosition                         what may be confirmed
 *     read()    BodyReader ── ChunkCache, BlockCache             from memory, else from the file
 *     open      recoverLog, then replay()                        survey, cut, copy; then every record
 *
 * States: opened ─ replay() ─► live ─ close() ─► closed. A journal that was never replayed writes nothing, not even when it is closed.
 */
import { BatchStager, type ClosedBatch } from './batch-stager.js';
import { BodyReader } from './body-reader.js';
import { CHUNK_BYTES, ChunkCache, chunkIndex } from './chunk-cache.js';
import { type JournalClock, systemClock } from './clock.js';
import { CommitPipeline } from './commit-pipeline.js';
import { DiskSpace } from './disk-space.js';
import { DurablePosition } from './durable-position.js';
import { assert } from './errors.js';
import type { Journal, JournalStats, ReplayedRecord, SyncClass } from './journal.js';
import { replayClosedSegment, replayLog } from './log-replay.js';
import { nodeStorage } from './node-storage.js';
import { ReadFiles } from './read-files.js';
import { type RecoveredLog, recoverLog, removePrepared, type TornTail } from './recovery.js';
import { Reserve } from './reserve.js';
import { listSegments, segmentDirectory, segmentPath } from './segment-files.js';
import { FILE_HEADER_BYTES, FLAG_CLEAN_STOP, type LogIdentity, SEGMENT_OFFSET_MAX } from './segment-format.js';
import { SegmentSupply } from './segment-supply.js';
import { isDiskFull, type Storage, type StorageLock } from './storage.js';
import { withFile } from './survey.js';

export interface FileJournalOptions {
  /** Data directory, made if it is missing. Segments go to `journal/`, what is cut off to `torn/` in it. */
  readonly directory: string;
  /**
   * Called at most once, when the journal cannot know any more what is on the disk (or finds no room for a batch). Nothing resolves
   * afterwards; the process has to end.
   */
  readonly onFatal: (error: Error) => void;
  /** Default `always`: confirm after `fdatasync`. `interval`: confirm after the write, sync each `syncIntervalMs`. `never`: sync closed segments only. */
  readonly syncClass?: Exclude<SyncClass, 'memory'>;
  /** Milliseconds between syncs of class `interval`, default 100. */
  readonly syncIntervalMs?: number;
  /** A batch that ends at or behind this offset is the last of its segment. Bytes, 4 KiB to 2 GiB, default 64 MiB. */
  readonly segmentBytes?: number;
  /** Memory for bodies, in bytes, default 64 MiB. What is staged and not written yet comes on top. */
  readonly cacheBytes?: number;
  /** The file system, default the real one. */
  readonly storage?: Storage;
  readonly clock?: JournalClock;
}

const MIB = 1024 * 1024;
const SEGMENT_BYTES = 64 * MIB;
const SEGMENT_BYTES_RANGE = { min: 4096, max: 2048 * MIB } as const;
const CACHE_BYTES = 64 * MIB;
/** With less room than this the disk counts as full: most publishes are refused by then. */
const FULL_BYTES = 4096;
const SYNC_INTERVAL_MS = 100;

/** What commits of a failed journal return: neither a confirm nor a reject, because nobody knows (rule W1). */
const NEVER = new Promise<void>(() => undefined);

/**
 * Locks the data directory, recovers the log, and opens it. Throws DataDirLockedError, JournalDamagedError, and what the disk says.
 * Call `replay` next.
 */
export async function openFileJournal(options: FileJournalOptions): Promise<FileJournal> {
  const segmentBytes = options.segmentBytes ?? SEGMENT_BYTES;
  if (!(segmentBytes >= SEGMENT_BYTES_RANGE.min && segmentBytes <= SEGMENT_BYTES_RANGE.max)) {
    throw new RangeError(
      `Cannot open the journal: segmentBytes is ${segmentBytes}, expected 4096 to ${SEGMENT_BYTES_RANGE.max}`,
    );
  }
  const storage = options.storage ?? nodeStorage;
  await storage.makeDirectory(options.directory);
  const lock = storage.lock(options.directory, 'exclusive');
  try {
    return new FileJournal(options, await recoverLog(storage, options.directory), lock);
  } catch (error) {
    lock.release();
    throw error;
  }
}

export class FileJournal implements Journal {
  readonly syncClass: SyncClass;
  /** The tail that was cut off when the journal was opened, null if the log was whole. */
  readonly torn: TornTail | null;
  /** False if the process before this one did not close the journal. */
  readonly wasClean: boolean;
  readonly #storage: Storage;
  readonly #directory: string;
  readonly #log: LogIdentity;
  readonly #recovered: RecoveredLog;
  readonly #lock: StorageLock;
  readonly #cache: ChunkCache;
  readonly #files: ReadFiles;
  readonly #bodies: BodyReader;
  readonly #stager: BatchStager;
  readonly #position: DurablePosition;
  readonly #supply: SegmentSupply;
  readonly #space = new DiskSpace();
  readonly #reserve: Reserve;
  readonly #pipeline: CommitPipeline;
  #firstSegment: number;
  /** Where each kept segment ends, from `#firstSegment` on. */
  readonly #ends: number[] = [];
  #logBytes = 0;
  #batches = 0;
  #records = 0;
  #isLive: boolean;
  #isCommitting = false;
  #reclaiming: Promise<void> = Promise.resolve();
  #closing: Promise<void> | null = null;

  /** Use `openFileJournal`. */
  constructor(options: FileJournalOptions, recovered: RecoveredLog, lock: StorageLock) {
    const { segments, end, link, log } = recovered;
    const segment = segments.at(-1)!;
    const clock = options.clock ?? systemClock;
    const segmentBytes = options.segmentBytes ?? SEGMENT_BYTES;
    this.syncClass = options.syncClass ?? 'always';
    this.torn = recovered.torn;
    this.wasClean = recovered.wasClean;
    this.#storage = options.storage ?? nodeStorage;
    this.#directory = options.directory;
    this.#log = log;
    this.#recovered = recovered;
    this.#lock = lock;
    this.#firstSegment = segments[0]!;
    this.#isLive = recovered.isNew;
    if (recovered.isNew) this.#ends.push(end);
    this.#cache = new ChunkCache(options.cacheBytes ?? CACHE_BYTES);
    this.#files = new ReadFiles(this.#storage, options.directory);
    this.#bodies = new BodyReader(this.#cache, this.#files);
    const { syncClass } = this;
    const stagerOptions = { cache: this.#cache, log, syncClass, sealBytes: segmentBytes };
    this.#stager = new BatchStager(stagerOptions, {
      segment,
      end,
      link,
      isSealed: recovered.isSealed,
      records: recovered.lastRecords,
    });
    const hasBatches = end > FILE_HEADER_BYTES;
    this.#position = new DurablePosition(
      syncClass,
      link.number,
      hasBatches ? segment : segment - 1,
      hasBatches ? end : SEGMENT_OFFSET_MAX,
    );
    this.#supply = new SegmentSupply({ storage: this.#storage, directory: options.directory, log, segment, end });
    this.#reserve = new Reserve({
      storage: this.#storage,
      directory: options.directory,
      clock,
      supply: this.#supply,
      space: this.#space,
      segmentBytes,
      slackBytes: Math.min(MIB, Math.floor(segmentBytes / 8)),
      logBytes: () => this.#logBytes,
      onError: (error) => this.#pipeline.fail(error),
    });
    this.#pipeline = new CommitPipeline({
      stager: this.#stager,
      supply: this.#supply,
      reserve: this.#reserve,
      position: this.#position,
      cache: this.#cache,
      clock,
      syncClass,
      syncIntervalMs: options.syncIntervalMs ?? SYNC_INTERVAL_MS,
      onWritten: (batch) => this.#count(batch),
      onFatal: (error) => {
        this.#reserve.halt();
        options.onFatal(error);
      },
    });
    this.#loadTail(segment, end);
    if (this.#isLive) this.#reserve.start();
  }

  async replay(
    visit: (record: ReplayedRecord) => void,
    progress: (share: number) => void = () => undefined,
  ): Promise<void> {
    if (this.#recovered.isNew) return progress(1);
    assert(!this.#isLive, 'a journal is replayed once');
    const { segments, end } = this.#recovered;
    const source = { storage: this.#storage, directory: this.#directory, log: this.#log };
    const totals = await replayLog({ ...source, segments, end, visit, progress });
    this.#batches += totals.batches;
    this.#records += totals.records;
    for (const segmentEnd of totals.ends) {
      this.#ends.push(segmentEnd);
      this.#logBytes += segmentEnd - FILE_HEADER_BYTES;
    }
    this.#isLive = true;
    this.#reserve.start();
    if (totals.batches > 0) this.#pipeline.watchIdle();
  }

  prepare(): boolean {
    assert(this.#isLive, 'a journal is replayed before it is written to');
    assert(this.#closing === null, 'a closed journal is not written to');
    if (this.#stager.count > 0) return false;
    if (this.#stager.isSealed) this.#stager.roll();
    return this.#stager.isAtSegmentStart;
  }

  // hot path
  stage(type: number, head: Uint8Array, body?: Uint8Array): number {
    return this.#stager.stage(type, head, body);
  }

  get stagedSegment(): number {
    return this.#stager.segment;
  }

  get stagedBytes(): number {
    return this.#stager.bytes;
  }

  commit(): Promise<void> {
    assert(!this.#isCommitting, 'one commit at a time');
    if (this.#pipeline.hasFailed) return NEVER;
    if (this.#stager.count === 0) return Promise.resolve();
    // Its descriptors may be those of other files by now.
    assert(this.#closing === null, 'a closed journal is not written to');
    this.#isCommitting = true;
    return this.#commit(this.#stager.close(0));
  }

  async #commit(batch: ClosedBatch): Promise<void> {
    if (!(await this.#pipeline.run(batch))) return NEVER;
    this.#isCommitting = false;
  }

  isDurable(segment: number, offset: number): boolean {
    return this.#position.covers(segment, offset);
  }

  read(segment: number, offset: number, length: number): Uint8Array {
    return this.#bodies.read(segment, offset, length);
  }

  copyTo(segment: number, offset: number, length: number, target: Uint8Array, targetOffset: number): void {
    this.#bodies.copyTo(segment, offset, length, target, targetOffset);
  }

  memory(bytes: number): Buffer {
    return this.#cache.memory(bytes);
  }

  get firstSegment(): number {
    return this.#firstSegment;
  }

  segmentBytes(segment: number): number {
    const end = this.#ends[segment - this.#firstSegment];
    return end === undefined ? 0 : end - FILE_HEADER_BYTES;
  }

  async replaySegment(segment: number, visit: (record: ReplayedRecord) => boolean): Promise<void> {
    assert(segment >= this.#firstSegment && segment < this.#position.segment, 'only closed segments are replayed');
    await replayClosedSegment({ storage: this.#storage, directory: this.#directory, log: this.#log }, segment, visit);
  }

  reclaim(segment: number): Promise<void> {
    this.#reclaiming = this.#reclaiming.then(() => this.#reclaim(segment));
    return this.#reclaiming;
  }

  reserve(bytes: number): void {
    this.#space.need(bytes);
  }

  get isFull(): boolean {
    return !this.hasRoom(FULL_BYTES);
  }

  hasRoom(bytes: number): boolean {
    return this.#pipeline.unwrittenBytes + this.#stager.bytes + bytes <= this.#space.roomBytes;
  }

  stats(): JournalStats {
    return {
      segments: this.#ends.length,
      bytes: this.#logBytes,
      reservedBytes: this.#supply.reservedBytes,
      batches: this.#batches,
      records: this.#records,
      syncs: this.#pipeline.syncs,
      isFull: this.isFull,
    };
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  /** The chunk that the log ends in, so that staging goes on behind what is there. */
  #loadTail(segment: number, end: number): void {
    const index = chunkIndex(end);
    const chunk = this.#cache.add(segment, index);
    const start = index * CHUNK_BYTES;
    withFile(this.#storage, segmentPath(this.#directory, segment), (file) => file.read(chunk, 0, end - start, start));
    this.#cache.written(segment, end);
    this.#stager.open(segment);
  }

  #count(batch: ClosedBatch): void {
    this.#logBytes += batch.end - batch.start;
    this.#batches += 1;
    this.#records += batch.records;
    this.#ends[batch.segment - this.#firstSegment] = batch.end;
  }

  async #reclaim(below: number): Promise<void> {
    if (this.#pipeline.hasFailed || this.#closing !== null) return;
    // With `interval` and `never` the copies that the caller made may be in the page cache only.
    await this.#pipeline.syncAll();
    const limit = Math.min(below, this.#position.segment);
    try {
      while (this.#firstSegment < limit && !this.#pipeline.hasFailed) await this.#deleteFirst();
    } catch (error) {
      this.#pipeline.fail(error as Error);
    }
    if (!this.#pipeline.hasFailed) this.#reserve.look();
  }

  async #deleteFirst(): Promise<void> {
    const segment = this.#firstSegment;
    this.#logBytes -= this.segmentBytes(segment);
    this.#ends.shift();
    this.#firstSegment += 1;
    this.#cache.release(this.#firstSegment);
    this.#bodies.release(this.#firstSegment);
    this.#files.release(this.#firstSegment);
    await this.#storage.unlink(segmentPath(this.#directory, segment), true);
    await this.#storage.syncDirectory(segmentDirectory(this.#directory));
  }

  async #close(): Promise<void> {
    try {
      await this.#reclaiming;
      await this.#pipeline.stop();
      await this.#reserve.stop();
      if (this.#isLive) await this.#finish();
    } finally {
      this.#supply.close();
      this.#files.close();
      this.#lock.release();
    }
  }

  /** Commits what is staged, then the clean stop, then gives back the space that was kept for settlements. */
  async #finish(): Promise<void> {
    if (this.#stager.count > 0) await this.#pipeline.run(this.#stager.close(0));
    await this.#pipeline.syncAll();
    if (this.#pipeline.hasFailed) return;
    if (this.#stager.isSealed) this.#stager.roll();
    await this.#pipeline.run(this.#stager.close(FLAG_CLEAN_STOP));
    await this.#pipeline.syncAll();
    if (this.#pipeline.hasFailed) return;
    try {
      this.#supply.current.file.truncate(this.#supply.current.end);
      // By their files: one whose making failed half-way is there as well, and must not be left behind a hole.
      const { numbers } = listSegments(this.#storage, this.#directory);
      const prepared = numbers.filter((number) => number > this.#supply.current.number);
      await removePrepared(this.#storage, this.#directory, prepared);
    } catch (error) {
      // Recovery removes them as well: what matters is on the disk.
      if (!isDiskFull(error)) throw error;
    }
  }
}
