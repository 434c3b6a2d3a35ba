/** The one timer: it is set for what is due next, never for longer than an hour, and what is due is done. */
import { CLIENT_OPS } from '@lovage/protocol';
import { describe, expect, test } from 'vitest';
import { Broker } from '../../server/broker/broker.js';
import type { Clock } from '../../server/broker/clock.js';
import { Engine } from '../../server/engine/engine.js';
import { MemoryJournal } from '../../server/journal/index.js';
import { SessionHarness } from '../support/session-harness.js';

const HOUR_MS = 3_600_000;
const YEAR_MS = 365 * 24 * HOUR_MS;

/** A harness whose timers are written down. */
async function start() {
  const asked: number[] = [];
  const harness = await SessionHarness.start();
  const { clock } = harness;
  const setTimer = clock.setTimer.bind(clock);
  clock.setTimer = (callback, ms) => {
    asked.push(ms);
    return setTimer(callback, ms);
  };
  const { session, wire } = await harness.open();
  harness.send(session, [CLIENT_OPS.QUEUE_DECLARE, 1, 'q', null]);
  harness.send(session, [CLIENT_OPS.CONSUME, 2, 1, { queues: ['q'], prefetch: 10, ack: 'late', queueOrder: 'strict' }]);
  await harness.turn();
  return { harness, session, wire, asked };
}

describe('the timer', () => {
  test('wakes the broker when a message is due, not before', async () => {
    const { harness, session, wire, asked } = await start();
    harness.publish(session, 1, [{ queue: 'q', body: 'x', delayMs: 5_000 }]);
    await harness.turn();
    expect(asked.at(-1)).toBe(5_000);
    await harness.pass(4_999);
    expect(wire.deliveries).toEqual([]);
    await harness.pass(1);
    expect(wire.deliveries).toHaveLength(1);
  });

  test('steps an hour at most, and comes to what is due in a year', async () => {
    const { harness, session, wire, asked } = await start();
    harness.publish(session, 1, [{ queue: 'q', body: 'x', delayMs: YEAR_MS }]);
    await harness.turn();
    expect(Math.max(...asked)).toBe(HOUR_MS);
    let passedMs = 0;
    for (; passedMs < YEAR_MS - 24 * HOUR_MS; passedMs += 24 * HOUR_MS) await harness.pass(24 * HOUR_MS);
    expect(wire.deliveries).toEqual([]);
    expect(Math.max(...asked)).toBe(HOUR_MS);
    await harness.pass(YEAR_MS - passedMs + 1);
    expect(wire.deliveries).toHaveLength(1);
  });

  test('is set anew when something comes that is due sooner', async () => {
    const { harness, session, wire, asked } = await start();
    harness.publish(session, 1, [{ queue: 'q', body: 'late', delayMs: 60_000 }]);
    await harness.turn();
    harness.publish(session, 2, [{ queue: 'q', body: 'soon', delayMs: 1_000 }]);
    await harness.turn();
    expect(asked.at(-1)).toBe(1_000);
    await harness.pass(1_000);
    expect(wire.deliveries.map(({ text }) => text)).toEqual(['soon']);
    await harness.pass(59_000);
    expect(wire.deliveries.map(({ text }) => text)).toEqual(['soon', 'late']);
  });

  test('is not set when nothing waits', async () => {
    const asked: number[] = [];
    const clock: Clock = {
      wallMs: () => 0,
      monotonicMs: () => 0,
      setTimer: (_, ms) => {
        asked.push(ms);
        return () => undefined;
      },
      atTurnEnd: (callback) => setImmediate(callback),
    };
    const broker = new Broker({ engine: new Engine({ messagesMax: 16 }), journal: new MemoryJournal(), clock });
    await broker.recover();
    await broker.settle();
    expect(asked).toEqual([]);
  });

  test('loses nothing when the wall clock runs back: what is due comes when the clock is there again', async () => {
    const { harness, session, wire } = await start();
    harness.publish(session, 1, [{ queue: 'q', body: 'x', delayMs: 5_000 }]);
    await harness.turn();
    harness.clock.advance(-3_000);
    await harness.pass(7_999);
    expect(wire.deliveries).toEqual([]);
    await harness.pass(1);
    expect(wire.deliveries).toHaveLength(1);
  });
});
