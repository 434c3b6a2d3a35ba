import { describe, expect, test } from 'vitest';
import { HandHarness } from './hand-harness.js';

const MIB = 1024 * 1024;

describe('a broker with far more staged than the disk takes', () => {
  test('does not read from those who publish until there is less, and then reads on', async () => {
    const harness = await HandHarness.start();
    const client = await harness.connect();
    const other = await harness.connect();
    client.declare('q');
    await harness.turns();
    client.heard();
    harness.journal.isHeld = true;
    const message = { queue: 'q', body: 'x'.repeat(8 * MIB) };
    // The first goes to the idle disk at once, the others gather behind it.
    for (let frame = 0; frame < 4; frame++) {
      client.publish([message]);
      await harness.turns();
      expect(client.wire.isPaused).toBe(false);
    }
    client.publish([message]);
    await harness.turns();
    expect(client.wire.isPaused).toBe(true);
    // Whoever has frames in the system's buffers hears of it when the next one is read.
    other.publish([{ queue: 'q', body: 'x' }]);
    expect(other.wire.isPaused).toBe(true);
    await harness.turns();
    expect([client.wire.isPaused, other.wire.isPaused]).toEqual([true, true]);
    await harness.release();
    // What gathered is on its way now, all of it unwritten.
    expect([client.wire.isPaused, other.wire.isPaused]).toEqual([true, true]);
    await harness.release();
    expect([client.wire.isPaused, other.wire.isPaused]).toEqual([false, false]);
    await harness.letGo();
    expect(client.heard()).toContain('CONFIRM');
    expect(other.heard()).toContain('CONFIRM');
  });
});
