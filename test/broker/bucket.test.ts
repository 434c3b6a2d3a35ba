import { encodeFrame } from '@lovage/protocol';
import { describe, expect, test } from 'vitest';
import { Bucket } from '../../server/broker/bucket.js';
import { numbersIn } from '../support/numbers-in.js';

describe('bucket', () => {
  test('joins confirms whose numbers and ids follow, and no others', () => {
    const bucket = new Bucket();
    bucket.confirm(1, 2, 10, 0);
    bucket.confirm(3, 1, 12, 0);
    expect(bucket.confirms).toEqual([1, 3, 10, 0]);
    bucket.confirm(4, 1, 20, 0);
    bucket.confirm(6, 1, 21, 0);
    bucket.confirm(7, 1, 22, 3);
    expect(bucket.confirms).toEqual([1, 3, 10, 0, 4, 1, 20, 0, 6, 1, 21, 0, 7, 1, 22, 3]);
  });

  test('counts the payload of its deliveries, and is empty when it is cleared', () => {
    const bucket = new Bucket();
    bucket.answer(encodeFrame([1]));
    bucket.confirm(1, 1, 1, 0);
    bucket.settleSeq = 4;
    bucket.deliver(7, 70, 100);
    bucket.deliver(8, 80, 23);
    bucket.recalls.add(3);
    expect(bucket.payloadBytes).toBe(123);
    expect([numbersIn(bucket.leases), numbersIn(bucket.serials)]).toEqual([
      [7, 8],
      [70, 80],
    ]);
    bucket.clear();
    expect(bucket).toMatchObject({ frames: [], frameBytes: 0, confirms: [], settleSeq: 0, payloadBytes: 0 });
    expect([bucket.leases.length, bucket.serials.length, bucket.recalls.isEmpty]).toEqual([0, 0, true]);
  });
});
