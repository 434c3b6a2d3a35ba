/**
 * Takes closed batches to the disk one after the other: finish, write, sync, confirm. The states of a batch:
 *
 *     closed ──► waits for the mark, the segment or the slice of zeros before it ──► written ──► synced ──► confirmed
 *                                                                                  │ (always, or it seals its segment)
 *                                                        (interval, never) ────────┴──────────────────► confirmed
 *
 * The first error of any kind is the last thing that happens here (rule W1): `onFatal` once, and no batch is confirmed any more.
 *
 * A batch that meets a full disk is not failed, although rule W6 would allow it: the engine has already done what its records say, so the
 * batch has to be written or the process has to end. What is kept aside in segments made ahead is given back to the disk, and the rest
 * of the batch is written where the short write ended: the same bytes at the same place, so nothing has to be cut first.
 */
import type { BatchStager, ClosedBatch } from './batch-stager.js';
import type { ChunkCache } from './chunk-cache.js';
import type { JournalClock } from './clock.js';
import type { DurablePosition } from './durable-position.js';
import { JournalDiskFullError } from './errors.js';
import type { SyncClass } from './journal.js';
import type { Reserve } from './reserve.js';
import { FLAG_IDLE, FLAG_SEAL } from './segment-format.js';
import type { SegmentSupply, WritableSegment } from './segment-supply.js';
import { isDiskFull } from './storage.js';

/** After so long without a batch a mark is written that says that the last one is on the disk. */
export const IDLE_MARK_MS = 1000;

export interface CommitPipelineOptions {
  readonly stager: BatchStager;
  readonly supply: SegmentSupply;
  readonly reserve: Reserve;
  readonly position: DurablePosition;
  readonly cache: ChunkCache;
  readonly clock: JournalClock;
  readonly syncClass: SyncClass;
  readonly syncIntervalMs: number;
  readonly onWritten: (batch: ClosedBatch) => void;
  readonly onFatal: (error: Error) => void;
}

export class CommitPipeline {
  readonly #options: CommitPipelineOptions;
  /** The batch under way; resolves with false if the journal failed meanwhile. */
  #running: Promise<boolean> | null = null;
  /** The sync of sync class `interval` under way. */
  #syncing: Promise<void> | null = null;
  #cancelSync: (() => void) | null = null;
  #cancelIdle: (() => void) | null = null;
  #lastBatchMs = 0;
  #hasFailed = false;
  #isStopped = false;
  #unwrittenBytes = 0;
  #syncs = 0;

  constructor(options: CommitPipelineOptions) {
    this.#options = options;
  }

  get hasFailed(): boolean {
    return this.#hasFailed;
  }

  get syncs(): number {
    return this.#syncs;
  }

  /** Bytes of batches that are closed and not written yet: the disk does not know of them. */
  get unwrittenBytes(): number {
    return this.#unwrittenBytes;
  }

  /** Takes the batch to where its sync class wants it. False if the journal has failed. */
  async run(batch: ClosedBatch): Promise<boolean> {
    this.#unwrittenBytes += batch.end - batch.start;
    const before = this.#running;
    const run = before === null ? this.#process(batch) : before.then(() => this.#process(batch));
    this.#running = run;
    const isDone = await run;
    if (this.#running === run) this.#running = null;
    this.#lastBatchMs = this.#options.clock.nowMs();
    if ((batch.flags & FLAG_IDLE) === 0) this.watchIdle();
    return isDone;
  }

  /** Resolves when nothing is under way; nothing is started by a timer any more. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#cancelIdle?.();
    this.#cancelSync?.();
    await this.#running;
    await this.#syncing;
  }

  /** Puts everything written on the disk. */
  async syncAll(): Promise<void> {
    const { position } = this.#options;
    await this.#syncing;
    if (position.syncedNumber === position.writtenNumber || this.#hasFailed) return;
    this.#syncing = this.#syncWritten().finally(() => {
      this.#syncing = null;
    });
    await this.#syncing;
  }

