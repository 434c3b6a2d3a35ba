/** `lovage journal` on the data directory of a broker that is down. */
import { cpSync } from 'node:fs';
import { beforeAll, expect, test } from 'vitest';
import { BrokerProcess } from '../support/broker-process.js';
import { damage, keptTails, segmentPaths } from '../support/data-directory.js';
import { tempDirectory } from '../support/temp-directory.js';
import { command, type Ended } from './command.js';

let dataDir: string;
beforeAll(async () => {
  const broker = await BrokerProcess.start({ flags: ['--segment-bytes', '64KiB'] });
  const variables = { LOVAGE_URL: broker.url };
  const body = 'x'.repeat(50_000);
  // Each fills most of a segment.
  for (let count = 0; count < 3; count += 1)
    expect(await command(['publish', 'q', '--declare'], { variables, input: body })).toMatchObject({ code: 0 });
  await command(['consume', 'q', '--count', '1'], { variables });
  await broker.kill();
  dataDir = broker.dataDir;
});

function run(line: string, directory = dataDir): Promise<Ended> {
  return command([...line.split(' '), directory]);
}

async function printed(line: string, directory?: string): Promise<string> {
  const { code, out, error } = await run(line, directory);
  expect([code, error]).toEqual([0, '']);
  return out;
}

function copy(): string {
  const directory = tempDirectory();
  cpSync(dataDir, directory, { recursive: true });
  return directory;
}

test('verify says what there is and how it ends', async () => {
  const text = await printed('journal verify');
  expect(text).toContain(`${dataDir} is whole`);
  expect(text).toMatch(/^segments +\d+ \(1 to \d+\)$/m);
  expect(text).toMatch(/^end +left by a process that died; the next start goes on behind it$/m);
  expect(JSON.parse(await printed('journal verify --json'))).toMatchObject({
    firstSegment: 1,
    isClean: false,
    torn: null,
  });
});

test('stats count records by segment and by type, and agree with dump', async () => {
  expect(await printed('journal stats')).toMatch(
    /^segment +bytes +batches +records +sealed\n(?:.*\n)*publish +3 +15\d{4}$/m,
  );
  const segments = JSON.parse(await printed('journal stats --json')) as {
    segment: number;
    records: number;
    types: Record<string, { records: number }>;
  }[];
  const records = (await printed('journal dump'))
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { segment: number; type: string });
  for (const { segment, records: count, types } of segments) {
    const own = records.filter((record) => record.segment === segment);
    expect(own).toHaveLength(count);
    for (const [type, { records: ofType }] of Object.entries(types))
      expect(own.filter((record) => record.type === type)).toHaveLength(ofType);
  }
  const [from] = (await printed('journal dump --from-segment 2 --limit 1')).trim().split('\n');
  expect(JSON.parse(from!)).toMatchObject({ segment: 2, type: 'checkpoint' });
});

test('a damaged journal is found, shown, repaired, and taken by the next start', async () => {
  const directory = copy();
  const { batch } = damage(directory);
  const verified = await run('journal verify', directory);
  expect(verified).toMatchObject({ code: 1, out: '' });
  expect(verified.error).toMatch(new RegExp(`^JOURNAL_DAMAGED: .*segment 1 is damaged at offset ${batch.offset}`));
  const before = segmentPaths(directory);
  expect(await printed('journal repair', directory)).toMatch(
    /A repair would\n {2}- cut segment 1 at offset 64 .*\n {2}- take segments 2 to \d+ out /,
  );
  expect(segmentPaths(directory)).toEqual(before);
  expect(JSON.parse(await printed('journal repair --apply --json', directory))).toMatchObject({
    damaged: true,
    applied: true,
    cut: { segment: 1, offset: batch.offset },
    copies: expect.arrayContaining([expect.stringContaining('torn')]) as unknown,
  });
  expect(keptTails(directory)).toHaveLength(before.length);
  expect(await printed('journal repair', directory)).toBe(`There is nothing to repair in ${directory}\n`);
  await printed('journal verify', directory);
  const broker = await BrokerProcess.start({ dataDir: directory });
  await broker.stop();
  expect(await printed('journal verify', directory)).toMatch(/^end +closed by the broker$/m);
});

test('a journal that a broker uses is left alone', async () => {
  const broker = await BrokerProcess.start({ dataDir: copy() });
  for (const verb of ['verify', 'stats', 'dump', 'repair', 'repair --apply']) {
    const { code, error } = await run(`journal ${verb}`, broker.dataDir);
    expect([verb, code]).toEqual([verb, 1]);
    expect(error).toMatch(/^DATA_DIR_LOCKED: /);
  }
});
