/** Finds the longest beginning of a log that can be believed, and what must be done so that nothing else is left. Changes nothing. */
import { BatchReader } from './batch-reader.js';
import { JournalDamagedError } from './errors.js';
import { segmentPath } from './segment-files.js';
import {
  type ChainLink,
  FILE_HEADER_BYTES,
  FLAG_SEAL,
  firstLink,
  isOtherVersion,
  type LogIdentity,
  readFileHeader,
} from './segment-format.js';
import { SliceReader } from './slice-reader.js';
import type { Storage } from './storage.js';
import { isPrepared, withFile } from './survey.js';
import { searchTail } from './tail-search.js';

/** What a repair does, or would do. */
export interface RepairPlan {
  /** The first thing that is wrong. */
  readonly damage: Damage;
  /** Segments whose file header is written again, because all the batches behind it are whole. Nothing is lost by that. */
  readonly headers: readonly number[];
  /** The segment that is cut and from where on; null if none is. */
  readonly cut: { readonly segment: number; readonly offset: number; readonly bytes: number } | null;
  /** Segments behind the damage that are set aside as a whole. */
  readonly dropped: readonly { readonly segment: number; readonly bytes: number }[];
}

export interface Damage {
  readonly segment: number;
  /** Offset in the segment's file of the first byte that cannot be believed. */
  readonly offset: number;
  readonly reason: string;
}

export interface LogFiles {
  readonly storage: Storage;
  readonly directory: string;
  /** Segments that have a file, ascending, at least one. */
  readonly numbers: readonly number[];
}

/** Null if the log is whole but for a torn tail, which the next start cuts. Throws JournalDamagedError if no file header can be read. */
export function planRepair(files: LogFiles): RepairPlan | null {
  const log = findLog(files);
  const { damage, headers } = new RepairWalk(files, log).run();
  if (damage === null && headers.length === 0) return null;
  if (damage === null) return { damage: headerDamage(headers[0]!), headers, cut: null, dropped: [] };
  const { segment, offset } = damage;
  // A segment without a batch is no end for a log, so it goes as a whole; but the very first one is a beginning.
  const isCut = offset > FILE_HEADER_BYTES || (offset === FILE_HEADER_BYTES && segment === 1);
  return {
    damage: headers.length > 0 && headers[0]! <= segment ? headerDamage(headers[0]!) : damage,
    headers: headers.filter((number) => number < segment || (number === segment && isCut)),
    cut: isCut ? { segment, offset, bytes: bytesOf(files, segment) - offset } : null,
    dropped: files.numbers
      .filter((number) => number > segment || (number === segment && !isCut))
      .map((number) => ({ segment: number, bytes: bytesOf(files, number) })),
  };
}

/** The log that most of the files say they belong to. */
export function findLog(files: LogFiles): LogIdentity {
  const votes = new Map<string, { readonly log: LogIdentity; count: number }>();
  let reason = '';
  for (const segment of files.numbers) {
    const header = headerOf(files, segment);
    if (typeof header === 'string') {
      // Whole, but of another version: nothing that this program should write over.
      if (isOtherVersion(header)) throw refusal(files, segment, header);
      reason ||= header;
      continue;
    }
    const key = Buffer.from(header.log.id).toString('hex');
    const vote = votes.get(key) ?? { log: header.log, count: 0 };
    votes.set(key, vote);
    vote.count += 1;
  }
  const [first] = [...votes.values()].sort((a, b) => b.count - a.count);
  if (first !== undefined) return first.log;
  throw refusal(files, files.numbers[0]!, `${reason}, as that of all files`);
}

function refusal({ directory }: LogFiles, segment: number, reason: string): JournalDamagedError {
  return new JournalDamagedError({ directory, segment, offset: 0, reason });
}

