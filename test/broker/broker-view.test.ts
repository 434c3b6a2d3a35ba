import { CLIENT_OPS } from '@lovage/protocol';
import { expect, test } from 'vitest';
import { LiveBrokerView } from '../../server/broker/broker-view.js';
import { HandHarness } from './hand-harness.js';

const message = { queue: 'q', body: 'x' };

test('view tells what the broker has done, by its own clock', async () => {
  const harness = await HandHarness.start();
  const { clock, broker } = harness.sessions;
  const view = new LiveBrokerView(broker, clock, '1.2.3', () => ({ connections: 4, sessions: 3 }));
  const beganMs = clock.monotonicMs();
  const syncs: number[] = [];
  view.onSync((ms) => syncs.push(ms));
  view.sample();
  const client = await harness.connect();
  client.declare('q');
  client.publish([message, message, message, { ...message, delayMs: 60_000 }]);
  client.consume(['q'], { prefetch: 2 });
  await harness.turns();
  client.settle(CLIENT_OPS.START, [1, 2]);
  client.settle(CLIENT_OPS.ACK, [1, 1]);
  client.publish([{ queue: 'missing', body: 'x' }]);
  await harness.turns();
  clock.advance(beganMs + 2_000 - clock.monotonicMs());
  expect(view.overview()).toMatchObject({
    version: '1.2.3',
    uptimeMs: 2_000,
    syncClass: 'always',
    isReady: true,
    isStopping: false,
    connections: 4,
    sessions: 3,
    consumers: 1,
    queues: 1,
    messages: { ready: 0, delayed: 1, leased: 1, started: 1 },
    totals: { published: 4, delivered: 3, acked: 1, refused: 1 },
    rates: { published: 2, delivered: 1.5, acked: 0.5 },
  });
  expect(syncs.length).toBeGreaterThan(0);
  expect(view.queue('default', 'q')).toMatchObject({ name: 'q', consumers: 1 });
  expect(view.queue('other', 'q')).toBeNull();
  expect(view.queues(null, null, 10).map(({ name }) => name)).toEqual(['q']);
  view.isStopping = true;
  expect(view.isReady).toBe(false);
});

test('view is not ready while the journal is replayed, and tells how much of it is done', async () => {
  const harness = await HandHarness.start();
  const { broker, clock } = harness.sessions;
  const view = new LiveBrokerView(broker, clock, '1.2.3', () => ({ connections: 0, sessions: 0 }));
  expect([view.isReady, view.recoveredShare]).toEqual([true, 1]);
  broker.isReady = false;
  broker.recoveredShare = 0.25;
  expect([view.isReady, view.recoveredShare]).toEqual([false, 0.25]);
});
