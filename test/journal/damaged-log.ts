/**
 * A small log on a simulated disk, and what the journal has to make of it when some of its bytes are others than it wrote. The expectation is worked
 * out from the bytes alone, by the rules in words:
 *
 *     a file header is damaged                        refused, with that segment and offset 0
 *     a batch is damaged, and something that was      refused, with the place of the first damaged batch
 *     written after it is still there
 *     a batch is damaged, and nothing of what was     cut off there, as by a crash: an exact beginning of the log is left
 *     written after it is
 *     bytes where no batch was ever written           of no importance
 */
import { setImmediate as turn } from 'node:timers/promises';
import { expect } from 'vitest';
import { type FileJournal, JournalDamagedError } from '../../server/journal/index.js';
import {
  BATCH_HEADER_BYTES,
  emptyBatchHeader,
  FILE_HEADER_BYTES,
  readBatchHeader,
  readFileHeader,
} from '../../server/journal/segment-format.js';
import { Random } from '../support/random.js';
import { ManualClock } from './crash/manual-clock.js';
import { SimulatedCrash, SimulatedDisk } from './crash/simulated-disk.js';
import { DIRECTORY, openOn, textOf } from './crash/workload.js';

/** The end of a batch's header, which the header's own checksum does not cover: without it a batch is known all the same, and refused. */
const BODY_CRC_BYTES = 4;

/** How the process that wrote the log ended. */
export type Ending = 'closed' | 'killed at once' | 'killed when idle';

interface Place {
  readonly segment: number;
  readonly offset: number;
}

export interface Batch extends Place {
  readonly end: number;
  /** Records in the batches before this one. */
  readonly recordsBefore: number;
  readonly records: number;
}

export interface WrittenLog {
  readonly disk: SimulatedDisk;
  readonly records: readonly string[];
  readonly batches: readonly Batch[];
}

export type Verdict = ({ readonly type: 'refused' } & Place) | { readonly type: 'opened'; readonly records: number };

export function pathOf(segment: number): string {
  return `${DIRECTORY}/journal/${String(segment).padStart(10, '0')}.segment`;
}

function numberOf(path: string): number {
  return Number(/(\d+)\.segment$/.exec(path)![1]);
}

/** Two segments of some ten batches and one of four, every one of them acknowledged. */
export async function writeLog(ending: Ending, seed: number): Promise<WrittenLog> {
  const random = new Random(seed);
  const disk = new SimulatedDisk();
  const clock = new ManualClock();
  const records: string[] = [];
  const journal = await openOn(disk, clock, 'always', (error) => {
    // Zeros that are on their way ahead may meet the end.
    if (!(error instanceof SimulatedCrash)) throw error;
  });
  await journal.replay(() => undefined);
  while (journal.stagedSegment < 3) await writeBatch(journal, random, records);
  for (let count = 0; count < 3; count += 1) await writeBatch(journal, random, records);
  if (ending === 'closed') await journal.close();
  if (ending === 'killed when idle') await mark(journal, clock);
  disk.crash();
  const image = disk.image(random, 'kept');
  return { disk: image, records, batches: batchesOn(image) };
}

async function writeBatch(journal: FileJournal, random: Random, records: string[]): Promise<void> {
  journal.prepare();
  for (let count = random.whole(1, 2); count > 0; count -= 1) {
    // No zeros at the end, or a missing last byte could not be told from one that is there.
    const [type, head] = [random.whole(0, 255), random.bytes(random.whole(0, 30))];
    const body = Buffer.concat([random.bytes(random.whole(0, 400)), Buffer.of(7)]);
    journal.stage(type, head, body);
    records.push(textOf(type, head, body));
  }
  await journal.commit();
}

/** Lets so much time pass that the journal says that the last batch is on the disk. */
async function mark(journal: FileJournal, clock: ManualClock): Promise<void> {
  const { batches } = journal.stats();
  for (let turns = 0; journal.stats().batches === batches; turns += 1) {
    expect(turns).toBeLessThan(100);
    clock.advance(500);
    await turn();
  }
}

function batchesOn(disk: SimulatedDisk): Batch[] {
  const batches: Batch[] = [];
  const header = emptyBatchHeader();
  let records = 0;
  for (const [path, bytes] of disk.contents()) {
    const file = readFileHeader(bytes);
    if (typeof file === 'string') throw new Error(file);
    for (
      let at = FILE_HEADER_BYTES;
      at + BATCH_HEADER_BYTES <= bytes.length;
      at += BATCH_HEADER_BYTES + header.bodyBytes
    ) {
      if (!readBatchHeader(bytes, at, file.log, header)) break;
      const end = at + BATCH_HEADER_BYTES + header.bodyBytes;
      batches.push({ segment: numberOf(path), offset: at, end, recordsBefore: records, records: header.records });
      records += header.records;
    }
  }
  return batches;
}

