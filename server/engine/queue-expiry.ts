/**
 * Queues that go when nobody has used them for so long: no consumers, no declaration, no publish, nothing that came from another queue. Each use only
 * notes the time; the alarm that is set may be too early, and is set again when it comes.
 */
import type { Queue } from './queue.js';
import { QueueAlarms } from './queue-alarms.js';
import type { EngineState } from './state.js';

export class QueueExpiry {
  readonly #state: EngineState;
  readonly #alarms: QueueAlarms;

  constructor(state: EngineState) {
    this.#state = state;
    this.#alarms = new QueueAlarms(state);
  }

  /** ms of the next look, Infinity if there is none. */
  next(): number {
    return this.#alarms.next();
  }

  /** The queue is there, its settings have changed, or its last consumer has gone: it is unused from now on. */
  watch(queue: Queue): void {
    if (queue.isDeleted) return;
    this.forget(queue);
    const { expiresAfterUnusedMs } = queue.settings;
    if (expiresAfterUnusedMs === 0) return;
    queue.usedMs = this.#state.nowMs;
    this.#alarms.set(queue, queue.usedMs + expiresAfterUnusedMs);
  }

  forget(queue: Queue): void {
    this.#alarms.clear(queue);
  }

  /** A queue whose time has come; null if there is none. */
  due(): Queue | null {
    for (let queue = this.#alarms.take(); queue !== null; queue = this.#alarms.take()) {
      // Its last consumer's end is told to `watch`.
      if (queue.attachments.size > 0) continue;
      const deadlineMs = queue.usedMs + queue.settings.expiresAfterUnusedMs;
      if (deadlineMs <= this.#state.nowMs) return queue;
      this.#alarms.set(queue, deadlineMs);
    }
    return null;
  }
}
