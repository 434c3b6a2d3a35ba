/**
 * A disk that runs full (rules W6 and W7): publishes are refused in time, settlements go on into what was kept for them, everything goes on when there
 * is room again, and whatever happens the log is the one that was acknowledged.
 */
import { readFileSync, truncateSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { JournalDiskFullError } from '../../server/journal/index.js';
import { batchesOf, journalBytes, keptTails, segmentPaths } from '../support/data-directory.js';
import { eventually } from '../support/deadline.js';
import { copyOf } from './abandoned-log.js';
import { CAPACITY_BYTES, KEPT_BYTES, MARGIN_BYTES, MIB, Service } from './disk-service.js';
import { DISK_BLOCK_BYTES, SmallDisk } from './small-disk.js';

describe('a disk that the journal fills', () => {
  test('takes publishes up to what is kept for settlements, which then go on, and takes them again behind a reclaim', async () => {
    const service = await Service.started();
    const { journal } = service;
    let published = 0;
    // At each look there may be a little more than it had thought.
    for (let bytes = await service.publishAll(); bytes > 0; bytes = await service.publishAll()) {
      published += bytes;
      await service.look();
    }
    const room = CAPACITY_BYTES - KEPT_BYTES - MARGIN_BYTES;
    expect(published).toBeLessThanOrEqual(room);
    expect(published).toBeGreaterThan(room - MIB);
    expect(journal.stats().reservedBytes).toBeGreaterThan(KEPT_BYTES - MIB / 8);

    await service.settleAll(KEPT_BYTES - MIB);
    expect([journal.isFull, await service.publish(1), service.fatal]).toEqual([true, false, []]);

    const before = journal.stats().bytes;
    await journal.reclaim(8);
    expect([journal.isFull, await service.publish()]).toEqual([false, true]);
    expect(journal.stats().bytes).toBeLessThan(before - 6 * MIB);
    // Segments 1 to 7 have a record of 64 KiB after the other, and are closed by the first one that ends behind a MiB.
    await service.checkLog(7 * 16);
  });

  test('counts what is on its way to the disk and not there yet', async () => {
    const service = await Service.started();
    const { journal } = service;
    const room = CAPACITY_BYTES - KEPT_BYTES - MARGIN_BYTES;
    expect(journal.hasRoom(room - 5 * MIB)).toBe(true);
    // The next batch begins a segment, which has to be made first.
    await service.write(MIB + MIB / 8);
    const written = service.write(6 * MIB);
    expect([journal.stagedBytes, journal.hasRoom(room - 5 * MIB)]).toEqual([0, false]);
    await written;
    expect(journal.hasRoom(room - 5 * MIB)).toBe(false);
    expect(journal.hasRoom(room - 8 * MIB)).toBe(true);
  });

  test('keeps more for settlements when more is alive, up to half of it', async () => {
    const service = await Service.started();
    service.journal.reserve(9 * MIB);
    await service.look();
    const published = await service.publishAll();
    expect(published).toBeLessThanOrEqual(CAPACITY_BYTES - 9 * MIB - MARGIN_BYTES);
    expect(published).toBeGreaterThan(CAPACITY_BYTES - 9 * MIB - MARGIN_BYTES - MIB);
    await service.settleAll(8 * MIB);
    expect(service.fatal).toEqual([]);
    await service.checkLog();
  });
});

describe('a disk that others fill', () => {
  test('is met by publishes at the next look, by settlements never, and is overcome when there is room again', async () => {
    const service = await Service.started();
    // What the broker says that settlements of everything alive may need.
    service.journal.reserve(2 * MIB);
    for (let count = 0; count < 20; count += 1) expect(await service.publish()).toBe(true);
    service.disk.fill();
    expect(service.disk.freeBytes()).toBe(0);
    // Until it has looked, the journal believes in the room that it saw; what is kept bears that.
    await service.publishAll();
    expect([service.journal.hasRoom(MIB / 16), service.fatal]).toEqual([false, []]);
    await service.settleAll(2 * MIB);
    expect([service.journal.isFull, await service.publish(1), service.fatal]).toEqual([true, false, []]);

    service.disk.othersBytes = 0;
    await service.look();
    expect([service.journal.isFull, await service.publish()]).toEqual([false, true]);
    // And what settlements have used is there again for the next time.
    await service.look();
    expect(service.journal.stats().reservedBytes).toBeGreaterThan(KEPT_BYTES - MIB / 8);
    await service.checkLog();
  });

  test('is met by a batch in the middle: the rest goes where the zeros of segments made ahead were', async () => {
    const service = await Service.started();
    await service.settle();
    service.disk.fill();
    // More than the zeros in the segment that is written.
    await service.write(3 * MIB);
    expect(service.disk.shortWrites).toBeGreaterThan(0);
    await service.settle();
    expect(service.fatal).toEqual([]);
    await service.checkLog();
  });

  test('ends the journal when a batch has no room anywhere, and the log then ends behind the one before it', async () => {
    const service = await Service.started();
    await service.settle();
    const { bytes } = service.journal.stats();
    service.disk.fill();
    const outcomes: string[] = [];
    service.journal.prepare();
    const offset = service.journal.stage(1, Buffer.from('too much'), new Uint8Array(12 * MIB));
    service.journal.commit().then(
      () => outcomes.push('acknowledged'),
      () => outcomes.push('refused'),
    );
    await eventually(
      () => service.fatal.length,
      (count) => count > 0,
      'the end of the journal',
    );
    expect(service.fatal).toEqual([expect.any(JournalDiskFullError)]);
    expect(service.fatal[0]!.message).toMatch(
      /^Cannot write a batch to segment 1: the disk is full, expected room for \d+ more bytes$/,
    );
    expect(service.journal.stats().bytes).toBe(bytes);
    expect(service.journal.isDurable(1, offset)).toBe(false);
    // With room again all the same nothing is written any more, and closing does not wait for what is not.
    service.disk.othersBytes = 0;
    await service.journal.close();
    expect([outcomes, service.fatal.length]).toEqual([[], 1]);
    const next = new Service(service.disk, service.directory);
    expect(await next.open()).toEqual(service.acknowledged);
    expect([next.journal.wasClean, next.journal.torn]).toEqual([false, null]);
    await next.journal.close();
  });
});

describe('a journal whose process died on a full disk', () => {
  /** What it leaves, on a disk of just that size, but for so many blocks of it. */
  async function died(blocksLess = 0): Promise<{ service: Service; last: string }> {
    const before = await Service.started();
    await before.publishAll();
    await before.settleAll(MIB);
    const directory = copyOf(before.directory);
    const last = segmentPaths(directory)[before.journal.stagedSegment - 1]!;
    await before.journal.close();
    const usedBytes = segmentPaths(directory).length * DISK_BLOCK_BYTES + journalBytes(directory);
    const capacityBytes = Math.floor(usedBytes / DISK_BLOCK_BYTES - blocksLess) * DISK_BLOCK_BYTES;
    const service = new Service(new SmallDisk(Math.max(0, capacityBytes)), directory);
    service.acknowledged.push(...before.acknowledged);
    return { service, last };
  }

  test('is opened, refuses publishes, and settles in what that one had kept', async () => {
    const { service } = await died();
    expect(await service.open()).toEqual(service.acknowledged);
    await service.look();
    await service.publishAll();
    await service.settleAll(3 * MIB);
    expect([service.journal.wasClean, service.journal.hasRoom(MIB / 16), service.fatal]).toEqual([false, false, []]);
    await service.checkLog();
  });

  test('is opened without a block to spare: the last segment is written over itself', async () => {
    const { service, last } = await died(CAPACITY_BYTES);
    const { end } = batchesOf(last).at(-1)!;
    const before = readFileSync(last).subarray(0, end);
    expect(await service.open()).toEqual(service.acknowledged);
    expect([service.journal.wasClean, service.journal.isFull, service.fatal]).toEqual([false, true, []]);
    expect(readFileSync(last).equals(before)).toBe(true);
    expect(service.disk.refusals).toBeGreaterThan(0);
    service.disk.capacityBytes = 2 * CAPACITY_BYTES;
    await service.look();
    expect([service.journal.isFull, await service.publish()]).toEqual([false, true]);
    await service.checkLog();
  });

  test('is not opened when a torn tail could not be kept, and loses nothing by that', async () => {
    const { service, last } = await died(CAPACITY_BYTES);
    const { offset, end } = batchesOf(last).at(-1)!;
    truncateSync(last, end - 1);
    const before = readFileSync(last);
    for (let count = 0; count < 2; count += 1) {
      await expect(service.open()).rejects.toMatchObject({ code: 'ENOSPC' });
      expect(readFileSync(last).equals(before)).toBe(true);
    }
    const after = new Service(new SmallDisk(CAPACITY_BYTES), service.directory);
    expect(await after.open()).toEqual(service.acknowledged.slice(0, -1));
    const [kept] = keptTails(service.directory);
    expect(readFileSync(kept!).equals(before.subarray(offset))).toBe(true);
    expect(keptTails(service.directory)).toEqual([kept]);
    await after.journal.close();
  });
});
