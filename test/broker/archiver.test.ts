/** Results on their way to the archive: when they go, that nobody sees a difference, and what may come in between. */
import { CLIENT_OPS, PUBLISH_FLAGS, RESULTS_QUEUE } from '@lovage/protocol';
import { describe, expect, test } from 'vitest';
import { AGE_MS, ArchiveWorld, NOTHING, SWEEP_MS } from './archive-world.js';
import { HandArchive } from './hand-archive.js';
import { HandJournal } from './hand-journal.js';

const BODIES = ['one', 'two', 'three'];

function started(options: Partial<Parameters<typeof ArchiveWorld.start>[0]> = {}) {
  return ArchiveWorld.start({ archive: new HandArchive(), ...options });
}

function archiveOf({ harness }: ArchiveWorld): HandArchive {
  return harness.broker.archive as HandArchive;
}

describe('results', () => {
  test('go to the archive when they are old, and clients are told the same before, meanwhile and afterwards', async () => {
    const world = await started();
    const archive = archiveOf(world);
    const ids = await world.complete(BODIES, 5_000_000);
    const asked = [...ids, 4_711];
    const before = await world.told(asked);
    expect(before.map(({ result }) => result)).toEqual([...BODIES.map((body) => [0, 'text/plain', null, body]), [1]]);
    expect(before[0]!.whereabouts).toMatchObject({ queue: RESULTS_QUEUE, attempts: 1, state: 'ready' });
    await world.harness.pass(AGE_MS - 1);
    expect(archive.calls).toEqual([]);

    archive.isHeld = true;
    await world.harness.pass(1);
    expect([archive.held, world.queued]).toEqual([1, 3]);
    expect(await world.told(asked)).toEqual(before);

    archive.isHeld = false;
    archive.release();
    await world.until(() => world.queued === 0, 'the results are settled');
    expect(await world.told(asked)).toEqual(before);
    expect(world.queueInfo!.totals).toMatchObject({ archived: 3, expired: 0, evicted: 0, purged: 0 });
    expect(archive.stored).toEqual([3]);
  });

  test('of messages that are kept in memory only go as well, and are told the same', async () => {
    const world = await started();
    const ids = await world.complete(BODIES, 0, PUBLISH_FLAGS.MEMORY);
    const before = await world.told(ids);
    expect(before[0]!.whereabouts).toMatchObject({ memory: true });
    await world.archiveAll();
    expect(await world.told(ids)).toEqual(before);
  });

  test('go in slices, one at a time, the oldest first', async () => {
    const world = await started();
    const archive = archiveOf(world);
    await world.complete(Array.from({ length: 2_500 }, (_, i) => `${i}`));
    await world.harness.pass(5_000);
    const [late] = await world.complete(['late']);
    await world.harness.pass(5_000);
    await world.until(() => world.queued <= 1, 'the old ones are gone', 1);
    expect(archive.stored).toEqual([1_000, 1_000, 500]);
    expect(archive.underWayMax).toBe(1);
    const [told] = await world.told([late!]);
    expect(told!.result).toEqual([0, 'text/plain', null, 'late']);
    expect(world.queued).toBe(1);
  });

  test('of many bytes go in smaller slices', async () => {
    const world = await started();
    await world.complete(Array.from({ length: 20 }, () => 'x'.repeat(100_000)));
    await world.archiveAll();
    expect(Math.max(...archiveOf(world).stored)).toBeLessThanOrEqual(6);
  });

  test('go at once when their queue is half full, so that none is pushed out', async () => {
    const world = await started();
    const settings = { messagesMax: 100, overflow: 'drop-head' };
    await world.ask(CLIENT_OPS.QUEUE_DECLARE, RESULTS_QUEUE, settings);
    const ids: number[] = [];
    for (let round = 0; round < 20; round++)
      ids.push(...(await world.complete(Array.from({ length: 40 }, (_, i) => `${round} ${i}`))));
    const told = await world.told(ids);
    expect(told.every(({ result }) => (result as unknown[])[0] === 0)).toBe(true);
    expect(world.queueInfo!.totals.evicted).toBe(0);
    expect(world.queued).toBeLessThanOrEqual(50);
  });

  test('whose queue has a dead letter queue stay, because what expires there goes to it', async () => {
    const world = await started();
    await world.ask(CLIENT_OPS.QUEUE_DECLARE, RESULTS_QUEUE, { deadLetterQueue: 'old', messageTtlMs: 50_000 });
    await world.complete(BODIES);
    await world.harness.pass(AGE_MS);
    await world.harness.pass(AGE_MS);
    expect([archiveOf(world).calls, world.queued]).toEqual([[], 3]);
  });

  test('whose record is not on disk yet are not archived', async () => {
    const journal = new HandJournal();
    const world = await started({ journal });
    const archive = archiveOf(world);
    await world.ask(CLIENT_OPS.QUEUE_DECLARE, RESULTS_QUEUE, { messagesMax: 2, overflow: 'drop-head' });
    await world.complete(['first']);
    await world.until(() => archive.stored.length === 1 || world.queued === 1, 'the first is there');
    journal.isHeld = true;
    void world.complete(['second', 'third']);
    for (let turns = 0; turns < 20; turns++) await new Promise((resolve) => setImmediate(resolve));
    const storedBefore = archive.stored.length;
    journal.isHeld = false;
    while (journal.isCommitting) {
      journal.release();
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(storedBefore).toBeLessThanOrEqual(1);
  });

  test('that have expired are never told, whether they were swept or not', async () => {
    const world = await started();
    const archive = archiveOf(world);
    const [short] = await world.complete(['short'], AGE_MS + 1_000);
    const [long] = await world.complete(['long'], 10 * SWEEP_MS);
    await world.archiveAll();
    await world.harness.pass(1_000);
    const told = await world.told([short!, long!]);
    expect(told[0]).toEqual(NOTHING);
    expect(told[1]!.result).toEqual([0, 'text/plain', null, 'long']);
    expect(archive.stats().results).toBe(2);
    await world.harness.pass(SWEEP_MS);
    await world.until(() => archive.stats().results === 1, 'the sweep is done');
  });

  test('that have expired on their way stay gone', async () => {
    const world = await started();
    const archive = archiveOf(world);
    const [id] = await world.complete(['short'], AGE_MS + 1_000);
    archive.isHeld = true;
    await world.harness.pass(AGE_MS);
    expect(archive.held).toBe(1);
    await world.harness.pass(1_000);
    expect(world.queued).toBe(0);
    archive.isHeld = false;
    archive.release();
    await world.harness.turn();
    expect(await world.told([id!])).toEqual([NOTHING]);
    expect(world.queueInfo!.totals).toMatchObject({ expired: 1, archived: 0 });
  });

  test('are revoked no more, in the queue as in the archive', async () => {
    const world = await started();
    const [id] = await world.complete(['done']);
    const revoke = () => world.ask(CLIENT_OPS.MESSAGE_REVOKE, null, { ids: [id] }, 0, { body: Buffer.from('no') });
    const before = await revoke();
    expect(before[0]).toBe('MESSAGE_NOT_FOUND');
    await world.archiveAll();
    expect(await revoke()).toEqual(before);
    expect((await world.told([id!]))[0]!.result).toEqual([0, 'text/plain', null, 'done']);
  });

  test('cost nothing when there are none: no call, and no timer', async () => {
    const world = await started();
    const archive = archiveOf(world);
    await world.harness.pass(10 * SWEEP_MS);
    expect(archive.calls).toEqual([]);
    await world.complete(['x'], SWEEP_MS);
    await world.archiveAll();
    for (let minute = 0; minute < 5; minute++) await world.harness.pass(SWEEP_MS);
    const calls = archive.calls.length;
    for (let minute = 0; minute < 5; minute++) await world.harness.pass(SWEEP_MS);
    expect(archive.calls.length).toBe(calls);
  });
});

describe('an archive that refuses', () => {
  test('leaves results where they are, is asked again after pauses that double, and the broker goes on', async () => {
    const world = await started();
    const archive = archiveOf(world);
    const { archiveFailures } = world.harness;
    const ids = await world.complete(BODIES);
    const before = await world.told(ids);
    archive.refusal = new Error('disk full');
    await world.harness.pass(AGE_MS);
    expect(archiveFailures).toEqual([archive.refusal]);
    expect(await world.told(ids)).toEqual(before);
    const asked: number[] = [];
    for (let second = 1; second <= 40; second++) {
      await world.harness.pass(1_000);
      if (archiveFailures.length > asked.length + 1) asked.push(second);
    }
    expect(asked.length).toBeGreaterThan(0);
    expect(asked.length).toBeLessThan(6);
    expect(await world.complete(['more'])).toHaveLength(1);
    archive.refusal = null;
    await world.harness.pass(60_000);
    await world.archiveAll();
    expect(await world.told(ids)).toEqual(before);
    expect(world.queueInfo!.totals).toMatchObject({ archived: 4 });
  });

  test('is left alone while the disk is short', async () => {
    let free = 150;
    const flow = { memoryBytesMax: Number.POSITIVE_INFINITY, diskFreeBytesMin: 100, diskFreeBytes: () => free };
    const world = await started({ flow });
    world.harness.broker.flow.look();
    await world.complete(BODIES);
    await world.harness.pass(2 * AGE_MS);
    expect([archiveOf(world).calls, world.queued]).toEqual([[], 3]);
    free = 1_000;
    world.harness.broker.flow.look();
    await world.archiveAll();
    expect(archiveOf(world).stored).toEqual([3]);
  });
});

describe('a purge', () => {
  test('takes what is archived and what is not, and says how many', async () => {
    const world = await started();
    const archive = archiveOf(world);
    const ids = await world.complete(BODIES);
    await world.archiveAll();
    const more = await world.complete(['four', 'five']);
    expect(await world.ask(CLIENT_OPS.QUEUE_PURGE, RESULTS_QUEUE)).toEqual([{ purged: 5 }]);
    expect(await world.told([...ids, ...more])).toEqual([...ids, ...more].map(() => NOTHING));
    await world.until(() => archive.calls.includes('keep') && archive.stats().results === 0, 'they are forgotten', 1);
    const [again] = await world.complete(['six']);
    await world.archiveAll();
    expect((await world.told([again!]))[0]!.result).toEqual([0, 'text/plain', null, 'six']);
    expect(await world.told(ids)).toEqual(ids.map(() => NOTHING));
  });

  test('takes results that are on their way, and they do not come back', async () => {
    const world = await started();
    const archive = archiveOf(world);
    const ids = await world.complete(BODIES);
    archive.isHeld = true;
    await world.harness.pass(AGE_MS);
    expect(archive.held).toBe(1);
    // Those that are in both places count twice.
    expect(await world.ask(CLIENT_OPS.QUEUE_PURGE, RESULTS_QUEUE)).toEqual([{ purged: 6 }]);
    archive.isHeld = false;
    archive.release();
    await world.harness.turn();
    expect(await world.told(ids)).toEqual(ids.map(() => NOTHING));
    await world.until(() => archive.calls.includes('keep') && archive.stats().results === 0, 'they are forgotten', 1);
    expect(world.queueInfo!.totals.archived).toBe(0);
  });

  test('is told to the archive only when it is on disk', async () => {
    const journal = new HandJournal();
    const world = await started({ journal });
    const archive = archiveOf(world);
    await world.complete(BODIES);
    await world.archiveAll();
    journal.isHeld = true;
    world.harness.send(world.session, [CLIENT_OPS.QUEUE_PURGE, 999, RESULTS_QUEUE]);
    for (let turns = 0; turns < 10; turns++) await new Promise((resolve) => setImmediate(resolve));
    world.harness.clock.advance(100);
    for (let turns = 0; turns < 10; turns++) await new Promise((resolve) => setImmediate(resolve));
    expect(archive.calls).not.toContain('keep');
    journal.isHeld = false;
    while (journal.isCommitting) {
      journal.release();
      await new Promise((resolve) => setImmediate(resolve));
    }
    await world.until(() => archive.calls.includes('keep'), 'the archive is told', 1);
  });
});

describe('the end', () => {
  test('of the queue of results takes what is archived, also for a queue of the same name', async () => {
    const world = await started();
    const ids = await world.complete(BODIES);
    await world.archiveAll();
    expect(await world.ask(CLIENT_OPS.QUEUE_DELETE, RESULTS_QUEUE, {})).toEqual([{ messages: 3 }]);
    expect(await world.told(ids)).toEqual(ids.map(() => NOTHING));
    const [again] = await world.complete(['four']);
    await world.archiveAll();
    expect(await world.told(ids)).toEqual(ids.map(() => NOTHING));
    expect((await world.told([again!]))[0]!.result).toEqual([0, 'text/plain', null, 'four']);
  });

  test('of a namespace takes what is archived for it, and nothing of another one', async () => {
    const world = await started({ namespace: 'gone' });
    const archive = archiveOf(world);
    const stays = await ArchiveWorld.join(world.harness, 'stays');
    const [ids, others] = [await world.complete(BODIES), await stays.complete(['other'])];
    await world.archiveAll();
    await stays.archiveAll();
    const before = await stays.told(others);
    expect(await stays.ask(CLIENT_OPS.NAMESPACE_DELETE, 'gone')).toMatchObject([{ queues: 2 }]);
    await stays.until(() => archive.stats().results === 1, 'they are forgotten', 1);
    const again = await ArchiveWorld.join(world.harness, 'gone');
    expect(await again.told(ids)).toEqual(ids.map(() => NOTHING));
    await again.complete(['new']);
    expect(await again.told(ids)).toEqual(ids.map(() => NOTHING));
    expect(await stays.told(others)).toEqual(before);
  });
});

test('results of one namespace are not told in another', async () => {
  const world = await started();
  const other = await ArchiveWorld.join(world.harness, 'other');
  const ids = await world.complete(BODIES);
  await other.complete(['x']);
  await world.archiveAll();
  await other.archiveAll();
  expect(await other.told(ids)).toEqual(ids.map(() => NOTHING));
});
