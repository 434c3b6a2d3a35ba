/** What is written to the archive: each call is one transaction, which is on disk when it returns. Runs in a thread of its own, because that takes as long as the disk does. */
import { FACTS, type ResultSlice, type Shelf } from './archive.js';
import type { Database } from './database.js';

/** Expired results that a sweep removes, and rows that it looks at for shelves that do not count: some 10 ms of work. */
const EXPIRED_MAX = 2_000;
const LOOKED_MAX = 5_000;
/** The file gives back room when so many of its pages are free and they are more than half of it, so many at a time. */
const FREE_PAGES = 16_384;
const VACUUM_PAGES = 2_048;

/** A shelf that counts, as it stands in the file. */
export interface ShelfRow extends Shelf {
  readonly shelf: number;
  readonly results: number;
  readonly bytes: number;
}

/** What has become of the file. */
export interface Written {
  /** Those that a call may have changed; of `keep` and `sweep` all there are. */
  readonly shelves: readonly ShelfRow[];
  readonly isAll: boolean;
  readonly fileBytes: number;
  /** Of `sweep`: whether there is more to remove. */
  readonly hasMore: boolean;
}

interface Gone {
  readonly shelf: number;
  readonly bytes: number;
}

export class ArchiveWriter {
  readonly #database: Database;
  readonly #statements: ReturnType<typeof statementsOf>;
  /** Up to this id nothing stands on a shelf that does not count, as far as the sweep at hand has looked. */
  #lookedTo = -1;

  constructor(database: Database) {
    this.#database = database;
    this.#statements = statementsOf(database);
  }

  store(slice: ResultSlice): Written {
    return this.#transaction(() => {
      const shelf = this.#shelfOf(slice);
      this.#insert(shelf, slice);
      return this.#written([this.#statements.shelf.get(shelf) as ShelfRow], false);
    });
  }

  keep(shelves: readonly Shelf[], idsBelow: number): Written {
    return this.#transaction(() => {
      const kept = new Set(shelves.map(keyOf));
      const { forget, allShelves, removeFrom } = this.#statements;
      for (const row of allShelves.all() as ShelfRow[]) if (!kept.has(keyOf(row))) forget.run(row.shelf);
      this.#discount(removeFrom.all(idsBelow) as Gone[]);
      this.#lookedTo = -1;
      return this.#written(allShelves.all() as ShelfRow[], true);
    });
  }

  sweep(nowMs: number): Written {
    const written = this.#transaction(() => {
      const expired = this.#statements.removeExpired.all(nowMs, EXPIRED_MAX) as Gone[];
      this.#discount(expired);
      const hasForgotten = this.#sweepForgotten();
      const hasMore = expired.length === EXPIRED_MAX || hasForgotten;
      return this.#written(this.#statements.allShelves.all() as ShelfRow[], true, hasMore);
    });
    return this.#shrink() ? { ...written, hasMore: true } : written;
  }

  #insert(shelf: number, { facts, payloads }: ResultSlice): void {
    const { removeOne, insert } = this.#statements;
    const gone: Gone[] = [];
    let bytes = 0;
    for (let at = 0; at < facts.length; at += FACTS) {
      const [id, priority, attempts, expiryMs, flags, length] = facts.subarray(at, at + FACTS);
      // There if a crash came between a store and what was to follow it.
      const before = removeOne.get(id) as Gone | undefined;
      if (before !== undefined) gone.push(before);
      insert.run(id, shelf, priority, attempts, flags, expiryMs, payloads.subarray(bytes, bytes + length!));
      bytes += length!;
    }
    this.#discount(gone);
    this.#statements.change.run(facts.length / FACTS, bytes, shelf);
  }

  #shelfOf({ namespace, era }: Shelf): number {
    const found = this.#statements.findShelf.get(namespace, era) as { shelf: number } | undefined;
    return found?.shelf ?? Number(this.#statements.addShelf.run(namespace, era).lastInsertRowid);
  }

  /** Removes a slice of what stands on shelves that do not count; returns whether there is more. The id is the key, so all rows are looked at once. */
  #sweepForgotten(): boolean {
    const { forgottenShelves, look, removeOne, removeShelf } = this.#statements;
    const forgotten = new Set((forgottenShelves.all() as { shelf: number }[]).map(({ shelf }) => shelf));
    if (forgotten.size === 0) return false;
    const rows = look.all(this.#lookedTo, LOOKED_MAX) as { id: number; shelf: number }[];
    for (const { id, shelf } of rows) if (forgotten.has(shelf)) removeOne.get(id);
    this.#lookedTo = rows.at(-1)?.id ?? this.#lookedTo;
    if (rows.length === LOOKED_MAX) return true;
    for (const shelf of forgotten) removeShelf.run(shelf);
    this.#lookedTo = -1;
    return false;
  }

  /** Results are gone: their shelves hold fewer. */
  #discount(gone: readonly Gone[]): void {
    const sums = new Map<number, { results: number; bytes: number }>();
    for (const { shelf, bytes } of gone) {
      const sum = sums.get(shelf) ?? { results: 0, bytes: 0 };
      sums.set(shelf, { results: sum.results - 1, bytes: sum.bytes - bytes });
    }
    for (const [shelf, { results, bytes }] of sums) this.#statements.change.run(results, bytes, shelf);
  }

  /** Gives room back to the disk, if most of the file is free; returns whether there is more to give. */
  #shrink(): boolean {
    const free = this.#pragma('freelist_count');
    if (free < FREE_PAGES || free * 2 < this.#pragma('page_count')) return false;
    this.#database.pragma(`incremental_vacuum(${VACUUM_PAGES})`);
    return true;
  }

  #written(shelves: readonly ShelfRow[], isAll: boolean, hasMore = false): Written {
    const fileBytes = this.#pragma('page_count') * this.#pragma('page_size');
    return { shelves, isAll, fileBytes, hasMore };
  }

  #pragma(name: string): number {
    return this.#database.pragma(name, { simple: true }) as number;
  }

  #transaction<T>(work: () => T): T {
    return this.#database.transaction(work).immediate();
  }
}

