/** The real file system. Writes, reads and some syncs are synchronous calls; the other syncs, and the removal of files, run on libuv's threads. */
import fs from 'node:fs';
import { dirname } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { lockDirectory } from './lock.js';
import type { OpenMode, Storage, StorageFile, StorageLock } from './storage.js';
import { SyncPace } from './sync-pace.js';

const FLAGS = { read: 'r', write: 'r+', create: 'w+' } as const satisfies Record<OpenMode, string>;

const datasync = promisify(fs.fdatasync);
const sync = promisify(fs.fsync);
const remove = promisify(fs.unlink);
const open = promisify(fs.open);
const close = promisify(fs.close);
const truncate = promisify(fs.ftruncate);

/**
 * What a slice of `unlink` gives back, and ms between two: the syncs that come meanwhile wait for one slice. Measured on ext4 with `discard`, the longest of
 * them beside 64 MiB: 15 to 21 ms when all goes at once, 3 to 11 in slices of 4 MiB, 1 to 6 in slices of 1 MiB.
 */
const UNLINK_SLICE_BYTES = 1024 * 1024;
const UNLINK_PAUSE_MS = 2;

/** One for all files: a journal has one disk. */
const pace = new SyncPace();

class NodeFile implements StorageFile {
  readonly #descriptor: number;
  /** Calls under way on libuv's threads: a descriptor closed beneath them could be another file by the time they run. */
  #pending = 0;
  #isClosing = false;
  #isClosed = false;

  constructor(path: string, mode: OpenMode) {
    this.#descriptor = fs.openSync(path, FLAGS[mode]);
  }

  writev(parts: readonly Uint8Array[], position: number): number {
    return fs.writevSync(this.#descriptor, parts, position);
  }

  async writeLater(source: Uint8Array, length: number, position: number): Promise<number> {
    this.#pending += 1;
    try {
      return await writeAt(this.#descriptor, source, length, position);
    } finally {
      this.#done();
    }
  }

  read(target: Uint8Array, targetOffset: number, length: number, position: number): number {
    let done = 0;
    while (done < length) {
      const count = fs.readSync(this.#descriptor, target, targetOffset + done, length - done, position + done);
      if (count === 0) break;
      done += count;
    }
    return done;
  }

  datasync(bytes = Number.POSITIVE_INFINITY): Promise<void> | undefined {
    const startMs = performance.now();
    if (!pace.isOnLoop(bytes)) return this.#datasyncLater(startMs);
    fs.fdatasyncSync(this.#descriptor);
    pace.took(performance.now() - startMs);
    return undefined;
  }

  async #datasyncLater(startMs: number): Promise<void> {
    this.#pending += 1;
    try {
      await datasync(this.#descriptor);
      pace.took(performance.now() - startMs);
    } finally {
      this.#done();
    }
  }

  truncate(length: number): void {
    fs.ftruncateSync(this.#descriptor, length);
  }

  size(): number {
    return fs.fstatSync(this.#descriptor).size;
  }

  close(): void {
    this.#isClosing = true;
    if (this.#pending > 0 || this.#isClosed) return;
    this.#isClosed = true;
    fs.closeSync(this.#descriptor);
  }

  #done(): void {
    this.#pending -= 1;
    if (this.#isClosing) this.close();
  }
}

function writeAt(descriptor: number, source: Uint8Array, length: number, position: number): Promise<number> {
  return new Promise((resolve, reject) => {
    fs.write(descriptor, source, 0, length, position, (error, written) => (error ? reject(error) : resolve(written)));
  });
}

async function syncDirectory(path: string): Promise<void> {
  const descriptor = fs.openSync(path, 'r');
  try {
    await sync(descriptor);
  } finally {
    fs.closeSync(descriptor);
  }
}

async function makeDirectory(path: string): Promise<void> {
  const first = fs.mkdirSync(path, { recursive: true });
  if (first === undefined) return;
  for (let made = path; made.length >= first.length; made = dirname(made)) await syncDirectory(dirname(made));
}

async function unlink(path: string, inSlices = false): Promise<void> {
  if (!inSlices) return remove(path);
  // The descriptor keeps the blocks. A process that dies meanwhile loses it, and the file system gives back what is left.
  const descriptor = await open(path, 'r+');
  try {
    await remove(path);
    // A file that is shorter than it was must not be found under its name after a crash.
    await syncDirectory(dirname(path));
    for (let bytes = fs.fstatSync(descriptor).size - UNLINK_SLICE_BYTES; bytes > 0; bytes -= UNLINK_SLICE_BYTES) {
      await truncate(descriptor, bytes);
      await delay(UNLINK_PAUSE_MS);
    }
  } finally {
    await close(descriptor);
  }
}

function list(path: string): string[] {
  return fs.existsSync(path) ? fs.readdirSync(path) : [];
}

function freeBytes(path: string): number {
  const { bavail, bsize } = fs.statfsSync(path);
  return bavail * bsize;
}

export const nodeStorage: Storage = {
  open: (path: string, mode: OpenMode): StorageFile => new NodeFile(path, mode),
  makeDirectory,
  list,
  rename: fs.renameSync,
  unlink,
  syncDirectory,
  freeBytes,
  lock: (directory: string, mode: 'exclusive' | 'shared'): StorageLock => lockDirectory(directory, mode),
};
