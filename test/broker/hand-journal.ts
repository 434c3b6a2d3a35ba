/**
 * A journal whose disk is the test's hand: while it is held, a commit ends when the test says so, and not before. What is staged and written lies in
 * memory. It knows in which batch each record stands, so that a test can ask whether what was told is on "disk".
 *
 *     stage stage ─ commit() ─┐             held: the promise waits
 *          stage stage stage  │ release() ─► durable: batch 1; the next commit() follows
 */
import { RecordReader } from '../../server/broker/record-codec.js';
import { type Journal, type JournalStats, MemoryJournal, type ReplayedRecord } from '../../server/journal/index.js';
import { OneBuffer } from '../engine/one-buffer.js';

export interface StagedRecord extends ReplayedRecord {
  /** Number of its batch, from 1. */
  readonly batch: number;
}

interface Commit {
  readonly batch: number;
  readonly segment: number;
  readonly end: number;
  readonly done: () => void;
}

export interface HandJournalOptions {
  readonly segmentBytes?: number;
}

export class HandJournal implements Journal {
  readonly syncClass = 'always';
  /** While false, a commit is on disk at once. */
  isHeld = false;
  isFull = false;
  /** What `hasRoom` was asked. */
  readonly roomAsked: number[] = [];
  /** Every record staged. */
  readonly staged: StagedRecord[] = [];
  /** Segments below this were deleted, in the order of the calls. */
  readonly reclaims: number[] = [];
  /** Last batch that is on disk. */
  durableBatch = 0;
  isClosed = false;
  /** Called when records were copied out of a segment for the first, second, ... time. */
  onReplayed: ((record: ReplayedRecord) => void) | null = null;
  readonly #memory: MemoryJournal;
  readonly #buffer = new OneBuffer();
  #batch = 1;
  #isPrepared = false;
  #commit: Commit | null = null;
  #hasFailed = false;
  #durable = { segment: 1, end: 0 };

  constructor(options: HandJournalOptions = {}) {
    this.#memory = new MemoryJournal(options);
  }

  /** Number of the batch that gathers. */
  get gatheringBatch(): number {
    return this.#batch;
  }

  /** True while a commit waits for the test. */
  get isCommitting(): boolean {
    return this.#commit !== null;
  }

  /** The batch under way is on disk. */
  release(): void {
    const commit = this.#commit;
    if (commit === null) throw new Error('Cannot release: no commit is under way, expected one');
    this.#commit = null;
    this.#durable = commit;
    this.durableBatch = commit.batch;
    commit.done();
  }

  /** The disk has refused: as the contract says, nothing resolves any more. */
  fail(): void {
    this.#hasFailed = true;
    this.#commit = null;
  }

  /** Records of one type, read. */
  recordsOf(type: string): Record<string, unknown>[] {
    return this.staged
      .map((record) => ({ ...new RecordReader().read(record), batch: record.batch }) as Record<string, unknown>)
      .filter((record) => record.type === type);
  }

  async replay(_visit: (record: ReplayedRecord) => void, progress?: (share: number) => void): Promise<void> {
    progress?.(1);
  }

  prepare(): boolean {
    this.#isPrepared = true;
    return this.#memory.prepare();
  }

  stage(type: number, head: Uint8Array, body: Uint8Array = new Uint8Array(0)): number {
    if (!this.#isPrepared) throw new Error('Cannot stage: a batch begins without prepare()');
    const bodyOffset = this.#memory.stage(type, head, body);
    const segment = this.#memory.stagedSegment;
    this.staged.push({ type, head: head.slice(), body: body.slice(), segment, bodyOffset, batch: this.#batch });
    return bodyOffset;
  }

  get stagedSegment(): number {
    return this.#memory.stagedSegment;
  }

  get stagedBytes(): number {
    return this.#memory.stagedBytes;
  }

  commit(): Promise<void> {
    if (this.#commit !== null) throw new Error('Cannot commit: a commit is under way, expected none');
    if (this.#hasFailed) return new Promise(() => undefined);
    if (this.stagedBytes === 0) return Promise.resolve();
    this.#isPrepared = false;
    const segment = this.stagedSegment;
    const committed = new Promise<void>((done) => {
      this.#commit = { batch: this.#batch++, segment, end: this.#memory.segmentBytes(segment), done };
    });
    void this.#memory.commit();
    if (!this.isHeld) this.release();
    return committed;
  }

  isDurable(segment: number, offset: number): boolean {
    const { segment: at, end } = this.#durable;
    return segment < at || (segment === at && offset < end);
  }

  read(segment: number, offset: number, length: number): Uint8Array {
    return this.#memory.read(segment, offset, length);
  }

  copyTo(segment: number, offset: number, length: number, target: Uint8Array, targetOffset: number): void {
    this.#memory.copyTo(segment, offset, length, target, targetOffset);
  }

  memory(bytes: number): Buffer {
    return this.#memory.memory(bytes);
  }

  get firstSegment(): number {
    return this.#memory.firstSegment;
  }

  segmentBytes(segment: number): number {
    return this.#memory.segmentBytes(segment);
  }

  /** Records are views of a buffer that is overwritten afterwards, and the event loop turns between them. */
  async replaySegment(segment: number, visit: (record: ReplayedRecord) => boolean): Promise<void> {
    const records: ReplayedRecord[] = [];
    await this.#memory.replaySegment(segment, ({ type, head, body, bodyOffset }) => {
      records.push({ type, head: head.slice(), body: body.slice(), segment, bodyOffset });
      return true;
    });
    for (const record of records) {
      await new Promise((resolve) => setImmediate(resolve));
      this.onReplayed?.(record);
      if (!this.#buffer.show(record, visit)) return;
    }
  }

  async reclaim(segment: number): Promise<void> {
    this.reclaims.push(segment);
    await this.#memory.reclaim(segment);
  }

  reserve(_bytes: number): void {
    return undefined;
  }

  hasRoom(bytes: number): boolean {
    this.roomAsked.push(bytes);
    return !this.isFull;
  }

  stats(): JournalStats {
    return this.#memory.stats();
  }

  async close(): Promise<void> {
    this.isClosed = true;
  }
}
