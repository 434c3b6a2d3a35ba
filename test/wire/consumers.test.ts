/** Who gets what: several queues at one consumer, several consumers at one queue, exclusive ones, paused queues, RECALL and RELEASE. */
import { CLIENT_OPS, SERVER_OPS } from '@lovage/protocol';
import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { BrokerProcess } from '../support/broker-process.js';
import { eventually } from '../support/deadline.js';
import { RawClient } from '../support/raw-client.js';

let broker: BrokerProcess;
let prefix: string;
let count = 0;

beforeAll(async () => {
  broker = await BrokerProcess.start({ flags: ['--grace-ms', '300'] });
});

beforeEach(() => {
  prefix = `test-${++count}`;
});

function connect(): Promise<RawClient> {
  return RawClient.connect(broker.url);
}

/** Declares queues and fills each with `total` messages, whose texts name queue and number. */
async function filled(names: readonly string[], total: number): Promise<RawClient> {
  const client = await connect();
  for (const name of names) {
    await client.declare(`${prefix}-${name}`);
    if (total > 0)
      await client.publishTexts(
        `${prefix}-${name}`,
        Array.from({ length: total }, (_, i) => `${name}${i}`),
      );
  }
  return client;
}

function queues(...names: string[]): string[] {
  return names.map((name) => `${prefix}-${name}`);
}

/** Takes messages one at a time; the first letters of their texts. */
async function take(client: RawClient, total: number): Promise<string> {
  for (let i = 0; i < total; i++) {
    await client.delivered(i + 1);
    await client.ack([client.deliveries[i]!.tag]);
  }
  return client.deliveries
    .slice(0, total)
    .map(({ text }) => text[0])
    .join('');
}

describe('a consumer of several queues', () => {
  test('in strict order empties the first, then the second', async () => {
    const client = await filled(['a', 'b', 'c'], 4);
    await client.consume(1, queues('b', 'a', 'c'), { prefetch: 1, queueOrder: 'strict' });
    expect(await take(client, 12)).toBe('bbbbaaaacccc');
    expect(client.deliveries.map(({ queueIndex }) => queueIndex).join('')).toBe('000011112222');
  });

  test('in strict order comes back to the first when something is published there', async () => {
    const client = await filled(['a', 'b'], 2);
    await client.consume(1, queues('a', 'b'), { prefetch: 1, queueOrder: 'strict' });
    expect(await take(client, 2)).toBe('aa');
    await client.delivered(3);
    await client.publishTexts(queues('a')[0]!, ['a2']);
    await client.ack([3]);
    await client.delivered(4);
    expect(client.deliveries.slice(2).map(({ text }) => text)).toEqual(['b0', 'a2']);
  });

  test('in fair order takes one of each in turn, and goes on with those that have some', async () => {
    const client = await filled(['a', 'b', 'c'], 3);
    await client.publishTexts(queues('b')[0]!, ['b3', 'b4']);
    await client.consume(1, queues('a', 'b', 'c'), { prefetch: 1, queueOrder: 'fair' });
    expect(await take(client, 11)).toBe('abcabcabcbb');
  });

  test('in weighted order takes as many in a row as their weights say', async () => {
    const client = await filled(['a', 'b'], 8);
    await client.consume(1, queues('a', 'b'), { prefetch: 1, queueOrder: 'weighted', weights: [3, 1] });
    expect(await take(client, 12)).toBe('aaabaaabaabb');
  });

  test('has one prefetch for all of them', async () => {
    const client = await filled(['a', 'b', 'c'], 5);
    await client.consume(1, queues('a', 'b', 'c'), { prefetch: 4, queueOrder: 'fair' });
    await client.barrier();
    expect(client.deliveries).toHaveLength(4);
  });

  test('goes on when one of its queues is deleted, and is told of that one and of the last one', async () => {
    const client = await filled(['a', 'b'], 0);
    await client.consume(1, queues('a', 'b'));
    await client.request(CLIENT_OPS.QUEUE_DELETE, queues('a')[0], null);
    expect(client.queuesGone).toEqual([{ consumerId: 1, queue: queues('a')[0], code: 'QUEUE_DELETED' }]);
    expect(client.cancelled).toEqual([]);
    await client.publishTexts(queues('b')[0]!, ['b0']);
    await client.delivered(1);
    await client.request(CLIENT_OPS.QUEUE_DELETE, queues('b')[0], null);
    expect(client.queuesGone).toHaveLength(1);
    expect(client.cancelled).toEqual([{ consumerId: 1, code: 'QUEUE_DELETED' }]);
  });
});

