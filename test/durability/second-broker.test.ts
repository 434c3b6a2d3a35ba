/** One data directory, two brokers: the second one is told who holds it, and gets it when that one is gone, however it went (rule W9). */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { BrokerProcess, startExpectingFailure } from '../support/broker-process.js';
import { segmentPaths } from '../support/data-directory.js';
import { tempDirectory } from '../support/temp-directory.js';
import { assertHolds, client, drain, publishAll, QUEUE, texts } from './backlog.js';

test('a second broker on a data directory says who holds it and ends with 1, and the first goes on unharmed', async () => {
  const first = await BrokerProcess.start();
  const producer = await client(first.url, { reconnect: false });
  const before = await publishAll(producer, texts(100));
  const files = () => [...readdirSync(first.dataDir), ...segmentPaths(first.dataDir)];
  const found = files();
  const { exit, stdout, stderr } = await startExpectingFailure({ dataDir: first.dataDir });
  expect([exit, stdout]).toEqual([{ code: 1, signal: null }, '']);
  const { error } = JSON.parse(stderr.trim().split('\n').at(-1)!);
  expect(error.code).toBe('DATA_DIR_LOCKED');
  expect(error.message).toContain(`process ${first.pid} holds it since`);
  expect(error.message).toContain(first.dataDir);
  expect(files()).toEqual(found);
  expect(readFileSync(join(first.dataDir, 'lock'), 'latin1')).toMatch(new RegExp(`^${first.pid} `));
  const after = await publishAll(producer, texts(100, { first: 100 }));
  expect(producer.status.current.state).toBe('connected');
  const taken = await drain(first);
  assertHolds(taken, new Map([...before, ...after]));
  expect(taken.map(({ text }) => text)).toEqual(texts(200));
});

test('of several brokers that start at once over an abandoned lock exactly one gets the directory', async () => {
  const dataDir = tempDirectory();
  const first = await BrokerProcess.start({ dataDir });
  const confirmed = await publishAll(await client(first.url), texts(10));
  await first.kill();
  const starts = await Promise.allSettled([0, 1, 2].map(() => BrokerProcess.start({ dataDir })));
  const started = starts.filter((start) => start.status === 'fulfilled').map(({ value }) => value);
  expect(started).toHaveLength(1);
  const refused = starts.filter((start) => start.status === 'rejected').map(({ reason }) => String(reason));
  for (const reason of refused) expect(reason).toContain('DATA_DIR_LOCKED');
  assertHolds(await drain(started[0]!), confirmed);
});

test('after kill -9 of the first the second has the directory at once, with everything confirmed', async () => {
  const first = await BrokerProcess.start();
  const producer = await client(first.url);
  const confirmed = await publishAll(producer, texts(1_000));
  // More is on its way while it is killed.
  producer.publish(QUEUE, 'on its way').catch(() => undefined);
  await first.kill();
  // No waiting and no second try: the lock died with the process.
  const second = await BrokerProcess.start({ dataDir: first.dataDir });
  expect(second.pid).not.toBe(first.pid);
  expect(readFileSync(join(first.dataDir, 'lock'), 'latin1')).toMatch(new RegExp(`^${second.pid} `));
  assertHolds(await drain(second), confirmed);
});

test('after a stop the second has the directory at once', async () => {
  const first = await BrokerProcess.start();
  const confirmed = await publishAll(await client(first.url), texts(10));
  expect(await first.stop()).toEqual({ code: 0, signal: null });
  assertHolds(await drain(await BrokerProcess.start({ dataDir: first.dataDir })), confirmed);
});
