/** What the broker asks of a journal, asked of each one there is. */
import { describe, expect, test } from 'vitest';
import { BLOCK_BYTES } from '../../server/journal/block-cache.js';
import { CHUNK_BYTES } from '../../server/journal/chunk-cache.js';
import { type Journal, MemoryJournal, openFileJournal } from '../../server/journal/index.js';
import { Random, seedOf } from '../support/random.js';
import { tempDirectory } from '../support/temp-directory.js';

const SEGMENT_BYTES = 64 * 1024;
const BLOCK = BLOCK_BYTES;
const CHUNK = CHUNK_BYTES;
const random = new Random(seedOf('journal contract'));

function fail(error: Error): never {
  throw error;
}

const KINDS: readonly (readonly [string, () => Promise<Journal>])[] = [
  [
    'FileJournal',
    () =>
      openFileJournal({
        directory: tempDirectory(),
        segmentBytes: SEGMENT_BYTES,
        // Small, so that most of what is read comes from the files.
        cacheBytes: 1_048_576,
        onFatal: fail,
      }),
  ],
  ['MemoryJournal', async () => new MemoryJournal({ segmentBytes: SEGMENT_BYTES })],
];

interface Staged {
  readonly segment: number;
  readonly offset: number;
  readonly type: number;
  readonly body: Uint8Array;
}

