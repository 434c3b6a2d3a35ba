/**
 * The real file system with little room: it counts the blocks of every file, and behaves at the end of its room as Linux does. A write that fits
 * in part is done in part and says so; one of which nothing fits is ENOSPC; what is written over blocks that are there always fits.
 */
import {
  nodeStorage,
  type OpenMode,
  type Storage,
  type StorageFile,
  type StorageLock,
} from '../../server/journal/index.js';

export const DISK_BLOCK_BYTES = 4096;

type Blocks = Set<number>;

export class SmallDisk implements Storage {
  capacityBytes: number;
  /** What others have written to the same disk. */
  othersBytes = 0;
  /** Writes that were done in part, and that were refused. */
  shortWrites = 0;
  refusals = 0;
  /** Calls under way in the background. */
  pending = 0;
  readonly #files = new Map<string, Blocks>();

  constructor(capacityBytes: number) {
    this.capacityBytes = capacityBytes;
  }

  /** Others take what is free now. Blocks that a file gives back later are free again. */
  fill(): void {
    this.othersBytes += this.freeBytes();
  }

  freeBytes(): number {
    let blocks = 0;
    for (const file of this.#files.values()) blocks += file.size;
    return Math.max(0, this.capacityBytes - this.othersBytes - blocks * DISK_BLOCK_BYTES);
  }

  open(path: string, mode: OpenMode): StorageFile {
    const file = nodeStorage.open(path, mode);
    let blocks = this.#files.get(path);
    if (blocks === undefined) {
      blocks = new Set();
      for (let at = 0; at < file.size(); at += DISK_BLOCK_BYTES) blocks.add(at / DISK_BLOCK_BYTES);
      this.#files.set(path, blocks);
    }
    if (mode === 'create') blocks.clear();
    return this.#limited(file, blocks);
  }

  rename(from: string, to: string): void {
    nodeStorage.rename(from, to);
    this.#files.set(to, this.#files.get(from)!);
    this.#files.delete(from);
  }

  async unlink(path: string): Promise<void> {
    await nodeStorage.unlink(path);
    this.#files.delete(path);
  }

  makeDirectory(path: string): Promise<void> {
    return nodeStorage.makeDirectory(path);
  }

  list(path: string): string[] {
    return nodeStorage.list(path);
  }

  syncDirectory(path: string): Promise<void> {
    return this.#during(nodeStorage.syncDirectory(path));
  }

  lock(directory: string, mode: 'exclusive' | 'shared'): StorageLock {
    return nodeStorage.lock(directory, mode);
  }

  async #during<T>(call: Promise<T>): Promise<T> {
    this.pending += 1;
    try {
      return await call;
    } finally {
      this.pending -= 1;
    }
  }

  #limited(file: StorageFile, blocks: Blocks): StorageFile {
    return {
      writev: (parts, position) => {
        const bytes = Buffer.concat(parts);
        return file.writev([bytes.subarray(0, this.#allocate(blocks, bytes.length, position))], position);
      },
      writeLater: async (source, length, position) =>
        this.#during(file.writeLater(source, this.#allocate(blocks, length, position), position)),
      truncate: (length) => {
        file.truncate(length);
        for (const block of blocks) if (block * DISK_BLOCK_BYTES >= length) blocks.delete(block);
      },
      read: (target, targetOffset, length, position) => file.read(target, targetOffset, length, position),
      datasync: async () => this.#during(Promise.resolve(file.datasync())),
      size: () => file.size(),
      close: () => file.close(),
    };
  }

  /** Bytes of a write that fit; their blocks belong to the file then. */
  #allocate(blocks: Blocks, length: number, position: number): number {
    let left = Math.floor(this.freeBytes() / DISK_BLOCK_BYTES);
    for (let at = position; at < position + length; ) {
      const block = Math.floor(at / DISK_BLOCK_BYTES);
      if (!blocks.has(block)) {
        if (left === 0) return this.#cut(at - position);
        left -= 1;
        blocks.add(block);
      }
      at = (block + 1) * DISK_BLOCK_BYTES;
    }
    return length;
  }

  #cut(count: number): number {
    if (count > 0) {
      this.shortWrites += 1;
      return count;
    }
    this.refusals += 1;
    throw Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' });
  }
}
