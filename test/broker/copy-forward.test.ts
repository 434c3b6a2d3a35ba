/** Copies out of segments that are longer than one read of the disk: what has been gathered must not change under the next read. */
import { CLIENT_OPS } from '@lovage/protocol';
import { expect, test } from 'vitest';
import type { Engine } from '../../server/engine/engine.js';
import { type FileJournal, openFileJournal } from '../../server/journal/index.js';
import { SLICE_BYTES } from '../../server/journal/slice-reader.js';
import { publishBatch } from '../engine/publish-batch.js';
import { eventually } from '../support/deadline.js';
import { SessionHarness } from '../support/session-harness.js';
import { tempDirectory } from '../support/temp-directory.js';

const SEGMENT_BYTES = SLICE_BYTES * 1.5;
const BODY_BYTES = 8_192;
const KEPT_EVERY = 50;

function bodyOf(number: number): string {
  return `${number} `.repeat(BODY_BYTES).slice(0, BODY_BYTES);
}

async function open(directory: string): Promise<{ journal: FileJournal; harness: SessionHarness; engine: Engine }> {
  const journal = await openFileJournal({
    directory,
    segmentBytes: SEGMENT_BYTES,
    cacheBytes: 1024 * 1024,
    onFatal: (error) => {
      throw error;
    },
  });
  const harness = await SessionHarness.start({ journal });
  return { journal, harness, engine: harness.broker.engine };
}

/** Body of every live message, by id, from where the engine says that it lies. */
function bodies(journal: FileJournal, { state: { table } }: Engine): Map<number, string> {
  const found = new Map<number, string>();
  table.forEach((slot) => {
    const payload = journal.read(table.segment[slot]!, table.offset[slot]!, table.length[slot]!);
    found.set(table.id[slot]!, Buffer.from(payload.slice(-BODY_BYTES)).toString());
  });
  return found;
}

test('messages copied forward out of segments of several reads keep their bytes, live and after a restart', async () => {
  const directory = tempDirectory();
  const first = await open(directory);
  const { harness, journal, engine } = first;
  const { session, wire } = await harness.open();
  for (const queue of ['kept', 'gone']) harness.send(session, [CLIENT_OPS.QUEUE_DECLARE, 1, queue, null]);
  const consume = { queues: ['gone'], prefetch: 0, ack: 'none', queueOrder: 'strict' };
  harness.send(session, [CLIENT_OPS.CONSUME, 2, 1, consume]);
  const kept = new Map<number, string>();
  const segments = new Map<number, number>();
  // Six segments: more than four have to be dead before copies pay.
  for (let id = 1; journal.stagedSegment < 7; id++) {
    const isKept = id % KEPT_EVERY === 0;
    if (isKept) kept.set(id, bodyOf(id));
    harness.publish(session, id, [{ queue: isKept ? 'kept' : 'gone', body: bodyOf(id) }]);
    if (isKept) segments.set(id, journal.stagedSegment);
    if (id % 20 === 0) await harness.turn();
    wire.frames.length = 0;
  }
  await eventually(
    () => journal.firstSegment,
    (segment) => segment > 1,
    'the first segment to be deleted',
  );
  await harness.turn();
  const moved = [...segments].filter(([, segment]) => segment < journal.firstSegment);
  expect(moved.length).toBeGreaterThan(10);
  expect(bodies(journal, engine)).toEqual(kept);
  await harness.broker.close();
  const second = await open(directory);
  expect(bodies(second.journal, second.engine)).toEqual(kept);
  await second.harness.broker.close();
});

test('what was published with a settlement is copied forward like others', async () => {
  const directory = tempDirectory();
  const { harness, journal, engine } = await open(directory);
  const { session, wire } = await harness.open();
  for (const queue of ['work', 'kept', 'gone']) harness.send(session, [CLIENT_OPS.QUEUE_DECLARE, 1, queue, null]);
  harness.send(session, [
    CLIENT_OPS.CONSUME,
    2,
    1,
    { queues: ['work'], prefetch: 0, ack: 'late', queueOrder: 'strict' },
  ]);
  harness.send(session, [
    CLIENT_OPS.CONSUME,
    3,
    2,
    { queues: ['gone'], prefetch: 0, ack: 'none', queueOrder: 'strict' },
  ]);
  const jobs = Array.from({ length: 20 }, () => ({ queue: 'work', body: '' }));
  harness.publish(session, 1, jobs);
  await harness.turn();
  const kept = new Map<number, string>();
  for (const [i] of jobs.entries()) {
    const messages = [0, 1].map((n) => ({ queue: 'kept', body: bodyOf(2 * i + n) }));
    for (const { body } of messages) kept.set(jobs.length + kept.size + 1, body);
    const follow = publishBatch({ firstSeq: 1, messages }).bytes;
    harness.send(session, [CLIENT_OPS.COMPLETE, i + 1, [i + 1, 1], [null], follow]);
  }
  await harness.turn();
  expect(bodies(journal, engine)).toEqual(kept);
  for (let seq = jobs.length + 1; journal.stagedSegment < 7; seq++) {
    harness.publish(session, seq, [{ queue: 'gone', body: bodyOf(seq) }]);
    if (seq % 20 === 0) await harness.turn();
    wire.frames.length = 0;
  }
  await eventually(
    () => journal.firstSegment,
    (segment) => segment > 1,
    'the first segment to be deleted',
  );
  await harness.turn();
  expect(bodies(journal, engine)).toEqual(kept);
  await harness.broker.close();
  const second = await open(directory);
  expect(bodies(second.journal, second.engine)).toEqual(kept);
  await second.harness.broker.close();
});
