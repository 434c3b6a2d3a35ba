/** The reading of traces that the tests of disk errors rest on. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { tempDirectory } from '../support/temp-directory.js';
import { lose, tracedWrites } from '../support/unsynced-writes.js';

const A = '/d/journal/0000000001.segment';
const B = '/d/journal/0000000002.segment';

function traced(...lines: string[]): ReturnType<typeof tracedWrites> {
  const path = join(tempDirectory(), 'trace');
  writeFileSync(path, `${lines.join('\n')}\n`);
  return tracedWrites(path);
}

test('a sync covers the writes to its file that ended before it began, and no others', () => {
  const { count, unsynced } = traced(
    `900 pwritev(19<${A}>, [{iov_base=""..., iov_len=52}, {iov_base=""..., iov_len=21}], 2, 64) = 73`,
    `900 pwrite64(20<${B}>, ""..., 100, 64) = 100`,
    `901 fdatasync(19<${A}> <unfinished ...>`,
    `900 pwrite64(20<${A}>, ""..., 262144, 4096 <unfinished ...>`,
    `902 pwrite64(20<${A}>, ""..., 10, 137) = 10`,
    `900 <... pwrite64 resumed>)            = 262144`,
    `901 <... fdatasync resumed>)           = 0`,
  );
  expect(count).toBe(4);
  expect(unsynced).toEqual([
    { path: B, offset: 64, bytes: 100 },
    { path: A, offset: 137, bytes: 10 },
    { path: A, offset: 4096, bytes: 262144 },
  ]);
});

test('a sync or a write that failed or never ended does nothing', () => {
  const write = `900 pwrite64(20<${A}>, ""..., 100, 64) = 100`;
  const { unsynced } = traced(
    write,
    `901 fdatasync(20<${A}>) = -1 EIO (Input/output error) (INJECTED)`,
    `900 pwrite64(20<${A}>, ""..., 100, 164) = -1 EIO (Input/output error) (INJECTED)`,
    `901 fdatasync(20<${A}>)                 = ?`,
    `902 fdatasync(20<${A}> <unfinished ...>`,
    '902 +++ killed by SIGKILL +++',
  );
  expect(unsynced).toEqual([{ path: A, offset: 64, bytes: 100 }]);
});

test('other files are nobody’s concern', () => {
  const lines = [
    '900 pwrite64(18</d/lock>, ""..., 31, 0) = 31',
    '900 rename("/d/journal/1.segment.tmp", "/d/journal/1.segment") = 0',
  ];
  expect(traced(...lines)).toEqual({ count: 0, unsynced: [] });
});

test('what is lost is lost by whole sectors, inside the write and inside the file', () => {
  const path = join(tempDirectory(), 'file');
  writeFileSync(path, Buffer.alloc(2_000, 1));
  const losses = [true, false, true];
  lose([{ path, offset: 500, bytes: 5_000 }], () => losses.shift() ?? false);
  const zeros = [...readFileSync(path).entries()].filter(([, byte]) => byte === 0).map(([at]) => at);
  expect(readFileSync(path)).toHaveLength(2_000);
  expect([zeros.length, zeros[0], zeros[11], zeros[12], zeros.at(-1)]).toEqual([12 + 512, 500, 511, 1024, 1535]);
});
