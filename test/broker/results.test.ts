/** Results that are kept go out in slices, with other work between them, and no faster than their connection takes them. */
import { CLIENT_OPS, readOp, SERVER_OPS } from '@lovage/protocol';
import { describe, expect, test } from 'vitest';
import { type FakeWire, SessionHarness } from '../support/session-harness.js';

/** A turn may do the slices of two ticks, and no more. */
const IDS_PER_TURN = 2 * 1_000;
const BYTES_PER_TURN = 2 * 512 * 1024;

/** A broker that keeps results of so many bytes for the messages 1, 2, ... */
async function withResults(count: number, bytes: number): Promise<SessionHarness> {
  const harness = await SessionHarness.start();
  const { session } = await harness.open();
  harness.send(session, [CLIENT_OPS.QUEUE_DECLARE, 1, 'work', null]);
  const consumer = { queues: ['work'], prefetch: 0, ack: 'late', queueOrder: 'strict' };
  harness.send(session, [CLIENT_OPS.CONSUME, 2, 1, consumer]);
  harness.publish(
    session,
    1,
    Array.from({ length: count }, () => ({ queue: 'work', body: '' })),
  );
  await harness.turn();
  const body = Buffer.alloc(bytes, 'x');
  const results = Array.from({ length: count }, () => [0, null, null, body]);
  harness.send(session, [CLIENT_OPS.COMPLETE, 1, [1, count], results]);
  await harness.turn();
  return harness;
}

function resultsOf(wire: FakeWire): number {
  return wire.fieldsOf(SERVER_OPS.RESULT).reduce((sum, [results]) => sum + (results as unknown[]).length, 0);
}

function idsTo(count: number): number[] {
  return Array.from({ length: count }, (_, i) => i + 1);
}

/** How many results each turn of the event loop tells, as long as it tells any. */
async function slices(wire: FakeWire): Promise<number[]> {
  const told: number[] = [];
  for (let quiet = 0, before = 0; quiet < 3; quiet++) {
    await new Promise((resolve) => setImmediate(resolve));
    const count = resultsOf(wire);
    if (count > before) {
      told.push(count - before);
      quiet = 0;
    }
    before = count;
  }
  return told;
}

describe('results that are kept', () => {
  test('of many ids are looked for in slices, a turn of the event loop each', async () => {
    const count = 6 * IDS_PER_TURN + 1;
    const harness = await withResults(count, 1);
    const { session, wire } = await harness.open();
    harness.send(session, [CLIENT_OPS.RESULT_WATCH, 3, idsTo(count)]);
    const told = await slices(wire);
    expect(Math.max(...told)).toBeLessThanOrEqual(IDS_PER_TURN);
    expect(resultsOf(wire)).toBe(count);
  });

  test('of many bytes are told in slices, and a turn of another connection comes between them', async () => {
    const bytes = 100 * 1024;
    const harness = await withResults(60, bytes);
    const [asking, other] = [await harness.open(), await harness.open()];
    harness.send(asking.session, [CLIENT_OPS.RESULT_WATCH, 3, idsTo(60)]);
    const seen: number[] = [];
    while (harness.broker.engine.isSweeping) {
      harness.send(other.session, [CLIENT_OPS.QUEUE_INSPECT, 100 + seen.length, 'work']);
      await new Promise((resolve) => setImmediate(resolve));
      seen.push(resultsOf(asking.wire));
      expect(other.wire.fieldsOf(SERVER_OPS.REPLY)).toHaveLength(seen.length);
    }
    await harness.turn();
    expect(resultsOf(asking.wire)).toBe(60);
    for (let i = 1; i < seen.length; i++)
      expect((seen[i]! - seen[i - 1]! - 2) * bytes).toBeLessThanOrEqual(BYTES_PER_TURN);
    expect(seen.length).toBeGreaterThanOrEqual(5);
  });

  test('wait while their connection does not take them, and take turns where several ask', async () => {
    const bytes = 100 * 1024;
    const harness = await withResults(40, bytes);
    const [slow, quick] = [await harness.open(), await harness.open()];
    const taken: (() => void)[] = [];
    slow.wire.onSend = (frame, then) => {
      if (readOp(frame) === SERVER_OPS.RESULT) taken.push(() => then?.());
      else then?.();
    };
    for (const { session } of [slow, quick]) harness.send(session, [CLIENT_OPS.RESULT_WATCH, 3, idsTo(40)]);
    await harness.turn();
    await slices(slow.wire);
    expect(resultsOf(quick.wire)).toBe(40);
    expect(resultsOf(slow.wire) * bytes).toBeLessThan(2 * 1024 * 1024);
    expect(harness.broker.engine.isSweeping).toBe(false);
    for (let rounds = 0; resultsOf(slow.wire) < 40; rounds++) {
      expect(rounds).toBeLessThan(40);
      for (const then of taken.splice(0)) then();
      await slices(slow.wire);
    }
    expect(
      slow.wire.fieldsOf(SERVER_OPS.RESULT).flatMap(([results]) => (results as [number][]).map(([id]) => id)),
    ).toEqual(idsTo(40));
  });

  test('that are asked for twice are told once, and not at all when nobody wants them any more', async () => {
    const harness = await withResults(IDS_PER_TURN, 1);
    const { session, wire } = await harness.open();
    for (const request of [3, 4]) harness.send(session, [CLIENT_OPS.RESULT_WATCH, request, idsTo(IDS_PER_TURN)]);
    harness.send(session, [CLIENT_OPS.RESULT_UNWATCH, 5, [IDS_PER_TURN]]);
    await slices(wire);
    const ids = wire.fieldsOf(SERVER_OPS.RESULT).flatMap(([results]) => (results as [number][]).map(([id]) => id));
    expect(new Set(ids).size).toBe(IDS_PER_TURN - 1);
    expect(harness.broker.engine.state.watches.isIdle).toBe(true);
  });
});
