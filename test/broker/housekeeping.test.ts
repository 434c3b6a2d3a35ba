/** Which segments go, when their live messages are copied forward, and what the copies are worth (rules of head-only deletion and of few copies). */
import { CLIENT_OPS } from '@lovage/protocol';
import { describe, expect, test } from 'vitest';
import type { Engine } from '../../server/engine/engine.js';
import { type HandClient, HandHarness } from './hand-harness.js';

const SEGMENT_BYTES = 8_192;
/** One of these and its heads fill an eighth of a segment. */
const BODY_BYTES = 1_000;

interface Store {
  readonly harness: HandHarness;
  readonly client: HandClient;
  readonly engine: Engine;
}

async function start(): Promise<Store> {
  const harness = await HandHarness.start({ journal: { segmentBytes: SEGMENT_BYTES } });
  const client = await harness.connect();
  client.declare('kept', 'gone');
  client.consume(['gone'], { ack: 'none', prefetch: 0 });
  await harness.turns();
  return { harness, client, engine: harness.sessions.broker.engine };
}

function bodyOf(number: number): string {
  return `${number} `.repeat(BODY_BYTES).slice(0, BODY_BYTES);
}

/** Publishes, a batch each, until the journal is in its segment `segment`. */
async function fillTo({ harness, client }: Store, segment: number, queue: string): Promise<void> {
  for (let number = 0; harness.journal.stagedSegment < segment; number++) {
    client.publish([{ queue, body: bodyOf(number) }]);
    await harness.turns();
    client.heard();
  }
}

/** Long enough for a segment to be read through and its copies to be written. */
async function copied(harness: HandHarness): Promise<void> {
  for (let i = 0; i < 20; i++) await harness.turns();
}

async function keep({ harness, client }: Store, number: number): Promise<void> {
  client.publish([{ queue: 'kept', body: bodyOf(number), priority: number % 256 }]);
  await harness.turns();
}

/** Bodies of what is in the journal and alive, by id. */
function liveBodies({ harness: { journal }, engine: { state } }: Store): string[] {
  const found: [number, string][] = [];
  state.table.forEach((slot) => {
    const { segment, offset, length } = state.table;
    const payload = journal.read(segment[slot]!, offset[slot]!, length[slot]!);
    found.push([state.table.id[slot]!, Buffer.from(payload.slice(-BODY_BYTES)).toString()]);
  });
  return found.sort((a, b) => a[0] - b[0]).map(([, body]) => body);
}

describe('segments', () => {
  test('go from the head when nothing in them is alive, and only when that is on disk', async () => {
    const store = await start();
    const { harness, client } = store;
    await keep(store, 1);
    await fillTo(store, 3, 'gone');
    expect(harness.journal.firstSegment).toBe(1);
    client.consume(['kept'], {}, 2);
    await harness.turns();
    harness.journal.isHeld = true;
    const tag = client.wire.deliveries.at(-1)!.tag;
    client.settle(CLIENT_OPS.ACK, [tag, 1]);
    await harness.turns();
    // Dead in memory, not on disk.
    expect(store.engine.state.table.journalUsage.countOf(1)).toBe(0);
    expect(harness.journal.firstSegment).toBe(1);
    await harness.release();
    expect(harness.journal.firstSegment).toBe(3);
  });

  test('do not go with a batch that was on its way when their last message was settled', async () => {
    const store = await start();
    const { harness, client } = store;
    await keep(store, 1);
    await fillTo(store, 3, 'gone');
    client.consume(['kept'], {}, 2);
    await harness.turns();
    const tag = client.wire.deliveries.at(-1)!.tag;
    harness.journal.isHeld = true;
    client.publish([{ queue: 'gone', body: 'x' }]);
    await harness.turns();
    client.settle(CLIENT_OPS.ACK, [tag, 1]);
    await harness.turns();
    await harness.release();
    expect(harness.journal.firstSegment).toBe(1);
    await harness.release();
    expect(harness.journal.firstSegment).toBe(3);
  });

  test('behind a segment with a live message stay, though nothing in them is alive', async () => {
    const store = await start();
    await keep(store, 1);
    await fillTo(store, 4, 'gone');
    const { journalUsage } = store.engine.state.table;
    expect([1, 2, 3].map((segment) => journalUsage.countOf(segment))).toEqual([1, 0, 0]);
    expect(store.harness.journal.firstSegment).toBe(1);
    expect(store.harness.journal.reclaims).toEqual([]);
  });

  test('begin with a checkpoint', async () => {
    const store = await start();
    await fillTo(store, 4, 'gone');
    const { staged } = store.harness.journal;
    const firsts = [1, 2, 3].map((segment) => staged.find((record) => record.segment === segment)!);
    const checkpoints = store.harness.journal.recordsOf('checkpoint');
    expect(firsts.map(({ type }) => type)).toEqual([12, 12, 12]);
    expect(checkpoints.at(-1)).toMatchObject({ queues: [{ name: 'kept' }, { name: 'gone' }] });
  });
});

