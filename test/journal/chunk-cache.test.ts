/** The newest bytes of the log in memory: what is not written stays whatever the budget says, of the rest the oldest goes first. */
import { describe, expect, test } from 'vitest';
import { CHUNK_BYTES, ChunkCache, chunkIndex, copyBytes } from '../../server/journal/chunk-cache.js';
import { Random, seedOf } from '../support/random.js';

const seed = seedOf('chunk cache');

/** A chunk whose bytes tell where it is, cheaply: a number at every 4096th byte. */
function fill(chunk: Buffer, segment: number, index: number): void {
  for (let at = 0; at < CHUNK_BYTES; at += 4_096) chunk.writeUInt32LE(segment * 1_000 + index * 256 + at / 4_096, at);
}

function markAt(segment: number, offset: number): number {
  return segment * 1_000 + offset / 4_096;
}

/** A cache with whole chunks: how many in each segment, from segment 1 on. Nothing of them is written. */
function cacheOf(budgetChunks: number, ...counts: readonly number[]): ChunkCache {
  const cache = new ChunkCache(budgetChunks * CHUNK_BYTES);
  for (const [at, count] of counts.entries())
    for (let index = 0; index < count; index += 1) fill(cache.add(at + 1, index), at + 1, index);
  return cache;
}

/** Which chunks of a segment are there. */
function heldOf(cache: ChunkCache, segment: number): number[] {
  return [0, 1, 2, 3, 4, 5].filter((index) => {
    const view = cache.view(segment, index * CHUNK_BYTES, 4);
    if (view !== null) expect(Buffer.from(view).readUInt32LE(0)).toBe(markAt(segment, index * CHUNK_BYTES));
    return view !== null;
  });
}

describe('what is not written', () => {
  test('stays, above the budget', () => {
    const cache = cacheOf(2, 5);
    expect(heldOf(cache, 1)).toEqual([0, 1, 2, 3, 4]);
    expect(cache.heldBytes).toBe(5 * CHUNK_BYTES);
  });

  test('and the chunk that writing has got to stay when the rest goes down to the budget', () => {
    const cache = cacheOf(2, 5);
    cache.written(1, 2 * CHUNK_BYTES + 1);
    expect(heldOf(cache, 1)).toEqual([2, 3, 4]);
    expect(cache.heldBytes).toBe(3 * CHUNK_BYTES);
    cache.written(1, 5 * CHUNK_BYTES);
    expect(heldOf(cache, 1)).toEqual([3, 4]);
    expect(cache.heldBytes).toBe(2 * CHUNK_BYTES);
  });

  test('in a later segment stays when an earlier one is written', () => {
    const cache = cacheOf(1, 2, 2);
    cache.written(1, 2 * CHUNK_BYTES);
    expect([heldOf(cache, 1), heldOf(cache, 2)]).toEqual([[], [0, 1]]);
  });
});

describe('what is written', () => {
  test('stays as long as the budget lasts, then the oldest goes first, over segments', () => {
    const cache = cacheOf(4, 2, 2);
    cache.written(2, 2 * CHUNK_BYTES);
    expect([heldOf(cache, 1), heldOf(cache, 2)]).toEqual([
      [0, 1],
      [0, 1],
    ]);
    fill(cache.add(2, 2), 2, 2);
    fill(cache.add(3, 0), 3, 0);
    fill(cache.add(3, 1), 3, 1);
    expect([heldOf(cache, 1), heldOf(cache, 2), heldOf(cache, 3)]).toEqual([[], [1, 2], [0, 1]]);
    expect(cache.heldBytes).toBe(4 * CHUNK_BYTES);
  });

  test('is used again as memory for what comes, so that the process does not grow', () => {
    const cache = cacheOf(2, 1);
    const buffers = new Set<Buffer>();
    for (let index = 1; index < 20; index += 1) {
      cache.written(1, index * CHUNK_BYTES);
      buffers.add(cache.add(1, index));
    }
    expect(buffers.size).toBeLessThanOrEqual(2);
    expect(cache.heldBytes).toBe(2 * CHUNK_BYTES);
  });
});

