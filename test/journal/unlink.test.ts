/** A file that is removed in slices: gone by its name at once, its blocks given back from the end. */
import fs from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { nodeStorage } from '../../server/journal/index.js';
import { tempDirectory } from '../support/temp-directory.js';

const MIB = 1024 * 1024;

test.each([0, 1, MIB, MIB + 1, 10 * MIB])('a file of %i bytes goes in slices', async (bytes) => {
  const path = join(tempDirectory(), 'dead.segment');
  fs.writeFileSync(path, Buffer.alloc(bytes, 1));
  // Whoever has it open sees what has become of it.
  const witness = fs.openSync(path, 'r');
  try {
    const removed = nodeStorage.unlink(path, true);
    await expect.poll(() => fs.existsSync(path), { interval: 1 }).toBe(false);
    await removed;
    expect(fs.fstatSync(witness).size).toBeLessThanOrEqual(MIB);
  } finally {
    fs.closeSync(witness);
  }
});

test('a file that is not there cannot be removed', async () => {
  const path = join(tempDirectory(), 'none.segment');
  await expect(nodeStorage.unlink(path, true)).rejects.toThrow('ENOENT');
});