  fail(error: Error): void {
    if (this.#hasFailed) return;
    this.#hasFailed = true;
    this.#options.onFatal(error);
  }

  /** Starts waiting for the log to fall silent. */
  watchIdle(): void {
    if (this.#cancelIdle !== null || this.#isStopped || this.#options.syncClass === 'never') return;
    const waitedMs = this.#options.clock.nowMs() - this.#lastBatchMs;
    this.#cancelIdle = this.#options.clock.after(
      waitedMs < IDLE_MARK_MS ? IDLE_MARK_MS - waitedMs : IDLE_MARK_MS,
      () => {
        this.#cancelIdle = null;
        this.#markIdle();
      },
    );
  }

  #markIdle(): void {
    const { stager, position, clock } = this.#options;
    if (this.#hasFailed || this.#isStopped) return;
    const isQuiet = this.#running === null && stager.count === 0 && clock.nowMs() - this.#lastBatchMs >= IDLE_MARK_MS;
    if (!isQuiet || position.syncedNumber < position.writtenNumber) {
      this.watchIdle();
      return;
    }
    if (stager.isSealed) stager.roll();
    this.run(stager.close(FLAG_IDLE)).catch((error: Error) => this.fail(error));
  }

  async #process(batch: ClosedBatch): Promise<boolean> {
    if (this.#hasFailed) return false;
    const { supply, stager, position } = this.#options;
    try {
      const segment = batch.segment === supply.current.number ? supply.current : await this.#advance();
      for (let obstacle = this.#obstacle(batch); obstacle !== null; obstacle = this.#obstacle(batch)) await obstacle;
      if (this.#hasFailed) return false;
      const parts = stager.finish(batch, position.syncedNumber);
      const { number } = stager.link;
      const written = this.#writeSome(segment, parts, batch.start);
      if (written < batch.end - batch.start) await this.#writeRest(segment, parts, batch, written);
      this.#wrote(segment, batch, number);
      await this.#sync(segment, batch, number);
      if (this.#hasFailed) return false;
      position.confirm(number, batch.segment, batch.end);
      return true;
    } catch (error) {
      this.fail(error as Error);
      return false;
    }
  }

  #obstacle(batch: ClosedBatch): Promise<unknown> | null {
    return this.#options.reserve.obstacle(batch.segment, batch.end);
  }

  async #advance(): Promise<WritableSegment> {
    const { supply, reserve } = this.#options;
    try {
      return await supply.advance();
    } catch (error) {
      if (!isDiskFull(error)) throw error;
    }
    // The sealed segment has given back its zeros by now, and so do those ahead.
    await reserve.release();
    return supply.advance();
  }

  /** Bytes written; fewer than all if the disk is full. */
  #writeSome(segment: WritableSegment, parts: readonly Uint8Array[], position: number): number {
    try {
      return segment.file.writev(parts, position);
    } catch (error) {
      if (isDiskFull(error)) return 0;
      throw error;
    }
  }

  async #writeRest(
    segment: WritableSegment,
    parts: readonly Uint8Array[],
    batch: ClosedBatch,
    written: number,
  ): Promise<void> {
    const bytes = batch.end - batch.start;
    let done = written;
    while (done < bytes) {
      if (!(await this.#options.reserve.release())) {
        segment.file.truncate(batch.start);
        throw new JournalDiskFullError(batch.segment, bytes - done);
      }
      done += this.#writeSome(segment, partsFrom(parts, done), batch.start + done);
    }
  }

  #wrote(segment: WritableSegment, batch: ClosedBatch, number: number): void {
    const { position, cache, reserve, onWritten } = this.#options;
    this.#unwrittenBytes -= batch.end - batch.start;
    position.wrote(number);
    segment.end = batch.end;
    cache.written(batch.segment, batch.end);
    onWritten(batch);
    reserve.used(batch.end - batch.start);
  }

  async #sync(segment: WritableSegment, batch: ClosedBatch, number: number): Promise<void> {
    const { syncClass, position, syncIntervalMs, clock } = this.#options;
    if (syncClass === 'always') {
      await segment.file.datasync(batch.end - batch.start);
      this.#syncs += 1;
      if (!this.#hasFailed) position.synced(number);
    } else if ((batch.flags & FLAG_SEAL) !== 0) {
      // In every class a closed segment is whole on the disk before the next one is written to.
      await this.syncAll();
    } else if (syncClass === 'interval' && this.#cancelSync === null && !this.#isStopped) {
      this.#cancelSync = clock.after(syncIntervalMs, () => {
        this.#cancelSync = null;
        this.syncAll().catch((error: Error) => this.fail(error));
      });
    }
  }

  async #syncWritten(): Promise<void> {
    const { position, supply } = this.#options;
    const number = position.writtenNumber;
    try {
      await supply.current.file.datasync();
      this.#syncs += 1;
      // Syncs come back in any order: a later commit's may have been faster.
      if (!this.#hasFailed && number > position.syncedNumber) position.synced(number);
    } catch (error) {
      this.fail(error as Error);
    }
  }
}

/** What is left of the parts behind the first `done` bytes. */
function partsFrom(parts: readonly Uint8Array[], done: number): Uint8Array[] {
  const rest: Uint8Array[] = [];
  let skip = done;
  for (const part of parts) {
    if (skip < part.length) rest.push(part.subarray(skip));
    skip = Math.max(0, skip - part.length);
  }
  return rest;
}
