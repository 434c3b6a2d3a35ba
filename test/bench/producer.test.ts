import { describe, expect, test } from 'vitest';
import type { DriverSession } from '../../bench/load/driver.js';
import { Producer, type ProducerOptions } from '../../bench/load/producer.js';

interface Waiting {
  readonly queue: string;
  readonly priority: number;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

/** A session whose publishes are confirmed when the test says so. */
class HeldSession implements DriverSession {
  readonly waiting: Waiting[] = [];

  async declare(): Promise<void> {
    return undefined;
  }

  publish(queue: string, _body: Uint8Array, priority: number): Promise<void> {
    return new Promise((resolve, reject) => {
      this.waiting.push({ queue, priority, resolve, reject });
    });
  }

  async consume(): Promise<void> {
    return undefined;
  }

  async close(): Promise<void> {
    return undefined;
  }

  /** Confirms the oldest ones and lets the producer see it. */
  async confirm(count: number): Promise<Waiting[]> {
    const confirmed = this.waiting.splice(0, count);
    for (const { resolve } of confirmed) resolve();
    await new Promise(setImmediate);
    return confirmed;
  }
}

const OPTIONS: ProducerOptions = { queues: ['a', 'b'], bytes: 16, window: 10, priorities: 4, seed: 1, limit: null };

describe('Producer', () => {
  test('fills its window and refills exactly what was confirmed', async () => {
    const session = new HeldSession();
    const producer = new Producer(session, OPTIONS);
    producer.start();
    expect(session.waiting).toHaveLength(10);
    await session.confirm(3);
    expect(session.waiting).toHaveLength(10);
    expect(producer.count).toBe(3);
  });

  test('goes through its queues in turn, with priorities below the bound', async () => {
    const session = new HeldSession();
    new Producer(session, OPTIONS).start();
    expect(session.waiting.map(({ queue }) => queue).join('')).toBe('ababababab');
    for (const { priority } of session.waiting) expect([0, 1, 2, 3]).toContain(priority);
  });

  test('publishes as many as its limit says, and as many again when it is started again', async () => {
    const session = new HeldSession();
    const producer = new Producer(session, { ...OPTIONS, limit: 4 });
    producer.start();
    expect(session.waiting).toHaveLength(4);
    await session.confirm(4);
    expect(session.waiting).toHaveLength(0);
    producer.start();
    expect(await session.confirm(10)).toHaveLength(4);
    expect(producer.count).toBe(8);
  });

  test('stops only when everything that it began has its answer', async () => {
    const session = new HeldSession();
    const producer = new Producer(session, OPTIONS);
    producer.start();
    let isStopped = false;
    const stopping = producer.stop().then(() => {
      isStopped = true;
    });
    await session.confirm(9);
    expect(isStopped).toBe(false);
    expect(session.waiting).toHaveLength(1);
    await session.confirm(1);
    await stopping;
    expect(producer.count).toBe(10);
  });

  test('counts a refused publish as failed, never as confirmed', async () => {
    const session = new HeldSession();
    const producer = new Producer(session, { ...OPTIONS, limit: 2 });
    producer.start();
    session.waiting[0]!.reject(new Error('refused by the test'));
    session.waiting[1]!.resolve();
    await new Promise(setImmediate);
    expect([producer.count, producer.failed]).toEqual([1, 1]);
  });
});
