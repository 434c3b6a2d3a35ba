import { FrameReader, LIMITS } from '@lovage/protocol';
import { describe, expect, test } from 'vitest';
import { concat, expectCode, failure, hex, unhex, utf8 } from './bytes.js';

const reader = new FrameReader();
const open = (text: string) => reader.open(unhex(text));
const header = (bytes: number[], length: number) => concat(new Uint8Array(bytes), new Uint8Array(length).fill(0x61));

describe('whole numbers', () => {
  const WHOLE: [string, number][] = [
    ['00', 0],
    ['7f', 127],
    ['cc00', 0],
    ['cc80', 128],
    ['ccff', 255],
    ['cd0000', 0],
    ['cd0100', 256],
    ['cdffff', 65_535],
    ['ce00000000', 0],
    ['ce00010000', 65_536],
    ['ce7fffffff', 2 ** 31 - 1],
    ['ce80000000', 2 ** 31],
    ['ceffffffff', 2 ** 32 - 1],
    ['cf0000000000000000', 0],
    ['cf0000000100000000', 2 ** 32],
    ['cf001fffffffffffff', Number.MAX_SAFE_INTEGER],
    // Signed formats, as encoders write whose language has a signed type.
    ['d07f', 127],
    ['d17fff', 32_767],
    ['d27fffffff', 2 ** 31 - 1],
    ['d3001fffffffffffff', Number.MAX_SAFE_INTEGER],
  ];
  test.each(WHOLE)('uint and int read %s as %d', (text, value) => {
    expect(open(text).uint('n')).toBe(value);
    expect(reader.bytesLeft).toBe(0);
    expect(open(text).int('n')).toBe(value);
    reader.end();
  });

  const NEGATIVE: [string, number][] = [
    ['ff', -1],
    ['e0', -32],
    ['d0ff', -1],
    ['d080', -128],
    ['d18000', -32_768],
    ['d1ff7f', -129],
    ['d280000000', -(2 ** 31)],
    ['d3ffffffffffffffff', -1],
    ['d3ffffffff7fffffff', -(2 ** 31) - 1],
    ['d3ffe0000000000001', Number.MIN_SAFE_INTEGER],
  ];
  test.each(NEGATIVE)('int reads %s as %d, uint refuses it', (text, value) => {
    expect(open(text).int('n')).toBe(value);
    reader.end();
    expectCode('BAD_FRAME', () => open(text).uint('n'));
  });

  const NONE = [
    'cf0020000000000000', // 2^53
    'cfffffffffffffffff',
    'd30020000000000000',
    'd3ffe0000000000000', // -2^53
    'd38000000000000000',
    'ca3f800000', // 1 as a float
    'cb3ff0000000000000',
    'cb7ff8000000000000', // NaN
    'cb7ff0000000000000', // Infinity
    'c0',
    'c2',
    'a131',
    '90',
    '80',
    'c40101',
    'c1',
  ];
  test.each(NONE)('neither uint nor int reads %s', (text) => {
    expectCode('BAD_FRAME', () => open(text).uint('n'));
    expectCode('BAD_FRAME', () => open(text).int('n'));
  });

  test('uint refuses what is above its bound', () => {
    expect(open('ccff').uint('n', 255)).toBe(255);
    expectCode('BAD_FRAME', () => open('cd0100').uint('n', 255));
  });
});

