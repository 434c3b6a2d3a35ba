/** What the frame at hand adds to queues that refuse what is too many, before any of it is there. */
import type { Queue } from './queue.js';

export class QueueClaims {
  readonly #claims = new Map<Queue, { messages: number; bytes: number }>();

  clear(): void {
    this.#claims.clear();
  }

  /** Whether a queue has room for one more message of the frame. */
  fits(queue: Queue, bytes: number): boolean {
    const claim = this.#claims.get(queue);
    return queue.fits((claim?.messages ?? 0) + 1, (claim?.bytes ?? 0) + bytes);
  }

  take(queue: Queue, bytes: number): void {
    const claim = this.#claims.get(queue) ?? { messages: 0, bytes: 0 };
    claim.messages++;
    claim.bytes += bytes;
    this.#claims.set(queue, claim);
  }
}
