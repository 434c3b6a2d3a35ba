/**
 * The lock on a data directory (rule W9): `<data-dir>/lock`, locked through the kernel, so that it dies with the process however that
 * ends. What stands in the file only tells people who holds it. The lock belongs to the open file, not to the process: a second
 * journal on the same directory is refused inside one process as well, and closing some other descriptor of the file gives nothing up.
 */
/// <reference path="./fs-native-extensions.d.ts" />
import fs from 'node:fs';
import { join } from 'node:path';
import { tryLock } from 'fs-native-extensions';
import { DataDirLockedError } from './errors.js';
import type { StorageLock } from './storage.js';

export const LOCK_NAME = 'lock';

const NO_LOCK: StorageLock = { release: () => undefined };

/**
 * `exclusive` creates the directory and the lock file if need be; `shared` writes nothing: with no lock file there was never a
 * writer, and there is nothing to lock. Throws DataDirLockedError.
 */
export function lockDirectory(directory: string, mode: 'exclusive' | 'shared'): StorageLock {
  const path = join(directory, LOCK_NAME);
  if (mode === 'shared') return fs.existsSync(path) ? take(directory, fs.openSync(path, 'r'), true) : NO_LOCK;
  fs.mkdirSync(directory, { recursive: true });
  const descriptor = fs.openSync(path, fs.constants.O_RDWR | fs.constants.O_CREAT, 0o644);
  const lock = take(directory, descriptor, false);
  sign(descriptor);
  return lock;
}

function take(directory: string, descriptor: number, isShared: boolean): StorageLock {
  if (!tryLock(descriptor, { shared: isShared })) {
    const { pid, startedAt } = readHolder(descriptor);
    fs.closeSync(descriptor);
    throw new DataDirLockedError(directory, pid, startedAt);
  }
  let isHeld = true;
  return {
    release: () => {
      if (isHeld) fs.closeSync(descriptor);
      isHeld = false;
    },
  };
}

/** Who holds it, for people. A disk without room for these few bytes must not keep the broker from starting. */
function sign(descriptor: number): void {
  try {
    fs.ftruncateSync(descriptor, 0);
    fs.writeSync(descriptor, `${process.pid} ${new Date().toISOString()}\n`, 0);
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ENOSPC')) throw error;
  }
}

function readHolder(descriptor: number): { pid: number | null; startedAt: string | null } {
  const text = Buffer.alloc(64);
  const length = fs.readSync(descriptor, text, 0, text.length, 0);
  const [pid, startedAt] = text.toString('latin1', 0, length).trim().split(' ');
  return { pid: Number(pid) || null, startedAt: startedAt ?? null };
}
