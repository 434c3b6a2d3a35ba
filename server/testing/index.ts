/**
 * `@lovage/server/testing`: a broker in the process of a test, in memory, whose time goes on only when the test says so.
 *
 *     advance(3 600 000) ──► everything is quiet ──► to the next deadline ──► quiet ──► ... ──► the hour is over, and quiet
 *
 * Quiet is: what was delivered is answered, and nothing has been said to the broker for some turns of the event loop. Client and broker share that loop, so what one
 * has written the other reads in its next turn.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { LovageError } from '@lovage/protocol';
import { pino } from 'pino';
import { type App, startApp } from '../app/app.js';
import { loadSettings } from '../settings/index.js';
import { TestClock } from './test-clock.js';

export interface TestBrokerOptions {
  /** ms since 1970 that the clock shows at first, 0-8,640,000,000,000,000. Default: now. */
  readonly nowMs?: number | undefined;
}

export interface TestBroker {
  /** Where the SDK connects to: `ws://127.0.0.1:` and a free port. */
  readonly url: string;
  /** ms since 1970 that the clock of the broker shows. */
  readonly nowMs: number;
  /**
   * Lets so many ms pass, 0-315,360,000,000, from deadline to deadline: delays, retries, expiries, the time that results are kept. At each one, and at the end, it waits until
   * what was delivered is answered, at most a second of real time each: a handler or task that runs for longer goes on beside it. Timers of the test's own code,
   * soft and hard time limits, and deadlines of the SDK go by real time. Rejects INVALID_ARGUMENT, and CLIENT_CLOSED after `close`.
   */
  advance(ms: number): Promise<void>;
  /** Ends it; nothing is left of it. Idempotent. */
  close(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

const ADVANCE_MS_MAX = 315_360_000_000;
const DATE_MS_MAX = 8_640_000_000_000_000;
/** Turns of the event loop without a word, after which nothing is on its way: a frame takes two. */
const QUIET_TURNS = 20;
/** ms of real time that deliveries may stay unanswered before the time goes on without them. */
const ANSWER_MS = 1_000;

/** Starts one. Several may run at once, each for itself. */
export async function startTestBroker({ nowMs = Date.now() }: TestBrokerOptions = {}): Promise<TestBroker> {
  assertWhole('nowMs', nowMs, DATE_MS_MAX);
  const clock = new TestClock(nowMs);
  const flags = { port: 0, memory: true, host: '127.0.0.1' };
  const app = await startApp(loadSettings('broker', { flags, variables: {} }), pino({ level: 'silent' }), clock);
  return new ActiveTestBroker(app, clock);
}

class ActiveTestBroker implements TestBroker {
  readonly #app: App;
  readonly #clock: TestClock;
  #isClosed = false;
  /** One advance after the other. */
  #advancing: Promise<void> = Promise.resolve();

  constructor(app: App, clock: TestClock) {
    this.#app = app;
    this.#clock = clock;
  }

  get url(): string {
    return this.#app.url;
  }

  get nowMs(): number {
    return this.#clock.nowMs;
  }

  async advance(ms: number): Promise<void> {
    assertWhole('ms', ms, ADVANCE_MS_MAX);
    const advanced = this.#advancing.then(() => this.#advance(ms));
    this.#advancing = advanced.catch(() => undefined);
    await advanced;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#app.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #advance(ms: number): Promise<void> {
    await this.#quiet();
    const endMs = this.#clock.nowMs + ms;
    for (let nextMs = this.#clock.next(); nextMs <= endMs; nextMs = this.#clock.next()) {
      this.#clock.moveTo(Math.max(nextMs, this.#clock.nowMs));
      await this.#quiet();
    }
    this.#clock.moveTo(endMs);
    await this.#quiet();
  }

  async #quiet(): Promise<void> {
    const giveUpMs = performance.now() + ANSWER_MS;
    for (let turns = 0, reads = -1; turns < QUIET_TURNS; turns++) {
      if (this.#isClosed) throw new LovageError('CLIENT_CLOSED', 'Cannot let time pass: the broker is closed');
      const isBusy = this.#app.unsettled() > 0 && performance.now() < giveUpMs;
      if (isBusy || this.#clock.reads !== reads) turns = 0;
      reads = this.#clock.reads;
      await nextTurn();
    }
  }
}

function assertWhole(field: string, value: number, max: number): void {
  if (Number.isSafeInteger(value) && value >= 0 && value <= max) return;
  const message = `Cannot accept "${field}": ${value}, expected a whole number from 0 to ${max}`;
  throw new LovageError('INVALID_ARGUMENT', message, { details: { field } });
}
