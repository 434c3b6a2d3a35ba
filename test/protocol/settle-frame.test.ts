import {
  CLIENT_OPS,
  FrameReader,
  FrameWriter,
  LIMITS,
  SettleFrame,
  TagRanges,
  writeNack,
  writeSettle,
} from '@lovage/protocol';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { concat, expectCode, unhex, utf8 } from './bytes.js';

const read = (text: string, isNack = false) => new SettleFrame().read(new FrameReader().open(unhex(text)), isNack);

describe('TagRanges', () => {
  test('joins tags that follow each other', () => {
    const ranges = new TagRanges();
    expect(ranges.isEmpty).toBe(true);
    for (const tag of [1, 2, 3, 7, 9, 8, 10]) ranges.add(tag);
    expect(ranges.pairs).toEqual([1, 3, 7, 1, 9, 1, 8, 1, 10, 1]);
    expect(ranges.rangeCount).toBe(5);
    ranges.clear();
    expect(ranges.isEmpty).toBe(true);
  });

  test('any tags are read back as they were added', () => {
    const expand = ({ pairs }: TagRanges) => {
      const tags: number[] = [];
      for (let i = 0; i < pairs.length; i += 2) for (let n = 0; n < pairs[i + 1]!; n++) tags.push(pairs[i]! + n);
      return tags;
    };
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 40 }), { maxLength: 60 }), fc.nat(2 ** 45), (steps, start) => {
        const written = new TagRanges();
        const tags = steps.map((step) => start + step);
        for (const tag of tags) written.add(tag);
        const writer = new FrameWriter(1);
        writeSettle(writer, CLIENT_OPS.ACK, 5, written);
        const frame = new SettleFrame().read(new FrameReader().open(writer.copy()), false);
        expect(expand(frame.ranges)).toEqual(tags);
      }),
    );
  });
});

describe('SettleFrame.read', () => {
  test('reads an ACK, and passes over unknown fields at its end', () => {
    const frame = read('96 08 05 94 01 02 0a 01 c3 c0 81a161c0');
    expect(frame.settleSeq).toBe(5);
    expect(frame.ranges.pairs).toEqual([1, 2, 10, 1]);
    expect(frame.mayWait).toBe(true);
  });

  test('takes an ACK for one that is waited for unless it says that it may wait, and nothing but yes or no', () => {
    expect(read('94 08 05 92 01 02 c3').mayWait).toBe(true);
    expect(read('94 08 05 92 01 02 c2').mayWait).toBe(false);
    expect(read('93 08 05 92 01 02').mayWait).toBe(false);
    expect(() => read('94 08 05 92 01 02 01')).toThrow('mayWait');
  });

  test('reads a NACK with the backoff, with a delay, with a reason', () => {
    expect(read('96 09 05 92 01 01 c3 ff c0', true)).toMatchObject({ requeue: true, delayMs: -1, reason: null });
    expect(read('96 09 05 92 01 01 c3 cd1388 a26e6f', true)).toMatchObject({
      requeue: true,
      delayMs: 5_000,
      reason: 'no',
    });
    expect(read('96 09 05 92 01 01 c2 d0ff c0', true)).toMatchObject({ requeue: false, delayMs: -1 });
  });

  test.each([
    '92 08 05', // no ranges
    '93 08 05 91 01', // half a pair
    '93 08 05 92 00 01', // tag 0
    '93 08 05 92 01 00', // a range of none
    '93 08 05 92 01 cf0000000100000000', // more than 2^32-1
    '93 08 05 92 cf001fffffffffffff 01', // ends beyond 2^53-1
    '93 08 05 92 ff 01',
    '93 08 05 92 cb3ff0000000000000 01',
    '93 08 ff 90',
    '93 08 c0 90',
    '93 08 05 c0',
    '93 08 05 90 c0', // one byte too many
  ])('refuses the ACK %s', (text) => expectCode('BAD_FRAME', () => read(text)));

  test.each([
    '95 09 05 90 c3 ff',
    '96 09 05 90 c0 ff c0',
    '96 09 05 90 01 ff c0',
    '96 09 05 90 c3 fe c0', // delay -2
    '96 09 05 90 c3 c0 c0',
    '96 09 05 90 c3 cf000000496cebb801 c0', // a ms more than ten years
    '96 09 05 90 c3 cb7ff8000000000000 c0', // NaN
    '96 09 05 90 c3 ff 01',
    '96 09 05 90 c3 ff a1ff',
  ])('refuses the NACK %s', (text) => expectCode('BAD_FRAME', () => read(text, true)));

  test('takes the longest delay and the longest reason, and nothing beyond', () => {
    expect(read('96 09 05 90 c3 cf000000496cebb800 c0', true).delayMs).toBe(LIMITS.delayMsMax);
    const withReason = (bytes: number) =>
      concat('96 09 05 90 c3 ff', new Uint8Array([0xda, bytes >>> 8, bytes]), utf8('r'.repeat(bytes)));
    const frame = new SettleFrame();
    expect(frame.read(new FrameReader().open(withReason(4_000)), true).reason).toHaveLength(4_000);
    expectCode('BAD_FRAME', () => frame.read(new FrameReader().open(withReason(4_001)), true));
  });

  test('takes 65,536 ranges and not one more', () => {
    const frame = (ranges: number) => {
      const values = ranges * 2;
      return concat(
        '93 08 05',
        new Uint8Array([0xdd, values >>> 24, values >>> 16, values >>> 8, values]),
        new Uint8Array(values).fill(1),
      );
    };
    expect(new SettleFrame().read(new FrameReader().open(frame(65_536)), false).ranges.rangeCount).toBe(65_536);
    expectCode('BAD_FRAME', () => new SettleFrame().read(new FrameReader().open(frame(65_537)), false));
  });

  test('any NACK is read back', () => {
    fc.assert(
      fc.property(
        fc.maxSafeNat(),
        fc.boolean(),
        fc.integer({ min: -1, max: LIMITS.delayMsMax }),
        fc.option(fc.string({ unit: 'binary', maxLength: 1_000 })),
        fc.constantFrom('failed' as const, 'crashed' as const),
        (settleSeq, requeue, delayMs, reason, cause) => {
          const ranges = new TagRanges();
          ranges.add(3);
          const writer = new FrameWriter(1);
          writeNack(writer, CLIENT_OPS.NACK, settleSeq, ranges, { requeue, delayMs, reason, cause });
          expect(new SettleFrame().read(new FrameReader().open(writer.copy()), true)).toMatchObject({
            settleSeq,
            requeue,
            delayMs,
            reason,
            cause,
          });
        },
      ),
    );
  });
});
