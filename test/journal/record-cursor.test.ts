/** Walking the records of a batch: exactly what fills the range, and lengths that do not fit are counted as wrong before they are used. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { countRecords, RecordCursor } from '../../server/journal/record-cursor.js';
import { recordBytes } from './handmade-log.js';

interface Seen {
  readonly type: number;
  readonly head: string;
  readonly body: string;
  readonly segment: number;
  readonly bodyOffset: number;
}

function walk(bytes: Buffer, from = 0, to = bytes.length, base = 0): Seen[] {
  const cursor = new RecordCursor();
  cursor.open(bytes, from, to, 9, base);
  const seen: Seen[] = [];
  while (cursor.next()) {
    const { type, head, body, segment, bodyOffset } = cursor;
    seen.push({ type, segment, bodyOffset, head: Buffer.from(head).toString(), body: Buffer.from(body).toString() });
  }
  return seen;
}

describe('a cursor', () => {
  test('gives type, head, body and the place of the body in the segment', () => {
    const bytes = Buffer.concat([
      Buffer.from('before'),
      recordBytes({ type: 255, head: 'ab', body: 'xyz' }),
      recordBytes({ type: 0 }),
      recordBytes({ type: 7, body: 'q' }),
    ]);
    expect(countRecords(bytes, 6, bytes.length)).toBe(3);
    expect(walk(bytes, 6, bytes.length, 1_000)).toEqual([
      { type: 255, head: 'ab', body: 'xyz', segment: 9, bodyOffset: 1_000 + 6 + 8 + 2 },
      { type: 0, head: '', body: '', segment: 9, bodyOffset: 1_000 + 6 + 13 + 8 },
      { type: 7, head: '', body: 'q', segment: 9, bodyOffset: 1_000 + 6 + 13 + 8 + 8 },
    ]);
  });

  test('over nothing gives nothing', () => {
    expect(countRecords(Buffer.alloc(0), 0, 0)).toBe(0);
    expect(walk(Buffer.alloc(0))).toEqual([]);
    expect(new RecordCursor().next()).toBe(false);
  });

  test('opened anew forgets where it was', () => {
    const cursor = new RecordCursor();
    const first = recordBytes({ type: 1, body: 'first' });
    cursor.open(Buffer.concat([first, first]), 0, 26, 1, 0);
    cursor.next();
    cursor.open(recordBytes({ type: 2, head: 'h' }), 0, 9, 2, 64);
    expect([cursor.next(), cursor.type, cursor.segment, cursor.body.length, cursor.next()]).toEqual([
      true,
      2,
      2,
      0,
      false,
    ]);
  });

  test('gives back any records that were written', () => {
    const record = fc.record({
      type: fc.integer({ min: 0, max: 255 }),
      head: fc.string({ maxLength: 300 }),
      body: fc.string({ maxLength: 300 }),
    });
    fc.assert(
      fc.property(fc.array(record, { maxLength: 20 }), (records) => {
        const bytes = Buffer.concat(records.map(recordBytes));
        expect(countRecords(bytes, 0, bytes.length)).toBe(records.length);
        expect(walk(bytes).map(({ type, head, body }) => ({ type, head, body }))).toEqual(records);
      }),
    );
  });
});

describe('counting', () => {
  const whole = recordBytes({ type: 1, head: 'head', body: 'body' });

  test.each([
    ['that ends in a record header', whole.subarray(0, 7)],
    ['that ends in a head', whole.subarray(0, 10)],
    ['that ends before the last byte', whole.subarray(0, 15)],
    ['with one byte too many', Buffer.concat([whole, Buffer.of(0)])],
    ['whose length is the largest there is', withNumber(whole, 0, 4, 0xffff_ffff)],
    ['whose length is one too long', withNumber(whole, 0, 4, 9)],
    ['whose length is one too short', withNumber(whole, 0, 4, 7)],
    ['whose head is longer than the record', withNumber(whole, 5, 3, 9)],
    ['whose head has the largest length there is', withNumber(whole, 5, 3, 0xff_ffff)],
  ])('refuses a range %s', (_, bytes) => {
    expect(countRecords(bytes, 0, bytes.length)).toBe(-1);
  });

  test('of any bytes says no, or as many as the cursor then finds, up to the last byte', () => {
    // Small numbers, so that lengths fit now and then.
    const bytes = fc.array(fc.oneof(fc.constant(0), fc.constant(0), fc.integer({ min: 0, max: 12 })), {
      maxLength: 60,
    });
    fc.assert(
      fc.property(bytes, (numbers) => {
        const range = Buffer.from(numbers);
        const count = countRecords(range, 0, range.length);
        if (count === -1) return;
        const seen = walk(range);
        expect(seen).toHaveLength(count);
        const filled = seen.reduce(
          (sum, { head, body }) => sum + 8 + Buffer.byteLength(head) + Buffer.byteLength(body),
          0,
        );
        expect(filled).toBe(range.length);
      }),
    );
  });
});

function withNumber(bytes: Buffer, at: number, width: number, value: number): Buffer {
  const copy = Buffer.from(bytes);
  copy.writeUIntLE(value, at, width);
  return copy;
}
