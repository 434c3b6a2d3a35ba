// hot path
/** Closed loop: keeps a window of unconfirmed publishes full. One call and one promise a message. */
import { randomBytes, randomFrom } from '../run/random.js';
import type { DriverSession } from './driver.js';
import type { Role } from './role.js';
import { STAMP_BYTES, stamp } from './stamp.js';

export interface ProducerOptions {
  readonly queues: readonly string[];
  readonly bytes: number;
  /** Unconfirmed publishes at most. */
  readonly window: number;
  /** Priorities are random in 0..`priorities - 1`. */
  readonly priorities: number;
  readonly seed: number;
  /** Publishes for each `start`; null for no end. */
  readonly limit: number | null;
}

/** Priorities are drawn ahead and used again and again. A prime, so that they meet every queue. */
const PRIORITIES_DRAWN = 4_099;

export class Producer implements Role {
  count = 0;
  failed = 0;
  readonly #session: DriverSession;
  readonly #options: ProducerOptions;
  readonly #body: Uint8Array;
  readonly #priorities: Uint8Array;
  #begun = 0;
  #limit = 0;
  #idle: () => void = () => undefined;

  constructor(session: DriverSession, options: ProducerOptions) {
    const random = randomFrom(options.seed);
    this.#session = session;
    this.#options = options;
    this.#body = randomBytes(options.bytes, options.seed);
    if (options.bytes >= STAMP_BYTES) stamp(this.#body, 0);
    this.#priorities = Uint8Array.from({ length: PRIORITIES_DRAWN }, () => random() * options.priorities);
  }

  async open(): Promise<void> {
    await Promise.all(this.#options.queues.map((queue) => this.#session.declare(queue)));
  }

  start(): void {
    this.#limit += this.#options.limit ?? Number.POSITIVE_INFINITY;
    this.#fill();
  }

  async stop(): Promise<void> {
    this.#limit = this.#begun;
    if (this.#unconfirmed === 0) return;
    await new Promise<void>((resolve) => {
      this.#idle = resolve;
    });
  }

  close(): Promise<void> {
    return this.#session.close();
  }

  get #unconfirmed(): number {
    return this.#begun - this.count - this.failed;
  }

  #fill(): void {
    const { queues, window } = this.#options;
    while (this.#unconfirmed < window && this.#begun < this.#limit) {
      const at = this.#begun++;
      const queue = queues[at % queues.length]!;
      this.#session
        .publish(queue, this.#body, this.#priorities[at % PRIORITIES_DRAWN]!)
        .then(this.#confirmed, this.#refused);
    }
  }

  readonly #confirmed = (): void => {
    this.count++;
    this.#next();
  };

  readonly #refused = (error: unknown): void => {
    if (this.failed++ === 0) process.stderr.write(`A publish failed: ${String(error)}\n`);
    this.#next();
  };

  #next(): void {
    if (this.#begun < this.#limit) this.#fill();
    else if (this.#unconfirmed === 0) this.#idle();
  }
}
