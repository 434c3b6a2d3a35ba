/** One journal at a time on a data directory (rule W9): the next one is told who has it, and has it as soon as that process is gone, however it went. */
import { closeSync, openSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import {
  DataDirLockedError,
  dumpJournal,
  type FileJournal,
  JournalDamagedError,
  openFileJournal,
  repairJournal,
  verifyJournal,
} from '../../server/journal/index.js';
import { damage } from '../support/data-directory.js';
import { tempDirectory } from '../support/temp-directory.js';
import { LockHolder, type RefusedNews } from './lock-holder.js';

function open(directory: string): Promise<FileJournal> {
  return openFileJournal({
    directory,
    onFatal: (error) => {
      throw error;
    },
  });
}

/** Opens, writes a record, and leaves the journal open. */
async function held(directory: string): Promise<FileJournal> {
  const journal = await open(directory);
  await journal.replay(() => undefined);
  journal.prepare();
  journal.stage(1, Buffer.from('head'), Buffer.from('body'));
  await journal.commit();
  return journal;
}

async function refusal(directory: string): Promise<DataDirLockedError> {
  try {
    await (await open(directory)).close();
  } catch (error) {
    if (error instanceof DataDirLockedError) return error;
    throw error;
  }
  return expect.unreachable('the directory is free');
}

describe('a second journal', () => {
  test('in the same process is refused, and told of this process and of when it took the directory', async () => {
    const directory = tempDirectory();
    const before = Date.now();
    const journal = await held(directory);
    const after = Date.now();
    const { code, pid, startedAt, message } = await refusal(directory);
    expect([code, pid]).toEqual(['DATA_DIR_LOCKED', process.pid]);
    expect(Date.parse(startedAt!)).toBeGreaterThanOrEqual(before);
    expect(Date.parse(startedAt!)).toBeLessThanOrEqual(after);
    expect(message).toBe(
      `Cannot open the data directory "${directory}": process ${pid} holds it since ${startedAt}, expected no other holder`,
    );
    await journal.close();
    await (await open(directory)).close();
  });

  test('leaves the directory as it was, and gives up nothing of the lock of the first', async () => {
    const directory = tempDirectory();
    const journal = await held(directory);
    const [names, text] = [readdirSync(directory), readFileSync(join(directory, 'lock'), 'latin1')];
    for (let count = 0; count < 3; count += 1) await refusal(directory);
    // With locks that belong to the process, closing any descriptor of the file would give up all of them.
    closeSync(openSync(join(directory, 'lock'), 'r+'));
    await refusal(directory);
    expect([readdirSync(directory), readFileSync(join(directory, 'lock'), 'latin1')]).toEqual([names, text]);
    await journal.close();
  });

  test('in another process is refused, and told of this one', async () => {
    const directory = tempDirectory();
    const journal = await held(directory);
    const other = await LockHolder.start(directory);
    const startedAt = readFileSync(join(directory, 'lock'), 'latin1').trim().split(' ')[1];
    expect(other.news).toMatchObject({ type: 'refused', code: 'DATA_DIR_LOCKED', pid: process.pid, startedAt });
    expect((other.news as RefusedNews).message).toContain(directory);
    await journal.close();
    const third = await LockHolder.start(directory);
    expect(third.news.type).toBe('open');
    await third.stop();
  });

  test('is told so as well when the lock file does not say by whom', async () => {
    const directory = tempDirectory();
    const journal = await held(directory);
    for (const [text, startedAt] of [
      ['', null],
      ['no number', 'number'],
      ['\0'.repeat(64), null],
    ] as const) {
      writeFileSync(join(directory, 'lock'), text);
      const error = await refusal(directory);
      expect([error.pid, error.startedAt]).toEqual([null, startedAt]);
      expect(error.message).toContain('process (unknown) holds it since');
    }
    await journal.close();
  });
});

describe('the lock of another process', () => {
  test('names it, and is gone with it after kill -9', async () => {
    const directory = tempDirectory();
    const holder = await LockHolder.start(directory);
    expect(holder.news.type).toBe('open');
    const { pid, startedAt } = await refusal(directory);
    expect(pid).toBe(holder.pid);
    expect(Math.abs(Date.now() - Date.parse(startedAt!))).toBeLessThan(600_000);
    await holder.kill();
    // What it wrote into the file is still there, and means nothing.
    expect(readFileSync(join(directory, 'lock'), 'latin1')).toContain(`${holder.pid} `);
    const journal = await held(directory);
    expect(journal.stats().records).toBe(1);
    await journal.close();
  });

  test('does not live on in a process that it has started', async () => {
    const directory = tempDirectory();
    const holder = await LockHolder.start(directory, 'with a child');
    const { childPid } = holder.news as { childPid: number };
    await refusal(directory);
    await holder.kill();
    expect(process.kill(childPid, 0)).toBe(true);
    await (await open(directory)).close();
  });

  test('is given up when it closes the journal', async () => {
    const directory = tempDirectory();
    const holder = await LockHolder.start(directory);
    await refusal(directory);
    await holder.stop();
    const journal = await open(directory);
    expect(journal.wasClean).toBe(true);
    await journal.close();
  });
});

describe('looking at a journal', () => {
  test('is refused while somebody writes it, and the other way round', async () => {
    const directory = tempDirectory();
    const journal = await held(directory);
    expect(() => verifyJournal(directory)).toThrow(DataDirLockedError);
    expect(() => dumpJournal(directory).next()).toThrow(DataDirLockedError);
    await expect(repairJournal(directory, { apply: false })).rejects.toThrow(DataDirLockedError);
    await journal.close();
    const records = dumpJournal(directory);
    expect(records.next().done).toBe(false);
    // Two may look at once, but nobody may write meanwhile.
    expect(verifyJournal(directory).records).toBe(1);
    await refusal(directory);
    records.return();
    await (await open(directory)).close();
  });

  test('gives the lock back when it fails', async () => {
    const directory = tempDirectory();
    await (await held(directory)).close();
    damage(directory);
    for (let count = 0; count < 2; count += 1) {
      expect(() => verifyJournal(directory)).toThrow(JournalDamagedError);
      await expect(open(directory)).rejects.toThrow(JournalDamagedError);
    }
  });
});