/** The bytes of a damaged log beside those that were written. */
class Comparison {
  readonly #log: WrittenLog;
  readonly #before: Map<string, Buffer>;
  readonly #after: Map<string, Buffer>;

  constructor(log: WrittenLog, disk: SimulatedDisk) {
    this.#log = log;
    this.#before = log.disk.contents();
    this.#after = disk.contents();
  }

  /** The first place that is damaged in each segment that has one, oldest first. */
  places(): Place[] {
    const places: Place[] = [];
    for (const path of this.#before.keys()) {
      const segment = numberOf(path);
      if (!this.#isSame(segment, 0, FILE_HEADER_BYTES)) places.push({ segment, offset: 0 });
      const batch = this.#log.batches.find(
        ({ offset, end, ...one }) => one.segment === segment && !this.#isSame(segment, offset, end),
      );
      if (batch !== undefined) places.push({ segment, offset: batch.offset });
    }
    return places;
  }

  verdict(): Verdict {
    const { batches, records } = this.#log;
    const places = this.places();
    const header = places.find(({ offset }) => offset === 0);
    if (header !== undefined) return { type: 'refused', ...header };
    const last = batches.at(-1)!;
    // Behind the last segment are only zeros: it was made ahead.
    if (this.#hasContentBehind(last.segment)) return { type: 'refused', segment: last.segment, offset: last.end };
    const [place] = places;
    if (place === undefined) return { type: 'opened', records: records.length };
    if (this.#isFollowed(place) || this.#hasContentBehind(place.segment)) return { type: 'refused', ...place };
    const damaged = batches.find(({ segment, offset }) => segment === place.segment && offset === place.offset)!;
    return { type: 'opened', records: damaged.recordsBefore };
  }

  /** The header of a later batch of the same segment is still there, but for the checksum of its body at its end. */
  #isFollowed(place: Place): boolean {
    return this.#log.batches.some(
      ({ segment, offset }) =>
        segment === place.segment &&
        offset > place.offset &&
        this.#isSame(segment, offset, offset + BATCH_HEADER_BYTES - BODY_CRC_BYTES),
    );
  }

  #hasContentBehind(segment: number): boolean {
    return [...this.#after].some(
      ([path, bytes]) => numberOf(path) > segment && bytes.subarray(FILE_HEADER_BYTES).some((byte) => byte !== 0),
    );
  }

  #isSame(segment: number, from: number, to: number): boolean {
    const [old, now] = [this.#before.get(pathOf(segment))!, this.#after.get(pathOf(segment))!];
    return now.length >= to && old.compare(now, from, to, from, to) === 0;
  }
}

/** Opens and replays what is on the disk. Fails if a record is wrong or missing from the middle. */
export async function openDamaged(log: WrittenLog, disk: SimulatedDisk): Promise<Verdict> {
  const found: string[] = [];
  try {
    const journal = await openOn(disk, new ManualClock(), 'always', (error) => {
      throw error;
    });
    try {
      await journal.replay(({ type, head, body }) => {
        found.push(textOf(type, head, body));
      });
    } finally {
      await journal.close();
    }
  } catch (error) {
    if (!(error instanceof JournalDamagedError)) throw error;
    expect(error.message).toContain(`segment ${error.segment} is damaged at offset ${error.offset}`);
    return { type: 'refused', segment: error.segment, offset: error.offset };
  }
  if (found.some((text, index) => text !== log.records[index]))
    throw new Error(
      `a record was made up or changed: ${found.findIndex((text, index) => text !== log.records[index])}`,
    );
  return { type: 'opened', records: found.length };
}

/** Opens a disk whose files have been changed or shortened, and compares. `what` names the change in the message of a failure. */
export async function check(log: WrittenLog, disk: SimulatedDisk, what: string): Promise<Verdict> {
  const comparison = new Comparison(log, disk);
  const expected = comparison.verdict();
  const places = comparison.places();
  const verdict = await openDamaged(log, disk);
  if (isSame(verdict, expected)) return verdict;
  // The last segment is looked at before the others: of several damaged segments any may be named.
  const { type, ...place } = verdict;
  if (type === 'refused' && expected.type === type && places.some((one) => isSame(one, place))) return verdict;
  throw new Error(`${what}: expected ${JSON.stringify(expected)}, the journal has ${JSON.stringify(verdict)}`);
}

function isSame(a: object, b: object): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}

/** Records up to the end of a segment. */
export function recordsUpTo(log: WrittenLog, segment: number): number {
  const last = log.batches.findLast((batch) => batch.segment === segment)!;
  return last.recordsBefore + last.records;
}
