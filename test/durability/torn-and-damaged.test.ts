/**
 * What a process finds when it starts over a journal that something has happened to. A tail that a crash can have torn is cut off, with a copy kept;
 * anything else is damage, and the broker refuses to start over it rather than to lose what it has confirmed (rule W4).
 */
import { createHash } from 'node:crypto';
import { appendFileSync, cpSync, readFileSync, rmSync, statSync, truncateSync } from 'node:fs';
import { basename, join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { BATCH_HEADER_BYTES, FILE_HEADER_BYTES } from '../../server/journal/segment-format.js';
import { BrokerProcess, type Finished, runCommand, startExpectingFailure } from '../support/broker-process.js';
import { type BatchPlace, batchesOf, flip, keptTails, overwrite, segmentPaths } from '../support/data-directory.js';
import { Random, seedOf } from '../support/random.js';
import { tempDirectory } from '../support/temp-directory.js';
import { assertHolds, client, drain, type Found, publishAll, texts } from './backlog.js';

const FLAGS = ['--segment-bytes', '64KiB'];
const MESSAGES = 60;
const random = new Random(seedOf('torn and damaged'));

let killed: string;
let confirmed: Map<number, string>;

/** Some five segments of a broker that was killed. Each message has a batch of its own, so each of them can be damaged by itself. */
beforeAll(async () => {
  const broker = await BrokerProcess.start({ flags: FLAGS });
  const producer = await client(broker.url);
  confirmed = new Map();
  for (const text of texts(MESSAGES, { bytes: 5_000 }))
    for (const [id, body] of await publishAll(producer, [text])) confirmed.set(id, body);
  producer.terminate();
  await broker.kill();
  killed = broker.dataDir;
  expect(segmentPaths(killed).length).toBeGreaterThan(4);
});

/** Copies what the killed broker left, so that each case has its own. */
function copy(): string {
  const directory = tempDirectory();
  cpSync(killed, directory, { recursive: true });
  return directory;
}

/** The last segment with something in it, and its batches. */
function lastOf(dataDir: string): { readonly path: string; readonly batches: readonly BatchPlace[] } {
  for (const path of segmentPaths(dataDir).reverse()) {
    const batches = batchesOf(path);
    if (batches.length > 1) return { path, batches };
  }
  throw new Error('There is no segment with two batches');
}

interface Torn {
  readonly segment: number;
  readonly offset: number;
  readonly bytes: number;
  readonly reason: string;
  readonly copy: string;
}

/** What the log says about a torn tail; null if it says nothing. */
function tornOf(log: string): Torn | null {
  const lines = log.split('\n').filter((line) => line.startsWith('{'));
  const said = lines.map((line) => JSON.parse(line)).filter(({ torn }) => torn !== undefined);
  expect(said.length).toBeLessThanOrEqual(1);
  for (const { level, msg } of said)
    expect([level, msg]).toEqual([40, expect.stringContaining('tail of the journal was torn')]);
  return said[0]?.torn ?? null;
}

/** Starts over a torn journal; the copy of the tail has exactly the bytes that were cut off. */
async function startTorn(
  dataDir: string,
  path: string,
): Promise<{ readonly torn: Torn; readonly found: readonly Found[] }> {
  const before = readFileSync(path);
  const broker = await BrokerProcess.start({ dataDir, flags: FLAGS });
  const torn = tornOf(broker.log)!;
  expect(torn).toMatchObject({ segment: segmentOf(path), reason: expect.stringMatching(/./) });
  expect(keptTails(dataDir)).toEqual([torn.copy]);
  expect(readFileSync(torn.copy).equals(before.subarray(torn.offset, torn.offset + torn.bytes))).toBe(true);
  const found = await drain(broker);
  expect(await broker.stop()).toMatchObject({ code: 0 });
  return { torn, found };
}

function segmentOf(path: string): number {
  return Number.parseInt(basename(path), 10);
}

describe('a torn tail', () => {
  test('of bytes that are no batch is cut off, kept and told, and nothing else is missing', async () => {
    const dataDir = copy();
    const { path, batches } = lastOf(dataDir);
    const { end } = batches.at(-1)!;
    overwrite(path, end, Buffer.from([...random.bytes(random.whole(0, 3_000)), 0xff]));
    const { torn, found } = await startTorn(dataDir, path);
    expect(torn.offset).toBe(end);
    assertHolds(found, confirmed);
  });

  test('at the very end of the file, behind the zeros written ahead, is one as well', async () => {
    const dataDir = copy();
    const { path, batches } = lastOf(dataDir);
    appendFileSync(path, 'garbage');
    const { torn, found } = await startTorn(dataDir, path);
    expect(torn).toMatchObject({ offset: batches.at(-1)!.end });
    expect(torn.offset + torn.bytes).toBe(statSync(killedPath(path)).size + 'garbage'.length);
    assertHolds(found, confirmed);
  });

  test.each([
    ['in its header', (batch: BatchPlace) => batch.offset + random.whole(1, BATCH_HEADER_BYTES - 1)],
    ['in its body', (batch: BatchPlace) => random.whole(batch.offset + BATCH_HEADER_BYTES, batch.end - 2)],
    ['before its last byte', (batch: BatchPlace) => batch.end - 1],
  ])('that was the last batch, cut %s, takes that batch with it and no other', async (_, cut) => {
    const dataDir = copy();
    const { path, batches } = lastOf(dataDir);
    const last = batches.at(-1)!;
    const at = cut(last);
    truncateSync(path, at);
    const { torn, found } = await startTorn(dataDir, path);
    // Zeros at its end are no part of a tail: they are what was written ahead.
    expect([torn.offset, torn.offset + torn.bytes]).toEqual([last.offset, endOfContent(path, at)]);
    // Nobody can tell this one from a write that never ended; a crash cuts only what was not confirmed yet.
    assertHolds(found, new Map([...confirmed].slice(0, -1)));
    expect(found.length).toBeLessThanOrEqual(confirmed.size);
  });

  test('is cut off once: the next start finds the journal whole', async () => {
    const dataDir = copy();
    const { path, batches } = lastOf(dataDir);
    overwrite(path, batches.at(-1)!.end, Buffer.from('torn'));
    const first = await BrokerProcess.start({ dataDir, flags: FLAGS });
    const kept = keptTails(dataDir);
    expect(tornOf(first.log)).not.toBeNull();
    const producer = await client(first.url);
    const more = await publishAll(producer, texts(5, { first: MESSAGES }));
    producer.terminate();
    await first.kill();
    const second = await BrokerProcess.start({ dataDir, flags: FLAGS });
    expect(tornOf(second.log)).toBeNull();
    expect(keptTails(dataDir)).toEqual(kept);
    assertHolds(await drain(second), new Map([...confirmed, ...more]));
  });
});

/** Behind the last byte before `end` that is not zero. */
function endOfContent(path: string, end: number): number {
  const bytes = readFileSync(killedPath(path));
  let at = end;
  while (bytes[at - 1] === 0) at -= 1;
  return at;
}

function killedPath(path: string): string {
  return join(killed, 'journal', basename(path));
}

/** A hash of each segment that has content, without the zeros written ahead, which are nobody's. */
function contents(dataDir: string): string[] {
  return segmentPaths(dataDir)
    .map((path) => readFileSync(path).toString('latin1').replace(/\0+$/, ''))
    .filter((content) => content.length > FILE_HEADER_BYTES)
    .map((content) => createHash('sha256').update(content, 'latin1').digest('hex'));
}

/** The broker refuses to start, says where the damage is, and has changed nothing. */
async function assertRefused(dataDir: string, segment: number): Promise<{ readonly offset: number }> {
  const before = contents(dataDir);
  const finished = await startExpectingFailure({ dataDir, flags: FLAGS });
  expect(finished.exit).toEqual({ code: 1, signal: null });
  expect(finished.stdout).toBe('');
  const { code, message } = errorOf(finished);
  expect(code).toBe('JOURNAL_DAMAGED');
  const [, at, offset] = /segment (\d+) is damaged at offset (\d+)/.exec(message)!;
  expect(Number(at)).toBe(segment);
  expect(message).toContain(`"lovage journal repair ${dataDir}"`);
  expect(keptTails(dataDir)).toEqual([]);
  expect(contents(dataDir)).toEqual(before);
  return { offset: Number(offset) };
}

/** The failure that the command reports, among the lines of the log. */
function errorOf({ stderr }: Finished): { readonly code: string; readonly message: string } {
  const lines = stderr
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  return lines.find(({ error }) => error !== undefined).error;
}

describe('damage', () => {
  const FLIPS = 6;

  test(`of any one byte in a closed segment is refused with its place (${FLIPS} of them by seed), and was all that was wrong`, async () => {
    const dataDir = copy();
    const last = segmentOf(lastOf(dataDir).path);
    for (let count = 0; count < FLIPS; count += 1) {
      const path = random.pick(segmentPaths(dataDir).filter((one) => segmentOf(one) < last));
      const at = random.whole(0, statSync(path).size - 1);
      flip(path, at);
      const { offset } = await assertRefused(dataDir, segmentOf(path));
      const batch = batchesOf(killedPath(path)).find(({ end }) => at < end)!;
      expect([at, offset]).toEqual([at, at < FILE_HEADER_BYTES ? 0 : batch.offset]);
      flip(path, at);
    }
    assertHolds(await drain(await BrokerProcess.start({ dataDir, flags: FLAGS })), confirmed);
  });

  test('of a batch in the last segment that others follow is refused, too', async () => {
    const dataDir = copy();
    const { path, batches } = lastOf(dataDir);
    const batch = random.pick(batches.slice(0, -1));
    const at = random.whole(batch.offset, batch.end - 1);
    flip(path, at);
    expect(await assertRefused(dataDir, segmentOf(path))).toEqual({ offset: batch.offset });
  });

  test('by a segment that is missing in the middle is refused', async () => {
    const dataDir = copy();
    const path = segmentPaths(dataDir)[2]!;
    rmSync(path);
    expect(await assertRefused(dataDir, segmentOf(path))).toEqual({ offset: 0 });
  });

  test('is taken out by the command that the refusal names, and the broker starts with what lies before it', async () => {
    const dataDir = copy();
    const path = segmentPaths(dataDir)[1]!;
    const batch = random.pick(batchesOf(path));
    flip(path, random.whole(batch.offset, batch.end - 1));
    await assertRefused(dataDir, segmentOf(path));
    const repair = ['journal', 'repair', dataDir];
    expect(await runCommand(repair)).toMatchObject({ exit: { code: 0 } });
    // That only showed what would be done.
    await assertRefused(dataDir, segmentOf(path));
    expect(await runCommand([...repair, '--apply'])).toMatchObject({ exit: { code: 0 } });
    expect(keptTails(dataDir).length).toBeGreaterThan(0);
    const found = await drain(await BrokerProcess.start({ dataDir, flags: FLAGS }));
    expect(found.map(({ id, text }) => [id, text])).toEqual([...confirmed].slice(0, found.length));
    expect(found.length).toBeGreaterThan(0);
    expect(found.length).toBeLessThan(confirmed.size);
  });
});
