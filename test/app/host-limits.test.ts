/** What the machine, or the container around the process, allows. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { diskFreeBytes, diskFreeBytesMin, hostMemoryBytes, messageMemoryBytes } from '../../server/app/host-limits.js';
import { tempDirectory } from '../support/temp-directory.js';

const MIB = 1024 * 1024;

/** A file as the kernel shows a container's bound. */
function limitFile(text: string): string {
  const path = join(tempDirectory(), 'memory.max');
  writeFileSync(path, text);
  return path;
}

describe("the host's memory", () => {
  test.each([
    ['the bound of a container', [limitFile('268435456\n')], 256 * MIB],
    ['no bound of cgroup v2', [limitFile('max\n')], 1_024 * MIB],
    ['no bound of cgroup v1', [limitFile('9223372036854771712\n')], 1_024 * MIB],
    ['the first file that has a number', [limitFile('max\n'), limitFile('134217728\n')], 128 * MIB],
    ['no such file', ['/nowhere/memory.max'], 1_024 * MIB],
  ])('is that of %s', (_, files, bytes) => {
    expect(hostMemoryBytes(files, 1_024 * MIB)).toBe(bytes);
  });

  test('leaves to messages what the program and the cache do not take, 16 MiB at least', () => {
    expect(messageMemoryBytes(1_024 * MIB, 64 * MIB, 8_192 * MIB)).toBe((1_024 - 64 - 96) * MIB);
    expect(messageMemoryBytes(0.75, 64 * MIB, 1_024 * MIB)).toBe((768 - 64 - 96) * MIB);
    expect(messageMemoryBytes(1, 64 * MIB, 1_024 * MIB)).toBe((1_024 - 64 - 96) * MIB);
    expect(messageMemoryBytes(64 * MIB, 64 * MIB, 1_024 * MIB)).toBe(16 * MIB);
  });
});

describe("the journal's disk", () => {
  test('has free bytes, of which a tenth of it at most is asked to stay free', () => {
    const directory = tempDirectory();
    expect(diskFreeBytes(directory)).toBeGreaterThan(0);
    expect(diskFreeBytes('/nowhere/at/all')).toBe(Number.POSITIVE_INFINITY);
    expect(diskFreeBytesMin(directory, 1)).toBe(1);
    const least = diskFreeBytesMin(directory, Number.MAX_SAFE_INTEGER);
    expect(least).toBeLessThan(Number.MAX_SAFE_INTEGER);
    expect(least).toBeGreaterThan(1);
  });
});