export function keyOf({ namespace, era }: Shelf): string {
  return `${namespace} ${era}`;
}

const SHELF_COLUMNS = 'shelf, namespace, era, results, bytes';

/** The shelves that count. */
export function shelvesIn(database: Database): ShelfRow[] {
  return database.prepare(`SELECT ${SHELF_COLUMNS} FROM shelves WHERE forgotten = 0`).all() as ShelfRow[];
}

function statementsOf(database: Database) {
  const gone = 'RETURNING shelf, length(payload) AS bytes';
  return {
    insert: database.prepare(
      'INSERT INTO results (id, shelf, priority, attempts, flags, expiry_ms, payload) VALUES (?, ?, ?, ?, ?, ?, ?)',
    ),
    removeOne: database.prepare(`DELETE FROM results WHERE id = ? ${gone}`),
    removeFrom: database.prepare(`DELETE FROM results WHERE id >= ? ${gone}`),
    removeExpired: database.prepare(
      `DELETE FROM results WHERE id IN (SELECT id FROM results WHERE expiry_ms > 0 AND expiry_ms <= ? LIMIT ?) ${gone}`,
    ),
    look: database.prepare('SELECT id, shelf FROM results WHERE id > ? ORDER BY id LIMIT ?'),
    shelf: database.prepare(`SELECT ${SHELF_COLUMNS} FROM shelves WHERE shelf = ?`),
    allShelves: database.prepare(`SELECT ${SHELF_COLUMNS} FROM shelves WHERE forgotten = 0`),
    forgottenShelves: database.prepare('SELECT shelf FROM shelves WHERE forgotten = 1'),
    findShelf: database.prepare('SELECT shelf FROM shelves WHERE namespace = ? AND era = ? AND forgotten = 0'),
    addShelf: database.prepare('INSERT INTO shelves (namespace, era) VALUES (?, ?)'),
    change: database.prepare('UPDATE shelves SET results = results + ?, bytes = bytes + ? WHERE shelf = ?'),
    forget: database.prepare('UPDATE shelves SET forgotten = 1 WHERE shelf = ?'),
    removeShelf: database.prepare('DELETE FROM shelves WHERE shelf = ?'),
  };
}
