/** Many connections, each with a consumer that never gets anything. */
import type { DriverSession } from './driver.js';
import type { Role } from './role.js';

export interface IdlersOptions {
  readonly connections: number;
  readonly queue: string;
  readonly prefetch: number;
}

/** Connections that are made at a time. */
const OPENING_MAX = 100;

export class Idlers implements Role {
  count = 0;
  readonly failed = 0;
  readonly #connect: () => Promise<DriverSession>;
  readonly #options: IdlersOptions;
  readonly #sessions: DriverSession[] = [];

  constructor(connect: () => Promise<DriverSession>, options: IdlersOptions) {
    this.#connect = connect;
    this.#options = options;
  }

  async open(): Promise<void> {
    await Promise.all(Array.from({ length: OPENING_MAX }, () => this.#openSome()));
  }

  async close(): Promise<void> {
    await Promise.all(this.#sessions.map((session) => session.close()));
  }

  async #openSome(): Promise<void> {
    const { connections, queue, prefetch } = this.#options;
    while (this.count < connections) {
      this.count++;
      const session = await this.#connect();
      await session.declare(queue);
      await session.consume(queue, { prefetch, concurrency: prefetch }, () => undefined);
      this.#sessions.push(session);
    }
  }
}
