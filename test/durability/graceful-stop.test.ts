/** SIGTERM and SIGINT: what has been confirmed is kept, what runs goes on with the next broker, and nobody can make the stop take for ever. */
import { describe, expect, test } from 'vitest';
import type { Delivery } from '../../client-sdk/index.js';
import { BrokerProcess, type Exit, runCommand } from '../support/broker-process.js';
import { eventually, within } from '../support/deadline.js';
import { freePort } from '../support/free-port.js';
import { Random, seedOf } from '../support/random.js';
import { RawClient } from '../support/raw-client.js';
import { assertEmpty, assertHolds, client, drain, publishAll, QUEUE, texts } from './backlog.js';
import { Ledger } from './ledger.js';
import { declareQueues, Producer, takeRest, work } from './workload.js';

/** ms that a stop may take: clients have 2 s to go, the rest is for a loaded machine. */
const STOP_MS = 15_000;

function ended(broker: BrokerProcess): Promise<Exit> {
  return within(broker.exit, () => `the end of a broker that was told to stop; its log:\n${broker.log}`, STOP_MS);
}

describe('under load', () => {
  test.each(['SIGTERM', 'SIGINT'] as const)('%s ends with 0 and loses nothing that was confirmed', async (signal) => {
    const seed = seedOf(`stop by ${signal}`);
    const ledger = new Ledger();
    const broker = await BrokerProcess.start({ flags: ['--segment-bytes', '256KiB'] });
    const sides = await Promise.all([0, 1, 2, 3].map(() => client(broker.url, { reconnect: false })));
    await declareQueues(sides[0]!);
    const produced = [0, 1].map((i) => new Producer(sides[i]!, ledger, new Random(seed + i), `producer ${i}`).run());
    for (const i of [2, 3]) await work(sides[i]!, ledger, new Random(seed + i), `worker ${i}`, 100);
    while (ledger.progress < 2_000) await within(ledger.changed(), () => JSON.stringify(ledger.counts));
    broker.signal(signal);
    expect(await ended(broker)).toEqual({ code: 0, signal: null });
    // Their clients are told and have nowhere to go.
    await within(Promise.all(produced), 'the end of the producers');
    for (const { status } of sides) expect(status.current).toMatchObject({ reason: { code: 'SHUTTING_DOWN' } });
    const { stdout } = await runCommand(['journal', 'verify', broker.dataDir, '--json']);
    expect(JSON.parse(stdout)).toMatchObject({ isClean: true, torn: null });

    const next = await BrokerProcess.start({ dataDir: broker.dataDir, flags: ['--grace-ms', '0'] });
    await within(takeRest(next, ledger), 'the rest');
    expect(ledger.close()).toEqual([]);
  });
});

/** Handlers that run until they are told to end. */
class Gate {
  readonly seen: Delivery[] = [];
  #open: () => void = () => undefined;
  readonly #opened = new Promise<void>((resolve) => {
    this.#open = resolve;
  });

  readonly handler = async (delivery: Delivery): Promise<void> => {
    this.seen.push(delivery);
    await this.#opened;
  };

  open(): void {
    this.#open();
  }
}

async function started(broker: BrokerProcess, count: number): Promise<void> {
  await eventually(
    () => broker.queue(QUEUE),
    (queue) => queue.started === count,
    `${count} started handlers`,
  );
}

