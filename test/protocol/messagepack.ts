/** MessagePack written in every way that the format allows, good and bad, for readers that must take the one and refuse the other. */
import fc from 'fast-check';
import { concat, utf8 } from './bytes.js';

/** A value, and one of the ways to write it. */
export interface Written {
  readonly value: unknown;
  readonly bytes: Uint8Array;
}

/** A header's byte and a big-endian number of `width` bytes. */
function head(byte: number, number: number, width: number): Uint8Array {
  const bytes = new Uint8Array(1 + width);
  bytes[0] = byte;
  for (let i = width, rest = number; i > 0; i--, rest = Math.floor(rest / 256)) bytes[i] = rest % 256;
  return bytes;
}

/** The headers that can say a length, the widths of which are given with their bytes; `fix` is the short form, where there is one. */
function lengthHead(choices: readonly (readonly [byte: number, width: number])[], fix: number | null, fixMax: number) {
  return (length: number): fc.Arbitrary<Uint8Array> => {
    const heads = choices
      .filter(([, width]) => length < 256 ** width)
      .map(([byte, width]) => head(byte, length, width));
    if (fix !== null && length <= fixMax) heads.push(Uint8Array.of(fix | length));
    return fc.constantFrom(...heads);
  };
}

const textHead = lengthHead(
  [
    [0xd9, 1],
    [0xda, 2],
    [0xdb, 4],
  ],
  0xa0,
  31,
);
const binHead = lengthHead(
  [
    [0xc4, 1],
    [0xc5, 2],
    [0xc6, 4],
  ],
  null,
  0,
);
const arrayHead = lengthHead(
  [
    [0xdc, 2],
    [0xdd, 4],
  ],
  0x90,
  15,
);
const mapHead = lengthHead(
  [
    [0xde, 2],
    [0xdf, 4],
  ],
  0x80,
  15,
);

function writtenText(text: string): fc.Arbitrary<Written> {
  const bytes = utf8(text);
  return textHead(bytes.length).map((start) => ({ value: text, bytes: concat(start, bytes) }));
}

function writtenBytes(body: Uint8Array): fc.Arbitrary<Written> {
  return binHead(body.length).map((start) => ({ value: body, bytes: concat(start, body) }));
}

/** A whole number from 0 in any integer format that holds it. */
function writtenWhole(value: number): fc.Arbitrary<Written> {
  const ways: Uint8Array[] = [];
  for (const [byte, width] of [
    [0xcc, 1],
    [0xcd, 2],
    [0xce, 4],
    [0xcf, 8],
  ] as const) {
    if (value < 256 ** width) ways.push(head(byte, value, width));
    if (value < 256 ** width / 2) ways.push(head(byte + 4, value, width));
  }
  if (value < 128) ways.push(Uint8Array.of(value));
  return fc.constantFrom(...ways).map((bytes) => ({ value, bytes }));
}

function writtenFloat(value: number): Written {
  const bytes = new Uint8Array(9);
  bytes[0] = 0xcb;
  new DataView(bytes.buffer).setFloat64(1, value);
  return { value, bytes };
}

/** A key that a frame may have. */
export const key: fc.Arbitrary<string> = fc.string({ maxLength: 20 }).filter((text) => text !== '__proto__');

/** Any value of those that a frame may hold, in any of its forms. */
export const written: fc.Arbitrary<Written> = fc.letrec<{ one: Written; leaf: Written }>((tie) => ({
  one: fc.oneof(
    { maxDepth: 4, withCrossShrink: true },
    tie('leaf'),
    fc.array(tie('one'), { maxLength: 20 }).chain((items) =>
      arrayHead(items.length).map((start) => ({
        value: items.map(({ value }) => value),
        bytes: concat(start, ...items.map(({ bytes }) => bytes)),
      })),
    ),
    fc
      .uniqueArray(fc.tuple(key.chain(writtenText), tie('one')), { maxLength: 20, selector: ([name]) => name.value })
      .chain((entries) =>
        mapHead(entries.length).map((start) => ({
          value: Object.fromEntries(entries.map(([name, { value }]) => [name.value, value])),
          bytes: concat(start, ...entries.flatMap(([name, { bytes }]) => [name.bytes, bytes])),
        })),
      ),
  ),
  leaf: fc.oneof(
    fc.constantFrom<Written>(
      { value: null, bytes: Uint8Array.of(0xc0) },
      { value: false, bytes: Uint8Array.of(0xc2) },
      { value: true, bytes: Uint8Array.of(0xc3) },
    ),
    fc.maxSafeNat().chain(writtenWhole),
    fc.double({ noNaN: true }).map(writtenFloat),
    fc.string({ unit: 'binary', maxLength: 40 }).chain(writtenText),
    fc.uint8Array({ maxLength: 300 }).chain(writtenBytes),
  ),
})).one;

/** Bytes that MessagePack readers stumble over: headers, lies about lengths, extensions, and the one byte that means nothing. */
export const nasty: fc.Arbitrary<Uint8Array> = fc
  .array(
    fc.oneof(
      fc.uint8Array({ maxLength: 8 }),
      fc.constantFrom(0x80, 0x8f, 0x90, 0x9f, 0xc1, 0xc7, 0xd4, 0xd6, 0xd7, 0xd8).map((byte) => Uint8Array.of(byte)),
      fc
        .tuple(
          fc.constantFrom(0xc6, 0xc9, 0xdb, 0xdd, 0xdf),
          fc.constantFrom(0, 1, 2, 16, 255, 65_536, 132_096, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1),
        )
        .map(([byte, length]) => head(byte, length, 4)),
      fc.constant(utf8('\u00a9__proto__').slice(1)),
    ),
    { maxLength: 30 },
  )
  .map((pieces) => concat(...pieces));
