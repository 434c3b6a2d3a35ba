/** The segment that is being written and those made ahead of it, with the zeros that are written ahead in each. */
import { createSegment, segmentPath } from './segment-files.js';
import { FILE_HEADER_BYTES, type LogIdentity } from './segment-format.js';
import { isDiskFull, type Storage, type StorageFile } from './storage.js';

/**
 *     header │ batches           │           │ zeros written ahead │
 *                                end         zeroStart             zeroEnd     (zeroStart falls behind `end` as batches overwrite zeros)
 */
export class WritableSegment {
  readonly number: number;
  readonly file: StorageFile;
  /**
   * A descriptor of its own for the zeros: an error of writing back is told once to each descriptor, so a sync of zeros cannot swallow the
   * one that the next commit has to see (rule W1).
   */
  readonly filler: StorageFile;
  end: number;
  zeroStart: number;
  zeroEnd: number;
  #isClosed = false;

  constructor(number: number, end: number, file: StorageFile, filler: StorageFile) {
    this.number = number;
    this.end = end;
    this.file = file;
    this.filler = filler;
    this.zeroStart = end;
    this.zeroEnd = end;
  }

  get reservedBytes(): number {
    return Math.max(0, this.zeroEnd - Math.max(this.zeroStart, this.end));
  }

  /** It was left behind: nothing may be asked of its descriptors any more. */
  get isClosed(): boolean {
    return this.#isClosed;
  }

  close(): void {
    this.#isClosed = true;
    this.file.close();
    this.filler.close();
  }
}

export interface SegmentSupplyOptions {
  readonly storage: Storage;
  readonly directory: string;
  readonly log: LogIdentity;
  readonly segment: number;
  readonly end: number;
}

export class SegmentSupply {
  readonly #options: SegmentSupplyOptions;
  #current: WritableSegment;
  /** Ascending, the next one first. */
  readonly #prepared: WritableSegment[] = [];
  #creating: Promise<void> | null = null;

  constructor(options: SegmentSupplyOptions) {
    this.#options = options;
    const path = segmentPath(options.directory, options.segment);
    const { storage } = options;
    this.#current = new WritableSegment(
      options.segment,
      options.end,
      storage.open(path, 'write'),
      storage.open(path, 'write'),
    );
  }

  get current(): WritableSegment {
    return this.#current;
  }

  get prepared(): readonly WritableSegment[] {
    return this.#prepared;
  }

  get reservedBytes(): number {
    let bytes = this.#current.reservedBytes;
    for (const segment of this.#prepared) bytes += segment.reservedBytes;
    return bytes;
  }

  /** Makes one more segment ahead; calls that meet join. Rejects with what the disk says. */
  prepare(): Promise<void> {
    this.#creating ??= this.#create().finally(() => {
      this.#creating = null;
    });
    return this.#creating;
  }

  /** Goes on to the next segment, making it if need be. The one left behind is sealed and on the disk; zeros at its end are given back. */
  async advance(): Promise<WritableSegment> {
    const left = this.#current;
    left.file.truncate(left.end);
    while (this.#prepared.length === 0) await this.prepare();
    this.#current = this.#prepared.shift()!;
    left.close();
    return this.#current;
  }

  /** Waits for a segment that is being made. */
  async settle(): Promise<void> {
    try {
      await this.#creating;
    } catch (error) {
      if (!isDiskFull(error)) throw error;
    }
  }

  close(): void {
    this.#current.close();
    for (const segment of this.#prepared) segment.close();
  }

  async #create(): Promise<void> {
    const { storage, directory, log } = this.#options;
    const number = (this.#prepared.at(-1) ?? this.#current).number + 1;
    const file = await createSegment(storage, directory, log, number);
    const filler = storage.open(segmentPath(directory, number), 'write');
    this.#prepared.push(new WritableSegment(number, FILE_HEADER_BYTES, file, filler));
  }
}
