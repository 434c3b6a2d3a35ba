/**
 * How far the log may be believed. The one place that moves these numbers (rule W8), and it asserts that they only move forward:
 *
 *     synced ≤ written            batch numbers: what `fdatasync` has returned for, what `write` has returned for
 *     confirmed = segment, offset what commits have resolved for: with sync class `always` never more than is synced
 */
import { assert } from './errors.js';
import type { SyncClass } from './journal.js';

export class DurablePosition {
  readonly #syncClass: SyncClass;
  #written: number;
  #synced: number;
  #segment: number;
  #offset: number;

  /** What recovery leaves behind is on the disk. */
  constructor(syncClass: SyncClass, batch: number, segment: number, offset: number) {
    this.#syncClass = syncClass;
    this.#written = batch;
    this.#synced = batch;
    this.#segment = segment;
    this.#offset = offset;
  }

  /** Number of the last batch written. */
  get writtenNumber(): number {
    return this.#written;
  }

  /** Number of the last batch that is on the disk for certain. */
  get syncedNumber(): number {
    return this.#synced;
  }

  get segment(): number {
    return this.#segment;
  }

  wrote(batch: number): void {
    assert(batch === this.#written + 1, `batch ${batch} is written after batch ${this.#written}`);
    assert(
      this.#syncClass !== 'always' || this.#synced === this.#written,
      'at most one batch is on its way to the disk',
    );
    this.#written = batch;
  }

  synced(batch: number): void {
    assert(
      batch >= this.#synced && batch <= this.#written,
      `batch ${batch} is synced, ${this.#synced} was, ${this.#written} is written`,
    );
    this.#synced = batch;
  }

  /** Everything up to here may be confirmed. */
  confirm(batch: number, segment: number, offset: number): void {
    const reached = this.#syncClass === 'always' ? this.#synced : this.#written;
    assert(batch <= reached, `batch ${batch} is confirmed, but only ${reached} is safe`);
    assert(
      segment > this.#segment || (segment === this.#segment && offset >= this.#offset),
      'the confirmed position moves forward',
    );
    this.#segment = segment;
    this.#offset = offset;
  }

  // hot path
  covers(segment: number, offset: number): boolean {
    return segment < this.#segment || (segment === this.#segment && offset < this.#offset);
  }
}
