/** The programs of `client-sdk/examples`, run as a reader runs them. */
import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import { beforeAll, expect, test } from 'vitest';
import { type Ended, ended } from '../cli/command.js';
import { Running } from '../cli/running.js';
import { BrokerProcess } from '../support/broker-process.js';
import { atEnd } from '../support/cleanup.js';
import { eventually } from '../support/deadline.js';
import { tempDirectory } from '../support/temp-directory.js';

const EXAMPLES = join(import.meta.dirname, '../../client-sdk/examples');

let broker: BrokerProcess;

beforeAll(async () => {
  broker = await BrokerProcess.start({ flags: ['--grace-ms', '200'] });
});

function start(example: string, ...words: string[]): ChildProcess {
  const child = spawn(process.execPath, [join(EXAMPLES, example), ...words], {
    env: { ...process.env, LOVAGE_URL: broker.url },
  });
  atEnd(() => void child.kill('SIGKILL'));
  return child;
}

async function linesOf(example: string, ...words: string[]): Promise<string[]> {
  const { code, out, error } = (await ended(start(example, ...words) as Parameters<typeof ended>[0])) as Ended;
  expect({ code, error }).toEqual({ code: 0, error: '' });
  return out.trimEnd().split('\n');
}

test('sms: codes go ahead of promotions', async () => {
  const [codes, all] = await linesOf('sms.js');
  expect(codes).toMatch(/^3 codes are out, \d+ promotions went before them$/);
  // Of 200 that were sent first.
  expect(Number(codes!.split(' ')[4])).toBeLessThan(150);
  expect(all).toBe('all 203 messages are out');
});

test('uploads: big ones one at a time', async () => {
  expect(await linesOf('uploads.js')).toEqual([
    '43 files are stored, the last one at s3://files/film-2.mp4',
    'at most 8 small ones and 1 big one at a time',
  ]);
});

test('thumbnails: a native library in child processes', async () => {
  expect(await linesOf('thumbnails.js', tempDirectory())).toEqual([
    'landscape.png: 64 x 48, made by a child',
    'portrait.png: 64 x 128, made by a child',
    'square.png: 64 x 64, made by a child',
    'TASK_FAILED: Input file contains unsupported image format',
  ]);
});

test('hours: one at a time, and again when the worker is killed in the middle', async () => {
  const worker = (): Running => {
    const words = ['worker', join(EXAMPLES, 'hours.js'), '--concurrency', '1', '--prefetch-multiplier', '1', '--json'];
    return new Running(words, { LOVAGE_URL: broker.url });
  };
  const first = worker();
  const program = start('hours.js', '60000', '1');
  atEnd(() => void program.kill('SIGKILL'));
  await first.until(({ error }) => error.includes('attempt 1'), 'the first hour to begin');
  // What the broker has not heard of yet would be no attempt.
  await eventually(
    () => broker.queue('hours'),
    ({ started }) => started === 1,
    'the broker to know',
  );
  first.signal('SIGKILL');
  const second = worker();
  await second.until(({ error }) => error.includes('attempt 2'), 'the first hour to begin again');
  // The second task waits behind it, with nobody.
  expect(second.error.trim().split('\n')).toEqual(['rendering, attempt 2']);
});
