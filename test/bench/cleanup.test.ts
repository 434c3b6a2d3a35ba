import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test, vi } from 'vitest';
import { pathOf } from '../../bench/peers/installed.js';
import { atEnd, cleanUp } from '../../bench/run/cleanup.js';
import { freePort } from '../../bench/run/free-port.js';
import { cpuSeconds, residentBytes, sumOf } from '../../bench/run/process-usage.js';
import { runCommand } from '../../bench/run/run-command.js';
import { tempDirectory } from '../../bench/run/temp-directory.js';

describe('cleaning up', () => {
  test('undoes in reverse order, each once', async () => {
    const undone: string[] = [];
    for (const name of ['directory', 'server', 'client']) atEnd(() => undone.push(name));
    await cleanUp();
    await cleanUp();
    expect(undone).toEqual(['client', 'server', 'directory']);
  });

  test('goes on behind what fails, and says what failed', async () => {
    const told = vi.spyOn(process.stderr, 'write').mockReturnValue(true);
    const undone: string[] = [];
    atEnd(() => undone.push('first'));
    atEnd(() => {
      throw new Error('stuck');
    });
    await cleanUp();
    expect(undone).toEqual(['first']);
    expect(told).toHaveBeenCalledWith(expect.stringContaining('stuck'));
    told.mockRestore();
  });

  test('leaves out what was undone before', async () => {
    let count = 0;
    const undo = atEnd(() => count++);
    await undo();
    await undo();
    await cleanUp();
    expect(count).toBe(1);
  });

  test('removes temporary directories with what is in them, unless they are kept', async () => {
    const parent = await tempDirectory();
    const [gone, kept] = [await tempDirectory(parent.path), await tempDirectory(parent.path)];
    writeFileSync(join(gone.path, 'file'), 'text');
    kept.keep();
    await gone.remove();
    await kept.remove();
    expect([existsSync(gone.path), existsSync(kept.path)]).toEqual([false, true]);
    await cleanUp();
    expect(existsSync(parent.path)).toBe(false);
  });
});

describe('a command', () => {
  test('that fails says what it said last', async () => {
    const program = 'console.error("no such thing"); process.exit(3)';
    await expect(runCommand(process.execPath, ['-e', program], '/')).rejects.toThrow(/\(3\):\nno such thing/);
  });

  test('runs in its directory', async () => {
    const directory = await tempDirectory();
    await runCommand(process.execPath, ['-e', 'require("fs").writeFileSync("made", "")'], directory.path);
    expect(existsSync(join(directory.path, 'made'))).toBe(true);
    await directory.remove();
  });
});

describe('a program', () => {
  test('is found on the path, by its full path, or not at all', () => {
    expect(pathOf('sh')).toMatch(/\/sh$/);
    expect(pathOf(process.execPath)).toBe(process.execPath);
    expect(pathOf('lovage-bench-no-such-program')).toBeNull();
    expect(pathOf('/lovage-bench-no-such-program')).toBeNull();
  });
});

describe('what a process uses', () => {
  test('is told of a living one, and of none that is gone', () => {
    expect(cpuSeconds(process.pid)).toBeGreaterThan(0);
    expect(residentBytes(process.pid)).toBeGreaterThan(1_000_000);
    expect(residentBytes(2 ** 30)).toBeNull();
  });

  test('of several is a sum, unless one cannot be read', () => {
    expect(sumOf([1, 2, 3], (pid) => pid)).toBe(6);
    expect(sumOf([1, 2], (pid) => (pid === 2 ? null : pid))).toBeNull();
  });
});

test('a free port can be listened on', async () => {
  const port = await freePort();
  expect(port).toBeGreaterThan(0);
  expect(await freePort()).not.toBe(0);
});
