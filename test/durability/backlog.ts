/** Messages that a test puts into a broker, and what is found of them later, after whatever has happened to the broker meanwhile. */
import { strict as assert } from 'node:assert';
import { type Client, type ConnectOptions, connect, type PublishMessage } from '../../client-sdk/index.js';
import type { BrokerProcess } from '../support/broker-process.js';
import { atEnd } from '../support/cleanup.js';
import { within } from '../support/deadline.js';

export const QUEUE = 'work';

/** A message as it was found. */
export interface Found {
  readonly id: number;
  readonly text: string;
  readonly priority: number;
  readonly attempt: number;
  readonly redelivered: boolean;
}

/** A client that reconnects fast and is dropped at the end of the file. */
export async function client(url: string, options: ConnectOptions = {}): Promise<Client> {
  const connected = await connect(url, { reconnect: { delayMsMin: 5, delayMsMax: 100 }, ...options });
  atEnd(() => connected.terminate());
  return connected;
}

/** `count` texts "<first>", "<first + 1>", ..., each filled up with dots to `bytes`. */
export function texts(count: number, { first = 0, bytes = 0 } = {}): string[] {
  return Array.from({ length: count }, (_, i) => `${first + i}`.padEnd(bytes, '.'));
}

/** Publishes to `QUEUE`, which is declared for it, and returns id and text of what was confirmed, which is everything. */
export async function publishAll(
  to: Client,
  bodies: readonly string[],
  options: Partial<PublishMessage> = {},
): Promise<Map<number, string>> {
  await to.queues.declare(QUEUE, { backoffMsMin: 0, backoffMsMax: 0 });
  const receipts = await to.publishMany(
    QUEUE,
    bodies.map((body) => ({ ...options, body })),
  );
  return new Map(receipts.map(({ id }, i) => [id, bodies[i]!]));
}

/** Takes and settles everything that is in the queue, in the order in which it comes, and leaves the queue empty. */
export async function drain(broker: BrokerProcess, queue = QUEUE): Promise<Found[]> {
  const { ready, delayed, leased, started } = await broker.queue(queue);
  const count = ready + delayed + leased + started;
  const found: Found[] = [];
  if (count > 0) await within(take(broker, queue, count, found), () => `${count} messages; ${found.length} came`);
  assertEmpty(await broker.queue(queue));
  return found;
}

async function take(broker: BrokerProcess, queue: string, count: number, found: Found[]): Promise<void> {
  const consumer = await client(broker.url);
  const settled: Promise<void>[] = [];
  for await (const delivery of consumer.deliveries(queue, { prefetch: 1_000 })) {
    const { id, priority, attempt, redelivered } = delivery;
    found.push({ id, text: String(delivery.value()), priority, attempt, redelivered });
    settled.push(delivery.ack());
    if (found.length === count) break;
  }
  await Promise.all(settled);
  await consumer.close();
}

/** Nothing is in the queue in any state, and nothing of it is counted. */
export function assertEmpty(info: Awaited<ReturnType<BrokerProcess['queue']>>): void {
  const { ready, delayed, leased, started, bytes } = info;
  assert.deepEqual(
    { ready, delayed, leased, started, bytes },
    { ready: 0, delayed: 0, leased: 0, started: 0, bytes: 0 },
  );
}

/** Everything confirmed was found with its body, and nothing twice. What was published without a confirm may be there or not. */
export function assertHolds(found: readonly Found[], confirmed: ReadonlyMap<number, string>): void {
  const byId = new Map(found.map(({ id, text }) => [id, text]));
  assert.equal(byId.size, found.length, 'each message is found once');
  const lost = [...confirmed].filter(([id, text]) => byId.get(id) !== text);
  assert.deepEqual(lost, [], 'everything confirmed is found');
}
