/** Reading a file in slices: whatever is asked for lies together in memory, and nothing is read twice that need not be. */
import { describe, expect, test } from 'vitest';
import { isZero, SliceReader } from '../../server/journal/slice-reader.js';
import { Random, seedOf } from '../support/random.js';
import { MemoryFile } from './memory-file.js';

const seed = seedOf('slice reader');
const SLICE = 64;

/** 0, 1, 2, ... 250, 0, ...: no two near places look the same. */
function counted(length: number): Buffer {
  return Buffer.from(Array.from({ length }, (_, index) => index % 251));
}

function opened(length: number): { file: MemoryFile; reader: SliceReader } {
  const file = new MemoryFile(counted(length));
  const reader = new SliceReader(SLICE);
  reader.open(file);
  return { file, reader };
}

function bytesAt(reader: SliceReader, position: number, length: number): Buffer {
  const at = reader.ensure(position, length);
  return reader.bytes.subarray(at, at + length);
}

describe('a slice reader', () => {
  test('reads once for all ranges of a slice', () => {
    const { file, reader } = opened(200);
    for (const [position, length] of [
      [0, 10],
      [10, 54],
      [63, 1],
      [0, 64],
    ] as const)
      expect(bytesAt(reader, position, length)).toEqual(file.bytes.subarray(position, position + length));
    expect([file.reads, reader.slices]).toEqual([1, 1]);
  });

  test('carries what it has over to the next slice', () => {
    const { file, reader } = opened(200);
    bytesAt(reader, 0, 10);
    expect(bytesAt(reader, 60, 30)).toEqual(file.bytes.subarray(60, 90));
    expect(bytesAt(reader, 90, 34)).toEqual(file.bytes.subarray(90, 124));
    expect(file.reads).toBe(2);
  });

  test('grows for a range that is longer than a slice, and keeps what it had', () => {
    const { file, reader } = opened(400);
    bytesAt(reader, 0, 10);
    expect(bytesAt(reader, 50, 300)).toEqual(file.bytes.subarray(50, 350));
    expect(bytesAt(reader, 340, 60)).toEqual(file.bytes.subarray(340));
  });

  test('goes back when it is asked to', () => {
    const { file, reader } = opened(200);
    bytesAt(reader, 150, 50);
    expect(bytesAt(reader, 3, 20)).toEqual(file.bytes.subarray(3, 23));
  });

  test('takes no more memory than the file has', () => {
    const reader = new SliceReader();
    reader.open(new MemoryFile(counted(100)));
    expect(reader.bytes.length).toBe(100);
  });

  test('opened on another file forgets the bytes of the first', () => {
    const { reader } = opened(64);
    bytesAt(reader, 0, 64);
    const other = new MemoryFile(Buffer.alloc(64, 7));
    reader.open(other);
    expect(bytesAt(reader, 0, 64)).toEqual(other.bytes);
  });

  test('says so when the file has become shorter', () => {
    const { file, reader } = opened(200);
    bytesAt(reader, 0, 10);
    file.bytes = file.bytes.subarray(0, 100);
    expect(() => reader.ensure(90, 20)).toThrow('Cannot read 20 bytes at offset 90: the file ends after 10');
  });

  test(`gives the bytes of the file for any 2,000 ranges`, () => {
    const random = new Random(seed);
    const { file, reader } = opened(1_000);
    for (let count = 0; count < 2_000; count += 1) {
      const position = random.whole(0, 999);
      const length = Math.min(random.pick([0, 1, 5, 63, 64, 65, 200]), 1_000 - position);
      const found = bytesAt(reader, position, length);
      expect([position, length, found.equals(file.bytes.subarray(position, position + length))]).toEqual([
        position,
        length,
        true,
      ]);
    }
  });
});

test('zeros are told from bytes that are nearly zeros, at every place', () => {
  const length = 64 * 1024 + 10;
  const bytes = Buffer.alloc(length);
  expect([isZero(bytes, 0, length), isZero(bytes, 5, 5)]).toEqual([true, true]);
  for (const at of [0, 1, 64 * 1024 - 1, 64 * 1024, length - 1]) {
    bytes[at] = 1;
    expect([at, isZero(bytes, 0, length), isZero(bytes, 0, at), isZero(bytes, at + 1, length)]).toEqual([
      at,
      false,
      true,
      true,
    ]);
    bytes[at] = 0;
  }
});
