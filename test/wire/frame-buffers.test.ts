/** Buffers of large frames are used again, also when their connection is lost, and never by two frames at once. */
import { CLIENT_OPS, encodeFrame } from '@lovage/protocol';
import { expect, test } from 'vitest';
import type { Session } from '../../server/session/session.js';
import { SessionHarness } from '../support/session-harness.js';

const BODY_BYTES = 20_000;

/** What a consumer's connection has been given and not taken. */
interface Untaken {
  readonly session: Session;
  readonly frames: Uint8Array[];
  readonly taken: (() => void)[];
}

/** A consumer of a queue of its own that gets one large message, whose bytes are all `mark`. */
async function delivered(harness: SessionHarness, mark: number): Promise<Untaken> {
  const { session, wire } = await harness.open();
  const queue = `q${mark}`;
  harness.send(session, [CLIENT_OPS.QUEUE_DECLARE, 1, queue, null]);
  harness.send(session, [
    CLIENT_OPS.CONSUME,
    2,
    1,
    { queues: [queue], prefetch: 5, ack: 'late', queueOrder: 'strict' },
  ]);
  await harness.turn();
  const untaken: Untaken = { session, frames: [], taken: [] };
  wire.onSend = (frame, taken) => {
    if (frame.length < BODY_BYTES) return taken?.();
    untaken.frames.push(frame);
    untaken.taken.push(taken!);
  };
  const body = new Uint8Array(BODY_BYTES).fill(mark);
  session.receive(
    encodeFrame([CLIENT_OPS.PUBLISH, 1, 0, 0, [[0, null, 0, 0, null, null, null, body]], [queue]]),
    harness.clock.monotonicMs(),
  );
  await harness.turn();
  await harness.turn();
  expect(untaken.frames).toHaveLength(1);
  return untaken;
}

test('a taken buffer is used for the next frame', async () => {
  const harness = await SessionHarness.start();
  for (let mark = 1; mark <= 50; mark++) for (const taken of (await delivered(harness, mark)).taken) taken();
  expect(harness.framesMade).toBe(1);
});

test('what a lost connection had not taken is used again, and an answer that comes late changes nothing', async () => {
  const harness = await SessionHarness.start();
  const lost: Untaken[] = [];
  for (let mark = 1; mark <= 50; mark++) {
    lost.push(await delivered(harness, mark));
    lost.at(-1)!.session.closed();
  }
  expect(harness.framesMade).toBe(1);
  for (const { taken } of lost) for (const late of taken) late();
  const marks = [101, 102, 103];
  const held = [];
  for (const mark of marks) held.push(await delivered(harness, mark));
  expect(harness.framesMade).toBe(3);
  for (const [i, { frames }] of held.entries())
    expect(
      Buffer.from(frames[0]!)
        .subarray(-BODY_BYTES)
        .every((byte) => byte === marks[i]),
    ).toBe(true);
});

test('a connection that is being closed keeps its buffers until the socket is gone', async () => {
  const harness = await SessionHarness.start();
  const closing = await delivered(harness, 7);
  closing.session.fail('SHUTTING_DOWN');
  const other = await delivered(harness, 8);
  expect(harness.framesMade).toBe(2);
  expect(
    Buffer.from(closing.frames[0]!)
      .subarray(-BODY_BYTES)
      .every((byte) => byte === 7),
  ).toBe(true);
  closing.session.closed();
  await delivered(harness, 9);
  expect(harness.framesMade).toBe(2);
  expect(
    Buffer.from(other.frames[0]!)
      .subarray(-BODY_BYTES)
      .every((byte) => byte === 8),
  ).toBe(true);
});