describe('a released segment', () => {
  test('is gone, and its memory is used again', () => {
    const cache = cacheOf(4, 2, 2);
    cache.written(2, 2 * CHUNK_BYTES);
    cache.release(2);
    expect([heldOf(cache, 1), heldOf(cache, 2)]).toEqual([[], [0, 1]]);
    cache.add(2, 2);
    cache.add(2, 3);
    expect(cache.heldBytes).toBe(4 * CHUNK_BYTES);
  });

  test('gives memory back to the system when it is more than will be wanted soon', () => {
    const cache = cacheOf(100, 80, 1);
    cache.written(2, CHUNK_BYTES);
    cache.release(2);
    expect(cache.heldBytes).toBe(65 * CHUNK_BYTES);
    expect(heldOf(cache, 2)).toEqual([0]);
  });

  test('which was partly given up before does not stop the next ones from being given up', () => {
    const cache = cacheOf(2, 3, 1);
    cache.written(2, 0);
    expect(heldOf(cache, 1)).toEqual([2]);
    cache.release(2);
    cache.written(2, CHUNK_BYTES);
    for (let index = 1; index < 4; index += 1) {
      fill(cache.add(2, index), 2, index);
      cache.written(2, (index + 1) * CHUNK_BYTES);
    }
    expect(heldOf(cache, 2)).toEqual([2, 3]);
  });

  test('can be the last one: the log goes on behind it', () => {
    const cache = cacheOf(4, 2);
    cache.written(1, 2 * CHUNK_BYTES);
    cache.release(2);
    fill(cache.add(5, 3), 5, 3);
    expect([heldOf(cache, 1), heldOf(cache, 5)]).toEqual([[], [3]]);
  });
});

describe('a range', () => {
  test('is a view in one chunk, and a copy over several', () => {
    const cache = cacheOf(9, 3);
    expect(cache.view(1, CHUNK_BYTES, CHUNK_BYTES)!.buffer).toBe(cache.find(1, 1)!.buffer);
    const over = cache.view(1, CHUNK_BYTES - 4_096, CHUNK_BYTES + 8_192)!;
    expect(over.length).toBe(CHUNK_BYTES + 8_192);
    for (let at = 0; at < over.length; at += 4_096)
      expect(Buffer.from(over.subarray(at)).readUInt32LE(0)).toBe(markAt(1, CHUNK_BYTES - 4_096 + at));
  });

  test('of which a part is not there is none', () => {
    const cache = cacheOf(1, 2);
    cache.written(1, CHUNK_BYTES + 1);
    const target = new Uint8Array(10);
    for (const [segment, offset] of [
      [1, CHUNK_BYTES - 5],
      [1, 2 * CHUNK_BYTES - 5],
      [2, 0],
      [0, 0],
    ] as const) {
      expect(cache.view(segment, offset, 10)).toBeNull();
      expect(cache.copyTo(segment, offset, 10, target, 0)).toBe(false);
    }
  });

  test('is overwritten and listed over the border of chunks', () => {
    const cache = cacheOf(9, 2);
    const bytes = Buffer.from(Array.from({ length: 52 }, (_, at) => at + 1));
    for (const before of [0, 1, 26, 51, 52]) {
      const start = CHUNK_BYTES - before;
      cache.overwrite(1, start, bytes);
      const parts: Uint8Array[] = [];
      cache.parts(1, start, start + 52, parts);
      expect(parts.map(({ length }) => length)).toEqual([before, 52 - before].filter((length) => length > 0));
      expect(Buffer.concat(parts).equals(bytes)).toBe(true);
      expect(Buffer.from(cache.view(1, start, 52)!).equals(bytes)).toBe(true);
    }
  });
});

test('chunks are added in the order of the log', () => {
  const cache = cacheOf(9, 2);
  expect(() => cache.add(1, 1)).toThrow('chunks are added in order');
  expect([chunkIndex(0), chunkIndex(CHUNK_BYTES - 1), chunkIndex(CHUNK_BYTES), chunkIndex(2 ** 32 - 1)]).toEqual([
    0, 0, 1, 4_095,
  ]);
});

