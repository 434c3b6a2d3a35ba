import { FrameReader, FrameWriter } from '@lovage/protocol';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { expectCode, hex, utf8 } from './bytes.js';

/** What `write` puts into a writer whose buffer has to grow. */
function written(write: (writer: FrameWriter) => void): string {
  const writer = new FrameWriter(1);
  write(writer);
  return hex(writer.copy());
}

describe('whole numbers', () => {
  test.each([
    [0, '00'],
    [127, '7f'],
    [128, 'cc80'],
    [255, 'ccff'],
    [256, 'cd0100'],
    [65_535, 'cdffff'],
    [65_536, 'ce00010000'],
    [2 ** 31, 'ce80000000'],
    [2 ** 32 - 1, 'ceffffffff'],
    [2 ** 32, 'cf0000000100000000'],
    [Number.MAX_SAFE_INTEGER, 'cf001fffffffffffff'],
  ])('uint and int write %d as %s', (value, expected) => {
    expect(written((writer) => writer.uint(value))).toBe(expected);
    expect(written((writer) => writer.int(value))).toBe(expected);
  });

  test.each([
    [-1, 'ff'],
    [-32, 'e0'],
    [-33, 'd2ffffffdf'],
    [-(2 ** 31), 'd280000000'],
    [-(2 ** 31) - 1, 'd3ffffffff7fffffff'],
    [-(2 ** 32), 'd3ffffffff00000000'],
    [Number.MIN_SAFE_INTEGER, 'd3ffe0000000000001'],
  ])('int writes %d as %s', (value, expected) => {
    expect(written((writer) => writer.int(value))).toBe(expected);
    expectCode('INVALID_ARGUMENT', () => new FrameWriter().uint(value));
  });

  test.each([Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 1.5, -1.5, 2 ** 53, -(2 ** 53)])(
    '%d is refused',
    (value) => {
      expectCode('INVALID_ARGUMENT', () => new FrameWriter().uint(value));
      expectCode('INVALID_ARGUMENT', () => new FrameWriter().int(value));
    },
  );

  test('any safe integer is read back', () => {
    const reader = new FrameReader();
    fc.assert(
      fc.property(fc.maxSafeInteger(), (value) => {
        const writer = new FrameWriter(1);
        writer.int(value);
        expect(reader.open(writer.copy()).int('n')).toBe(value);
        reader.end();
      }),
    );
  });

  test('a reserved number is filled in later', () => {
    const text = written((writer) => {
      const number = writer.reserveUint64();
      const list = writer.reserveArray32();
      writer.nil();
      writer.patchUint64(number, 2 ** 32 + 5);
      writer.patchArray32(list, 1);
    });
    expect(text).toBe('cf0000000100000005dd00000001c0');
  });
});

describe('text and bytes', () => {
  test.each([0, 1, 30, 31, 32, 33, 126, 127, 128, 254, 255, 256, 257, 65_534, 65_535, 65_536])(
    'text of %d characters has the shortest header',
    (length) => {
      const text = 'a'.repeat(length);
      const header = length < 32 ? 1 : length < 256 ? 2 : length < 65_536 ? 3 : 5;
      const writer = new FrameWriter(1);
      writer.str(text);
      expect(writer.length).toBe(header + length);
      expect(new FrameReader().open(writer.copy()).str('text', length)).toBe(text);
    },
  );

  test.each([
    'é',
    `${'x'.repeat(29)}é`,
    `${'x'.repeat(30)}é`,
    `${'x'.repeat(126)}é`,
    'é'.repeat(127),
    'é'.repeat(128),
    '日'.repeat(85),
    '日'.repeat(86),
    '😀'.repeat(8),
    '\u0000',
    '\ufeff',
  ])('text %j that is not ASCII is measured in bytes', (text) => {
    const bytes = utf8(text);
    const writer = new FrameWriter(1);
    writer.str(text);
    expect(writer.length).toBe(bytes.length + (bytes.length < 32 ? 1 : bytes.length < 256 ? 2 : 3));
    expect(hex(writer.bytes.subarray(writer.length - bytes.length, writer.length))).toBe(hex(bytes));
    writer.reset();
    writer.textAsBin(text);
    expect(hex(new FrameReader().open(writer.copy()).bin('body'))).toBe(hex(bytes));
  });

  test('half a surrogate pair becomes U+FFFD', () => {
    expect(written((writer) => writer.str('\ud800'))).toBe('a3efbfbd');
  });

  test.each([0, 1, 255, 256, 65_535, 65_536])('bytes of length %d have the shortest header', (length) => {
    const header = length < 256 ? 2 : length < 65_536 ? 3 : 5;
    const body = new Uint8Array(length).fill(0xaa);
    expect(written((writer) => writer.bin(body))).toHaveLength((header + length) * 2);
    const text = 'a'.repeat(length);
    expect(written((writer) => writer.textAsBin(text))).toHaveLength((header + length) * 2);
  });

  test('a bin of 4 GiB has no header', () => {
    expectCode('BODY_TOO_LARGE', () => new FrameWriter().binHeader(2 ** 32));
  });
});

describe('arrays, maps, floats', () => {
  test.each([
    [0, '90', '80'],
    [15, '9f', '8f'],
    [16, 'dc0010', 'de0010'],
    [65_535, 'dcffff', 'deffff'],
    [65_536, 'dd00010000', 'df00010000'],
    [2 ** 32 - 1, 'ddffffffff', 'dfffffffff'],
  ])('headers of %d', (count, array, map) => {
    expect(written((writer) => writer.arrayHeader(count))).toBe(array);
    expect(written((writer) => writer.mapHeader(count))).toBe(map);
  });

  test.each([
    [1.5, 'cb3ff8000000000000'],
    [-0.1, 'cbbfb999999999999a'],
    [Number.POSITIVE_INFINITY, 'cb7ff0000000000000'],
    [5e-324, 'cb0000000000000001'],
  ])('the float %d is %s', (value, expected) => {
    expect(written((writer) => writer.float64(value))).toBe(expected);
  });

  test('true, false and nil', () => {
    const text = written((writer) => {
      writer.bool(true);
      writer.bool(false);
      writer.nil();
    });
    expect(text).toBe('c3c2c0');
  });
});

describe('buffers', () => {
  test('a frame that was taken is not written over', () => {
    const writer = new FrameWriter(4);
    writer.str('abc');
    const frame = writer.take();
    writer.str('xyz');
    expect(hex(frame)).toBe('a3616263');
  });

  test('a copy is as long as what was written and stays as it is', () => {
    const writer = new FrameWriter(64);
    writer.str('abc');
    const frame = writer.copy();
    writer.str('xyz');
    expect(hex(frame)).toBe('a3616263');
    expect(frame.buffer.byteLength).toBe(4);
  });

  test('a buffer that one big frame has made huge is given up', () => {
    const sizes: number[] = [];
    const writer = new FrameWriter(64, (bytes) => {
      sizes.push(bytes);
      return new Uint8Array(bytes);
    });
    writer.bin(new Uint8Array(5 * 1024 * 1024));
    expect(writer.copy()).toHaveLength(5 * 1024 * 1024 + 5);
    expect(writer.bytes).toHaveLength(64);
    expect(sizes).toEqual([64, 5 * 1024 * 1024 + 5, 64]);
  });
});
