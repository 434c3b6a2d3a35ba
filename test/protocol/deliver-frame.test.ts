import {
  attemptLogBytes,
  beginDeliver,
  beginRun,
  DEAD_LETTER_REASONS,
  DELIVERY_OVERHEAD_BYTES,
  type DeadLetter,
  deadLettersBytes,
  encodeValue,
  endRun,
  FrameReader,
  FrameWriter,
  PublishBatch,
  PublishFrameWriter,
  readAttemptLog,
  readDeadLetters,
  readDeliver,
  type WireDelivery,
  writeAttemptLog,
  writeDeadLetters,
  writeDeliveryHead,
} from '@lovage/protocol';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { concat, expectCode, hex, unhex, utf8 } from './bytes.js';
import { deliveriesOf, LIMITS_OF_TESTS } from './golden.js';

describe('readDeliver', () => {
  const delivery = '99 01 01 00 00 01 c2 c0 c0 c400';

  test('passes over unknown fields at the end of the frame and of a delivery', () => {
    const { deliveries } = deliveriesOf(unhex('95 45 07 91 9b 01 02 00 00 01 c2 c0 c0 c4026869 81a161c0 05 c0 a161'));
    expect(deliveries).toHaveLength(1);
    expect(hex(deliveries[0]!.body)).toBe('6869');
  });

  test('refuses frames that are too short, cut, or go on after their end', () => {
    for (const text of [
      '92 45 07',
      '91 45',
      `94 45 07 91 ${delivery} 08`,
      `94 45 07 91 ${delivery} 91 08`,
      `94 45 07 91 ${delivery} 92 08 c0`,
      `94 45 07 91 ${delivery} 92 c0 90`,
      '93 45 07 91 98 01 01 00 00 01 c2 c0 c0',
      `93 45 07 92 ${delivery}`,
      `93 45 07 91 ${delivery} c0`,
      '93 45 07 c0',
      '93 45 ff 90',
    ]) {
      expectCode('BAD_FRAME', () => deliveriesOf(unhex(text)));
    }
  });

  test.each([
    ['tag', 1, ['c0', 'ff', 'a161', 'cb3ff0000000000000', 'cf0020000000000000']],
    ['id', 2, ['c0', 'ff', 'cb7ff8000000000000']],
    ['queueIndex', 3, ['c0', 'ff']],
    ['priority', 4, ['c0', 'ff', 'cd0100']],
    ['attempt', 5, ['c0', 'ff']],
    ['redelivered', 6, ['c0', '00', '01']],
    ['contentType', 7, ['01', 'c40161', 'a1ff']],
    ['headers', 8, ['01', '90', 'a161', '810101']],
    ['body', 9, ['01', 'c0', 'a161', '90']],
  ])('refuses a wrong %s', (_, at, wrong) => {
    const fields = delivery.split(' ');
    for (const bytes of wrong)
      expectCode('BAD_FRAME', () => deliveriesOf(unhex(`93 45 07 91 ${fields.with(at, bytes).join(' ')}`)));
  });

  test('takes headers in every delivery of a large batch', () => {
    const headers = encodeValue(Object.fromEntries(Array.from({ length: 16 }, (_, i) => [`k${i}`, i])));
    const one = concat('99 01 01 00 00 01 c2 c0', headers, 'c400');
    const { deliveries } = deliveriesOf(
      concat('93 45 07 dc4e20', new Uint8Array(Buffer.alloc(one.length * 20_000, one))),
    );
    expect(deliveries).toHaveLength(20_000);
  });

  test('hands over the deliveries of one consumer after the other, in order', () => {
    const other = '99 02 07 00 00 01 c2 c0 c0 c400';
    const { consumerIds, deliveries } = deliveriesOf(
      unhex(`94 45 07 91 ${delivery} 94 03 90 ccc8 92 ${other} ${delivery}`),
    );
    expect(consumerIds).toEqual([7, 200, 200]);
    expect(deliveries.map(({ tag, id }) => [tag, id])).toEqual([
      [1, 1],
      [2, 7],
      [1, 1],
    ]);
  });

  test('takes a run for each of thousands of consumers', () => {
    const runs = 10_000;
    const more = concat('dc4e20', ...Array.from({ length: runs }, () => `08 91 ${delivery}`));
    const { consumerIds } = deliveriesOf(concat('94 45 07 90', more));
    expect(consumerIds).toEqual(new Array(runs).fill(8));
  });

  test('keeps content types apart', () => {
    const types = ['a/b', 'a/b', null, 'a/c', 'a/bc', '', 'a/b'];
    const writer = new FrameWriter(16);
    beginDeliver(writer, 1);
    const at = beginRun(writer, 1);
    for (const [i, type] of types.entries()) {
      writeDeliveryHead(writer, { tag: i + 1, id: i + 1, queueIndex: 0, priority: 0, attempt: 1, redelivered: false });
      writer.raw(concat(encodeValue(type), 'c0 c400'));
    }
    endRun(writer, at, types.length);
    expect(deliveriesOf(writer.take()).deliveries.map(({ contentType }) => contentType)).toEqual(types);
  });
});