describe.each(KINDS)('%s', (_, open) => {
  async function opened(): Promise<Journal> {
    const journal = await open();
    await journal.replay(() => expect.unreachable('a new journal has no records'));
    return journal;
  }

  function stage(journal: Journal, body: Uint8Array, type = 1): Staged {
    journal.prepare();
    const offset = journal.stage(type, Buffer.from([type]), body);
    return { segment: journal.stagedSegment, offset, type, body };
  }

  /** Several segments full, with bodies from nothing to more than a segment. */
  async function filled(journal: Journal): Promise<Staged[]> {
    const staged: Staged[] = [];
    while (journal.stagedSegment < 5) {
      for (let count = random.whole(1, 4); count > 0; count -= 1)
        staged.push(stage(journal, random.bytes(random.pick([0, 10, 500, 20_000, 100_000])), random.whole(0, 255)));
      await journal.commit();
    }
    return staged;
  }

  test('gives back every body from its place, staged or written, near or far', async () => {
    const journal = await opened();
    const staged = await filled(journal);
    staged.push(stage(journal, random.bytes(3_000)));
    for (const { segment, offset, body } of [...staged, ...staged.toReversed()])
      expect(Buffer.compare(journal.read(segment, offset, body.length), body)).toBe(0);
    const target = new Uint8Array(200_000).fill(9);
    for (const { segment, offset, body } of staged) {
      journal.copyTo(segment, offset, body.length, target, 50);
      expect(Buffer.compare(target.subarray(50, 50 + body.length), body)).toBe(0);
    }
    expect(target[49]).toBe(9);
    await journal.close();
  });

  test('gives back bodies that are larger than a block, a chunk or a segment, whole and in part', async () => {
    const journal = await opened();
    const staged: Staged[] = [];
    for (const length of [BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK, CHUNK - 1, CHUNK + 1, 2.5 * CHUNK]) {
      staged.push(stage(journal, Buffer.alloc(length, `${length} and so on `)));
      if (random.next() < 0.7) await journal.commit();
    }
    for (const { segment, offset, body } of [...staged, ...staged]) {
      expect(Buffer.compare(journal.read(segment, offset, body.length), body)).toBe(0);
      for (let count = 0; count < 20; count += 1) {
        const from = random.whole(0, body.length - 1);
        const to = random.whole(from, Math.min(body.length, from + random.pick([20, BLOCK, CHUNK])));
        const part = body.subarray(from, to);
        expect(Buffer.compare(journal.read(segment, offset + from, part.length), part)).toBe(0);
        const target = new Uint8Array(part.length);
        journal.copyTo(segment, offset + from, part.length, target, 0);
        expect(Buffer.compare(target, part)).toBe(0);
      }
    }
    await journal.close();
  });

  test('has a record durable when its commit is done, and not before', async () => {
    const journal = await opened();
    const first = stage(journal, Buffer.from('first'));
    expect(journal.isDurable(first.segment, first.offset)).toBe(false);
    const committed = journal.commit();
    const second = stage(journal, Buffer.from('second'));
    await committed;
    expect(journal.isDurable(first.segment, first.offset)).toBe(true);
    expect(journal.isDurable(second.segment, second.offset)).toBe(false);
    await journal.commit();
    expect(journal.isDurable(second.segment, second.offset)).toBe(true);
    await journal.commit();
    expect(journal.stats()).toMatchObject({ batches: 2, records: 2, isFull: false });
    await journal.close();
  });

  test('asks for a checkpoint at the beginning of a segment, until something is staged', async () => {
    const journal = await opened();
    expect([journal.prepare(), journal.prepare()]).toEqual([true, true]);
    journal.stage(1, Buffer.of(1));
    expect(journal.prepare()).toBe(false);
    await journal.commit();
    expect(journal.prepare()).toBe(false);
    stage(journal, new Uint8Array(SEGMENT_BYTES));
    expect(journal.stagedSegment).toBe(1);
    await journal.commit();
    expect(journal.prepare()).toBe(true);
    stage(journal, Buffer.of(2));
    expect(journal.stagedSegment).toBe(2);
    await journal.close();
  });

  test('replays a closed segment in order, until it is told to stop', async () => {
    const journal = await opened();
    const staged = await filled(journal);
    const ofTwo = staged.filter(({ segment }) => segment === 2);
    const seen: unknown[] = [];
    await journal.replaySegment(2, ({ type, body, segment, bodyOffset }) => {
      seen.push([type, segment, bodyOffset, Buffer.from(body).toString('base64')]);
      return true;
    });
    expect(seen).toEqual(
      ofTwo.map(({ type, segment, offset, body }) => [type, segment, offset, Buffer.from(body).toString('base64')]),
    );
    let visits = 0;
    await journal.replaySegment(2, () => {
      visits += 1;
      return false;
    });
    expect(visits).toBe(1);
    await journal.close();
  });

  test('deletes from the head only, and never what is being written', async () => {
    const journal = await opened();
    const staged = await filled(journal);
    const before = journal.stats();
    expect(journal.segmentBytes(1)).toBeGreaterThan(0);
    await journal.reclaim(3);
    expect(journal.firstSegment).toBe(3);
    expect([journal.segmentBytes(1), journal.segmentBytes(2)]).toEqual([0, 0]);
    expect(journal.stats().bytes).toBeLessThan(before.bytes);
    for (const { segment, offset, body } of staged.filter((record) => record.segment >= 3))
      expect(Buffer.compare(journal.read(segment, offset, body.length), body)).toBe(0);
    await journal.reclaim(1_000);
    const last = stage(journal, Buffer.from('last'));
    expect(journal.firstSegment).toBeLessThanOrEqual(last.segment);
    await journal.commit();
    expect(Buffer.from(journal.read(last.segment, last.offset, 4)).toString()).toBe('last');
    await journal.close();
  });

  test('closes once, after what is staged has been written', async () => {
    const journal = await opened();
    stage(journal, Buffer.from('last'));
    await Promise.all([journal.close(), journal.close()]);
    expect(journal.stats().records).toBe(1);
    await journal.close();
    expect(journal.stats()).toMatchObject({ records: 1, segments: 1 });
  });

  test('takes nothing any more when it is closed', async () => {
    const journal = await opened();
    stage(journal, Buffer.from('first'));
    await journal.commit();
    await journal.close();
    expect(() => journal.prepare()).toThrow('a closed journal is not written to');
    await journal.commit();
    journal.stage(1, Buffer.of(1));
    await expect((async () => journal.commit())()).rejects.toThrow('a closed journal is not written to');
    await journal.reclaim(2);
    expect(journal.firstSegment).toBe(1);
  });

  test('counts what it holds', async () => {
    const journal = await opened();
    const staged = await filled(journal);
    const sumOf = (): number => {
      let sum = 0;
      for (let segment = 1; segment <= journal.stagedSegment; segment += 1) sum += journal.segmentBytes(segment);
      return sum;
    };
    expect(journal.stats()).toMatchObject({ records: staged.length, segments: journal.stagedSegment });
    expect(journal.stats().bytes).toBe(sumOf());
    expect(sumOf()).toBeGreaterThan(staged.reduce((sum, { body }) => sum + body.length, 0));
    await journal.reclaim(3);
    expect(journal.stats()).toMatchObject({ segments: journal.stagedSegment - 2, bytes: sumOf() });
    await journal.close();
  });
});

