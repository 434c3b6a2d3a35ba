/** A journal at work on a simulated disk, and what may be asked of it after a crash. */
import { setImmediate as turn } from 'node:timers/promises';
import { expect } from 'vitest';
import { type FileJournal, openFileJournal, type SyncClass } from '../../../server/journal/index.js';
import { Random } from '../../support/random.js';
import { ManualClock } from './manual-clock.js';
import type { SimulatedDisk } from './simulated-disk.js';

export const DIRECTORY = '/data';
const SEGMENT_BYTES = 4096;
const STEPS = 40;

export interface Written {
  readonly segment: number;
  readonly text: string;
}

/** What the outside knows when a run is over, however it ended. */
export interface Outcome {
  /** Everything that was staged, oldest first. */
  readonly records: Written[];
  /** Of these, how many were told to be durable. */
  durable: number;
  /** First segment after the last reclaim that was done, and after the last one that was asked for. */
  reclaimed: number;
  reclaiming: number;
  /** How often `onFatal` was called. */
  fatals: number;
  /** Batches written when it was called first. */
  writesAtFatal: number;
  readonly errors: unknown[];
  isClosed: boolean;
  /** Whether the disk had failed when the journal was closed. */
  hadFailed: boolean;
}

export function textOf(type: number, head: Uint8Array, body: Uint8Array): string {
  return `${type} ${Buffer.from(head).toString('hex')} ${Buffer.from(body).toString('hex')}`;
}

/** Never resolves; rejects as soon as the journal says that it has failed. */
class Fatal {
  readonly happened: Promise<never>;
  reject: (error: Error) => void = () => undefined;

  constructor() {
    this.happened = new Promise((_, reject) => {
      this.reject = reject;
    });
    this.happened.catch(() => undefined);
  }
}

export class Workload {
  readonly outcome: Outcome = {
    records: [],
    durable: 0,
    reclaimed: 1,
    reclaiming: 1,
    fatals: 0,
    writesAtFatal: 0,
    errors: [],
    isClosed: false,
    hadFailed: false,
  };
  readonly #disk: SimulatedDisk;
  readonly #random: Random;
  readonly #clock = new ManualClock();
  readonly #fatal = new Fatal();
  readonly #syncClass: Exclude<SyncClass, 'memory'>;

  constructor(disk: SimulatedDisk, seed: number, syncClass: Exclude<SyncClass, 'memory'> = 'always') {
    this.#disk = disk;
    this.#random = new Random(seed);
    this.#syncClass = syncClass;
  }

  /** Works until the end, or until the disk or the journal fails. */
  async run(): Promise<Outcome> {
    try {
      const journal = await this.#open();
      for (let step = 0; step < STEPS; step += 1) await this.#step(journal);
      // An error of the background is told by now.
      for (let turns = 0; turns < 5; turns += 1) await turn();
      this.outcome.hadFailed = this.#disk.hasFailed;
      await Promise.race([journal.close(), this.#fatal.happened]);
      this.outcome.isClosed = this.outcome.fatals === 0;
      if (this.outcome.isClosed) this.outcome.durable = this.outcome.records.length;
    } catch (error) {
      this.outcome.errors.push(error);
    }
    // What was under way in the background has met the crash, too.
    for (let turns = 0; turns < 5; turns += 1) await turn();
    return this.outcome;
  }

  async #open(): Promise<FileJournal> {
    const journal = await openOn(this.#disk, this.#clock, this.#syncClass, (error) => {
      this.outcome.fatals += 1;
      this.outcome.writesAtFatal ||= this.#disk.count('writev');
      this.#fatal.reject(error);
    });
    await journal.replay(() => undefined);
    return journal;
  }

