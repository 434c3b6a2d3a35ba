/** The files of a data directory, as somebody finds them who looks in from outside. */
import { closeSync, existsSync, openSync, readdirSync, readFileSync, readSync, statSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import {
  BATCH_HEADER_BYTES,
  emptyBatchHeader,
  FILE_HEADER_BYTES,
  readBatchHeader,
  readFileHeader,
} from '../../server/journal/segment-format.js';

export interface BatchPlace {
  readonly offset: number;
  /** Behind its last byte. */
  readonly end: number;
}

/** Paths of the segments, oldest first. */
export function segmentPaths(dataDir: string): string[] {
  const directory = join(dataDir, 'journal');
  return readdirSync(directory)
    .filter((name) => name.endsWith('.segment'))
    .sort()
    .map((name) => join(directory, name));
}

/** Bytes of all segments as the file system counts them. */
export function journalBytes(dataDir: string): number {
  return segmentPaths(dataDir).reduce((sum, path) => sum + (existsSync(path) ? statSync(path).size : 0), 0);
}

/** Tails that were cut off and kept. */
export function keptTails(dataDir: string): string[] {
  const directory = join(dataDir, 'torn');
  return existsSync(directory) ? readdirSync(directory).map((name) => join(directory, name)) : [];
}

/** Where the batches of a segment lie. */
export function batchesOf(path: string): BatchPlace[] {
  const bytes = readFileSync(path);
  const header = readFileHeader(bytes);
  if (typeof header === 'string') throw new Error(`Cannot read "${path}": ${header}`);
  const batches: BatchPlace[] = [];
  const batch = emptyBatchHeader();
  for (let offset = FILE_HEADER_BYTES; offset + BATCH_HEADER_BYTES <= bytes.length; offset = batches.at(-1)!.end) {
    if (!readBatchHeader(bytes, offset, header.log, batch)) break;
    batches.push({ offset, end: offset + BATCH_HEADER_BYTES + batch.bodyBytes });
  }
  return batches;
}

/** Writes bytes into a file at an offset. */
export function overwrite(path: string, offset: number, bytes: Uint8Array): void {
  const file = openSync(path, 'r+');
  try {
    writeSync(file, bytes, 0, bytes.length, offset);
  } finally {
    closeSync(file);
  }
}

/** Changes one byte. */
export function flip(path: string, offset: number): void {
  const byte = Buffer.alloc(1);
  const file = openSync(path, 'r');
  readSync(file, byte, 0, 1, offset);
  closeSync(file);
  overwrite(path, offset, Buffer.of(byte[0]! ^ 0xff));
}

/** Changes one byte in the middle of the first segment's first batch. */
export function damage(dataDir: string): { readonly path: string; readonly batch: BatchPlace } {
  const path = segmentPaths(dataDir)[0]!;
  const batch = batchesOf(path)[0]!;
  flip(path, batch.end - 1);
  return { path, batch };
}
