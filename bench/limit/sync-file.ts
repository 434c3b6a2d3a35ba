/**
 * A file of fixed length, written before anything is measured, that batches are written to in turn and synced. Overwriting is the least that a sync can
 * cost: there is nothing to allocate.
 */
import { type FileHandle, open } from 'node:fs/promises';

const FILE_BYTES = 268_435_456;
const ZEROS = Buffer.alloc(4_194_304);

export class SyncFile {
  readonly #file: FileHandle;
  #at = 0;
  #syncs = 0;

  private constructor(file: FileHandle) {
    this.#file = file;
  }

  static async create(path: string): Promise<SyncFile> {
    const file = await open(path, 'w');
    for (let at = 0; at < FILE_BYTES; at += ZEROS.length) await file.write(ZEROS, 0, ZEROS.length, at);
    await file.sync();
    return new SyncFile(file);
  }

  /** Syncs so far. */
  get syncs(): number {
    return this.#syncs;
  }

  /** One write and one fdatasync. */
  async append(parts: Buffer[], bytes: number): Promise<void> {
    if (this.#at + bytes > FILE_BYTES) this.#at = 0;
    await this.#file.writev(parts, this.#at);
    await this.#file.datasync();
    this.#at += bytes;
    this.#syncs++;
  }

  close(): Promise<void> {
    return this.#file.close();
  }
}