describe('dead letters of a delivery', () => {
  const history: DeadLetter[] = Array.from({ length: 16 }, (_, i) => ({
    queue: 'q'.repeat(200 - i),
    reason: DEAD_LETTER_REASONS[i % 4]!,
    timeMs: Number.MAX_SAFE_INTEGER,
    count: Number.MAX_SAFE_INTEGER,
  }));

  function written(entries: readonly DeadLetter[]): Uint8Array {
    const writer = new FrameWriter(16);
    writeDeadLetters(writer, entries);
    return writer.copy();
  }

  test('are read back, in no more bytes than are counted for them', () => {
    for (const entries of [[], history.slice(0, 1), history]) {
      expect(readDeadLetters(written(entries))).toEqual(entries);
      expect(written(entries).length).toBeLessThanOrEqual(deadLettersBytes(entries));
    }
  });

  test('leave out what a later version may say', () => {
    const entries = [
      ['a', 'rejected', 5, 1],
      ['a', 'bored', 5, 1],
      ['a', 'limit', 6, 2, 'more'],
      7,
      ['a', 'limit', '6', 2],
    ];
    expect(readDeadLetters(encodeValue(entries))).toEqual([
      { queue: 'a', reason: 'rejected', timeMs: 5, count: 1 },
      { queue: 'a', reason: 'limit', timeMs: 6, count: 2 },
    ]);
    expect(readDeadLetters(encodeValue({ a: 1 }))).toEqual([]);
  });

  test('stand behind the body, and others follow', () => {
    const entry = encodeValue([['a', 'expired', 5, 1]]);
    const { deliveries } = deliveriesOf(
      concat('93 45 07 92 9a 01 01 00 00 01 c2 c0 c0 c4026869', entry, '99 02 02 00 00 01 c2 c0 c0 c400'),
    );
    expect(deliveries.map((delivery) => delivery.history && hex(delivery.history))).toEqual([hex(entry), null]);
  });
});

describe('the attempt log of a delivery', () => {
  const failure = {
    attempt: 65_535,
    cause: 'crashed',
    timeMs: Number.MAX_SAFE_INTEGER,
    reason: '\u20ac'.repeat(200),
  } as const;

  test('is read back, in no more bytes than are counted for it, behind dead letters or none', () => {
    for (const log of [
      { crashes: 3, failures: [{ ...failure, cause: 'failed' as const, reason: '' }] },
      { crashes: Number.MAX_SAFE_INTEGER, failures: new Array(5).fill(failure) },
    ]) {
      const writer = new FrameWriter(16);
      writeAttemptLog(writer, log);
      expect(readAttemptLog(writer.copy())).toEqual(log);
      expect(writer.length).toBeLessThanOrEqual(attemptLogBytes(log));
    }
    const log = encodeValue([1, [[2, 1, 5, 'exit code 3']]]);
    const { deliveries } = deliveriesOf(concat('93 45 07 91 9b 01 01 00 00 01 c2 c0 c0 c4026869 c0', log));
    expect(deliveries[0]!.history).toBeNull();
    expect(readAttemptLog(deliveries[0]!.attemptLog!)).toEqual({
      crashes: 1,
      failures: [{ attempt: 2, cause: 'crashed', timeMs: 5, reason: 'exit code 3' }],
    });
  });

  test('leaves out what a later version may say', () => {
    const entries = [[1, 0, 5, 'a'], [2, 9, 5, 'b'], [3, 0, '5', 'c'], 7, [4, 0, 6, 'd', 'more']];
    expect(readAttemptLog(encodeValue(['many', entries]))).toEqual({
      crashes: 0,
      failures: [
        { attempt: 1, cause: 'failed', timeMs: 5, reason: 'a' },
        { attempt: 4, cause: 'failed', timeMs: 6, reason: 'd' },
      ],
    });
    expect(readAttemptLog(encodeValue({ a: 1 }))).toEqual({ crashes: 0, failures: [] });
  });
});

