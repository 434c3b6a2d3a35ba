/** A batch is confirmed when the sync behind it has come back, and not before; when it comes back with an error, never (rules W1 and W8). */
import { readFileSync } from 'node:fs';
import { setImmediate as turn } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { type FileJournal, openFileJournal, type SyncClass } from '../../server/journal/index.js';
import { batchesOf, segmentPaths } from '../support/data-directory.js';
import { Random, seedOf } from '../support/random.js';
import { tempDirectory } from '../support/temp-directory.js';
import { ManualClock } from './crash/manual-clock.js';
import { HeldSyncs } from './held-syncs.js';

const SYNC_INTERVAL_MS = 100;

class Fixture {
  readonly syncs = new HeldSyncs();
  readonly clock = new ManualClock();
  readonly directory = tempDirectory();
  readonly fatal: Error[] = [];
  /** Numbers of the commits that have resolved, in that order. */
  readonly confirmed: number[] = [];
  journal!: FileJournal;
  #commits = 0;

  static async open(syncClass: Exclude<SyncClass, 'memory'>): Promise<Fixture> {
    const fixture = new Fixture();
    fixture.journal = await openFileJournal({
      directory: fixture.directory,
      storage: fixture.syncs.storage,
      clock: fixture.clock,
      syncClass,
      syncIntervalMs: SYNC_INTERVAL_MS,
      onFatal: (error) => fixture.fatal.push(error),
    });
    return fixture;
  }

  /** Starts a commit of one record and returns where it lies. */
  commit(): { readonly segment: number; readonly offset: number } {
    this.journal.prepare();
    const offset = this.journal.stage(1, Buffer.from('head'), Buffer.from('body'));
    const number = ++this.#commits;
    this.journal.commit().then(
      () => this.confirmed.push(number),
      (error: Error) => this.fatal.push(error),
    );
    return { segment: this.journal.stagedSegment, offset };
  }

  /** Ends the journal's closing, whatever it syncs. */
  async close(): Promise<void> {
    let isClosed = false;
    const closing = this.journal.close().finally(() => {
      isClosed = true;
    });
    while (!isClosed) {
      while (this.syncs.held.length > 0) this.syncs.end(0);
      await turn();
    }
    await closing;
  }

  /** What the file has, but for the zeros at its end, which come in their own time. */
  get content(): string {
    return readFileSync(segmentPaths(this.directory)[0]!).toString('latin1').replace(/\0+$/, '');
  }

  /** Batches that have been written, as the file shows them. */
  get written(): number {
    return batchesOf(segmentPaths(this.directory)[0]!).length;
  }
}

/** Long enough for everything that does not wait for the disk. */
async function turns(): Promise<void> {
  for (let count = 0; count < 20; count += 1) await turn();
}

describe('with sync class always', () => {
  test('a batch is confirmed after its sync, and the next is written after that', async () => {
    const fixture = await Fixture.open('always');
    const { journal, syncs } = fixture;
    const first = fixture.commit();
    await syncs.count(1);
    journal.prepare();
    const offset = journal.stage(2, Buffer.from('next'));
    await turns();
    expect([fixture.written, fixture.confirmed, journal.isDurable(first.segment, first.offset)]).toEqual([
      1,
      [],
      false,
    ]);

    syncs.end(0);
    await turns();
    expect([fixture.confirmed, journal.isDurable(first.segment, first.offset)]).toEqual([[1], true]);
    expect([fixture.written, journal.isDurable(first.segment, offset)]).toEqual([1, false]);
    fixture.commit();
    await syncs.count(1);
    expect([fixture.written, journal.isDurable(first.segment, offset)]).toEqual([2, false]);
    await fixture.close();
    expect([fixture.confirmed, fixture.fatal]).toEqual([[1, 2], []]);
  });

  test('a batch whose sync fails is neither confirmed nor refused, and nothing is written or synced any more', async () => {
    const fixture = await Fixture.open('always');
    const { journal, syncs } = fixture;
    fixture.commit();
    await syncs.count(1);
    syncs.end(0);
    await turns();
    const second = fixture.commit();
    await syncs.count(1);
    const eio = Object.assign(new Error('EIO: i/o error, fdatasync'), { code: 'EIO' });
    syncs.end(0, eio);
    await turns();
    expect([fixture.confirmed, fixture.fatal]).toEqual([[1], [eio]]);
    expect(journal.isDurable(second.segment, second.offset)).toBe(false);

    const before = fixture.content;
    journal.prepare();
    journal.stage(1, Buffer.from('after'));
    fixture.clock.advance(10_000);
    await turns();
    await journal.close();
    expect(syncs.held).toEqual([]);
    expect([fixture.confirmed, fixture.fatal]).toEqual([[1], [eio]]);
    expect(fixture.content).toBe(before);
  });

  test('a journal that is closed while a batch is on its way waits for it', async () => {
    const fixture = await Fixture.open('always');
    fixture.commit();
    await fixture.syncs.count(1);
    let isClosed = false;
    const closing = fixture.journal.close().then(() => {
      isClosed = true;
    });
    await turns();
    expect(isClosed).toBe(false);
    fixture.syncs.end(0);
    // The clean stop.
    await fixture.syncs.count(1);
    expect([isClosed, fixture.confirmed, fixture.written]).toEqual([false, [1], 2]);
    fixture.syncs.end(0);
    await closing;
  });
});

