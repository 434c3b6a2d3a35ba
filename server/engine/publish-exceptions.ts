// hot path
/** Which messages of a PUBLISH are not taken: those whose queue is missing or full, that were taken before, or whose dedup key is in the window. */
import type { PublishBatch } from '@lovage/protocol';
import type { Producer } from './producers.js';
import type { Queue } from './queue.js';
import { QueueClaims } from './queue-claims.js';
import type { EngineState } from './state.js';

export class PublishExceptions {
  readonly #state: EngineState;
  /** index, id, index, id, ... of messages of the frame at hand that are not taken; id 0 means refused. */
  readonly found: number[] = [];
  /** What the frame at hand adds to the queues that refuse what is too many. */
  readonly #claims = new QueueClaims();

  constructor(state: EngineState) {
    this.#state = state;
  }

  /** Fills `found`. `targets` are the queues of the frame's targets, null for one that is not there. */
  find(producer: Producer | null, batch: PublishBatch, targets: readonly (Queue | null)[]): void {
    const { found } = this;
    found.length = 0;
    const isResent = producer !== null && batch.firstSeq <= producer.lastSeq;
    if (!isResent && batch.dedupKeys.size === 0 && !targets.some(mayRefuse)) return;
    const keysInFrame = new Map<string, number>();
    this.#claims.clear();
    for (let i = 0; i < batch.count; i++) {
      const queue = targets[batch.target[i]!]!;
      const taken = isResent ? producer.idOf(batch.firstSeq + i) : 0;
      if (taken !== 0) found.push(i, taken);
      else if (queue === null) found.push(i, 0);
      else this.#lookAt(queue, batch, i, keysInFrame);
    }
  }

  /** A duplicate, or too many for its queue. */
  #lookAt(queue: Queue, batch: PublishBatch, i: number, keysInFrame: Map<string, number>): void {
    const key = queue.settings.dedupWindowMs === 0 ? undefined : batch.dedupKeys.get(i);
    const nameInFrame = `${queue.index} ${key}`;
    if (key !== undefined) {
      const inFrame = keysInFrame.get(nameInFrame);
      const id = inFrame === undefined ? queue.dedup.find(key, this.#state.nowMs) : this.#state.nextId + inFrame;
      if (id !== 0) {
        queue.totals.duplicates++;
        this.found.push(i, id);
        return;
      }
    }
    if (queue.isRefusing && !this.#claims.fits(queue, batch.payloadLength[i]!)) this.found.push(i, 0);
    else {
      if (queue.isRefusing) this.#claims.take(queue, batch.payloadLength[i]!);
      if (key !== undefined) keysInFrame.set(nameInFrame, i);
    }
  }
}

/** Whether a message to this target may be refused. */
function mayRefuse(queue: Queue | null): boolean {
  return queue === null || queue.isRefusing;
}
