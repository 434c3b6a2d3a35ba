/**
 * What the journal needs from a file system, narrow enough that a simulated disk can stand in its place. Failures throw (or reject with)
 * errors that carry the system's `code`, as Node's do.
 */

export type OpenMode = 'read' | 'write' | 'create';

export interface StorageFile {
  /** Writes the parts one after the other from `position` on, at once. Returns the bytes written: fewer than asked means a full disk (rule W6). */
  writev(parts: readonly Uint8Array[], position: number): number;
  /** Writes in the background; resolves with the bytes written. `source` must not change until then. */
  writeLater(source: Uint8Array, length: number, position: number): Promise<number>;
  /** Reads up to `length` bytes at once; fewer than asked means the end of the file. */
  read(target: Uint8Array, targetOffset: number, length: number, position: number): number;
  /**
   * `fdatasync`: data, and the length if it changed. In the background; told how many `bytes` it is for it may be done at once, which is then over when this
   * returns (see sync-pace.ts).
   */
  datasync(bytes?: number): Promise<void> | undefined;
  truncate(length: number): void;
  size(): number;
  /** Closes as soon as nothing of this file is under way in the background. Idempotent. */
  close(): void;
}

/** Held until released or until the process dies, however it dies. */
export interface StorageLock {
  release(): void;
}

export interface Storage {
  /** `create` makes the file or empties it; `read` and `write` want it to exist. */
  open(path: string, mode: OpenMode): StorageFile;
  /** Makes a directory and its parents and makes them durable; nothing happens if it is there. */
  makeDirectory(path: string): Promise<void>;
  /** Names in a directory, none if there is no such directory. */
  list(path: string): string[];
  rename(from: string, to: string): void;
  /**
   * Gives the blocks of the file back, which takes tens of ms for a large one: not on the event loop. A sync of any other file waits for that as well,
   * so a file that is removed beside commits goes `inSlices`: its name for good first, then its blocks by and by.
   */
  unlink(path: string, inSlices?: boolean): Promise<void>;
  /** Makes creations, renames and removals in a directory durable (rule W5). */
  syncDirectory(path: string): Promise<void>;
  /** Bytes that this process may still write to the file system that holds `path`. */
  freeBytes(path: string): number;
  /** Rule W9. `exclusive` is for who writes; `shared` for who only looks, and creates nothing. Throws DataDirLockedError. */
  lock(directory: string, mode: 'exclusive' | 'shared'): StorageLock;
}

const FULL_CODES = new Set(['ENOSPC', 'EDQUOT']);

/** True for the errors that say: no room, try again when there is some. */
export function isDiskFull(error: unknown): boolean {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' && FULL_CODES.has(error.code);
}
