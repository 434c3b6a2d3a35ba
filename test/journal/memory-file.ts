/** A file that is nothing but bytes, for what only reads. It counts what was asked of it. */
import type { StorageFile } from '../../server/journal/storage.js';

export class MemoryFile implements StorageFile {
  bytes: Buffer;
  /** Calls of `read`. */
  reads = 0;
  isClosed = false;

  constructor(bytes: Buffer) {
    this.bytes = bytes;
  }

  read(target: Uint8Array, targetOffset: number, length: number, position: number): number {
    this.reads += 1;
    return this.bytes.copy(target, targetOffset, position, position + length);
  }

  size(): number {
    return this.bytes.length;
  }

  close(): void {
    this.isClosed = true;
  }

  writev(): never {
    return refuse('writev');
  }

  writeLater(): never {
    return refuse('writeLater');
  }

  datasync(): never {
    return refuse('datasync');
  }

  truncate(): never {
    return refuse('truncate');
  }
}

function refuse(call: string): never {
  throw new Error(`Cannot ${call}: this file is only read`);
}
