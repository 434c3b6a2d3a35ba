/** Names of the journal's files, and how a segment file comes into being. */
import { join } from 'node:path';
import { encodeFileHeader, type LogIdentity } from './segment-format.js';
import type { Storage, StorageFile } from './storage.js';

const SEGMENT_NAME = /^(\d{10})\.segment$/;

/** Where the segments of a data directory are. */
export function segmentDirectory(dataDirectory: string): string {
  return join(dataDirectory, 'journal');
}

/** Where what was cut off is kept. */
export function tornDirectory(dataDirectory: string): string {
  return join(dataDirectory, 'torn');
}

export function segmentPath(dataDirectory: string, segment: number): string {
  return join(segmentDirectory(dataDirectory), `${String(segment).padStart(10, '0')}.segment`);
}

/** Name of a segment file while it is not whole yet. */
export function temporaryPath(path: string): string {
  return `${path}.tmp`;
}

/** Segment numbers in a data directory, ascending, and names of files that were never finished. */
export function listSegments(storage: Storage, dataDirectory: string): { numbers: number[]; temporary: string[] } {
  const names = storage.list(segmentDirectory(dataDirectory));
  const numbers: number[] = [];
  for (const name of names) {
    const match = SEGMENT_NAME.exec(name);
    if (match !== null) numbers.push(Number(match[1]));
  }
  return { numbers: numbers.sort((a, b) => a - b), temporary: names.filter((name) => name.endsWith('.tmp')) };
}

/** Creates a segment by rule W5: another name, header, sync, rename, sync of the directory. Open for writing. */
export async function createSegment(
  storage: Storage,
  dataDirectory: string,
  log: LogIdentity,
  segment: number,
): Promise<StorageFile> {
  const path = segmentPath(dataDirectory, segment);
  const file = storage.open(temporaryPath(path), 'create');
  try {
    writeFully(file, [encodeFileHeader({ segment, log })], 0);
    await file.datasync();
    await publishFile(storage, path);
  } catch (error) {
    file.close();
    throw error;
  }
  return file;
}

/** Gives a file that is whole and synced its name, for good. */
export async function publishFile(storage: Storage, path: string): Promise<void> {
  storage.rename(temporaryPath(path), path);
  await storage.syncDirectory(join(path, '..'));
}

/** For files that nobody waits for: a short write is an error like any full disk (rule W6). */
export function writeFully(file: StorageFile, parts: readonly Uint8Array[], position: number): void {
  let bytes = 0;
  for (const part of parts) bytes += part.length;
  const written = file.writev(parts, position);
  if (written !== bytes)
    throw Object.assign(new Error(`Cannot write ${bytes} bytes: only ${written} went in, expected all`), {
      code: 'ENOSPC',
    });
}
