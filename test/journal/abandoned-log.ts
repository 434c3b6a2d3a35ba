/** Logs in real directories, as a process leaves them that dies: not closed, with zeros written ahead. */
import { cpSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { type FileJournal, openFileJournal, type SyncClass, type TornTail } from '../../server/journal/index.js';
import { type BatchPlace, batchesOf, segmentPaths } from '../support/data-directory.js';
import { eventually } from '../support/deadline.js';
import { tempDirectory } from '../support/temp-directory.js';

export interface LogOptions {
  readonly segmentBytes?: number;
  readonly syncClass?: Exclude<SyncClass, 'memory'>;
}

export interface AbandonedLog {
  readonly directory: string;
  readonly options: LogOptions;
  /** Bodies, one for each batch. */
  readonly bodies: readonly Buffer[];
  /** The segment that the last batch is in. */
  readonly path: string;
  readonly segment: number;
  /** The batches of that segment. */
  readonly places: readonly BatchPlace[];
}

export function open(
  directory: string,
  { segmentBytes = 4096, syncClass = 'always' }: LogOptions = {},
): Promise<FileJournal> {
  return openFileJournal({
    directory,
    segmentBytes,
    syncClass,
    onFatal: (error) => {
      throw error;
    },
  });
}

export async function append(journal: FileJournal, body: Uint8Array): Promise<{ segment: number; offset: number }> {
  journal.prepare();
  const offset = journal.stage(1, Buffer.from('head'), body);
  await journal.commit();
  return { segment: journal.stagedSegment, offset };
}

/** A batch for each body, each acknowledged. */
export async function abandonedLog(bodies: readonly Buffer[], options: LogOptions = {}): Promise<AbandonedLog> {
  const working = tempDirectory();
  const journal = await open(working, options);
  for (const body of bodies) await append(journal, body);
  await eventually(
    () => journal.stats().reservedBytes > 0 && segmentPaths(working).length > journal.stagedSegment,
    (isAhead) => isAhead,
    'zeros written ahead, and the segment after this one',
  );
  const directory = copyOf(working);
  const segment = journal.stagedSegment;
  await journal.close();
  rmSync(working, { recursive: true });
  const path = segmentPaths(directory)[segment - 1]!;
  return { directory, options, bodies, path, segment, places: batchesOf(path) };
}

export function copyOf(directory: string): string {
  const copy = tempDirectory();
  cpSync(directory, copy, { recursive: true });
  rmSync(join(copy, 'lock'), { force: true });
  return copy;
}

export interface Found {
  readonly bodies: readonly Buffer[];
  readonly torn: TornTail | null;
  readonly wasClean: boolean;
}

/** What a next process finds; `work` may go on with the journal before it is closed. */
export async function reopened(
  directory: string,
  options: LogOptions,
  work: (journal: FileJournal) => Promise<void> = async () => undefined,
): Promise<Found> {
  const journal = await open(directory, options);
  try {
    const bodies: Buffer[] = [];
    await journal.replay(({ body }) => bodies.push(Buffer.from(body)));
    await work(journal);
    return { bodies, torn: journal.torn, wasClean: journal.wasClean };
  } finally {
    await journal.close();
  }
}

export function isSame(a: readonly Buffer[], b: readonly Buffer[]): boolean {
  return a.length === b.length && a.every((bytes, at) => bytes.equals(b[at]!));
}
