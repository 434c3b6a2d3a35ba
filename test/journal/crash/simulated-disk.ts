/**
 * A disk in memory that loses what a real one may lose. It counts every call; at a chosen one it crashes: that call and all later ones throw.
 * `image` is what the next process finds. Of what was not synced each piece is lost, kept, or, if it is a write, torn at sectors of 512 bytes:
 *
 *     write, truncate           safe after `datasync` of that file (through whichever descriptor)
 *     create, rename, unlink    safe after `syncDirectory` of that directory; any of them may be lost while a later one is kept
 */
import { dirname } from 'node:path';
import { DataDirLockedError } from '../../../server/journal/errors.js';
import type { OpenMode, Storage, StorageFile, StorageLock } from '../../../server/journal/storage.js';
import type { Random } from '../../support/random.js';

const SECTOR_BYTES = 512;
/** Files take up whole blocks. */
const BLOCK_BYTES = 4096;
/** What is free on a disk without a capacity. */
const PLENTY_BYTES = 2 ** 40;

/** What becomes of one piece that was not synced; `mixed` is any of them, piece by piece. */
export type Loss = 'lost' | 'kept' | 'torn' | 'mixed';

export class SimulatedCrash extends Error {
  constructor() {
    super('The simulated machine has crashed');
    this.name = 'SimulatedCrash';
  }
}

type Change =
  | { readonly type: 'write'; readonly offset: number; readonly bytes: Buffer }
  | { readonly type: 'truncate'; readonly length: number };

class Inode {
  live: Buffer<ArrayBufferLike>;
  safe: Buffer<ArrayBufferLike>;
  changes: Change[] = [];

  constructor(bytes: Buffer<ArrayBufferLike>) {
    this.live = bytes;
    this.safe = bytes;
  }

  change(change: Change): void {
    this.live = changed(this.live, change);
    this.changes.push(change);
  }

  /** The first `count` changes have reached the disk. */
  synced(count: number): void {
    for (const change of this.changes.splice(0, count)) this.safe = changed(this.safe, change);
  }

  /** A sync has failed: the first `count` changes can still be read, and no later sync will write them (rule W1). */
  forgotten(count: number): void {
    this.changes.splice(0, count);
  }

  after(random: Random, loss: Loss): Buffer {
    let bytes = this.safe;
    for (const change of this.changes) {
      const fate = loss === 'mixed' ? random.pick(['lost', 'kept', 'torn'] as const) : loss;
      if (fate === 'kept') bytes = changed(bytes, change);
      if (fate === 'torn') for (const part of torn(random, change)) bytes = changed(bytes, part);
    }
    return Buffer.from(bytes);
  }
}

function changed(bytes: Buffer<ArrayBufferLike>, change: Change): Buffer<ArrayBufferLike> {
  const length = change.type === 'write' ? Math.max(bytes.length, change.offset + change.bytes.length) : change.length;
  const result = Buffer.alloc(length);
  bytes.copy(result, 0, 0, length);
  if (change.type === 'write') change.bytes.copy(result, change.offset);
  return result;
}

/** Some of the sectors that a write touches. */
function torn(random: Random, change: Change): Change[] {
  if (change.type === 'truncate') return random.next() < 0.5 ? [change] : [];
  const parts: Change[] = [];
  const end = change.offset + change.bytes.length;
  for (let at = change.offset; at < end; ) {
    const next = Math.min(end, (Math.floor(at / SECTOR_BYTES) + 1) * SECTOR_BYTES);
    const bytes = change.bytes.subarray(at - change.offset, next - change.offset);
    if (random.next() < 0.5) parts.push({ type: 'write', offset: at, bytes });
    at = next;
  }
  return parts;
}

/** A name that came, went or changed its file; `null` is no file. */
interface Entry {
  readonly path: string;
  readonly inode: Inode | null;
}

/** Calls that can be made to fail. */
export type Call =
  | 'writev'
  | 'writeHeader'
  | 'writeLater'
  | 'datasync'
  | 'syncDirectory'
  | 'open'
  | 'rename'
  | 'unlink'
  | 'truncate';

export interface Failure {
  readonly call: Call;
  /** The how manieth call of that name fails, from 1. */
  readonly nth: number;
  /** A code of the system; `short` writes half and says so. */
  readonly code: 'EIO' | 'ENOSPC' | 'short';
  /** A `datasync` that fails: the kernel holds what it could not write for written. */
  readonly forgets?: true;
}