describe('copies of one message in several queues', () => {
  test('are copied forward with their bytes once, those of them that live', async () => {
    const store = await start();
    const { harness, client, engine } = store;
    client.ask(CLIENT_OPS.EXCHANGE_DECLARE, 'x', { type: 'fanout' });
    client.declare('one', 'two', 'three');
    for (const queue of ['one', 'two', 'three', 'gone']) client.ask(CLIENT_OPS.BIND, { exchange: 'x', queue });
    await harness.turns();
    client.publish([
      { queue: 'gone', body: 'before' },
      { queue: '', exchange: 'x', body: bodyOf(1) },
      { queue: '', exchange: 'x', body: bodyOf(2) },
    ]);
    await harness.turns();
    await fillTo(store, 8, 'gone');
    await copied(harness);
    const { table } = engine.state;
    const places = new Map<string, number>();
    table.forEach((slot) => {
      expect(table.segment[slot]).toBeGreaterThan(1);
      const place = `${table.segment[slot]} ${table.offset[slot]}`;
      places.set(place, (places.get(place) ?? 0) + 1);
    });
    expect([...places.values()]).toEqual([3, 3]);
    expect(liveBodies(store)).toEqual([...Array(3).fill(bodyOf(1)), ...Array(3).fill(bodyOf(2))]);
    const [move] = harness.journal.recordsOf('move');
    expect(move!.messages as unknown[]).toHaveLength(6);
    expect((move!.body as Uint8Array).length).toBeLessThan(2 * BODY_BYTES + 100);
  });
});

