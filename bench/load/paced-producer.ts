// hot path
/**
 * Open loop: publishes at a fixed rate, whether or not the broker keeps up. Each message carries the time at which it was due, so what waits because
 * the producer or the broker was late counts as waiting.
 */
import { writeFileSync } from 'node:fs';
import { Worker } from 'node:worker_threads';
import { monotonicMs } from '../run/monotonic-clock.js';
import { randomBytes } from '../run/random.js';
import type { DriverSession } from './driver.js';
import { LatencyHistogram } from './latency-histogram.js';
import type { Role } from './role.js';
import { Schedule } from './schedule.js';
import { stamp } from './stamp.js';

export interface PacedProducerOptions {
  readonly queue: string;
  readonly bytes: number;
  readonly perSecond: number;
  readonly priority: number;
  readonly seed: number;
}

/** ms between two looks at the schedule: what is due between them is late by half of it on average, so it is short beside the latencies that are measured. */
const TICK_MS_MIN = 0.2;
/** ms in which the pacer's thread has started: its looks fall on the times at which messages are due, not somewhere between them. */
const PACER_START_MS = 200;

export class PacedProducer implements Role {
  count = 0;
  failed = 0;
  readonly #session: DriverSession;
  readonly #options: PacedProducerOptions;
  readonly #template: Uint8Array;
  readonly #confirm = new LatencyHistogram();
  readonly #lateness = new LatencyHistogram();
  #schedule: Schedule | null = null;
  #pacer: Worker | null = null;

  constructor(session: DriverSession, options: PacedProducerOptions) {
    this.#session = session;
    this.#options = options;
    this.#template = randomBytes(options.bytes, options.seed);
  }

  open(): Promise<void> {
    return this.#session.declare(this.#options.queue);
  }

  start(): void {
    const startMs = monotonicMs() + PACER_START_MS;
    this.#schedule = new Schedule(this.#options.perSecond, startMs);
    const intervalMs = Math.max(TICK_MS_MIN, this.#schedule.intervalMs);
    waitExactly();
    this.#pacer = new Worker(new URL('./pacer.js', import.meta.url), { workerData: { startMs, intervalMs } });
    this.#pacer.on('message', this.#publishDue);
  }

  /** What has no confirm yet is given up: a broker that does not keep up might take for ever. */
  async close(): Promise<void> {
    this.#schedule = null;
    await this.#pacer?.terminate();
    await this.#session.close();
  }

  clear(): void {
    this.#confirm.clear();
    this.#lateness.clear();
  }

  histograms(): Record<string, string> {
    return { confirm: this.#confirm.encode(), lateness: this.#lateness.encode() };
  }

  readonly #publishDue = (): void => {
    if (this.#schedule === null) return;
    const nowMs = monotonicMs();
    for (;;) {
      const dueMs = this.#schedule.next(nowMs);
      if (dueMs === null) return;
      this.#publish(dueMs);
    }
  };

  #publish(dueMs: number): void {
    const { queue, priority } = this.#options;
    const body = this.#template.slice();
    stamp(body, dueMs);
    this.#lateness.record(monotonicMs() - dueMs);
    this.#session.publish(queue, body, priority).then(
      () => {
        this.#confirm.record(monotonicMs() - dueMs);
        this.count++;
      },
      (error: unknown) => this.#refused(error),
    );
  }

  #refused(error: unknown): void {
    if (this.#schedule === null) return;
    if (this.failed++ === 0) process.stderr.write(`A publish failed: ${String(error)}\n`);
  }
}

/** Linux lets a thread's wait end up to 0.05 ms late unless it is told not to (prctl(2), PR_SET_TIMERSLACK); threads take it over from the one that starts them. */
function waitExactly(): void {
  try {
    writeFileSync('/proc/self/timerslack_ns', '1');
  } catch {
    // Another system: as it is.
  }
}
