// hot path
/** Consumes and acknowledges every message by itself, when its handler is done. */
import { setTimeout as delay } from 'node:timers/promises';
import { monotonicMs } from '../run/monotonic-clock.js';
import type { DriverSession } from './driver.js';
import { LatencyHistogram } from './latency-histogram.js';
import type { Role } from './role.js';
import { stampOf } from './stamp.js';

export interface ConsumerOptions {
  /** Each has consumers of its own on every queue. */
  readonly connections: number;
  readonly queues: readonly string[];
  /** Consumers of each connection on each queue. */
  readonly consumersPerQueue: number;
  /** Of each consumer. */
  readonly prefetch: number;
  readonly concurrency: number;
  /** ms that a handler takes, without using the CPU; 0 returns at once. */
  readonly handlerMs: number;
  /** Whether bodies carry the time at which they were due. */
  readonly isStamped: boolean;
}

export class Consumer implements Role {
  count = 0;
  readonly failed = 0;
  readonly #connect: () => Promise<DriverSession>;
  readonly #options: ConsumerOptions;
  readonly #latency = new LatencyHistogram();
  readonly #sessions: DriverSession[] = [];

  constructor(connect: () => Promise<DriverSession>, options: ConsumerOptions) {
    this.#connect = connect;
    this.#options = options;
  }

  async open(): Promise<void> {
    for (let i = 0; i < this.#options.connections; i++) {
      const session = await this.#connect();
      this.#sessions.push(session);
      await this.#consume(session);
    }
  }

  async close(): Promise<void> {
    await Promise.all(this.#sessions.map((session) => session.close()));
  }

  clear(): void {
    this.#latency.clear();
  }

  histograms(): Record<string, string> {
    return { latency: this.#latency.encode() };
  }

  async #consume(session: DriverSession): Promise<void> {
    const { queues, consumersPerQueue, prefetch, concurrency } = this.#options;
    await Promise.all(queues.map((queue) => session.declare(queue)));
    const consumers = queues.flatMap((queue) => Array.from({ length: consumersPerQueue }, () => queue));
    await Promise.all(consumers.map((queue) => session.consume(queue, { prefetch, concurrency }, this.#handler)));
  }

  get #handler(): (body: Uint8Array) => void | Promise<void> {
    const { handlerMs, isStamped } = this.#options;
    if (handlerMs > 0) return (body) => this.#workOn(body);
    return isStamped ? (body) => this.#record(body) : this.#counted;
  }

  readonly #counted = (): void => {
    this.count++;
  };

  #record(body: Uint8Array): void {
    this.count++;
    const dueMs = stampOf(body);
    if (dueMs !== 0) this.#latency.record(monotonicMs() - dueMs);
  }

  async #workOn(body: Uint8Array): Promise<void> {
    if (this.#options.isStamped) this.#record(body);
    else this.count++;
    await delay(this.#options.handlerMs);
  }
}
