/** What must hold when a disk is opened after the run on it has ended, however it ended. */
import assert from 'node:assert/strict';
import { expect } from 'vitest';
import { type FileJournal, openFileJournal } from '../../../server/journal/index.js';
import { checkBody, DIRECTORY, type History, replayInto } from './lifetimes.js';
import { ManualClock } from './manual-clock.js';
import { LiveMessages, MessageStore, type StoredRecord } from './message-store.js';
import type { SimulatedDisk } from './simulated-disk.js';

/** A journal that has been opened and replayed without an error. */
export interface Opened {
  readonly journal: FileJournal;
  readonly records: readonly StoredRecord[];
  readonly live: LiveMessages;
  readonly fatals: readonly Error[];
}

export async function openAndReplay(disk: SimulatedDisk): Promise<Opened> {
  const fatals: Error[] = [];
  const journal = await openFileJournal({
    directory: DIRECTORY,
    storage: disk,
    clock: new ManualClock(),
    segmentBytes: 4096,
    cacheBytes: 1_048_576,
    onFatal: (error) => fatals.push(error),
  });
  const live = new LiveMessages();
  return { journal, records: await replayInto(journal, live), live, fatals };
}

/**
 * Opens the disk and compares it with the history, goes on with it for a few batches, closes it, and finds all of that when it opens it once
 * more. Leaves the disk so.
 */
export async function checkAfterCrash(disk: SimulatedDisk, history: History): Promise<void> {
  const first = await openAndReplay(disk);
  const { journal, records } = first;
  const reached = checkRecords(first, history);
  checkLive(first, history.staged.slice(0, reached));
  checkTorn(disk, journal);
  const added = await goOn(first);
  const second = await openAndReplay(disk);
  expect(second.journal).toMatchObject({ wasClean: true, torn: null });
  expect(differenceOf(second.records, [...records, ...added])).toBeNull();
  checkLive(second, [...history.staged.slice(0, reached), ...added]);
  await second.journal.close();
  expect([...first.fatals, ...second.fatals]).toEqual([]);
}

/**
 * The records are a run of what was staged, without a hole: from the first segment that is kept to at least the last one that was durable.
 * Returns how far it reaches.
 */
export function checkRecords({ journal, records }: Opened, history: History): number {
  const { staged, durable, reclaimed, reclaiming } = history;
  const { firstSegment } = journal;
  expect(firstSegment).toBeGreaterThanOrEqual(reclaimed);
  expect(firstSegment).toBeLessThanOrEqual(reclaiming);
  const start = staged.findIndex(({ segment }) => segment >= firstSegment);
  if (start === -1) {
    expect([staged.length, records.length]).toEqual([0, 0]);
    return 0;
  }
  const end = start + records.length;
  expect(differenceOf(records, staged.slice(start, end))).toBeNull();
  expect(end).toBeGreaterThanOrEqual(durable);
  return end;
}

/** The same messages live as if nothing had ever been deleted, at the same places, with their bodies. */
export function checkLive({ journal, live }: Opened, records: readonly StoredRecord[]): void {
  const model = new LiveMessages();
  for (const record of records) model.apply(record);
  assert.deepEqual([...live.places.keys()].sort(), [...model.places.keys()].sort(), 'other messages live');
  for (const [id, place] of model.places) assert.deepEqual(live.places.get(id), place, `message ${id} lies elsewhere`);
  for (const id of live.places.keys()) checkBody(journal, live, id);
}

/** A tail that was cut off is kept (rule W4). */
function checkTorn(disk: SimulatedDisk, { torn }: FileJournal): void {
  if (torn !== null) expect(disk.contents().get(torn.copy)?.length).toBe(torn.bytes);
}

/** A few batches more, over at least one border of segments. Returns their records. */
async function goOn({ journal, live }: Opened): Promise<StoredRecord[]> {
  const added: StoredRecord[] = [];
  const store = new MessageStore(journal, (record) => added.push(record));
  for (const [id, place] of live.places) store.live.places.set(id, place);
  store.live.nextId = live.nextId;
  const before = journal.stagedSegment;
  for (let batch = 0; batch < 3 || journal.stagedSegment === before; batch += 1) {
    store.begin();
    for (let count = 0; count < 3; count += 1) store.put();
    if (batch > 0) store.settle([...store.live.places.keys()][0]!);
    await journal.commit();
  }
  await journal.close();
  return added;
}

/** Where two runs of records differ first, in words; null if they are the same. */
export function differenceOf(found: readonly StoredRecord[], expected: readonly StoredRecord[]): string | null {
  for (const [index, record] of found.entries()) {
    const other = expected[index];
    if (other === undefined) return `record ${index} of type ${record.type} was never written, or not there`;
    const isSame =
      record.type === other.type &&
      record.segment === other.segment &&
      record.bodyOffset === other.bodyOffset &&
      Buffer.compare(record.head, other.head) === 0 &&
      Buffer.compare(record.body, other.body) === 0;
    if (!isSame) return `record ${index} at ${record.segment}:${record.bodyOffset} is not what was written there`;
  }
  return found.length === expected.length ? null : `${expected.length} records expected, ${found.length} found`;
}
