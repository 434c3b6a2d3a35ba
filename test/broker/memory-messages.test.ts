/** Messages of durability memory skip the journal: what of theirs waits for the disk all the same, and what does not. */
import { CLIENT_OPS, PUBLISH_FLAGS, SERVER_OPS } from '@lovage/protocol';
import { describe, expect, test } from 'vitest';
import { publishFrame } from '../support/raw-client.js';
import { type HandClient, HandHarness } from './hand-harness.js';

const { MEMORY } = PUBLISH_FLAGS;
const IN_MEMORY = 3;
const message = { queue: 'q', body: 'x' };

/** Ids for messages in memory are set aside already. */
async function withIds(): Promise<{ readonly harness: HandHarness; readonly client: HandClient }> {
  const harness = await HandHarness.start();
  const client = await harness.connect();
  client.declare('q');
  client.publish([message], MEMORY);
  await harness.turns();
  client.heard();
  return { harness, client };
}

describe('a message in memory', () => {
  test('is confirmed without a record while the disk is busy', async () => {
    const { harness, client } = await withIds();
    harness.journal.isHeld = true;
    client.publish([message]);
    await harness.turns();
    const records = harness.journal.staged.length;
    client.publish([message, message], MEMORY);
    await harness.turns();
    expect(client.frames()).toEqual([[SERVER_OPS.CONFIRM, 3, 2, 3, IN_MEMORY]]);
    expect(harness.journal.staged).toHaveLength(records);
  });

  test('is confirmed when the ids set aside for such messages are on disk, so that none is given twice', async () => {
    const harness = await HandHarness.start();
    const client = await harness.connect();
    client.declare('q');
    client.consume(['q']);
    await harness.turns();
    client.heard();
    harness.journal.isHeld = true;
    client.publish([message], MEMORY);
    client.publish([message], MEMORY);
    await harness.turns();
    expect(client.heard()).toEqual([]);
    await harness.release();
    expect(client.heard().sort()).toEqual(['CONFIRM', 'DELIVER']);
    expect(harness.journal.recordsOf('ids')).toHaveLength(1);
  });

  test('waits for its own ids only, not for the records that gather behind them', async () => {
    const harness = await HandHarness.start();
    const client = await harness.connect();
    client.declare('q');
    await harness.turns();
    client.heard();
    harness.journal.isHeld = true;
    client.publish([message], MEMORY);
    await harness.turns();
    client.publish([message]);
    await harness.turns();
    await harness.release();
    expect(client.heard()).toEqual(['CONFIRM']);
    // The ids are on disk; the batch of the second publish is not.
    client.publish([message], MEMORY);
    await harness.turns();
    expect(client.frames()).toEqual([[SERVER_OPS.CONFIRM, 3, 1, 3, IN_MEMORY]]);
    await harness.release();
    expect(client.heard()).toEqual(['CONFIRM']);
  });

  test('is delivered at once, beside a batch that is on its way', async () => {
    const { harness, client } = await withIds();
    harness.journal.isHeld = true;
    client.publish([message]);
    await harness.turns();
    client.consume(['q'], { prefetch: 1 });
    await harness.turns();
    // The delivery is of the message in memory. The reply to CONSUME waits: it rests on what came before.
    expect(client.heard()).toEqual(['DELIVER']);
    await harness.release();
    expect(client.heard().sort()).toEqual(['CONFIRM', 'REPLY']);
  });

  test('that was out before rests on how it came back', async () => {
    const { harness, client } = await withIds();
    const other = await harness.connect();
    client.publish([message]);
    client.consume(['q'], { prefetch: 2 });
    await harness.turns();
    client.heard();
    harness.journal.isHeld = true;
    client.settle(CLIENT_OPS.START, [1, 2]);
    client.settle(CLIENT_OPS.NACK, [1, 2]);
    await harness.turns();
    other.consume(['q']);
    await harness.turns();
    expect([...client.heard(), ...other.heard()]).toEqual([]);
    await harness.release();
    expect(client.heard()).toContain('DELIVER');
  });

  test('settled leaves no record, and its frame is forgotten', async () => {
    const { harness, client } = await withIds();
    const { memoryFrames } = harness.sessions.broker.engine.state.table;
    client.consume(['q']);
    await harness.turns();
    const records = harness.journal.staged.length;
    expect(memoryFrames.bytes).toBeGreaterThan(0);
    client.settle(CLIENT_OPS.ACK, [1, 1]);
    await harness.turns();
    expect(client.heard()).toContain('SETTLED');
    expect(harness.journal.staged).toHaveLength(records);
    expect(memoryFrames.bytes).toBe(0);
  });

  test('keeps its bytes when those of its frame become something else', async () => {
    const { harness, client } = await withIds();
    client.consume(['q']);
    await harness.turns();
    client.heard();
    client.settle(CLIENT_OPS.ACK, [1, 1]);
    const frame = memoryFrame(2, 'the bytes that were published');
    client.session.receive(frame, harness.sessions.clock.monotonicMs());
    frame.fill(0);
    await harness.turns();
    expect(client.wire.deliveries.map(({ text }) => text)).toEqual(['the bytes that were published']);
  });
});

/** PUBLISH of one message to `q`, in memory. */
function memoryFrame(firstSeq: number, text: string): Uint8Array {
  return publishFrame([{ queue: 'q', body: text }], { firstSeq, flags: MEMORY });
}
