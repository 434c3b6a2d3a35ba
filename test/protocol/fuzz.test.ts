/** Bytes that anybody may send, at every reader of the protocol: BAD_FRAME is all that may come of them, and no memory beyond their own length. */
import {
  checkFrame,
  decodeFrame,
  decodeValue,
  FrameReader,
  LIMITS,
  PublishBatch,
  readDeliver,
  readOp,
  SettleFrame,
} from '@lovage/protocol';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { concat, hex, onlyBadFrame, unhex } from './bytes.js';
import { LIMITS_OF_TESTS, VECTORS } from './golden.js';
import { nasty } from './messagepack.js';

const reader = new FrameReader();
/** Kept, as the broker keeps one: what a bad frame leaves in them must not harm the next. */
const batch = new PublishBatch();
const settle = new SettleFrame();

const READERS: Readonly<Record<string, (bytes: Uint8Array) => unknown>> = {
  decodeFrame,
  decodeValue,
  checkFrame,
  readOp,
  PublishBatch: (bytes) => batch.scan(reader.open(bytes), LIMITS_OF_TESTS),
  SettleFrame: (bytes) => settle.read(reader.open(bytes), false),
  'SettleFrame of NACK': (bytes) => settle.read(reader.open(bytes), true),
  readDeliver: (bytes) => readDeliver(reader.open(bytes), () => undefined),
};

const GOLDEN = VECTORS.map((vector) => unhex(vector.hex));

/** A golden vector with some of its bytes changed, cut out or doubled. */
const changed = fc
  .tuple(
    fc.constantFrom(...GOLDEN),
    fc.array(fc.tuple(fc.nat(), fc.nat(255), fc.constantFrom('set', 'cut', 'double')), { minLength: 1, maxLength: 4 }),
  )
  .map(([bytes, changes]) => {
    let result = [...bytes];
    for (const [at, byte, kind] of changes) {
      const index = at % Math.max(1, result.length);
      if (kind === 'set') result[index] = byte;
      else if (kind === 'cut') result.splice(index, 1 + (byte % 8));
      else result = [...result.slice(0, index), ...result.slice(Math.max(0, index - (byte % 16)))];
    }
    return Uint8Array.from(result);
  });

/** A head that is right, so that what follows is looked at. */
const headed = fc
  .tuple(
    fc.constantFrom(
      '96 03 01 00 00',
      '96 03 01 00 00 91 98 00',
      '93 08 01',
      '96 09 01',
      '93 45 01',
      '94 0b 01',
      '93 45 01 91 99',
    ),
    nasty,
  )
  .map(([head, rest]) => concat(head, rest));

const CASES: readonly (readonly [string, fc.Arbitrary<Uint8Array>, number])[] = [
  ['random bytes', fc.uint8Array({ maxLength: 400 }), 2_000],
  ['bytes that look like MessagePack', nasty, 2_000],
  ['bytes behind a good head', headed, 2_000],
  ['golden vectors that were changed', changed, 3_000],
];

describe.each(Object.entries(READERS))('%s', (_, read) => {
  test.each(CASES)('answers %s with BAD_FRAME or a result', (_name, bytes, numRuns) => {
    fc.assert(
      fc.property(bytes, (input) => {
        onlyBadFrame(() => read(input));
      }),
      { numRuns },
    );
  });

  test('does not change what it reads', () => {
    fc.assert(
      fc.property(changed, (input) => {
        const before = hex(input);
        onlyBadFrame(() => read(input));
        expect(hex(input)).toBe(before);
      }),
    );
  });
});

describe('memory', () => {
  test('is not taken for a length that is only declared', () => {
    const liars = ['c6', 'db', 'dd', 'df'].flatMap((byte) =>
      ['ffffffff', '7fffffff', '10000000'].flatMap((length) => [
        unhex(`${byte}${length}`),
        unhex(`93 0b 01 ${byte}${length}`),
        unhex(`96 03 01 00 00 ${byte}${length}`),
        unhex(`96 03 01 00 00 91 98 00 c0 00 00 c0 c0 c0 ${byte}${length}`),
        unhex(`93 08 01 ${byte}${length}`),
        unhex(`93 45 01 ${byte}${length}`),
      ]),
    );
    const before = process.memoryUsage();
    for (let round = 0; round < 50; round++)
      for (const bytes of liars) for (const read of Object.values(READERS)) onlyBadFrame(() => read(bytes));
    const after = process.memoryUsage();
    expect(after.arrayBuffers - before.arrayBuffers).toBeLessThan(8 * 1024 * 1024);
    expect(after.rss - before.rss).toBeLessThan(256 * 1024 * 1024);
  });

  test('of a PublishBatch grows with the messages that are there, up to the most that a frame may have', () => {
    const fresh = new PublishBatch();
    const columns = (): number => fresh.target.length;
    const start = columns();
    // 65,536 messages declared, a few bytes there.
    onlyBadFrame(() => fresh.scan(reader.open(unhex('96 03 01 00 00 dd00010000 98 00 c0')), LIMITS_OF_TESTS));
    expect(columns()).toBe(start);
    onlyBadFrame(() =>
      fresh.scan(reader.open(concat('96 03 01 00 00 dd00010000', new Uint8Array(70_000))), LIMITS_OF_TESTS),
    );
    expect(columns()).toBeLessThanOrEqual(LIMITS.publishMessagesMax);
    onlyBadFrame(() =>
      fresh.scan(reader.open(concat('96 03 01 00 00 dd00100000', new Uint8Array(2 ** 20))), LIMITS_OF_TESTS),
    );
    expect(columns()).toBeLessThanOrEqual(LIMITS.publishMessagesMax);
  });
});

test('what a bad frame leaves behind does not show in the next', () => {
  const good = unhex(VECTORS.find(({ name }) => name === 'publish-two-queues')!.hex);
  fc.assert(
    fc.property(fc.oneof(headed, changed), (bad) => {
      onlyBadFrame(() => batch.scan(reader.open(bad), LIMITS_OF_TESTS));
      batch.scan(reader.open(good), LIMITS_OF_TESTS);
      expect(batch).toMatchObject({ firstSeq: 7, confirmedSeq: 6, flags: 2, count: 3, problem: null });
      expect(batch.targets).toEqual(['sms', 'mail/eu.1']);
      expect([...batch.dedupKeys]).toEqual([[0, 'order:17']]);
      expect([...batch.priority.subarray(0, 3)]).toEqual([9, -1, 255]);
    }),
  );
});