describe('text', () => {
  const LENGTHS = [0, 1, 7, 8, 9, 31, 32, 47, 48, 49, 255, 256, 65_535, 65_536];
  test.each(LENGTHS)('of %d bytes is read in every header that holds it', (length) => {
    const headers = [[0xdb, length >>> 24, length >>> 16, length >>> 8, length]];
    if (length < 32) headers.push([0xa0 | length]);
    if (length < 256) headers.push([0xd9, length]);
    if (length < 65_536) headers.push([0xda, length >>> 8, length]);
    for (const bytes of headers) {
      expect(reader.open(header(bytes, length)).str('text', length)).toBe('a'.repeat(length));
      expect(reader.open(header(bytes, length)).skipStr('text', length)).toBe(length);
      reader.end();
      if (length === 0) continue;
      expectCode('BAD_FRAME', () => reader.open(header(bytes, length)).str('text', length - 1));
      expectCode('BAD_FRAME', () => reader.open(header(bytes, length)).skipStr('text', length - 1));
      expectCode('BAD_FRAME', () => reader.open(header(bytes, length - 1)).str('text', length));
      expectCode('BAD_FRAME', () => reader.open(header(bytes, length - 1)).skipStr('text', length));
    }
  });

  test.each(['é', 'aaaaaaaé', 'aaaaaaaaé', '日本語', '😀', `${'x'.repeat(60)}ß`, '\u0000', '\ufeffa'])(
    '%j is read as it was written',
    (text) => {
      const bytes = utf8(text);
      expect(reader.open(concat(new Uint8Array([0xd9, bytes.length]), bytes)).str('text', 200)).toBe(text);
    },
  );

  test.each(['a1ff', 'a2c3', 'a2c328', 'a3eda080', 'a4f4908080', 'a2c080'])('%s is not UTF-8', (text) => {
    expectCode('BAD_FRAME', () => open(text).str('text', 200));
  });

  test('that is due is not replaced by bytes, numbers or nil', () => {
    for (const text of ['c40161', '01', 'c0', '91a161']) expectCode('BAD_FRAME', () => open(text).str('text', 200));
    expect(open('c0').strOrNil('text', 200)).toBe(null);
    expect(open('a161').strOrNil('text', 200)).toBe('a');
  });

  test('that comes again is returned from before, and other text is read', () => {
    const last = 'text/plain';
    const like = (bytes: Uint8Array) => reader.open(bytes).strOrNilLike(last, 'contentType', 200);
    expect(like(concat('aa', utf8('text/plain')))).toBe(last);
    expect(reader.bytesLeft).toBe(0);
    expect(like(concat('d90a', utf8('text/plain')))).toBe(last);
    expect(like(concat('aa', utf8('text/plaim')))).toBe('text/plaim');
    expect(like(concat('a4', utf8('text')))).toBe('text');
    expect(like(unhex('c0'))).toBe(null);
    expect(reader.open(unhex('a161')).strOrNilLike(null, 'contentType', 200)).toBe('a');
    expect(reader.open(unhex('a2c3a9')).strOrNilLike('\u00c3\u00a9', 'contentType', 200)).toBe('é');
    expectCode('BAD_FRAME', () => like(concat('aa', utf8('text/plai'))));
    expectCode('BAD_FRAME', () => like(unhex('0a')));
    expectCode('BAD_FRAME', () => like(unhex('')));
  });
});

describe('bytes', () => {
  test.each([0, 1, 255, 256, 65_535, 65_536])('of length %d are read in every header that holds them', (length) => {
    const headers = [[0xc6, length >>> 24, length >>> 16, length >>> 8, length]];
    if (length < 256) headers.push([0xc4, length]);
    if (length < 65_536) headers.push([0xc5, length >>> 8, length]);
    for (const bytes of headers) {
      expect(reader.open(header(bytes, length)).bin('body')).toHaveLength(length);
      reader.end();
      if (length > 0) expectCode('BAD_FRAME', () => reader.open(header(bytes, length - 1)).bin('body'));
    }
  });

  test('are a view of the frame', () => {
    const frame = unhex('c4026869');
    const body = reader.open(frame).bin('body');
    expect(hex(body)).toBe('6869');
    expect(body.buffer).toBe(frame.buffer);
  });

  test('that are due are not replaced by text', () => {
    for (const text of ['a26869', '01', 'c0', '90']) expectCode('BAD_FRAME', () => open(text).bin('body'));
  });
});

describe('arrays, booleans, nil', () => {
  test.each([
    ['90', 0],
    ['9fc0c0c0c0c0c0c0c0c0c0c0c0c0c0c0', 15],
    ['dc0000', 0],
    ['dc0001c0', 1],
    ['dd00000001c0', 1],
  ])('%s is an array of %d', (text, count) => {
    expect(open(text).arrayHeader('list', 100)).toBe(count);
  });

  test('an array that says more than is there, or more than is allowed, is refused', () => {
    for (const text of ['91', 'dc0002c0', 'ddffffffffc0', 'dd80000000c0'])
      expectCode('BAD_FRAME', () => open(text).arrayHeader('list', 0xffff_ffff));
    expectCode('BAD_FRAME', () => open('92c0c0').arrayHeader('list', 1));
    for (const text of ['80', 'c0', '01', 'a161']) expectCode('BAD_FRAME', () => open(text).arrayHeader('list', 100));
  });

  test('true and false are c3 and c2 and nothing else', () => {
    expect(open('c3').bool('flag')).toBe(true);
    expect(open('c2').bool('flag')).toBe(false);
    for (const text of ['c0', '00', '01', 'a174', '']) expectCode('BAD_FRAME', () => open(text).bool('flag'));
  });

  test('nil is passed over, anything else is left where it is', () => {
    expect(open('c0').nil()).toBe(true);
    expect(reader.position).toBe(1);
    expect(open('c2').nil()).toBe(false);
    expect(open('').nil()).toBe(false);
    expect(reader.position).toBe(0);
  });

  test('end refuses what is left over', () => {
    open('c0c0').nil();
    expectCode('BAD_FRAME', () => reader.end());
  });
});

