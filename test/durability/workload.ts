/** Producers and workers that go on with their work whatever happens to the broker, and write everything into a ledger. */
import { strict as assert } from 'node:assert';
import type { Client, Delivery, PublishMessage } from '../../client-sdk/index.js';
import type { BrokerProcess } from '../support/broker-process.js';
import { eventually } from '../support/deadline.js';
import type { Random } from '../support/random.js';
import { assertEmpty, client } from './backlog.js';
import type { Ledger, Message } from './ledger.js';

export const DISK_QUEUE = 'disk';
export const MEMORY_QUEUE = 'memory';

/** Publishes of one producer without an answer. */
const OPEN_MAX = 300;
/** Messages in the broker above which nothing more is published, so that the workers keep up. */
const BACKLOG_MAX = 1_000;
const PRIORITIES = [0, 0, 1, 9, 255];

/** A share of 100 of what a producer or worker does. */
interface Share<T> {
  readonly share: number;
  readonly act: T;
}

function choose<T>(random: Random, shares: readonly Share<T>[]): T {
  let dice = random.whole(0, 99);
  for (const { share, act } of shares) {
    if (dice < share) return act;
    dice -= share;
  }
  return shares.at(-1)!.act;
}

export async function declareQueues(client: Client): Promise<void> {
  for (const queue of [DISK_QUEUE, MEMORY_QUEUE])
    await client.queues.declare(queue, { backoffMsMin: 0, backoffMsMax: 20, attemptsMax: 0 });
}

/** Publishes one message a promise, now and then many in one call, some in memory only, and some to a queue that does not exist. */
export class Producer {
  readonly #client: Client;
  readonly #ledger: Ledger;
  readonly #random: Random;
  readonly #name: string;
  #open = 0;
  #isStopped = false;

  constructor(client: Client, ledger: Ledger, random: Random, name: string) {
    this.#client = client;
    this.#ledger = ledger;
    this.#random = random;
    this.#name = name;
  }

  /** Until `stop` is called or the client has ended; resolves when everything published has its answer. */
  async run(): Promise<void> {
    while (this.#goesOn) {
      if (this.#open >= OPEN_MAX || this.#ledger.backlog >= BACKLOG_MAX) await this.#ledger.changed();
      else if (this.#random.whole(0, 3) === 0) await new Promise((resolve) => setImmediate(resolve));
      else choose(this.#random, ACTIONS)(this);
    }
    while (this.#open > 0) await this.#ledger.changed();
  }

  stop(): void {
    this.#isStopped = true;
  }

  get #goesOn(): boolean {
    return !this.#isStopped && this.#client.status.current.state !== 'closed';
  }

  one(queue: string, isMemory: boolean): void {
    const message = this.#message(isMemory);
    const { body, ...options } = this.#publishOf(message);
    const receipt = this.#client.publish(queue, body, options);
    this.#track(
      [message],
      receipt.then((one) => [one]),
    );
  }

  many(): void {
    const messages = Array.from({ length: this.#random.whole(2, 40) }, () => this.#message(false));
    const publishes = messages.map((message) => this.#publishOf(message));
    this.#track(messages, this.#client.publishMany(DISK_QUEUE, publishes));
  }

  #message(isMemory: boolean): Message {
    const bytes = this.#random.whole(0, 99) === 0 ? 70_000 : this.#random.whole(1, 1_500);
    return this.#ledger.message(this.#name, bytes, isMemory);
  }

  #publishOf({ body, isMemory }: Message): PublishMessage {
    return { body, priority: this.#random.pick(PRIORITIES), durability: isMemory ? 'memory' : 'disk' };
  }

  #track(messages: readonly Message[], receipts: Parameters<Ledger['published']>[1]): void {
    this.#open += messages.length;
    void this.#ledger.published(messages, receipts, () => {
      this.#open -= messages.length;
    });
  }
}

const ACTIONS: readonly Share<(producer: Producer) => void>[] = [
  { share: 5, act: (producer) => producer.many() },
  { share: 5, act: (producer) => producer.one(MEMORY_QUEUE, true) },
  { share: 1, act: (producer) => producer.one('nowhere', false) },
  { share: 89, act: (producer) => producer.one(DISK_QUEUE, false) },
];

/** Takes what comes from both queues; each message is acked in the end, some of them after they were returned. */
export async function work(
  client: Client,
  ledger: Ledger,
  random: Random,
  name: string,
  prefetch: number,
): Promise<void> {
  const handle = async (delivery: Delivery): Promise<void> => {
    ledger.delivered(delivery, name);
    for (let turns = random.whole(0, 3); turns > 0; turns--) await new Promise((resolve) => setImmediate(resolve));
    await choose(random, ANSWERS)(delivery, ledger, random);
  };
  await client.consume([DISK_QUEUE, MEMORY_QUEUE], handle, { prefetch, queueOrder: 'fair' });
}

const ANSWERS: readonly Share<(delivery: Delivery, ledger: Ledger, random: Random) => Promise<void>>[] = [
  {
    share: 3,
    act: async () => {
      throw new Error('again');
    },
  },
  { share: 5, act: (delivery, ledger, random) => returned(delivery, ledger, random.whole(0, 20)) },
  { share: 10, act: async (delivery, ledger) => ledger.left(delivery) },
  { share: 82, act: (delivery, ledger) => ledger.acked(delivery, delivery.ack()) },
];

function returned(delivery: Delivery, ledger: Ledger, delayMs: number): Promise<void> {
  return ledger.returned(delivery, delivery.nack({ delayMs }));
}

/**
 * Takes and settles everything that is left on disk with a prefetch of 1, so that it comes in its order: the most urgent first, and inside a priority
 * by id. Nothing is left after that.
 */
export async function takeRest(broker: BrokerProcess, ledger: Ledger): Promise<void> {
  const { ready } = await eventually(
    () => broker.queue(DISK_QUEUE),
    ({ delayed, leased, started }) => delayed + leased + started === 0,
    'everything to wait in the queue',
  );
  const last = await client(broker.url);
  const places: [priority: number, id: number][] = [];
  for await (const delivery of ready === 0 ? [] : last.deliveries(DISK_QUEUE, { prefetch: 1 })) {
    places.push([delivery.priority, delivery.id]);
    ledger.delivered(delivery, 'the last worker');
    await ledger.acked(delivery, delivery.ack());
    if (places.length === ready) break;
  }
  assert.deepEqual(
    places,
    [...places].sort(([p, id], [q, other]) => q - p || id - other),
  );
  await last.queues.purge(MEMORY_QUEUE);
  await last.close();
  for (const queue of await broker.queues()) assertEmpty(queue);
}
