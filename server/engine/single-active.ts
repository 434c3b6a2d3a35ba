/**
 * Queues with a single active consumer: one attachment gets the deliveries, the others stand by, in no rotation and unmarked.
 *
 *     nobody active --nothing of the queue is unsettled--> the highest priority, then the oldest, becomes active
 *          ^                                                      |
 *          +------ cancelled, or its connection is lost ----------+
 *
 * The next one waits for what is unsettled, so that messages are worked on in the order of the queue even while one consumer takes over from another. Only
 * who holds all of it himself (a session that was resumed) may go on at once.
 */
import type { Attachment, Consumer } from './consumer.js';
import { STATE } from './message-table.js';
import type { Queue } from './queue.js';
import type { EngineState } from './state.js';

export class SingleActive {
  readonly #state: EngineState;
  /** Queues without an active consumer that others may stand by for. */
  readonly #vacant = new Set<Queue>();

  constructor(state: EngineState) {
    this.#state = state;
  }

  get isWaiting(): boolean {
    return this.#vacant.size > 0;
  }

  /** Somebody has come to a queue of this kind, or its settings have made it one. */
  watch(queue: Queue): void {
    if (queue.isSingle && queue.active === null) this.#vacant.add(queue);
  }

  /** An attachment goes. */
  leave(attachment: Attachment): void {
    const { queue } = attachment;
    if (queue.active !== attachment) return;
    queue.active = null;
    this.watch(queue);
  }

  /** The setting has changed: all stand by until one is chosen, or all are served again. `marked` is told who is served. */
  switched(queue: Queue, marked: (consumer: Consumer) => void): void {
    queue.active = null;
    if (queue.isSingle) {
      for (const attachment of queue.attachments) standBy(attachment);
      this.watch(queue);
      return;
    }
    this.#vacant.delete(queue);
    for (const attachment of queue.attachments) {
      // Whoever was served alone may stand there, idle.
      queue.rotation.remove(attachment);
      attachment.consumer.mark(attachment);
      marked(attachment.consumer);
    }
  }

  /** Chooses where it is time to. `marked` is told who is to be served. */
  promote(marked: (consumer: Consumer) => void): void {
    for (const queue of this.#vacant) {
      if (queue.isDeleted || !queue.isSingle || queue.attachments.size === 0) {
        this.#vacant.delete(queue);
        continue;
      }
      const next = this.#next(queue);
      if (next === null) continue;
      this.#vacant.delete(queue);
      queue.active = next;
      next.consumer.mark(next);
      marked(next.consumer);
    }
  }

  #next(queue: Queue): Attachment | null {
    const unsettled = queue.leased + queue.started;
    let best: Attachment | null = null;
    for (const attachment of queue.attachments) {
      if (unsettled > 0 && this.#held(attachment.consumer, queue) < unsettled) continue;
      if (best === null || attachment.consumer.priority > best.consumer.priority) best = attachment;
    }
    return best;
  }

  /** Unsettled messages of the queue that this consumer has. */
  #held(consumer: Consumer, queue: Queue): number {
    if (consumer.unsettled === 0) return 0;
    const { table, leases } = this.#state;
    let held = 0;
    consumer.session.tags.forEach((_, lease) => {
      const slot = leases.slot[lease]!;
      if (leases.consumer[lease] === consumer && slot >= 0 && table.queue[slot] === queue.index) {
        if (table.state[slot] !== STATE.SENDING) held++;
      }
    });
    return held;
  }
}

/** The attachment gets nothing until it is marked. */
export function standBy(attachment: Attachment): void {
  attachment.queue.rotation.remove(attachment);
  if (attachment.isMarked) attachment.consumer.unmark(attachment);
}