test('no chunk is handed out while it is in use, and nothing unwritten is lost, in whatever order the log goes on, is written and released', () => {
  const random = new Random(seed);
  for (let run = 0; run < 20; run += 1) {
    const budgetChunks = random.pick([0, 1, 2, 5, 70]);
    const cache = new ChunkCache(budgetChunks * CHUNK_BYTES);
    /** Chunks of the log by number, 7 of each segment from 1 on: [written, end[ have to be there. */
    const segmentOf = (chunk: number): readonly [segment: number, index: number] => [
      1 + Math.floor(chunk / 7),
      chunk % 7,
    ];
    let [released, written, end] = [0, 0, 0];
    for (let step = 0; step < 150; step += 1) {
      const act = random.whole(0, 9);
      if (act < 6) fill(cache.add(...segmentOf(end)), ...segmentOf(end++));
      else if (act < 9) {
        written = random.whole(written, end);
        const [segment, index] = segmentOf(written);
        cache.written(segment, index * CHUNK_BYTES);
      } else {
        const [segment] = segmentOf(random.whole(released, written));
        released = Math.max(released, (segment - 1) * 7);
        cache.release(segment);
      }
      let held = 0;
      for (let chunk = released; chunk < end; chunk += 1) {
        const [segment, index] = segmentOf(chunk);
        const bytes = cache.find(segment, index);
        if (bytes === null) expect(chunk).toBeLessThan(written);
        else expect(bytes.readUInt32LE(4_096)).toBe(markAt(segment, index * CHUNK_BYTES + 4_096));
        if (bytes !== null) held += 1;
      }
      expect(cache.heldBytes).toBeGreaterThanOrEqual(held * CHUNK_BYTES);
      if (act >= 6 && act < 9)
        expect(cache.heldBytes).toBeLessThanOrEqual(Math.max(budgetChunks, end - written) * CHUNK_BYTES);
    }
  }
});

test('a range is copied alike to a buffer of `memory` and to any other, over the border of chunks as well', () => {
  const random = new Random(seed);
  const cache = new ChunkCache(2 * CHUNK_BYTES);
  // The third lies beside the others: there is no room for it.
  const model = Buffer.concat([0, 1, 2].map((index) => cache.add(1, index).fill(random.bytes(CHUNK_BYTES))));
  const targets = [cache.memory(5_000), Buffer.alloc(5_000), cache.memory(5_000)];
  for (let i = 0; i < 500; i += 1) {
    const length = random.whole(0, 4_000);
    const border = random.pick([CHUNK_BYTES, 2 * CHUNK_BYTES]);
    const offset = random.pick([border - random.whole(0, length), random.whole(0, model.length - length)]);
    const at = random.whole(0, 5_000 - length);
    const target = random.pick(targets);
    const expected = Buffer.from(target);
    model.copy(expected, at, offset, offset + length);
    expect(cache.copyTo(1, offset, length, target, at)).toBe(true);
    expect(Buffer.compare(target, expected)).toBe(0);
  }
});

test('there is `memory` beyond what is as quick', () => {
  const cache = new ChunkCache(0);
  const buffers = Array.from({ length: 9 }, () => cache.memory(CHUNK_BYTES));
  for (const [i, buffer] of buffers.entries()) buffer.fill(i);
  for (const [i, buffer] of buffers.entries())
    expect([buffer.length, buffer[0], buffer.at(-1)]).toEqual([CHUNK_BYTES, i, i]);
});

test('bytes are copied alike whichever way is faster for their number', () => {
  const random = new Random(seed);
  const source = random.bytes(300);
  for (let length = 0; length <= 100; length += 1) {
    const [from, to] = [random.whole(0, 200), random.whole(0, 200)];
    const [target, expected] = [new Uint8Array(300), new Uint8Array(300)];
    copyBytes(source, from, length, target, to);
    expected.set(source.subarray(from, from + length), to);
    expect([length, Buffer.compare(target, expected)]).toEqual([length, 0]);
  }
});