describe('several consumers of a connection', () => {
  test('are delivered to together, in one frame', async () => {
    const names = Array.from({ length: 40 }, (_, i) => `n${i}`);
    const client = await filled(names, 0);
    for (const [i, name] of names.entries()) await client.consume(100 + i, queues(name), { prefetch: 100 });
    const texts = names.flatMap((name, i) =>
      [0, 1].map((at) => ({ consumerId: 100 + i, name, text: `${name}:${at}` })),
    );
    await client.publish(texts.map(({ name, text }) => ({ queue: `${prefix}-${name}`, body: text })));
    const deliveries = await client.delivered(texts.length);
    expect(deliveries.map(({ consumerId, text, tag }) => [consumerId, text, tag])).toEqual(
      texts.map(({ consumerId, text }, i) => [consumerId, text, i + 1]),
    );
    const frames = client.frames.filter(({ op }) => op === SERVER_OPS.DELIVER);
    expect(frames).toHaveLength(1);
    await client.ack(deliveries.map(({ tag }) => tag));
    expect((await client.inspect(`${prefix}-n39`)).totals).toMatchObject({ delivered: 2, acked: 2 });
  });
});

describe('several consumers of a queue', () => {
  test('are served in turn, whether they share a connection or not', async () => {
    const producer = await filled(['a'], 0);
    const clients = [await connect(), await connect(), await connect()];
    for (const client of clients) await client.consume(1, queues('a'), { prefetch: 100 });
    await producer.publishTexts(
      queues('a')[0]!,
      Array.from({ length: 30 }, (_, i) => `${i}`),
    );
    for (const client of clients) await client.delivered(10);
    const numbers = clients.map(({ deliveries }) => deliveries.map(({ text }) => Number(text) % 3));
    for (const own of numbers) expect(new Set(own).size).toBe(1);
    expect(new Set(numbers.flat()).size).toBe(3);
  });

  test('get each message once, all together', async () => {
    const producer = await filled(['a'], 0);
    const clients = await Promise.all(Array.from({ length: 5 }, connect));
    for (const [i, client] of clients.entries()) await client.consume(1, queues('a'), { prefetch: 1 + i * 3 });
    const texts = Array.from({ length: 500 }, (_, i) => `${i}`);
    await producer.publishTexts(queues('a')[0]!, texts);
    const seen: string[] = [];
    const drain = async (client: RawClient): Promise<void> => {
      for (let done = 0; seen.length < texts.length; ) {
        await eventually(() => client.deliveries.length > done || seen.length >= texts.length, Boolean, 'more');
        for (; done < client.deliveries.length; done++) {
          seen.push(client.deliveries[done]!.text);
          await client.ack([client.deliveries[done]!.tag]);
        }
      }
    };
    await Promise.all(clients.map(drain));
    expect(seen.map(Number).sort((a, b) => a - b)).toEqual(texts.map(Number));
  });

  test('of a higher priority get every message as long as they have credit', async () => {
    const producer = await filled(['a'], 0);
    const [low, high] = [await connect(), await connect()];
    await low.consume(1, queues('a'), { prefetch: 10, priority: 1 });
    await high.consume(1, queues('a'), { prefetch: 3, priority: 2 });
    await producer.publishTexts(queues('a')[0]!, ['0', '1', '2', '3', '4']);
    await Promise.all([high.delivered(3), low.delivered(2)]);
    expect(high.deliveries.map(({ text }) => text)).toEqual(['0', '1', '2']);
    expect(low.deliveries.map(({ text }) => text)).toEqual(['3', '4']);
  });

  test('do without one that is gone', async () => {
    const producer = await filled(['a'], 0);
    const [gone, stays] = [await connect(), await connect()];
    await gone.consume(1, queues('a'));
    await stays.consume(1, queues('a'));
    gone.terminate();
    await eventually(
      () => broker.queue(queues('a')[0]!),
      ({ consumers }) => consumers === 1,
      'the end of the first consumer',
    );
    await producer.publishTexts(queues('a')[0]!, ['0', '1', '2', '3']);
    await stays.delivered(4);
  });
});

