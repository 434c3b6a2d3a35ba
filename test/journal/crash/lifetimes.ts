/**
 * Several processes one after the other on one simulated disk, each with a message store: it opens and replays, works through batches, seals, zeros
 * ahead, idle marks, copies forward and deletions, and closes. The run ends early when the disk or the journal fails.
 */
import assert from 'node:assert/strict';
import { setImmediate as turn } from 'node:timers/promises';
import { expect } from 'vitest';
import { type FileJournal, openFileJournal } from '../../../server/journal/index.js';
import { Random } from '../../support/random.js';
import { ManualClock } from './manual-clock.js';
import { bodyOf, type LiveMessages, MessageStore, MOVE, type StoredRecord } from './message-store.js';
import type { SimulatedDisk } from './simulated-disk.js';

export const DIRECTORY = '/data';
/** By lifetime. In segments of 4 KiB no batch meets zeros, because those start at the next multiple of 4 KiB. */
const SEGMENT_BYTES = [8192, 4096, 12_288] as const;
/** Batches of a process: at least so many, and until it has sealed some segments. */
const BATCHES_MIN = 12;
const SEALS_MIN = 2;
const LIVE_MAX = 14;
/** Every so many-th message is stuck until so many more have come: it has to be copied forward. */
const STUCK_EVERY = 6;
const STUCK_FOR = 40;
/** Segments that a head with something alive waits for before it is copied. */
const SEGMENTS_KEPT = 2;

/** What the outside knows when a run is over, however it ended. */
export interface History {
  /** Everything that was staged, oldest first, of all processes. */
  readonly staged: StoredRecord[];
  /** Of these, how many were told to be durable. */
  durable: number;
  /** First segment after the last deletion that was done, and after the last one that was asked for. */
  reclaimed: number;
  reclaiming: number;
  readonly fatals: Error[];
  readonly errors: unknown[];
  /** Processes that have closed their journal. */
  closes: number;
  idleMarks: number;
  /** A process at work whose disk had failed went on without having been told. */
  isUnaware: boolean;
  seals: number;
}

/** A process at work. */
export interface Life {
  readonly journal: FileJournal;
  readonly store: MessageStore;
  readonly clock: ManualClock;
  isCommitting: boolean;
  isClosing: boolean;
  /** The disk had failed before, which was told or mattered to nobody. */
  readonly hadFailed: boolean;
}

export class Lifetimes {
  /** The process that the run ended in. */
  last: Life | null = null;
  readonly history: History = {
    staged: [],
    durable: 0,
    reclaimed: 1,
    reclaiming: 1,
    fatals: [],
    errors: [],
    closes: 0,
    idleMarks: 0,
    isUnaware: false,
    seals: 0,
  };
  readonly #disk: SimulatedDisk;
  readonly #random: Random;
  #endRun: (error: Error) => void = () => undefined;
  /** Never resolves; rejects as soon as a journal says that it has failed, or something that nobody waits for. */
  readonly #failed: Promise<never>;