export class SimulatedDisk implements Storage {
  readonly #files = new Map<string, Inode>();
  readonly #safe = new Map<string, Inode>();
  #entries: Entry[] = [];
  readonly #directories = new Set<string>();
  readonly #counts = new Map<Call, number>();
  #isLocked = false;
  #isCrashed = false;
  /** Calls so far. */
  operations = 0;
  /** The call that the machine does not survive, from 1. */
  crashAt = Number.POSITIVE_INFINITY;
  failure: Failure | null = null;
  /** Whether `failure` has come. */
  hasFailed = false;
  /** Room for files; a write takes what is left of it and says so, as a real disk does. */
  capacityBytes = Number.POSITIVE_INFINITY;

  /** How often a call was made. */
  count(call: Call): number {
    return this.#counts.get(call) ?? 0;
  }

  crash(): void {
    this.#isCrashed = true;
  }

  /** What the next process finds when the machine lives on: everything that was written, synced or not. This one is dead from now on. */
  restarted(): SimulatedDisk {
    this.crash();
    const disk = new SimulatedDisk();
    disk.capacityBytes = this.capacityBytes;
    for (const directory of this.#directories) disk.#directories.add(directory);
    for (const [path, inode] of this.#files) disk.#files.set(path, inode);
    for (const [path, inode] of this.#safe) disk.#safe.set(path, inode);
    disk.#entries = [...this.#entries];
    return disk;
  }

  /** Bytes that the files take up. */
  get usedBytes(): number {
    let blocks = 0;
    for (const { live } of this.#files.values()) blocks += Math.ceil(live.length / BLOCK_BYTES);
    return blocks * BLOCK_BYTES;
  }

  /** What the next process finds after the machine has died. */
  image(random: Random, loss: Loss): SimulatedDisk {
    const disk = new SimulatedDisk();
    disk.capacityBytes = this.capacityBytes;
    for (const directory of this.#directories) disk.#directories.add(directory);
    const names = new Map(this.#safe);
    for (const { path, inode } of this.#entries) {
      const fate = loss === 'mixed' || loss === 'torn' ? random.pick(['lost', 'kept'] as const) : loss;
      if (fate === 'lost') continue;
      if (inode === null) names.delete(path);
      else names.set(path, inode);
    }
    for (const [path, inode] of names) {
      const copy = new Inode(inode.after(random, loss));
      disk.#files.set(path, copy);
      disk.#safe.set(path, copy);
    }
    return disk;
  }

  /** The bytes of all files. */
  contents(): Map<string, Buffer> {
    return new Map([...this.#files].sort().map(([path, { live }]) => [path, Buffer.from(live)]));
  }

  copy(): SimulatedDisk {
    return this.#with(null, null);
  }

  /** A copy of the disk with one file changed: in place, or by what is returned. */
  edited(path: string, edit: (bytes: Buffer) => Buffer | number): SimulatedDisk {
    const bytes = Buffer.from(this.#files.get(path)!.live);
    const result = edit(bytes);
    return this.#with(path, typeof result === 'number' ? bytes : result);
  }

  truncated(path: string, length: number): SimulatedDisk {
    return this.edited(path, (bytes) => bytes.subarray(0, length));
  }

  without(path: string): SimulatedDisk {
    return this.#with(path, null);
  }

  #with(path: string | null, bytes: Buffer | null): SimulatedDisk {
    const disk = new SimulatedDisk();
    for (const [name, { live }] of this.#files) {
      const content = name === path ? bytes : live;
      if (content === null) continue;
      const inode = new Inode(content);
      disk.#files.set(name, inode);
      disk.#safe.set(name, inode);
    }
    return disk;
  }

  open(path: string, mode: OpenMode): StorageFile {
    this.#step('open');
    let inode = this.#files.get(path);
    if (mode === 'create' && inode === undefined) {
      inode = new Inode(Buffer.alloc(0));
      this.#name(path, inode);
    } else if (mode === 'create') {
      inode!.change({ type: 'truncate', length: 0 });
    }
    if (inode === undefined) throw Object.assign(new Error(`ENOENT: "${path}"`), { code: 'ENOENT' });
    return this.#file(inode);
  }

  async makeDirectory(path: string): Promise<void> {
    this.#directories.add(path);
  }

  list(path: string): string[] {
    this.#alive();
    return [...this.#files.keys()].filter((name) => dirname(name) === path).map((name) => name.slice(path.length + 1));
  }

  rename(from: string, to: string): void {
    this.#step('rename');
    const inode = this.#files.get(from)!;
    this.#name(from, null);
    this.#name(to, inode);
  }

  async unlink(path: string): Promise<void> {
    this.#step('unlink');
    await background();
    this.#alive();
    this.#name(path, null);
  }

  async syncDirectory(path: string): Promise<void> {
    this.#step('syncDirectory');
    const entries = this.#entries.filter((entry) => dirname(entry.path) === path);
    await background();
    this.#alive();
    for (const entry of entries) {
      if (entry.inode === null) this.#safe.delete(entry.path);
      else this.#safe.set(entry.path, entry.inode);
    }
    this.#entries = this.#entries.filter((entry) => !entries.includes(entry));
  }

  freeBytes(): number {
    this.#alive();
    return Math.min(PLENTY_BYTES, Math.max(0, this.capacityBytes - this.usedBytes));
  }

  lock(directory: string, mode: 'exclusive' | 'shared'): StorageLock {
    if (this.#isLocked) throw new DataDirLockedError(directory, null, null);
    this.#isLocked = mode === 'exclusive';
    return {
      release: () => {
        this.#isLocked = false;
      },
    };
  }

  #file(inode: Inode): StorageFile {
    const write = (bytes: Buffer, position: number, fault: Failure['code'] | null): number => {
      const count = Math.min(fault === 'short' ? bytes.length >> 1 : bytes.length, this.#roomAt(inode, position));
      if (count <= 0 && bytes.length > 0)
        throw Object.assign(new Error('ENOSPC: the disk is full'), { code: 'ENOSPC' });
      const taken = bytes.subarray(0, count);
      inode.change({ type: 'write', offset: position, bytes: Buffer.from(taken) });
      return taken.length;
    };
    return {
      writev: (parts, position) =>
        write(Buffer.concat(parts), position, this.#step(position === 0 ? 'writeHeader' : 'writev')),
      writeLater: async (source, length, position) => {
        const fault = this.#step('writeLater');
        const bytes = Buffer.from(source.subarray(0, length));
        await background();
        this.#alive();
        return write(bytes, position, fault);
      },
      read: (target, targetOffset, length, position) => {
        this.#alive();
        return inode.live.subarray(position, position + length).copy(target, targetOffset);
      },
      datasync: (bytes) => {
        const count = inode.changes.length;
        try {
          this.#step('datasync');
        } catch (error) {
          if (this.failure?.forgets === true && this.hasFailed && !this.#isCrashed) inode.forgotten(count);
          throw error;
        }
        // Some of those that may be are done at once, as on a real disk: every third, so that the same run does the same.
        if (bytes !== undefined && this.count('datasync') % 3 === 0) {
          inode.synced(count);
          return undefined;
        }
        return background().then(() => {
          this.#alive();
          inode.synced(count);
        });
      },
      truncate: (length) => {
        this.#step('truncate');
        inode.change({ type: 'truncate', length });
      },
      size: () => inode.live.length,
      close: () => undefined,
    };
  }

  /** Bytes that may be written to a file from `position` on. */
  #roomAt(inode: Inode, position: number): number {
    if (this.capacityBytes === Number.POSITIVE_INFINITY) return Number.POSITIVE_INFINITY;
    const own = Math.ceil(inode.live.length / BLOCK_BYTES) * BLOCK_BYTES;
    const left = Math.max(0, this.capacityBytes - this.usedBytes);
    return own + Math.floor(left / BLOCK_BYTES) * BLOCK_BYTES - position;
  }

  #name(path: string, inode: Inode | null): void {
    if (inode === null) this.#files.delete(path);
    else this.#files.set(path, inode);
    this.#entries.push({ path, inode });
  }

  /** Counts a call, and lets it crash or fail. Says `short` if it is to write half. */
  #step(call: Call): 'short' | null {
    this.#alive();
    this.operations += 1;
    if (this.operations === this.crashAt) this.crash();
    this.#alive();
    const count = this.count(call) + 1;
    this.#counts.set(call, count);
    const { failure } = this;
    if (failure === null || failure.call !== call || failure.nth !== count) return null;
    this.hasFailed = true;
    if (failure.code === 'short') return 'short';
    throw Object.assign(new Error(`${failure.code}: injected`), { code: failure.code });
  }

  #alive(): void {
    if (this.#isCrashed) throw new SimulatedCrash();
  }
}

/** Until whatever else is ready has run. */
function background(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}
