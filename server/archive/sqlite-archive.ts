/**
 * The archive in a SQLite file. It is read here, in the broker's thread, and written in another one, so that nobody waits for its disk.
 *
 *     store, keep, sweep ──► writer-thread ── transaction, fsync ──► answer: how many stand on which shelf
 *     find, describe     ──► the file as it was when the last transaction was done
 *
 * The thread begins with the first thing to write. If it dies, what it was asked is rejected, and the next request begins another one.
 */
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import type { Archive, ArchivedFacts, ArchiveStats, ResultSlice, Shelf } from './archive.js';
import { type Database, prepareDatabase } from './database.js';
import { keyOf, type ShelfRow, shelvesIn, type Written } from './writer.js';
import type { WriteAnswer, WriteRequest } from './writer-thread.js';

export const ARCHIVE_FILE = 'archive.sqlite';

const COLUMNS = 'shelf, priority, attempts, flags, expiry_ms AS expiryMs';

export interface ArchiveOptions {
  /** The data directory, which is there and belongs to this process alone. */
  readonly directory: string;
  /** Told when something cannot be read, because whoever asked is not: for them it is not there. */
  readonly onReadFailure: (error: unknown) => void;
  /** The program of the thread that writes. */
  readonly thread?: URL;
}

interface Row extends ArchivedFacts {
  readonly shelf: number;
}

interface Pending {
  readonly resolve: (written: Written | null) => void;
  readonly reject: (error: unknown) => void;
}

/** Opens the archive of a data directory, or makes one. Throws ARCHIVE_DAMAGED, ARCHIVE_TOO_NEW, and what the system says of a file that it cannot open. */
export function openArchive(options: ArchiveOptions): SqliteArchive {
  const file = join(options.directory, ARCHIVE_FILE);
  const database = prepareDatabase(file);
  database.pragma('query_only = ON');
  return new SqliteArchive(file, database, options);
}

export class SqliteArchive implements Archive {
  readonly #file: string;
  readonly #database: Database;
  readonly #thread: URL;
  readonly #onReadFailure: (error: unknown) => void;
  readonly #shelves = new Map<string, ShelfRow>();
  readonly #pending: Pending[] = [];
  readonly #findRow;
  readonly #describeRow;
  readonly #lastRow;
  #worker: Worker | null = null;
  #fileBytes: number;
  #failures = 0;
  #closing: Promise<void> | null = null;

  constructor(file: string, database: Database, { thread, onReadFailure }: ArchiveOptions) {
    this.#file = file;
    this.#database = database;
    this.#thread = thread ?? new URL('./writer-thread.js', import.meta.url);
    this.#onReadFailure = onReadFailure;
    this.#findRow = database.prepare(`SELECT ${COLUMNS}, payload FROM results WHERE id = ?`);
    this.#describeRow = database.prepare(`SELECT ${COLUMNS}, length(payload) AS bytes FROM results WHERE id = ?`);
    this.#lastRow = database.prepare('SELECT max(id) AS id FROM results');
    for (const row of shelvesIn(database)) this.#shelves.set(keyOf(row), row);
    const pages = database.pragma('page_count', { simple: true }) as number;
    this.#fileBytes = pages * (database.pragma('page_size', { simple: true }) as number);
  }

  async store(slice: ResultSlice): Promise<void> {
    await this.#ask({ type: 'store', slice }, [slice.facts.buffer, slice.payloads.buffer]);
  }