describe('skip', () => {
  const ONE_EACH = [
    '00', '7f', 'e0', 'ff', 'c0', 'c2', 'c3', 'ccff', 'cdffff', 'ceffffffff', 'cfffffffffffffffff', 'd0ff', 'd1ffff',
    'd2ffffffff', 'd3ffffffffffffffff', 'ca7fc00000', 'cb7ff8000000000000', 'a0', 'a161', 'd90161', 'da000161', 'db0000000161',
    'c400', 'c40161', 'c5000161', 'c60000000161', '90', '9101', 'dc000101', 'dd0000000101', '80', '81a16101', 'de0001a16101',
    'df00000001a16101', '81d9016191c0',
  ]; // biome-ignore format: one line a kind would be a page
  test.each(ONE_EACH)('passes over %s, and over nothing that is cut short', (text) => {
    open(text).skip('value');
    reader.end();
    const bytes = unhex(text);
    for (let length = 0; length < bytes.length; length++)
      expectCode('BAD_FRAME', () => reader.open(bytes.slice(0, length)).skip('value'));
  });

  test.each([
    'c1',
    'c70101ff',
    'c80001010a',
    'c9000000010161',
    'd40100',
    'd5010000',
    'd60100000000',
    'd7010000000000000000',
    `d801${'00'.repeat(16)}`,
  ])('refuses the extension or unused type %s', (text) => {
    expectCode('BAD_FRAME', () => open(text).skip('value'));
    expectCode('BAD_FRAME', () => open(text).skip('value', 16, true));
  });

  test.each(['d6ff00000000', 'd7ff0000000000000000', `c70cff${'00'.repeat(12)}`])(
    'passes over the timestamp %s only where it may stand',
    (text) => {
      open(text).skip('value', 16, true);
      reader.end();
      expectCode('BAD_FRAME', () => open(text).skip('value'));
      for (let length = 0; length < text.length / 2; length++)
        expectCode('BAD_FRAME', () => reader.open(unhex(text).slice(0, length)).skip('value', 16, true));
    },
  );

  test('refuses a timestamp of another length', () => {
    expectCode('BAD_FRAME', () => open(`c708ff${'00'.repeat(8)}`).skip('value', 16, true));
  });

  test('refuses a key that is not text', () => {
    for (const text of ['810101', '81c0c0', '81c4016101', '819001', '81c301'])
      expectCode('BAD_FRAME', () => open(text).skip('value'));
  });

  test('refuses __proto__ as a key in every width, at any level', () => {
    const proto = hex(utf8('__proto__'));
    for (const text of [
      `81a9${proto}01`,
      `81d909${proto}01`,
      `81da0009${proto}01`,
      `81db00000009${proto}01`,
      `91${`81a161${`81a9${proto}80`}`}`,
    ]) {
      expect(failure(() => open(text).skip('value')).message).toContain('__proto__');
    }
    open(`81a16a${`a9${proto}`}`).skip('value'); // as a value it is text like any other
    open(`81a9${hex(utf8('__proto_x'))}01`).skip('value');
  });

  test('refuses declared lengths beyond the frame without walking them', () => {
    for (const text of [
      'ddffffffff',
      'dfffffffff',
      'df7fffffff0000',
      'dbffffffff61',
      'c6ffffffff61',
      'dcffff00',
      'deffffa16100',
      'd9ff61',
      'c4ff61',
    ]) {
      expectCode('BAD_FRAME', () => open(text).skip('value'));
    }
  });

  test('allows arrays and maps up to the depth and not one level more', () => {
    const arrays = (levels: number) => unhex(`${'91'.repeat(levels)}01`);
    const maps = (levels: number) => unhex(`${'81a161'.repeat(levels)}01`);
    for (const nested of [arrays, maps]) {
      reader.open(nested(LIMITS.depthMax)).skip('value');
      expectCode('BAD_FRAME', () => reader.open(nested(LIMITS.depthMax + 1)).skip('value'));
      expectCode('BAD_FRAME', () => reader.open(nested(100_000)).skip('value'));
    }
  });

  test('allows so many elements and not one more', () => {
    const list = (count: number) =>
      concat(new Uint8Array([0xdd, count >>> 24, count >>> 16, count >>> 8, count]), new Uint8Array(count));
    reader.open(list(LIMITS.elementsMax - 1)).skip('value');
    expectCode('BAD_FRAME', () => reader.open(list(LIMITS.elementsMax)).skip('value'));
    reader.open(list(3), 4).skip('value');
    expectCode('BAD_FRAME', () => reader.open(list(4), 4).skip('value'));
  });

  test('says where in the frame it stopped', () => {
    expect(failure(() => open('9301c1').skip('value')).message).toBe(
      'Cannot read the frame at byte 1: expected value within the frame',
    );
    expect(failure(() => open('9201c1').skip('value')).message).toBe(
      'Cannot read the frame at byte 3: expected value without extension types',
    );
  });
});