describe('with sync class interval', () => {
  test('a batch is confirmed when it is written, and synced when the interval is over', async () => {
    const fixture = await Fixture.open('interval');
    const { journal, syncs, clock } = fixture;
    const { segment, offset } = fixture.commit();
    await turns();
    expect([fixture.confirmed, syncs.held.length, journal.isDurable(segment, offset)]).toEqual([[1], 0, true]);
    fixture.commit();
    clock.advance(SYNC_INTERVAL_MS - 1);
    await turns();
    expect([fixture.confirmed, syncs.held.length]).toEqual([[1, 2], 0]);
    clock.advance(1);
    await syncs.count(1);
    // It does not hold up the next one.
    fixture.commit();
    await turns();
    expect(fixture.confirmed).toEqual([1, 2, 3]);
    await fixture.close();
    expect(fixture.fatal).toEqual([]);
  });

  test('a sync that fails ends the journal, although what it was for is confirmed', async () => {
    const fixture = await Fixture.open('interval');
    fixture.commit();
    await turns();
    fixture.clock.advance(SYNC_INTERVAL_MS);
    await fixture.syncs.count(1);
    const eio = Object.assign(new Error('EIO'), { code: 'EIO' });
    fixture.syncs.end(0, eio);
    await turns();
    expect(fixture.fatal).toEqual([eio]);
    fixture.commit();
    await turns();
    await fixture.journal.close();
    expect([fixture.confirmed, fixture.fatal, fixture.written]).toEqual([[1], [eio], 1]);
  });
});

test('with sync class never nothing is synced before the end, whatever time passes', async () => {
  const fixture = await Fixture.open('never');
  for (let count = 0; count < 5; count += 1) {
    fixture.commit();
    await turns();
    fixture.clock.advance(10_000);
    await turns();
  }
  expect([fixture.confirmed, fixture.syncs.held, fixture.written]).toEqual([[1, 2, 3, 4, 5], [], 5]);
  await fixture.close();
  expect([fixture.fatal, fixture.journal.stats().syncs > 0]).toEqual([[], true]);
});

test('what is durable stays so, in the order of the log, whenever it is asked', async () => {
  const random = new Random(seedOf('sync before confirm'));
  const fixture = await Fixture.open('always');
  const { journal, syncs } = fixture;
  const places: { readonly segment: number; readonly offset: number }[] = [];
  let durable = 0;
  const check = (): void => {
    const now = places.filter(({ segment, offset }) => journal.isDurable(segment, offset)).length;
    expect(now).toBeGreaterThanOrEqual(durable);
    expect(places.slice(0, now).every(({ segment, offset }) => journal.isDurable(segment, offset))).toBe(true);
    expect(now).toBe(fixture.confirmed.length);
    durable = now;
  };
  for (let count = 0; count < 100; count += 1) {
    places.push(fixture.commit());
    check();
    await syncs.count(1);
    for (let waits = random.whole(0, 3); waits > 0; waits -= 1) await turn();
    check();
    syncs.end(0);
    while (fixture.confirmed.length < places.length) await turn();
    check();
  }
  expect(durable).toBe(100);
  await fixture.close();
});