describe('an exclusive consumer', () => {
  test('keeps others out and is kept out by them, until it or they are gone', async () => {
    const [first, second] = [await filled(['a', 'b'], 0), await connect()];
    await first.consume(1, queues('a'), { exclusive: true });
    await expect(second.consume(1, queues('a'))).rejects.toThrow('QUEUE_EXCLUSIVE');
    await expect(second.consume(1, queues('b', 'a'), { exclusive: true })).rejects.toThrow('QUEUE_EXCLUSIVE');
    await second.consume(1, queues('b'));
    await expect(first.consume(2, queues('b'), { exclusive: true })).rejects.toThrow('QUEUE_EXCLUSIVE');
    await first.request(CLIENT_OPS.CANCEL, 1);
    await second.consume(2, queues('a'));
    second.terminate();
    await eventually(
      () => first.ask(CLIENT_OPS.CONSUME, 3, consumeExclusively('b')),
      (answer) => 'result' in answer,
      'the queue',
    );
  });

  test('that is refused one queue holds none of the others', async () => {
    const [first, second] = [await filled(['a', 'b'], 1), await connect()];
    await first.consume(1, queues('b'), { exclusive: true });
    await expect(second.consume(1, queues('a', 'b'))).rejects.toThrow('QUEUE_EXCLUSIVE');
    expect(await broker.queue(queues('a')[0]!)).toMatchObject({ consumers: 0, ready: 1 });
    await second.barrier();
    expect(second.deliveries).toEqual([]);
  });

  function consumeExclusively(name: string): unknown {
    return { queues: queues(name), prefetch: 1, ack: 'late', queueOrder: 'strict', exclusive: true };
  }
});

describe('a paused queue', () => {
  test('takes publishes, gives nothing out, and goes on where it was', async () => {
    const client = await filled(['a'], 2);
    const [queue] = queues('a') as [string];
    await client.request(CLIENT_OPS.QUEUE_PAUSE, queue);
    await client.consume(1, [queue]);
    await client.publishTexts(queue, ['a2']);
    await client.barrier();
    expect(client.deliveries).toEqual([]);
    expect(await broker.queue(queue)).toMatchObject({ isPaused: true, ready: 3 });
    await client.request(CLIENT_OPS.QUEUE_RESUME, queue);
    await client.delivered(3);
    expect(client.deliveries.map(({ text }) => text)).toEqual(['a0', 'a1', 'a2']);
  });
});

describe('RECALL', () => {
  test('brings un-started deliveries to a consumer that idles', async () => {
    const hoarder = await filled(['a'], 10);
    await hoarder.consume(1, queues('a'), { prefetch: 0 });
    await hoarder.delivered(10);
    await hoarder.start([1, 2]);
    const idle = await connect();
    await idle.consume(1, queues('a'), { prefetch: 2 });
    await hoarder.until(() => hoarder.recalled.length > 0, 'RECALL');
    // Not those that have started, and no more than the idle one has room for.
    expect(hoarder.recalled.length).toBeLessThanOrEqual(2);
    expect(hoarder.recalled.every((tag) => tag > 2)).toBe(true);
    const [tag] = hoarder.recalled as [number];
    await hoarder.release([tag]);
    const [delivery] = await idle.delivered(1);
    expect(delivery).toMatchObject({ text: `a${tag - 1}`, attempt: 1, redelivered: true });
    // Recalled or not, what is still there may be worked on.
    await hoarder.start([3]);
    await hoarder.ack([1, 2, 3]);
    expect(hoarder.refusals).toEqual([]);
  });

  test('makes room for something more urgent', async () => {
    const client = await filled(['a'], 3);
    await client.consume(1, queues('a'), { prefetch: 3 });
    await client.delivered(3);
    await client.start([1]);
    await client.publishTexts(queues('a')[0]!, ['urgent'], { priority: 9 });
    await client.until(() => client.recalled.length > 0, 'RECALL');
    await client.release([client.recalled[0]!]);
    expect((await client.delivered(4))[3]).toMatchObject({ text: 'urgent', priority: 9 });
  });

  test('that crosses a START is answered by the START alone', async () => {
    const client = await filled(['a'], 2);
    await client.consume(1, queues('a'), { prefetch: 0 });
    await client.delivered(2);
    await (await connect()).consume(1, queues('a'), { prefetch: 5 });
    await client.until(() => client.recalled.length > 0, 'RECALL');
    const [tag] = client.recalled as [number];
    await client.start([tag]);
    await client.release([tag]);
    expect(client.refusals).toEqual([{ settleSeq: 2, ranges: [tag, 1], code: 'INVALID_ARGUMENT' }]);
    await client.ack([tag]);
    expect(client.refusals).toHaveLength(1);
  });
});