describe('what lives in the head segment', () => {
  test('is copied forward when most of the journal is dead, byte by byte, and the head goes', async () => {
    const store = await start();
    for (let number = 1; number <= 3; number++) await keep(store, number);
    await fillTo(store, 6, 'gone');
    await copied(store.harness);
    // What is copied is no more than what others append: one message so far, against three.
    expect(store.harness.journal.recordsOf('move')).toEqual([]);
    await fillTo(store, 7, 'gone');
    await copied(store.harness);
    const moves = store.harness.journal.recordsOf('move');
    expect(moves).toHaveLength(1);
    expect(moves[0]).toMatchObject({ messages: [{ id: 1 }, { id: 2 }, { id: 3 }] });
    expect(store.harness.journal.firstSegment).toBeGreaterThan(1);
    expect(liveBodies(store)).toEqual([bodyOf(1), bodyOf(2), bodyOf(3)]);
  });

  test('is not copied while a long queue is only drained', async () => {
    const store = await start();
    const { harness, client } = store;
    for (let segment = 2; segment < 20; segment++) {
      await keep(store, segment);
      await fillTo(store, segment, 'kept');
    }
    client.consume(['kept'], { ack: 'late', prefetch: 0 }, 2);
    await harness.turns();
    const tags = client.wire.deliveries.map(({ tag }) => tag);
    // Two of three, all over the journal, so that no segment dies.
    for (const [index, tag] of tags.entries()) {
      if (index % 3 === 0) continue;
      client.settle(CLIENT_OPS.ACK, [tag, 1]);
      await harness.turns();
    }
    await copied(harness);
    const { bytes } = harness.journal.stats();
    expect(store.engine.state.table.journalUsage.bytes).toBeLessThan(bytes / 2);
    expect(harness.journal.recordsOf('move')).toEqual([]);
    // As soon as something is published again, the journal is made shorter.
    await fillTo(store, 24, 'gone');
    await copied(harness);
    expect(harness.journal.recordsOf('move')).not.toEqual([]);
    expect(harness.journal.firstSegment).toBeGreaterThan(1);
  });

  test('is not copied while the journal is short', async () => {
    const store = await start();
    await keep(store, 1);
    await fillTo(store, 5, 'gone');
    await copied(store.harness);
    expect(store.harness.journal.recordsOf('move')).toEqual([]);
  });

  test('is not copied while half of the journal lives', async () => {
    const store = await start();
    for (let segment = 2; segment < 12; segment++) {
      await fillTo(store, segment, 'kept');
    }
    await fillTo(store, 16, 'gone');
    await copied(store.harness);
    const { bytes } = store.harness.journal.stats();
    expect(store.engine.state.table.journalUsage.bytes).toBeGreaterThan(bytes / 2);
    expect(store.harness.journal.recordsOf('move')).toEqual([]);
    expect(store.harness.journal.firstSegment).toBe(1);
  });

  test('is copied no more often than there is something to gain', async () => {
    const store = await start();
    for (let number = 1; number <= 3; number++) await keep(store, number);
    await fillTo(store, 60, 'gone');
    const { journal } = store.harness;
    const copied = journal.recordsOf('move').reduce((sum, { body }) => sum + (body as Uint8Array).length, 0);
    const written = journal.staged.reduce((sum, { body }) => sum + body.length, 0);
    // Three messages of some 450 live; each copy buys at least four segments.
    expect(copied).toBeGreaterThan(0);
    expect(copied / written).toBeLessThan(3 / (4 * 7));
    expect(journal.stats().segments).toBeLessThan(10);
    expect(liveBodies(store)).toEqual([bodyOf(1), bodyOf(2), bodyOf(3)]);
  });

  test('and is settled while it is read is not copied', async () => {
    const store = await start();
    const { harness, client } = store;
    for (let number = 1; number <= 3; number++) await keep(store, number);
    client.consume(['kept'], { prefetch: 10 }, 2);
    await harness.turns();
    const [, middle] = client.wire.deliveries.filter(({ id }) => id <= 3).sort((a, b) => a.id - b.id);
    let read = 0;
    // The third of the segment's messages has been read, the records are not staged yet.
    harness.journal.onReplayed = ({ type }) => {
      if (type === 1 && ++read === 3) client.settle(CLIENT_OPS.ACK, [middle!.tag, 1]);
    };
    await fillTo(store, 7, 'gone');
    await copied(harness);
    expect(read).toBeGreaterThanOrEqual(3);
    const [move] = harness.journal.recordsOf('move');
    expect((move!.messages as { id: number }[]).map(({ id }) => id)).toEqual([1, 3]);
    expect(liveBodies(store)).toEqual([bodyOf(1), bodyOf(3)]);
  });

  test('keeps its place, attempts and handler', async () => {
    const store = await start();
    const { harness, client, engine } = store;
    for (let number = 1; number <= 3; number++) await keep(store, number);
    client.consume(['kept'], { prefetch: 1 }, 2);
    await harness.turns();
    // Priority 3 is out and started.
    const [first] = client.wire.deliveries.filter(({ id }) => id === 3);
    client.settle(CLIENT_OPS.START, [first!.tag, 1]);
    await fillTo(store, 7, 'gone');
    await copied(harness);
    const [move] = harness.journal.recordsOf('move');
    expect(move).toMatchObject({
      messages: [
        { id: 1, priority: 1, attempts: 0, session: 0 },
        { id: 2, priority: 2, attempts: 0, session: 0 },
        { id: 3, priority: 3, attempts: 1, session: client.session.number, tag: first!.tag, consumerId: 2 },
      ],
    });
    expect(engine.queueInfo('default', 'kept')).toMatchObject({ ready: 2, started: 1 });
    client.wire.frames.length = 0;
    client.settle(CLIENT_OPS.ACK, [first!.tag, 1]);
    await harness.turns();
    expect(client.wire.deliveries.map(({ id }) => id)).toEqual([2]);
  });
});