  async #step(journal: FileJournal): Promise<void> {
    const random = this.#random;
    const { records } = this.outcome;
    journal.prepare();
    for (let count = random.whole(1, 3); count > 0; count -= 1) this.#stage(journal);
    const count = records.length;
    const committed = journal.commit();
    // The next batch begins to gather while this one is on its way.
    if (random.next() < 0.3) {
      journal.prepare();
      this.#stage(journal);
    }
    await Promise.race([committed, this.#fatal.happened]);
    this.outcome.durable = count;
    if (random.next() < 0.2) this.#reclaim(journal);
    // Zeros are written ahead, and the idle mark after a second.
    this.#clock.advance(random.pick([0, 0, 10, 300, 1200]));
    if (random.next() < 0.5) await turn();
  }

  #stage(journal: FileJournal): void {
    const random = this.#random;
    const type = random.whole(0, 255);
    const head = random.bytes(random.whole(0, 30));
    const body = random.bytes(random.whole(0, 900));
    const offset = journal.stage(type, head, body);
    const segment = journal.stagedSegment;
    // Not `toEqual` on the bytes: it walks them one by one, and took three quarters of the time of all these tests.
    expect(Buffer.compare(journal.read(segment, offset, body.length), body)).toBe(0);
    this.outcome.records.push({ segment, text: textOf(type, head, body) });
  }

  /** Deletes some segments that are closed. */
  #reclaim(journal: FileJournal): void {
    const below = this.#random.whole(journal.firstSegment, journal.stagedSegment);
    const { outcome } = this;
    outcome.reclaiming = Math.max(outcome.reclaiming, below);
    journal.reclaim(below).then(
      () => {
        if (outcome.fatals === 0) outcome.reclaimed = Math.max(outcome.reclaimed, journal.firstSegment);
      },
      (error: unknown) => outcome.errors.push(error),
    );
  }
}

export function openOn(
  disk: SimulatedDisk,
  clock: ManualClock,
  syncClass: Exclude<SyncClass, 'memory'>,
  onFatal: (error: Error) => void,
): Promise<FileJournal> {
  return openFileJournal({
    directory: DIRECTORY,
    storage: disk,
    clock,
    segmentBytes: SEGMENT_BYTES,
    cacheBytes: 1_048_576,
    syncClass,
    onFatal,
  });
}

/**
 * Opens what the crash has left, compares it with what the outside knows, writes something, closes, and opens it once more. `durable` counts the
 * records that must be there.
 */
export async function checkRecovery(disk: SimulatedDisk, outcome: Outcome, durable = outcome.durable): Promise<void> {
  const found = await contents(disk, 'more');
  checkContents(found, outcome, durable);
  const again = await contents(disk, null);
  expect(again.map(({ text }) => text)).toEqual([...found.map(({ text }) => text), textOf(7, MORE, NONE)]);
}

const MORE = Buffer.from('more');
const NONE = Buffer.alloc(0);

/** What is replayed; with `write` one more record is written then. */
async function contents(disk: SimulatedDisk, write: 'more' | null): Promise<Written[]> {
  const found: Written[] = [];
  const journal = await openOn(disk, new ManualClock(), 'always', (error) => {
    throw error;
  });
  await journal.replay(({ type, head, body, segment }) => {
    found.push({ segment, text: textOf(type, head, body) });
  });
  if (write !== null) {
    journal.prepare();
    journal.stage(7, MORE);
    await journal.commit();
  }
  await journal.close();
  return found;
}

/** A run of what was written, without a hole: from the first segment that is kept to at least the last record that was durable. */
function checkContents(found: readonly Written[], outcome: Outcome, durable: number): void {
  const { records, reclaimed, reclaiming } = outcome;
  const first = found[0]?.segment ?? records.findLast(() => true)?.segment ?? 1;
  if (found.length > 0) {
    expect(first).toBeGreaterThanOrEqual(reclaimed);
    expect(first).toBeLessThanOrEqual(Math.max(reclaiming, 1));
  }
  const start = found.length === 0 ? records.length : records.findIndex(({ segment }) => segment === first);
  const expected = records.slice(start, start + found.length);
  expect(found).toEqual(expected);
  if (found.length > 0) expect(start + found.length).toBeGreaterThanOrEqual(durable);
  else expect(durable).toBe(0);
}
