import {
  checkFrame,
  decodeFrame,
  decodeValue,
  encodeFrame,
  encodeValue,
  LIMITS,
  LovageError,
  readOp,
} from '@lovage/protocol';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { concat, expectCode, hex, onlyBadFrame, unhex, utf8 } from './bytes.js';
import { key, written } from './messagepack.js';

/** Values as they come back: Buffers are Uint8Arrays, -0 is 0. */
function plain(value: unknown): unknown {
  if (value instanceof Uint8Array) return new Uint8Array(value);
  if (value instanceof Date) return value;
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value === 'number') return value === 0 ? 0 : value;
  if (typeof value !== 'object' || value === null) return value ?? null;
  return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, plain(inner)]));
}

const body: fc.Arbitrary<unknown> = fc.letrec((tie) => ({
  one: fc.oneof(
    { maxDepth: 5, withCrossShrink: true },
    fc.oneof(
      fc.constant(null),
      fc.constant(undefined),
      fc.boolean(),
      fc.integer(),
      fc.maxSafeInteger(),
      fc.double(),
      fc.string({ unit: 'binary' }),
      fc.uint8Array({ maxLength: 100 }),
      fc.date({ noInvalidDate: true }),
    ),
    fc.array(tie('one'), { maxLength: 40 }),
    fc.dictionary(key, tie('one'), { maxKeys: 40 }),
  ),
})).one;

describe('any value', () => {
  test('comes back as it was encoded', () => {
    fc.assert(
      fc.property(body, (value) => {
        expect(plain(decodeValue(encodeValue(value)))).toEqual(plain(value));
      }),
      { numRuns: 300 },
    );
  });

  test('that JavaScript has is encoded so that it can be decoded, or refused with INVALID_ARGUMENT', () => {
    const anything = fc.anything({
      withBigInt: true,
      withDate: true,
      withMap: true,
      withSet: true,
      withNullPrototype: true,
      withSparseArray: true,
      withTypedArray: true,
      withUnicodeString: true,
      withObjectString: true,
    });
    fc.assert(
      fc.property(anything, (value) => {
        let bytes: Uint8Array;
        try {
          bytes = encodeValue(value);
        } catch (error) {
          if (!(error instanceof LovageError) || error.code !== 'INVALID_ARGUMENT') throw error;
          return;
        }
        decodeValue(bytes);
      }),
      { numRuns: 500 },
    );
  });

  test('is read in whichever of its forms another encoder has written it', () => {
    fc.assert(
      fc.property(written, ({ value, bytes }) => {
        expect(plain(decodeValue(bytes))).toEqual(plain(value));
        const frame = concat('92 20', bytes);
        expect(plain(decodeFrame(frame))).toEqual([32, plain(value)]);
        expect(readOp(frame)).toBe(32);
      }),
      { numRuns: 300 },
    );
  });

  test('cut short, or with a byte too many, is BAD_FRAME', () => {
    fc.assert(
      fc.property(written, fc.nat(), ({ bytes }, cut) => {
        expectCode('BAD_FRAME', () => decodeValue(bytes.slice(0, cut % bytes.length)));
        expectCode('BAD_FRAME', () => decodeValue(concat(bytes, 'c0')));
      }),
    );
  });
});

describe('a map', () => {
  test('never reaches a prototype', () => {
    const proto = concat('a9', utf8('__proto__'));
    expectCode('BAD_FRAME', () => decodeValue(concat('81', proto, '80')));
    expectCode('BAD_FRAME', () => decodeValue(concat('81 d909', utf8('__proto__'), '80')));
    expectCode('BAD_FRAME', () => decodeValue(concat('91 81 a161 81', proto, '01')));
    for (const name of ['constructor', 'prototype', 'toString', 'hasOwnProperty', '__defineGetter__']) {
      const decoded = decodeValue(encodeValue({ [name]: { polluted: true } })) as Record<string, unknown>;
      expect(Object.hasOwn(decoded, name)).toBe(true);
      expect(Object.getPrototypeOf(decoded)).toBe(Object.prototype);
    }
    expect(({} as { polluted?: boolean }).polluted).toBeUndefined();
  });
});

describe('text', () => {
  const TEXTS = ['a1ff', 'a2c328', 'd902c0 80', 'da0003eda080', 'db00000004f4908080', 'a461626380'];
  test.each(TEXTS)('%s is no UTF-8: a frame is refused, a body is read leniently', (text) => {
    const bytes = unhex(text);
    for (const frame of [concat('92 10', bytes), concat('92 10 81', bytes, 'c0'), concat('93 10 91', bytes, 'c0')]) {
      expectCode('BAD_FRAME', () => decodeFrame(frame));
      expectCode('BAD_FRAME', () => checkFrame(frame));
    }
    expect(decodeValue(bytes)).toContain('\ufffd');
  });

  test('in UTF-8 of any length is taken in a frame', () => {
    for (const text of ['', 'é', '日本語', '😀', 'x'.repeat(31), `${'x'.repeat(300)}ß`, 'é'.repeat(40_000)])
      expect(decodeFrame(encodeFrame([16, text]))).toEqual([16, text]);
  });
});

describe('bounds', () => {
  const nested = (depth: number) => concat(new Uint8Array(depth).fill(0x91), 'c0');

  test('of depth and elements are those of the limits', () => {
    decodeFrame(nested(LIMITS.depthMax));
    expectCode('BAD_FRAME', () => decodeFrame(nested(LIMITS.depthMax + 1)));
    decodeValue(nested(LIMITS.bodyDepthMax));
    expectCode('BAD_FRAME', () => decodeValue(nested(LIMITS.bodyDepthMax + 1)));
    const wide = (count: number) => concat(encodeHead(count), new Uint8Array(count).fill(0xc0));
    expect(decodeFrame(wide(LIMITS.elementsMax - 1))).toHaveLength(LIMITS.elementsMax - 1);
    expectCode('BAD_FRAME', () => decodeFrame(wide(LIMITS.elementsMax)));
    expect(decodeValue(wide(LIMITS.bodyElementsMax - 1))).toHaveLength(LIMITS.bodyElementsMax - 1);
    expectCode('BAD_FRAME', () => decodeValue(wide(LIMITS.bodyElementsMax)));
  });

  test('of the deepest nesting do not overflow the stack', () => {
    onlyBadFrame(() => decodeValue(nested(5_000_000)));
    onlyBadFrame(() => decodeFrame(nested(5_000_000)));
    let value: unknown = null;
    for (let i = 0; i < 100_000; i++) value = [value];
    expectCode('INVALID_ARGUMENT', () => encodeValue(value));
  });

  test('of what is encoded are those of what is decoded', () => {
    const deep = (depth: number): unknown => (depth === 0 ? null : [deep(depth - 1)]);
    decodeValue(encodeValue(deep(LIMITS.bodyDepthMax)));
    expectCode('INVALID_ARGUMENT', () => encodeValue(deep(LIMITS.bodyDepthMax + 1)));
    expectCode('INVALID_ARGUMENT', () => encodeValue(new Array(LIMITS.bodyElementsMax).fill(null)));
  });

  test('of time: a timestamp stands in a body and not in a frame', () => {
    const bytes = encodeValue(new Date(1_500));
    expect(hex(bytes)).toMatch(/^d[67]ff|^c70cff/);
    expect(decodeValue(bytes)).toEqual(new Date(1_500));
    expectCode('BAD_FRAME', () => decodeFrame(concat('92 10', bytes)));
  });
});

function encodeHead(count: number): Uint8Array {
  return new Uint8Array([0xdd, count >>> 24, count >>> 16, count >>> 8, count]);
}
