/** What the machine, or the container around the process, allows. */
import { readFileSync, statfsSync } from 'node:fs';
import { totalmem } from 'node:os';

/** Files that tell a container's bound: cgroup v2, then v1. Without one they hold `max`, or a number beyond all memory. */
const LIMIT_FILES = ['/sys/fs/cgroup/memory.max', '/sys/fs/cgroup/memory/memory.limit_in_bytes'] as const;
const MIB = 1024 * 1024;
/** The program itself: code, heap, buffers of the moment (measured: 70-90 MiB after a start and under load). */
const PROGRAM_BYTES = 96 * MIB;
/** So much is for messages, however small the rest. */
const MESSAGES_BYTES_MIN = 16 * MIB;
/** On a small disk no more than this share of it is kept free. */
const DISK_SHARE_MAX = 0.1;

/** Bytes of memory that the process may have: the container's bound if there is one, else the machine's memory. */
export function hostMemoryBytes(files: readonly string[] = LIMIT_FILES, totalBytes: number = totalmem()): number {
  for (const file of files) {
    const bytes = readLimit(file);
    if (bytes !== null) return Math.min(bytes, totalBytes);
  }
  return totalBytes;
}

/** Bytes for messages out of `memoryMax`, which is bytes, or up to 1 a share of the host's memory: what the program and the cache leave of it. */
export function messageMemoryBytes(
  memoryMax: number,
  cacheBytes: number,
  hostBytes: number = hostMemoryBytes(),
): number {
  const bytes = memoryMax <= 1 ? Math.floor(memoryMax * hostBytes) : memoryMax;
  return Math.max(MESSAGES_BYTES_MIN, bytes - cacheBytes - PROGRAM_BYTES);
}

/** Bytes free on the disk of a directory for whoever is not root; Infinity where that cannot be told. */
export function diskFreeBytes(directory: string): number {
  try {
    const { bavail, bsize } = statfsSync(directory);
    return bavail * bsize;
  } catch {
    return Number.POSITIVE_INFINITY;
  }
}

/** `wanted` bytes, but a tenth of the directory's disk at most. */
export function diskFreeBytesMin(directory: string, wanted: number): number {
  const { blocks, bsize } = statfsSync(directory);
  return Math.min(wanted, Math.floor(blocks * bsize * DISK_SHARE_MAX));
}

function readLimit(file: string): number | null {
  try {
    const text = readFileSync(file, 'utf8').trim();
    return /^[0-9]+$/.test(text) ? Number(text) : null;
  } catch {
    return null;
  }
}