  async keep(shelves: readonly Shelf[], idsBelow: number): Promise<void> {
    const kept = new Set(shelves.map(keyOf));
    for (const key of this.#shelves.keys()) if (!kept.has(key)) this.#shelves.delete(key);
    const plain = shelves.map(({ namespace, era }) => ({ namespace, era }));
    await this.#ask({ type: 'keep', shelves: plain, idsBelow });
  }

  async sweep(nowMs: number): Promise<boolean> {
    return (await this.#ask({ type: 'sweep', nowMs }))!.hasMore;
  }

  find(shelf: Shelf, id: number, nowMs: number): Uint8Array | null {
    const row = this.#read(this.#findRow, shelf, id, nowMs);
    return row === null ? null : (row as Row & { readonly payload: Uint8Array }).payload;
  }

  describe(shelf: Shelf, id: number, nowMs: number): ArchivedFacts | null {
    return this.#read(this.#describeRow, shelf, id, nowMs);
  }

  count(shelf: Shelf): number {
    return this.#shelves.get(keyOf(shelf))?.results ?? 0;
  }

  hasOthers(isOne: (shelf: Shelf) => boolean): boolean {
    for (const shelf of this.#shelves.values()) if (!isOne(shelf)) return true;
    return false;
  }

  lastId(): number {
    return this.#reading(0, () => (this.#lastRow.get() as { id: number | null }).id ?? 0);
  }

  stats(): ArchiveStats {
    let results = 0;
    let resultBytes = 0;
    for (const row of this.#shelves.values()) {
      results += row.results;
      resultBytes += row.bytes;
    }
    return { results, resultBytes, fileBytes: this.#fileBytes, failures: this.#failures };
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  /** Which the thread answers behind everything that it was asked before. The last connection that closes leaves one file. */
  async #close(): Promise<void> {
    const worker = this.#worker;
    if (worker !== null) {
      const ended = new Promise((resolve) => worker.once('exit', resolve));
      await this.#ask({ type: 'close' }).catch(() => undefined);
      await ended;
    }
    this.#database.close();
  }

  /** A row that counts: on the shelf that is asked for, and not expired. */
  #read(statement: { get(id: number): unknown }, shelf: Shelf, id: number, nowMs: number): Row | null {
    const { shelf: number } = this.#shelves.get(keyOf(shelf)) ?? {};
    if (number === undefined) return null;
    const row = this.#reading(undefined, () => statement.get(id) as Row | undefined);
    if (row === undefined || row.shelf !== number) return null;
    return row.expiryMs === 0 || row.expiryMs > nowMs ? row : null;
  }

  /** A file that cannot be read must not end the broker: what stands there is not found. */
  #reading<T>(otherwise: T, read: () => T): T {
    try {
      return read();
    } catch (error) {
      this.#failures++;
      this.#onReadFailure(error);
      return otherwise;
    }
  }

  #ask(request: WriteRequest, transfer: readonly ArrayBuffer[] = []): Promise<Written | null> {
    return new Promise((resolve, reject) => {
      this.#pending.push({ resolve, reject });
      this.#worker ??= this.#begin();
      this.#worker.postMessage(request, transfer);
    });
  }

  #begin(): Worker {
    const worker = new Worker(this.#thread, { workerData: { file: this.#file } });
    worker.on('message', (answer: WriteAnswer) => this.#answered(answer));
    worker.on('error', (error) => this.#died(worker, error));
    worker.on('exit', (code) => this.#died(worker, new Error(`Cannot write the archive: its thread ended (${code})`)));
    return worker;
  }

  #answered(answer: WriteAnswer): void {
    const pending = this.#pending.shift()!;
    if ('failure' in answer) {
      this.#failures++;
      return pending.reject(Object.assign(new Error(answer.failure.message), { code: answer.failure.code }));
    }
    if (answer.written !== null) this.#take(answer.written);
    pending.resolve(answer.written);
  }

  #take({ shelves, isAll, fileBytes }: Written): void {
    if (isAll) this.#shelves.clear();
    for (const row of shelves) this.#shelves.set(keyOf(row), row);
    this.#fileBytes = fileBytes;
  }

  #died(worker: Worker, error: unknown): void {
    if (this.#worker !== worker) return;
    this.#worker = null;
    const { length } = this.#pending;
    this.#failures += length;
    for (const { reject } of this.#pending.splice(0)) reject(error);
  }
}
