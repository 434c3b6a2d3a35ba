/**
 * The file of the archive: SQLite in WAL mode, written by one thread and read by another.
 *
 *     shelves   shelf | namespace era | results bytes | forgotten      what stands on each; 1: it does not count any more
 *     results   id | shelf priority attempts flags expiry_ms payload   a message's id is given once, so it is the key whatever the shelf
 *     index     results by expiry_ms, without those that are kept for ever
 *
 * How to change this: raise VERSION and bring older files up to it in `prepare`, in the transaction that sets `user_version`.
 */
import { closeSync, existsSync, fsyncSync, openSync } from 'node:fs';
import { dirname } from 'node:path';
import Sqlite from 'better-sqlite3';
import { ArchiveDamagedError, ArchiveTooNewError } from './errors.js';

export type Database = Sqlite.Database;

const VERSION = 1;
/** "Lova": tells the file from other databases. */
const APPLICATION_ID = 0x4c6f7661;
/** KiB of pages that a connection keeps in memory. */
const CACHE_KIB = 4_096;
/** Bytes that the write-ahead log of SQLite keeps when what is in it has gone to the file. */
const WAL_BYTES = 16 * 1024 * 1024;
/** ms that a connection waits for the other. In WAL mode readers and the writer do not wait for each other, but at the start and the end of a connection. */
const BUSY_MS = 10_000;
/** What SQLite says of a file that it cannot believe. */
const DAMAGED = /^SQLITE_(NOTADB|CORRUPT)/;

const SCHEMA = `
  CREATE TABLE shelves (
    shelf INTEGER PRIMARY KEY AUTOINCREMENT,
    namespace TEXT NOT NULL,
    era INTEGER NOT NULL,
    results INTEGER NOT NULL DEFAULT 0,
    bytes INTEGER NOT NULL DEFAULT 0,
    forgotten INTEGER NOT NULL DEFAULT 0
  );
  CREATE TABLE results (
    id INTEGER PRIMARY KEY,
    shelf INTEGER NOT NULL,
    priority INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    flags INTEGER NOT NULL,
    expiry_ms INTEGER NOT NULL,
    payload BLOB NOT NULL
  );
  CREATE INDEX results_by_expiry ON results (expiry_ms) WHERE expiry_ms > 0;
`;

/** Opens the file, or makes it: then it and its name are on disk. Throws ARCHIVE_DAMAGED, ARCHIVE_TOO_NEW. */
export function prepareDatabase(file: string): Database {
  const isNew = !existsSync(file);
  return believing(file, () => {
    const database = new Sqlite(file, { timeout: BUSY_MS });
    try {
      prepare(database, file);
      if (isNew) syncDirectory(dirname(file));
      return database;
    } catch (error) {
      database.close();
      throw error;
    }
  });
}

/** Opens a file that `prepareDatabase` has looked at. */
export function openDatabase(file: string): Database {
  const database = new Sqlite(file, { timeout: BUSY_MS, fileMustExist: true });
  tune(database);
  return database;
}

function prepare(database: Database, file: string): void {
  const version = database.pragma('user_version', { simple: true }) as number;
  const { tables } = database.prepare('SELECT count(*) AS tables FROM sqlite_master').get() as { tables: number };
  const isEmpty = version === 0 && tables === 0;
  if (!isEmpty && database.pragma('application_id', { simple: true }) !== APPLICATION_ID)
    throw new ArchiveDamagedError(file, 'it is a database of something else');
  if (version > VERSION) throw new ArchiveTooNewError(file, version, VERSION);
  if (isEmpty) {
    // Has to be said before there is a table.
    database.pragma('auto_vacuum = INCREMENTAL');
    tune(database);
    database.transaction(() => {
      database.exec(SCHEMA);
      database.pragma(`application_id = ${APPLICATION_ID}`);
      database.pragma(`user_version = ${VERSION}`);
    })();
    return;
  }
  tune(database);
  // Touches both trees: a file that was cut off is found out here, not by a client.
  database.prepare('SELECT max(id), (SELECT min(expiry_ms) FROM results WHERE expiry_ms > 0) FROM results').get();
}

/** FULL: what is committed is on disk, also after a power cut. */
function tune(database: Database): void {
  database.pragma('journal_mode = WAL');
  database.pragma('synchronous = FULL');
  database.pragma(`cache_size = -${CACHE_KIB}`);
  database.pragma(`journal_size_limit = ${WAL_BYTES}`);
}

function believing<T>(file: string, open: () => T): T {
  try {
    return open();
  } catch (error) {
    const { code = '', message } = error as { code?: string; message: string };
    if (DAMAGED.test(code) || /^no such (table|column)/.test(message))
      throw new ArchiveDamagedError(file, message, error);
    throw error;
  }
}

function syncDirectory(path: string): void {
  const descriptor = openSync(path, 'r');
  fsyncSync(descriptor);
  closeSync(descriptor);
}