test('a FileJournal replays what it was given, in order, in the next process', async () => {
  const directory = tempDirectory();
  const open = (): ReturnType<typeof openFileJournal> =>
    openFileJournal({
      directory,
      segmentBytes: SEGMENT_BYTES,
      onFatal: fail,
    });
  const written: string[] = [];
  for (let round = 0; round < 4; round += 1) {
    const journal = await open();
    const replayed: string[] = [];
    const shares: number[] = [];
    await journal.replay(
      ({ type, head, body, segment, bodyOffset }) => {
        replayed.push(`${type} ${segment} ${bodyOffset} ${Buffer.from(head).toString('hex')} ${body.length}`);
      },
      (share) => shares.push(share),
    );
    expect(replayed).toEqual(written);
    expect(shares.at(-1)).toBe(1);
    expect(shares).toEqual(shares.toSorted((a, b) => a - b));
    expect(journal.wasClean).toBe(true);
    for (let count = 0; count < 30; count += 1) {
      journal.prepare();
      const [type, head, body] = [random.whole(0, 255), random.bytes(5), random.bytes(random.whole(0, 9_000))];
      const offset = journal.stage(type, head, body);
      written.push(`${type} ${journal.stagedSegment} ${offset} ${Buffer.from(head).toString('hex')} ${body.length}`);
      if (random.next() < 0.4) await journal.commit();
    }
    await journal.close();
  }
});

test('a FileJournal replays what was left by a reclaim, in the next process', async () => {
  const directory = tempDirectory();
  const options = { directory, segmentBytes: SEGMENT_BYTES, onFatal: fail };
  const journal = await openFileJournal(options);
  for (let count = 0; journal.stagedSegment < 5; count += 1) {
    journal.prepare();
    journal.stage(1, Buffer.of(count), new Uint8Array(10_000));
    await journal.commit();
  }
  const kept: number[] = [];
  for (const segment of [3, 4])
    await journal.replaySegment(segment, ({ head }) => {
      kept.push(head[0]!);
      return true;
    });
  await journal.reclaim(3);
  const before = journal.stats();
  await journal.close();

  const again = await openFileJournal(options);
  const replayed: number[] = [];
  await again.replay(({ head }) => replayed.push(head[0]!));
  expect(again.firstSegment).toBe(3);
  expect(replayed.slice(0, kept.length)).toEqual(kept);
  expect(again.stats()).toMatchObject({ segments: before.segments, records: replayed.length });
  await again.close();
});

test('a FileJournal that is closed opens no file to read from', async () => {
  const journal = await openFileJournal({
    directory: tempDirectory(),
    segmentBytes: SEGMENT_BYTES,
    cacheBytes: CHUNK,
    onFatal: fail,
  });
  const places: number[] = [];
  while (journal.stagedSegment < 3) {
    journal.prepare();
    places.push(journal.stage(1, Buffer.of(1), new Uint8Array(1_000)));
    await journal.commit();
  }
  await journal.close();
  expect(() => journal.read(1, places[0]!, 1_000)).toThrow('a closed journal is not read');
});