test("a delivery's own fields are never longer than the overhead that is counted for them", () => {
  const writer = new FrameWriter(16);
  const most = Number.MAX_SAFE_INTEGER;
  writeDeliveryHead(writer, { tag: most, id: most, queueIndex: most, priority: 255, attempt: most, redelivered: true });
  expect(writer.length).toBeLessThanOrEqual(DELIVERY_OVERHEAD_BYTES);
});

test('what is published is delivered byte for byte', () => {
  const whole = fc.maxSafeNat();
  const head = fc.record({
    tag: whole,
    id: whole,
    queueIndex: fc.nat(10_000),
    priority: fc.nat(255),
    attempt: fc.nat(65_535),
    redelivered: fc.boolean(),
  });
  const payload = fc.record({
    contentType: fc.option(fc.stringMatching(/^[ -~]{0,60}$/)),
    headers: fc.option(
      fc.dictionary(
        fc.string().filter((key) => key !== '__proto__'),
        fc.string(),
      ),
    ),
    body: fc.oneof(fc.uint8Array({ maxLength: 70_000, size: 'large' }), fc.string({ unit: 'binary' })),
  });
  fc.assert(
    fc.property(fc.array(fc.tuple(head, payload), { maxLength: 20 }), (messages) => {
      const publish = new PublishFrameWriter(new FrameWriter(1));
      publish.begin(1, 0);
      for (const [, { contentType, headers, body }] of messages) {
        publish.add({
          target: 'sms',
          priority: -1,
          delayMs: 0,
          expiresInMs: 0,
          dedupKey: null,
          contentType,
          headers: headers && encodeValue(headers),
          body,
        });
      }
      const batch = new PublishBatch().scan(new FrameReader().open(publish.finish(0)), LIMITS_OF_TESTS);
      const writer = new FrameWriter(1);
      beginDeliver(writer, 1);
      const at = beginRun(writer, 12);
      for (const [i, [fields]] of messages.entries()) {
        writeDeliveryHead(writer, fields);
        const offset = batch.payloadOffset[i]!;
        writer.raw(batch.bytes.subarray(offset, offset + batch.payloadLength[i]!));
      }
      endRun(writer, at, messages.length);
      const read: WireDelivery[] = [];
      readDeliver(new FrameReader().open(writer.take()), (consumerId, delivery) => {
        expect(consumerId).toBe(12);
        read.push(delivery);
      });
      expect(read).toHaveLength(messages.length);
      for (const [i, [fields, { contentType, headers, body }]] of messages.entries()) {
        const {
          contentType: readType,
          headers: readHeaders,
          body: readBody,
          history,
          attemptLog,
          ...readFields
        } = read[i]!;
        expect([history, attemptLog]).toEqual([null, null]);
        expect(readFields).toEqual(fields);
        expect(readType).toBe(contentType);
        expect(readHeaders === null ? null : hex(readHeaders)).toBe(
          headers === null ? null : hex(encodeValue(headers)),
        );
        expect(hex(readBody)).toBe(hex(typeof body === 'string' ? utf8(body) : body));
      }
    }),
    { numRuns: 60 },
  );
});
