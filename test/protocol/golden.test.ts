import { CLIENT_OPS, decodeFrame, readOp, SERVER_OPS } from '@lovage/protocol';
import { describe, expect, test } from 'vitest';
import { expectCode, hex, unhex } from './bytes.js';
import { deliveriesOf, encodeByOp, hotReaderOf, revive, VECTORS } from './golden.js';

/** A decoded frame with plain Uint8Arrays, whatever view the decoder made. */
function plain(value: unknown): unknown {
  if (value instanceof Uint8Array) return new Uint8Array(value);
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, plain(inner)]));
}

describe('golden vectors', () => {
  test('cover every op and have names of their own', () => {
    const ops = new Set(VECTORS.map(({ frame }) => frame[0]));
    expect([...ops].sort()).toEqual([...Object.values(CLIENT_OPS), ...Object.values(SERVER_OPS)].sort());
    expect(new Set(VECTORS.map(({ name }) => name)).size).toBe(VECTORS.length);
  });

  for (const vector of VECTORS) {
    const bytes = unhex(vector.hex);
    const frame = revive(vector.frame) as unknown[];

    test(`${vector.name} decodes to its frame`, () => {
      expect(plain(decodeFrame(bytes))).toEqual(frame);
      expect(readOp(bytes)).toBe(frame[0]);
      hotReaderOf(frame[0] as number)?.(bytes);
    });

    test(`${vector.name} encodes to its bytes`, () => {
      expect(hex(encodeByOp(frame))).toBe(vector.hex);
    });

    test(`${vector.name} cut short anywhere, or with a byte too many, is BAD_FRAME`, () => {
      const readers = [decodeFrame, hotReaderOf(frame[0] as number)].filter((reader) => reader !== null);
      for (const read of readers) {
        for (let length = 0; length < bytes.length; length++)
          expectCode('BAD_FRAME', () => read(bytes.slice(0, length)));
        expectCode('BAD_FRAME', () => read(new Uint8Array([...bytes, 0xc0])));
      }
    });
  }

  test('deliver-batch reads as deliveries with views of the payload', () => {
    const { hex: text } = VECTORS.find(({ name }) => name === 'deliver-batch')!;
    const { consumerIds, deliveries } = deliveriesOf(unhex(text));
    expect(consumerIds).toEqual([2, 2]);
    expect(deliveries).toHaveLength(2);
    const [first, second] = deliveries;
    expect(first).toMatchObject({ tag: 40, id: 5e9, queueIndex: 1, priority: 255, attempt: 3, redelivered: true });
    expect(first!.contentType).toBe('text/plain');
    expect(hex(first!.headers!)).toBe('81a57472616365a461623132');
    expect(Buffer.from(first!.body).toString()).toBe('résumé');
    expect(second).toMatchObject({ tag: 41, attempt: 1, redelivered: false, contentType: null, headers: null });
    expect(second!.body).toHaveLength(0);
  });
});
