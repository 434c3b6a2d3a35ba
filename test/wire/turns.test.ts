/** Whoever floods the broker takes a turn like everybody else. */
import { CLIENT_OPS, encodeFrame, SERVER_OPS } from '@lovage/protocol';
import { expect, test } from 'vitest';
import type { Session } from '../../server/session/session.js';
import { type FakeWire, SessionHarness } from '../support/session-harness.js';

const BODY_BYTES = 40_000;
/** Frames of that size that a connection is read from in a turn: 256 KiB. */
const FRAMES = 7;

class Publisher {
  readonly session: Session;
  readonly wire: FakeWire;
  readonly #nowMs: () => number;
  #seq = 0;

  private constructor(session: Session, wire: FakeWire, nowMs: () => number) {
    this.session = session;
    this.wire = wire;
    this.#nowMs = nowMs;
  }

  static async start(harness: SessionHarness): Promise<Publisher> {
    const { session, wire } = await harness.open();
    harness.send(session, [CLIENT_OPS.QUEUE_DECLARE, 1, 'q', null]);
    await harness.turn();
    return new Publisher(session, wire, () => harness.clock.monotonicMs());
  }

  publish(frames: number): void {
    const body = new Uint8Array(BODY_BYTES);
    for (let i = 0; i < frames; i++) {
      const message = [0, null, 0, 0, null, null, null, body];
      this.session.receive(encodeFrame([CLIENT_OPS.PUBLISH, ++this.#seq, 0, 0, [message], ['q']]), this.#nowMs());
    }
  }

  get confirmed(): number {
    return this.wire.fieldsOf(SERVER_OPS.CONFIRM).reduce((sum, [, count]) => sum + Number(count), 0);
  }
}

test('a connection that has brought 256 KiB is not read from until the turn is over; others are', async () => {
  const harness = await SessionHarness.start();
  const [flood, other] = [await Publisher.start(harness), await Publisher.start(harness)];
  for (let turn = 1; turn <= 3; turn++) {
    flood.publish(FRAMES - 1);
    expect(flood.wire.isPaused).toBe(false);
    flood.publish(1);
    other.publish(1);
    expect([flood.wire.isPaused, other.wire.isPaused]).toEqual([true, false]);
    // What its socket has read already is taken all the same.
    flood.publish(2);
    await harness.turn();
    expect(flood.wire.isPaused).toBe(false);
    await harness.turn();
    expect([flood.confirmed, other.confirmed]).toEqual([turn * (FRAMES + 2), turn]);
  }
});

test('the bytes of different turns are not counted together', async () => {
  const harness = await SessionHarness.start();
  const flood = await Publisher.start(harness);
  for (let turn = 1; turn <= 5; turn++) {
    flood.publish(FRAMES - 1);
    expect(flood.wire.isPaused).toBe(false);
    await harness.turn();
  }
});

test('one that is gone before the turn is over harms nobody', async () => {
  const harness = await SessionHarness.start();
  const [flood, other] = [await Publisher.start(harness), await Publisher.start(harness)];
  flood.publish(FRAMES);
  flood.session.closed();
  other.publish(1);
  await harness.turn();
  await harness.turn();
  expect(harness.failures).toEqual([]);
  expect([flood.session.isOpen, other.session.isOpen, other.confirmed]).toEqual([false, true, 1]);
});

test('where no confirm waits for a sync none leaves before the turn is over', async () => {
  const harness = await SessionHarness.start();
  const flood = await Publisher.start(harness);
  flood.publish(5);
  for (let i = 0; i < 100; i++) await null;
  expect(flood.confirmed).toBe(0);
  await harness.turn();
  await harness.turn();
  expect(flood.confirmed).toBe(5);
});
