/** Segment files opened for reading back, a bounded number of them. */
import { assert } from './errors.js';
import { segmentPath } from './segment-files.js';
import type { Storage, StorageFile } from './storage.js';

const OPEN_FILES_MAX = 32;

export class ReadFiles {
  readonly #storage: Storage;
  readonly #directory: string;
  /** In order of first use; the one opened first is closed first. */
  readonly #files = new Map<number, StorageFile>();
  #isClosed = false;

  constructor(storage: Storage, directory: string) {
    this.#storage = storage;
    this.#directory = directory;
  }

  open(segment: number): StorageFile {
    const known = this.#files.get(segment);
    if (known !== undefined) return known;
    assert(!this.#isClosed, 'a closed journal is not read');
    if (this.#files.size >= OPEN_FILES_MAX) this.#close(this.#files.keys().next().value!);
    const file = this.#storage.open(segmentPath(this.#directory, segment), 'read');
    this.#files.set(segment, file);
    return file;
  }

  /** Closes the files of all segments below `segment`. */
  release(segment: number): void {
    for (const open of [...this.#files.keys()]) if (open < segment) this.#close(open);
  }

  close(): void {
    this.#isClosed = true;
    this.release(Number.POSITIVE_INFINITY);
  }

  #close(segment: number): void {
    this.#files.get(segment)!.close();
    this.#files.delete(segment);
  }
}