describe('what runs during a stop', () => {
  test('goes on with the next broker when its client is back in time, and is not run twice', async () => {
    const flags = ['--port', `${await freePort()}`];
    const broker = await BrokerProcess.start({ flags });
    const worker = await client(broker.url);
    await publishAll(worker, texts(10));
    const gate = new Gate();
    await worker.consume(QUEUE, gate.handler, { prefetch: 6, concurrency: 3 });
    await started(broker, 3);
    broker.signal('SIGTERM');
    expect(await ended(broker)).toEqual({ code: 0, signal: null });
    const published = worker.publish(QUEUE, 'while it was away');

    const next = await BrokerProcess.start({ dataDir: broker.dataDir, flags });
    expect(await within(published, 'the confirm')).toMatchObject({ duplicate: false });
    await started(next, 3);
    expect(gate.seen.some(({ signal }) => signal.aborted)).toBe(false);
    gate.open();
    const info = await eventually(
      () => next.queue(QUEUE),
      ({ ready, leased, started: running }) => ready + leased + running === 0,
      'an empty queue',
    );
    assertEmpty(info);
    expect(gate.seen.map(({ attempt, value }, i) => [attempt, String(value.call(gate.seen[i]))])).toEqual(
      [...texts(10), 'while it was away'].map((text) => [1, text]),
    );
  });

  test('returns with its attempt charged when its client stays away, and what had not started with none', async () => {
    const broker = await BrokerProcess.start();
    const worker = await client(broker.url);
    await publishAll(worker, texts(6));
    await worker.consume(QUEUE, new Gate().handler, { prefetch: 4, concurrency: 2 });
    await started(broker, 2);
    broker.signal('SIGTERM');
    expect(await ended(broker)).toEqual({ code: 0, signal: null });
    worker.terminate();
    const next = await BrokerProcess.start({ dataDir: broker.dataDir, flags: ['--grace-ms', '100'] });
    const found = await drain(next);
    expect(found.map(({ text, attempt }) => [text, attempt]).sort()).toEqual(
      texts(6).map((text, i) => [text, i < 2 ? 2 : 1]),
    );
  });
});

/** A broker with messages, and a client that does not answer the close of its connection: the stop waits for it, for 2 s at most. */
async function held(): Promise<{ readonly broker: BrokerProcess; readonly confirmed: Map<number, string> }> {
  const broker = await BrokerProcess.start();
  const confirmed = await publishAll(await client(broker.url, { reconnect: false }), texts(100));
  const deaf = await RawClient.connect(broker.url);
  deaf.pause();
  return { broker, confirmed };
}

async function stopping(broker: BrokerProcess): Promise<string> {
  const http = broker.url.replace('ws:', 'http:');
  const ready = async (): Promise<{ status: number; text: string }> => {
    const answer = await fetch(`${http}/readyz`);
    return { status: answer.status, text: await answer.text() };
  };
  const { text } = await eventually(ready, ({ status }) => status === 503, 'the broker to say that it stops');
  return text;
}

describe('a stop that a client holds up', () => {
  test('lets nobody in, says so, drops who does not go, and ends with 0', async () => {
    const { broker, confirmed } = await held();
    const other = await RawClient.connect(broker.url);
    broker.signal('SIGTERM');
    expect(await other.untilClosed()).toBe(4410);
    expect(other.errors).toMatchObject([{ request: null, code: 'SHUTTING_DOWN' }]);
    expect(JSON.parse(await stopping(broker))).toMatchObject({ ready: false, stopping: true });
    await expect(RawClient.connect(broker.url)).rejects.toThrow('503');
    await expect(client(broker.url, { reconnect: false })).rejects.toMatchObject({ code: 'CONNECT_FAILED' });
    expect(await ended(broker)).toEqual({ code: 0, signal: null });
    assertHolds(await drain(await BrokerProcess.start({ dataDir: broker.dataDir })), confirmed);
  });

  test.each([
    ['a second SIGTERM', 'SIGTERM', { code: 143, signal: null }],
    ['a SIGINT after it', 'SIGINT', { code: 130, signal: null }],
    ['a SIGKILL after it', 'SIGKILL', { code: null, signal: 'SIGKILL' }],
  ] as const)('ends at once by %s, with everything confirmed on disk', async (_, second, exit) => {
    const { broker, confirmed } = await held();
    broker.signal('SIGTERM');
    await stopping(broker);
    broker.signal(second);
    expect(await ended(broker)).toEqual(exit);
    assertHolds(await drain(await BrokerProcess.start({ dataDir: broker.dataDir })), confirmed);
  });
});
