import { encodeFrame } from '@lovage/protocol';
import { describe, expect, test } from 'vitest';
import { Bucket, type BucketSender, Outlet } from '../../server/broker/outlet.js';

/** Remembers the first frame's bytes of every bucket that it is given, and clears the bucket as it has to. */
class Sender implements BucketSender {
  readonly sent: string[] = [];
  onFlush: (() => void) | null = null;

  flush(bucket: Bucket): void {
    for (const frame of bucket.frames) this.sent.push(Buffer.from(frame).toString('hex'));
    this.onFlush?.();
    bucket.clear();
  }
}

function frame(number: number): Uint8Array {
  return encodeFrame([number]);
}

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
    bucket.answer(frame(1));
    bucket.confirm(1, 1, 1, 0);
    bucket.settleSeq = 4;
    bucket.deliver(7, 70, 100);
    bucket.deliver(8, 80, 23);
    bucket.recalls.add(3);
    expect(bucket.payloadBytes).toBe(123);
    expect([bucket.leases, bucket.serials]).toEqual([
      [7, 8],
      [70, 80],
    ]);
    bucket.clear();
    expect(bucket).toEqual(new Bucket());
  });
});

describe('outlet', () => {
  test('passes what gathers on: on its way, safe, sent', () => {
    const sender = new Sender();
    const outlet = new Outlet(sender, () => undefined);
    outlet.gathering.answer(frame(1));
    outlet.seal();
    outlet.gathering.answer(frame(2));
    outlet.committed();
    outlet.flush(outlet.safe);
    expect(sender.sent).toEqual(['9101']);
    outlet.seal();
    outlet.committed();
    outlet.flush(outlet.safe);
    expect(sender.sent).toEqual(['9101', '9102']);
    expect(
      [outlet.now, outlet.gathering, outlet.committing, outlet.safe].every(({ frames }) => frames.length === 0),
    ).toBe(true);
  });

  test('never has two names for one bucket', () => {
    const outlet = new Outlet(new Sender(), () => undefined);
    for (let turn = 0; turn < 8; turn++) {
      if (turn % 2 === 0) outlet.flushNow();
      outlet.seal();
      expect(new Set([outlet.now, outlet.gathering, outlet.committing, outlet.safe]).size).toBe(4);
      outlet.committed();
      expect(new Set([outlet.now, outlet.gathering, outlet.committing, outlet.safe]).size).toBe(4);
    }
  });

  test('keeps what is said to be sent now while it sends', () => {
    const sender = new Sender();
    const outlet = new Outlet(sender, () => undefined);
    outlet.now.answer(frame(1));
    sender.onFlush = () => {
      sender.onFlush = null;
      outlet.now.answer(frame(2));
    };
    outlet.flushNow();
    expect(sender.sent).toEqual(['9101']);
    outlet.flushNow();
    expect(sender.sent).toEqual(['9101', '9102']);
  });
});