  constructor(disk: SimulatedDisk, seed: number) {
    this.#disk = disk;
    this.#random = new Random(seed);
    this.#failed = new Promise((_, reject) => {
      this.#endRun = reject;
    });
    this.#failed.catch(() => undefined);
  }

  get moves(): number {
    return this.history.staged.filter(({ type }) => type === MOVE).length;
  }

  async run(): Promise<History> {
    try {
      for (const segmentBytes of SEGMENT_BYTES) await this.#live(segmentBytes);
    } catch (error) {
      this.history.errors.push(error);
    }
    // What was under way in the background has met the crash, too.
    for (let turns = 0; turns < 5; turns += 1) await turn();
    return this.history;
  }

  async #live(segmentBytes: number): Promise<void> {
    const { history } = this;
    const clock = new ManualClock();
    const journal = await openFileJournal({
      directory: DIRECTORY,
      storage: this.#disk,
      clock,
      segmentBytes,
      // One chunk: what was written into the segment before is read from its file.
      cacheBytes: 1_048_576,
      onFatal: (error) => {
        history.fatals.push(error);
        this.#endRun(error);
      },
    });
    const store = new MessageStore(journal, (record) => history.staged.push(record));
    const life: Life = {
      journal,
      store,
      clock,
      isCommitting: false,
      isClosing: false,
      hadFailed: this.#disk.hasFailed,
    };
    this.last = life;
    const replayed = await replayInto(journal, store.live);
    // After a clean close all of it is there; before the first one there is nothing.
    expect(journal.wasClean).toBe(true);
    expect(replayed.length).toBe(history.staged.filter(({ segment }) => segment >= journal.firstSegment).length);
    const { batches } = journal.stats();
    const enough = history.seals + SEALS_MIN;
    let steps = 0;
    for (; steps < BATCHES_MIN || history.seals < enough; steps += 1) await this.#step(life, steps);
    history.idleMarks += journal.stats().batches - batches - steps;
    life.isClosing = true;
    await Promise.race([journal.close(), this.#failed]);
    history.durable = history.staged.length;
    history.closes += 1;
  }

  async #step(life: Life, step: number): Promise<void> {
    const { journal, store, clock } = life;
    const { history } = this;
    if (this.#disk.hasFailed && !life.hadFailed) await this.#told();
    const random = this.#random;
    const before = journal.stagedSegment;
    store.begin();
    if (journal.stagedSegment > before) history.seals += 1;
    this.#fillBatch(store);
    const count = history.staged.length;
    const last = history.staged[count - 1]!;
    const deadBelow = store.deadBelow;
    assert.ok(!journal.isDurable(last.segment, last.bodyOffset - 1), 'nothing is durable before its commit');
    life.isCommitting = true;
    await Promise.race([journal.commit(), this.#failed]);
    life.isCommitting = false;
    assert.ok(journal.isDurable(last.segment, last.bodyOffset - 1), 'everything is durable after its commit');
    history.durable = count;
    this.#readBack(journal, store);
    this.#keepHouse(journal, store, deadBelow);
    // Zeros are written ahead after a quarter of a second, the idle mark after a whole one.
    clock.advance(step % 5 === 4 ? 1500 : random.pick([0, 0, 10, 300]));
    if (step % 5 === 4 || random.next() < 0.5) for (let turns = 0; turns < 4; turns += 1) await turn();
  }

  /** An error of the background is told within a few turns, and ends the run. */
  async #told(): Promise<void> {
    for (let turns = 0; turns < 5; turns += 1) await Promise.race([turn(), this.#failed]);
    this.history.isUnaware = true;
  }

  #fillBatch(store: MessageStore): void {
    const random = this.#random;
    for (let count = random.whole(1, 4); count > 0; count -= 1) {
      const { places, nextId } = store.live;
      const ids = [...places.keys()].filter((id) => id % STUCK_EVERY > 0 || id + STUCK_FOR < nextId);
      if (places.size < LIVE_MAX && (ids.length === 0 || random.next() < 0.6)) store.put();
      else store.settle(random.pick(ids));
    }
  }

  /** Any message that lives, wherever its bytes are now. */
  #readBack(journal: FileJournal, store: MessageStore): void {
    if (store.live.places.size > 0) checkBody(journal, store.live, this.#random.pick([...store.live.places.keys()]));
  }

  #keepHouse(journal: FileJournal, store: MessageStore, deadBelow: number): void {
    const { history } = this;
    if (deadBelow > journal.firstSegment) {
      history.reclaiming = Math.max(history.reclaiming, deadBelow);
      journal.reclaim(deadBelow).then(() => {
        if (history.fatals.length === 0) history.reclaimed = Math.max(history.reclaimed, journal.firstSegment);
      }, this.#endRun);
    } else if (!store.isCopying && journal.stagedSegment - journal.firstSegment > SEGMENTS_KEPT) {
      store.copyHead().catch(this.#endRun);
    }
  }
}

/** Replays all records into `live` and returns copies of them. */
export async function replayInto(journal: FileJournal, live: LiveMessages): Promise<StoredRecord[]> {
  const records: StoredRecord[] = [];
  await journal.replay(({ type, head, body, segment, bodyOffset }) => {
    const record = { type, head: Buffer.from(head), body: Buffer.from(body), segment, bodyOffset };
    records.push(record);
    live.apply(record);
  });
  return records;
}

/** Reads a message by its place in both ways and compares it with the one body that it can have. Not with `expect`, which costs too much here. */
export function checkBody(journal: FileJournal, live: LiveMessages, id: number): void {
  const { segment, offset, length } = live.places.get(id)!;
  const body = bodyOf(id);
  assert.equal(length, body.length, `message ${id} has another length`);
  assert.equal(body.compare(journal.read(segment, offset, length)), 0, `message ${id} is read as other bytes`);
  const target = Buffer.alloc(length + 2, FRAME);
  journal.copyTo(segment, offset, length, target, 1);
  assert.equal(body.compare(target, 1, length + 1), 0, `message ${id} is copied as other bytes`);
  assert.ok(target[0] === FRAME && target[length + 1] === FRAME, `message ${id} is copied past its end`);
}

const FRAME = 0xee;
