/** Blocks read back from segment files: each is read once while it is wanted, the least recently used goes first. */
import { describe, expect, test } from 'vitest';
import { BLOCK_BYTES, BlockCache } from '../../server/journal/block-cache.js';
import { Random, seedOf } from '../support/random.js';
import { MemoryFile } from './memory-file.js';

const seed = seedOf('block cache');

/** Segments of three and a half blocks whose bytes tell where they are. */
class Segments {
  readonly #files = new Map<number, MemoryFile>();
  /** The disk gives nothing. */
  isBroken = false;

  open(segment: number): MemoryFile {
    if (this.isBroken) throw Object.assign(new Error('EIO'), { code: 'EIO' });
    const known = this.#files.get(segment);
    if (known !== undefined) return known;
    const bytes = Buffer.alloc(BLOCK_BYTES * 3.5);
    for (let at = 0; at < bytes.length; at += 4) bytes.writeUInt32LE(segment * 0x100_0000 + at, at);
    const file = new MemoryFile(bytes);
    this.#files.set(segment, file);
    return file;
  }

  get reads(): number {
    return [...this.#files.values()].reduce((sum, { reads }) => sum + reads, 0);
  }
}

function cacheOf(count: number): { segments: Segments; cache: BlockCache } {
  const segments = new Segments();
  return { segments, cache: new BlockCache(count, (segment) => segments.open(segment)) };
}

function expectBytes({ segments, cache }: ReturnType<typeof cacheOf>, segment: number, at: number, size: number): void {
  const view = cache.view(segment, at, size);
  const wasBroken = segments.isBroken;
  segments.isBroken = false;
  const { bytes } = segments.open(segment);
  segments.isBroken = wasBroken;
  expect([segment, at, size, bytes.subarray(at, at + size).equals(view)]).toEqual([segment, at, size, true]);
}

describe('a block', () => {
  test('is read once for all that lies in it', () => {
    const both = cacheOf(2);
    for (const [at, size] of [
      [0, 1],
      [BLOCK_BYTES - 1, 1],
      [0, BLOCK_BYTES],
      [777, 5_000],
    ] as const)
      expectBytes(both, 3, at, size);
    expect(both.segments.reads).toBe(1);
  });

  test('at the end of a file is as long as the file', () => {
    const both = cacheOf(1);
    expectBytes(both, 1, 3 * BLOCK_BYTES, BLOCK_BYTES / 2);
    const words = /^Cannot read 2 bytes at offset \d+ of segment 1: the file ends before, expected a location/;
    expect(() => both.cache.view(1, 3.5 * BLOCK_BYTES - 1, 2)).toThrow(words);
    expect(() => both.cache.view(1, 9 * BLOCK_BYTES, 2)).toThrow(RangeError);
  });

  test('that went unused longest makes room for a new one', () => {
    const both = cacheOf(2);
    expectBytes(both, 1, 0, 10);
    expectBytes(both, 1, BLOCK_BYTES, 10);
    expectBytes(both, 1, 0, 10);
    expectBytes(both, 2, 0, 10);
    expect(both.segments.reads).toBe(3);
    expectBytes(both, 1, 0, 10);
    expect(both.segments.reads).toBe(3);
    expectBytes(both, 1, BLOCK_BYTES, 10);
    expect(both.segments.reads).toBe(4);
  });

  test('of a deleted segment is forgotten, and the others are not', () => {
    const both = cacheOf(3);
    for (const segment of [1, 2, 3]) expectBytes(both, segment, 0, 10);
    both.cache.release(3);
    expectBytes(both, 3, 0, 10);
    expect(both.segments.reads).toBe(3);
    expectBytes(both, 2, 0, 10);
    expect(both.segments.reads).toBe(4);
  });

  test('that could not be read leaves nothing wrong behind', () => {
    const both = cacheOf(1);
    expectBytes(both, 1, 0, 10);
    both.segments.isBroken = true;
    expect(() => both.cache.view(2, 0, 10)).toThrow('EIO');
    expect(() => both.cache.view(1, 0, 10)).toThrow('EIO');
    both.segments.isBroken = false;
    expectBytes(both, 2, 0, 10);
    expectBytes(both, 1, 0, 10);
  });
});

test('a cache gives the bytes of the files for any 3,000 ranges, with fewer reads than ranges', () => {
  const random = new Random(seed);
  const both = cacheOf(5);
  for (let count = 0; count < 3_000; count += 1) {
    const segment = random.whole(1, 3);
    const at = random.whole(0, 3) * BLOCK_BYTES + random.whole(0, BLOCK_BYTES / 2 - 1);
    expectBytes(both, segment, at, random.whole(0, Math.min(100, 3.5 * BLOCK_BYTES - at)));
    if (random.next() < 0.01) both.cache.release(random.whole(1, 4));
  }
  expect(both.segments.reads).toBeLessThan(3_000);
});
