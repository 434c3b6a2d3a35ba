import { describe, expect, test } from 'vitest';
import { Arena } from '../../server/collections/arena.js';
import { Random, seedOf } from '../support/random.js';

const seed = seedOf('arena');

describe('arena', () => {
  test('gives buffers that do not overlap, until there is no more room', () => {
    const arena = new Arena(1_000);
    const buffers = [300, 300, 300].map((bytes) => arena.take(bytes)!);
    expect(arena.take(101)).toBeNull();
    buffers.push(arena.take(100)!);
    expect(arena.take(1)).toBeNull();
    for (const [i, buffer] of buffers.entries()) buffer.fill(i + 1);
    expect(buffers.map((buffer) => [buffer.length, buffer.every((byte) => byte === buffer[0]), buffer[0]])).toEqual([
      [300, true, 1],
      [300, true, 2],
      [300, true, 3],
      [100, true, 4],
    ]);
  });

  test('knows its own', () => {
    const arena = new Arena(10);
    expect(arena.owns(arena.take(5)!)).toBe(true);
    expect(arena.owns(new Arena(10).take(5)!)).toBe(false);
    expect(arena.owns(Buffer.alloc(5))).toBe(false);
  });

  test('copies between its buffers what a model copies, and nothing beside it', () => {
    const random = new Random(seed);
    const arena = new Arena(40_000);
    const buffers = Array.from({ length: 8 }, () => arena.take(random.whole(1, 5_000))!);
    for (const buffer of buffers) buffer.set(random.bytes(buffer.length));
    const model = buffers.map((buffer) => Uint8Array.from(buffer));
    for (let i = 0; i < 2_000; i++) {
      const [source, target] = [random.whole(0, 7), random.whole(0, 7)];
      const length = random.whole(0, Math.min(buffers[source]!.length, buffers[target]!.length));
      const from = random.whole(0, buffers[source]!.length - length);
      const at = random.whole(0, buffers[target]!.length - length);
      expect(arena.copy(buffers[source]!, from, length, buffers[target]!, at)).toBe(true);
      model[target]!.set(model[source]!.slice(from, from + length), at);
      if (i % 100 === 0) for (const [k, bytes] of model.entries()) expect(Buffer.compare(buffers[k]!, bytes)).toBe(0);
    }
    for (const [k, bytes] of model.entries()) expect(Buffer.compare(buffers[k]!, bytes)).toBe(0);
  });

  test('leaves to others what is not between its buffers', () => {
    const arena = new Arena(100);
    const own = arena.take(50)!.fill(1);
    const other = Buffer.alloc(50, 2);
    expect(arena.copy(own, 0, 10, other, 0)).toBe(false);
    expect(arena.copy(other, 0, 10, own, 0)).toBe(false);
    expect([own.every((byte) => byte === 1), other.every((byte) => byte === 2)]).toEqual([true, true]);
    expect(arena.copy(own, 0, 10, arena.take(10)!, 0)).toBe(true);
  });

  test('throws instead of copying over a neighbour', () => {
    const arena = new Arena(100);
    const [a, b] = [arena.take(10)!.fill(1), arena.take(20)!.fill(2)];
    for (const [from, length, at] of [
      [0, 11, 0],
      [5, 6, 0],
      [0, 10, 11],
      [0, 1, 20],
      [-1, 5, 0],
      [0, 5, -1],
    ] as const)
      expect(() => arena.copy(a, from, length, b, at), `${from} ${length} ${at}`).toThrow(RangeError);
    expect([a.every((byte) => byte === 1), b.every((byte) => byte === 2)]).toEqual([true, true]);
  });
});
