import { encodeFrame } from '@lovage/protocol';
import { describe, expect, test } from 'vitest';
import { type Bucket, giveBucket, takeBucket } from '../../server/broker/bucket.js';
import { type BucketSender, Outlet } from '../../server/broker/outlet.js';
import { numbersIn } from '../support/numbers-in.js';

/** Remembers the first frame's bytes of every bucket that it is given, and clears the bucket as it has to. */
class Sender implements BucketSender {
  readonly sent: string[] = [];
  onFlush: (() => void) | null = null;

  flush(bucket: Bucket): void {
    for (const frame of bucket.frames) this.sent.push(Buffer.from(frame).toString('hex'));
    this.onFlush?.();
    bucket.clear();
  }

  superseded(): void {
    this.sent.push('superseded');
  }
}

function frame(number: number): Uint8Array {
  return encodeFrame([number]);
}

describe('outlet', () => {
  test('passes what gathers on: on its way, safe, sent', () => {
    const sender = new Sender();
    const outlet = new Outlet(sender);
    expect(outlet.isEmpty).toBe(true);
    outlet.gathering.answer(frame(1));
    outlet.seal();
    outlet.gathering.answer(frame(2));
    outlet.committed();
    expect(outlet.isEmpty).toBe(false);
    outlet.flushSafe();
    expect(sender.sent).toEqual(['9101']);
    expect(outlet.isEmpty).toBe(false);
    outlet.seal();
    outlet.committed();
    outlet.flushSafe();
    expect(sender.sent).toEqual(['9101', '9102']);
    expect([outlet.isEmpty, outlet.answerBytes, outlet.isAwaited]).toEqual([true, 0, false]);
  });

  test('never has two names for one bucket', () => {
    const outlet = new Outlet(new Sender());
    for (let turn = 0; turn < 8; turn++) {
      if (turn % 2 === 0) outlet.flushNow();
      outlet.seal();
      expect(new Set([outlet.now, outlet.gathering, outlet.committing]).size).toBe(3);
      outlet.committed();
      expect(new Set([outlet.now, outlet.gathering, outlet.committing]).size).toBe(3);
      outlet.flushSafe();
    }
  });

  test('has a bucket while something is in it, and gives it back empty for the next one', () => {
    const outlet = new Outlet(new Sender());
    const bucket = outlet.now;
    bucket.answer(frame(1));
    bucket.deliver(1, 2, 3);
    expect(outlet.now).toBe(bucket);
    expect(outlet.answerBytes).toBe(2);
    outlet.flushNow();
    expect(outlet.answerBytes).toBe(0);
    const next = takeBucket();
    expect(next).toBe(bucket);
    expect([next.frames, numbersIn(next.leases), next.payloadBytes, next.isAwaited]).toEqual([[], [], 0, false]);
    giveBucket(next);
  });

  test('keeps what is said to be sent now while it sends', () => {
    const sender = new Sender();
    const outlet = new Outlet(sender);
    outlet.now.answer(frame(1));
    sender.onFlush = () => {
      sender.onFlush = null;
      outlet.now.answer(frame(2));
    };
    outlet.flushNow();
    expect(sender.sent).toEqual(['9101']);
    expect(outlet.answerBytes).toBe(2);
    outlet.flushNow();
    expect(sender.sent).toEqual(['9101', '9102']);
  });
});