function headerOf({ storage, directory }: LogFiles, segment: number): ReturnType<typeof readFileHeader> {
  const bytes = Buffer.alloc(FILE_HEADER_BYTES);
  return withFile(storage, segmentPath(directory, segment), (file) =>
    readFileHeader(bytes.subarray(0, file.read(bytes, 0, FILE_HEADER_BYTES, 0))),
  );
}

function bytesOf({ storage, directory }: LogFiles, segment: number): number {
  return withFile(storage, segmentPath(directory, segment), (file) => file.size());
}

function headerDamage(segment: number): Damage {
  return { segment, offset: 0, reason: 'the file header is damaged' };
}

/** One pass over the log from its oldest segment, up to the end or to what cannot be believed. */
class RepairWalk {
  readonly #files: LogFiles;
  readonly #log: LogIdentity;
  readonly #slice = new SliceReader();
  readonly #headers: number[] = [];
  #link: ChainLink | null;

  constructor(files: LogFiles, log: LogIdentity) {
    this.#files = files;
    this.#log = log;
    this.#link = files.numbers[0] === 1 ? firstLink(log) : null;
  }

  run(): { readonly damage: Damage | null; readonly headers: readonly number[] } {
    const { numbers } = this.#files;
    for (const [index, segment] of numbers.entries()) {
      const before = numbers[index - 1];
      if (before !== undefined && segment !== before + 1)
        return this.#found({ segment, offset: 0, reason: `the file of segment ${before + 1} is missing` });
      const { batches, isSealed, damage } = this.#walk(segment);
      const hasHeader = this.#hasHeader(segment);
      if (!hasHeader && batches === 0) return this.#found(headerDamage(segment));
      if (!hasHeader) this.#headers.push(segment);
      if (!isSealed) return this.#found(damage ?? this.#checkPrepared(index + 1));
    }
    return this.#found(null);
  }

  #found(damage: Damage | null): { readonly damage: Damage | null; readonly headers: readonly number[] } {
    return { damage, headers: this.#headers };
  }

  /** Reads a segment up to its seal, or to what cannot be believed: `damage` is null if that can be the end of a log. */
  #walk(segment: number): { batches: number; isSealed: boolean; damage: Damage | null } {
    const { storage, directory, numbers } = this.#files;
    return withFile(storage, segmentPath(directory, segment), (file) => {
      const source = { slice: this.#slice, file, segment, log: this.#log };
      const reader = new BatchReader({ ...source, position: FILE_HEADER_BYTES, link: this.#link });
      let batches = 0;
      let isSealed = false;
      while (!isSealed && reader.next() === 'batch') {
        batches += 1;
        isSealed = (reader.header.flags & FLAG_SEAL) !== 0;
      }
      this.#link = reader.link;
      if (isSealed) return { batches, isSealed, damage: null };
      const offset = reader.position;
      const link = this.#link;
      if (link === null)
        return { batches, isSealed, damage: { segment, offset, reason: 'the oldest segment has no valid batch' } };
      const isLast = numbers.every(
        (number) => number <= segment || isPrepared(storage, directory, number, this.#slice),
      );
      const tail = searchTail({ ...source, position: offset, link });
      const reason = tail.damage || (isLast ? '' : reader.reason || 'the segment ends before it is sealed');
      return { batches, isSealed, damage: reason === '' ? null : { segment, offset, reason } };
    });
  }

  /** Behind the end of the log: empty files, whose headers must be right all the same. */
  #checkPrepared(from: number): Damage | null {
    const { numbers } = this.#files;
    for (const [index, segment] of numbers.entries()) {
      if (index < from) continue;
      if (segment !== numbers[index - 1]! + 1)
        return { segment, offset: 0, reason: `the file of segment ${numbers[index - 1]! + 1} is missing` };
      if (!this.#hasHeader(segment)) return headerDamage(segment);
    }
    return null;
  }

  #hasHeader(segment: number): boolean {
    const header = headerOf(this.#files, segment);
    return (
      typeof header !== 'string' && header.segment === segment && Buffer.compare(header.log.id, this.#log.id) === 0
    );
  }
}
