/** What is revoked is told, to whoever has it and to whoever waits for it, when it is on the disk, and not before (promise P1). */
import { CLIENT_OPS } from '@lovage/protocol';
import { expect, test } from 'vitest';
import { RECORD_TYPES } from '../../server/broker/record-codec.js';
import { HandHarness } from './hand-harness.js';

test('messages that are revoked, wherever they are, are one record, and nobody hears of them before it is on disk', async () => {
  const harness = await HandHarness.start();
  const [worker, watcher, admin] = [await harness.connect(), await harness.connect(), await harness.connect()];
  worker.declare('q');
  worker.consume(['q'], { prefetch: 2 });
  worker.publish([
    { queue: 'q', body: 'started' },
    { queue: 'q', body: 'leased' },
    { queue: 'q', body: 'ready' },
    { queue: 'q', body: 'delayed', delayMs: 1_000 },
  ]);
  await harness.turns();
  worker.settle(CLIENT_OPS.START, [1, 1]);
  watcher.ask(CLIENT_OPS.RESULT_WATCH, [1, 4]);
  await harness.turns();
  for (const client of [worker, watcher, admin]) client.heard();
  harness.journal.isHeld = true;
  const before = harness.journal.staged.length;
  const result = { contentType: null, body: Buffer.from('no'), terminate: true };
  admin.ask(CLIENT_OPS.MESSAGE_REVOKE, null, { ids: [1, 2, 3, 4] }, 0, result);
  await harness.turns();
  // The first result of a namespace makes the queue.
  expect(harness.journal.staged.slice(before).map(({ type }) => type)).toEqual([
    RECORD_TYPES.queue,
    RECORD_TYPES.complete,
  ]);
  for (const client of [worker, watcher, admin]) expect(client.heard()).toEqual([]);
  await harness.letGo();
  expect(worker.frames()).toEqual([[78, [1, 2], true]]);
  expect(watcher.heard()).toEqual(['RESULT']);
  expect(admin.heard()).toEqual(['REPLY']);
});

test('a delivery that is begun while its revocation is on its way to the disk is revoked first, and refused then', async () => {
  const harness = await HandHarness.start();
  const [worker, admin] = [await harness.connect(), await harness.connect()];
  worker.declare('q');
  worker.consume(['q'], { prefetch: 2 });
  worker.publish([{ queue: 'q', body: 'leased' }]);
  await harness.turns();
  worker.heard();
  harness.journal.isHeld = true;
  const result = { contentType: null, body: Buffer.from('no'), terminate: true };
  admin.ask(CLIENT_OPS.MESSAGE_REVOKE, null, { ids: [1] }, 0, result);
  worker.settle(CLIENT_OPS.START, [1, 1]);
  await harness.turns();
  expect(worker.heard()).toEqual([]);
  await harness.letGo();
  expect(worker.heard()).toEqual(['REVOKED', 'REFUSED', 'SETTLED']);
});

test('what is revoked is told behind what was answered before', async () => {
  const harness = await HandHarness.start();
  const [worker, admin] = [await harness.connect(), await harness.connect()];
  worker.declare('q');
  worker.consume(['q'], { prefetch: 2 });
  worker.publish([{ queue: 'q', body: 'leased' }]);
  await harness.turns();
  harness.journal.isHeld = true;
  const result = { contentType: null, body: Buffer.from('no'), terminate: true };
  // As WELCOME is an answer.
  worker.ask(CLIENT_OPS.QUEUE_PAUSE, 'q');
  admin.ask(CLIENT_OPS.MESSAGE_REVOKE, null, { ids: [1] }, 0, result);
  await harness.turns();
  worker.heard();
  await harness.letGo();
  expect(worker.heard()).toEqual(['REPLY', 'REVOKED']);
});
