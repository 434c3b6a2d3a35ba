/** Archives of a test: closed when it ends, in directories that go with it. */
import { type ArchivedFacts, FACTS, openArchive, type ResultSlice, type Shelf } from '../../server/archive/index.js';
import type { SqliteArchive } from '../../server/archive/sqlite-archive.js';
import { atEnd } from '../support/cleanup.js';

/** Threads run what was built. */
const THREAD = new URL('../../server/dist/archive/writer-thread.js', import.meta.url);

export interface Opened {
  readonly archive: SqliteArchive;
  readonly failures: unknown[];
}

export function openedArchive(directory: string): Opened {
  const failures: unknown[] = [];
  const archive = openArchive({ directory, thread: THREAD, onReadFailure: (error) => failures.push(error) });
  atEnd(() => archive.close());
  return { archive, failures };
}

export interface ResultRow extends Partial<Omit<ArchivedFacts, 'bytes'>> {
  readonly id: number;
  readonly text: string;
}

export function sliceOf({ namespace, era }: Shelf, rows: readonly ResultRow[]): ResultSlice {
  const payloads = rows.map(({ text }) => Buffer.from(text));
  const facts = new Float64Array(rows.length * FACTS);
  for (const [i, { id, priority = 0, attempts = 1, expiryMs = 0, flags = 0 }] of rows.entries())
    facts.set([id, priority, attempts, expiryMs, flags, payloads[i]!.length], i * FACTS);
  return { namespace, era, facts, payloads: Uint8Array.from(Buffer.concat(payloads)) };
}

/** The text of a result, null if it is not found. */
export function textOf(archive: SqliteArchive, shelf: Shelf, id: number, nowMs = 0): string | null {
  const payload = archive.find(shelf, id, nowMs);
  return payload === null ? null : Buffer.from(payload).toString();
}
