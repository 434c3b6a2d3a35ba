/** A real broker on a small file system that fills up. Mounting one needs Linux and root. */
import { execFileSync } from 'node:child_process';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { connect, LovageError } from '@lovage/client';
import { describe, expect, test } from 'vitest';
import { BrokerProcess } from '../support/broker-process.js';
import { atEnd } from '../support/cleanup.js';
import { eventually } from '../support/deadline.js';
import { tempDirectory } from '../support/temp-directory.js';

const CAN_MOUNT = process.platform === 'linux' && process.getuid?.() === 0;
const BODY_BYTES = 4_000;

/** A directory on a file system of its own, of so many MiB. */
function smallDisk(mebibytes: number): string {
  const directory = tempDirectory();
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${mebibytes}m`, 'tmpfs', directory]);
  atEnd(() => {
    // Lazy: the broker on it may still be on its way out.
    execFileSync('umount', ['-l', directory]);
  });
  return directory;
}

async function client(broker: BrokerProcess): ReturnType<typeof connect> {
  const connected = await connect(broker.url);
  atEnd(() => connected.terminate());
  return connected;
}

/** Publishes until the broker refuses large messages, and then small ones; returns the ids that were confirmed. */
async function fill(broker: BrokerProcess): Promise<Set<number>> {
  const producer = await client(broker);
  await producer.queues.declare('q');
  const ids = new Set<number>();
  for (const bytes of [BODY_BYTES, 1]) {
    for (let isTaken = true; isTaken; ) {
      isTaken = await producer.publish('q', 'x'.repeat(bytes)).then(
        ({ id }) => ids.add(id).size < 20_000,
        (error: unknown) => {
          expect(error).toBeInstanceOf(LovageError);
          expect((error as LovageError).code).toBe('DISK_FULL');
          return false;
        },
      );
    }
  }
  expect(ids.size).toBeLessThan(20_000);
  await producer.close();
  return ids;
}

function bodyOf(number: number): string {
  return `${number} `.padEnd(BODY_BYTES, 'x');
}

/** Consumes everything there is; ids with how often each came. */
async function drain(broker: BrokerProcess, count: number): Promise<Map<number, number>> {
  const consumer = await client(broker);
  const seen = new Map<number, number>();
  for await (const delivery of consumer.deliveries('q', { prefetch: 100 })) {
    seen.set(delivery.id, (seen.get(delivery.id) ?? 0) + 1);
    await delivery.ack();
    if (seen.size === count) break;
  }
  await consumer.close();
  return seen;
}

describe.skipIf(!CAN_MOUNT)('a disk that is full (skipped without Linux and root)', () => {
  const small = ['--segment-bytes', '256KiB', '--cache-bytes', '1MiB'];
  // Publishers are not held back before it is full.
  const flags = [...small, '--disk-free-min', '0'];

  test('refuses publishes, lets consumers finish, and takes publishes again by itself', async () => {
    const broker = await BrokerProcess.start({ dataDir: smallDisk(16), flags });
    const ids = await fill(broker);
    expect(ids.size).toBeGreaterThan(100);
    const metrics = await (await fetch(`${broker.url.replace('ws:', 'http:')}/metrics`)).text();
    expect(metrics).toMatch(/^lovage_journal_full 1$/m);
    const seen = await drain(broker, ids.size);
    expect(new Set(seen.keys())).toEqual(ids);
    const producer = await client(broker);
    await eventually(
      () => producer.publish('q', bodyOf(1)).then(String, (error: LovageError) => error.code),
      (outcome) => outcome !== 'DISK_FULL',
      'publishes taken again',
    );
    expect(broker.isRunning).toBe(true);
    expect((await broker.stop()).code).toBe(0);
  });

  test('loses nothing confirmed when the broker is killed on it and started again', async () => {
    const dataDir = smallDisk(16);
    const first = await BrokerProcess.start({ dataDir, flags });
    const ids = await fill(first);
    await first.kill();
    const second = await BrokerProcess.start({ dataDir, flags });
    const seen = await drain(second, ids.size);
    expect(new Set(seen.keys())).toEqual(ids);
    await second.stop();
  });

  test('has publishers wait before it is full, and those that wait are taken when there is room', async () => {
    const dataDir = smallDisk(16);
    const broker = await BrokerProcess.start({ dataDir, flags: small });
    const producer = await client(broker);
    await producer.queues.declare('q');
    const ids = new Set<number>();
    const publishing = Array.from({ length: 5_000 }, (_, number) =>
      producer.publish('q', bodyOf(number)).then(({ id }) => ids.add(id)),
    );
    await eventually(
      async () => producer.status.current.blocked?.reason,
      (reason) => reason === 'disk',
      'FLOW',
    );
    expect(ids.size).toBeLessThan(5_000);
    // Killed while they wait: what was confirmed is there, the others are sent again to the next one, which is short as well.
    const { port } = new URL(broker.url);
    await broker.kill();
    const second = await BrokerProcess.start({ dataDir, flags: [...small, '--port', port] });
    await eventually(
      async () => producer.status.current.blocked?.reason,
      (reason) => reason === 'disk',
      'FLOW of the second broker',
    );
    const seen = await drain(second, 5_000);
    await Promise.all(publishing);
    expect(ids.size).toBe(5_000);
    expect(new Set(seen.keys())).toEqual(ids);
    await eventually(
      async () => producer.status.current.blocked,
      (blocked) => blocked === null,
      'the end of it',
    );
    expect((await second.stop()).code).toBe(0);
  }, 60_000);

  test('that somebody else has filled to the last byte still takes the settlements of what is there', async () => {
    const dataDir = smallDisk(16);
    const broker = await BrokerProcess.start({ dataDir, flags });
    const producer = await client(broker);
    await producer.queues.declare('q');
    const ids = new Set<number>();
    for (let number = 0; number < 500; number++) ids.add((await producer.publish('q', bodyOf(number))).id);
    const filler = join(dataDir, 'filler');
    expect(() => writeFileSync(filler, Buffer.alloc(32 * 1024 * 1024))).toThrow(/ENOSPC/);
    for (const id of await fill(broker)) ids.add(id);
    const seen = await drain(broker, ids.size);
    expect(new Set(seen.keys())).toEqual(ids);
    rmSync(filler);
    await eventually(
      () =>
        producer.publish('q', 'y').then(
          () => 'taken',
          (error: LovageError) => error.code,
        ),
      (outcome) => outcome === 'taken',
      'publishes taken again',
    );
    expect(broker.isRunning).toBe(true);
  });
});
