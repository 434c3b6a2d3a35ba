// hot path
/**
 * A consumer, and its attachments: one for each queue that it consumes.
 *
 * An attachment is in one of two places, and moves between them only when somebody looks:
 *
 *     idle    in its queue's rotation: as far as is known the consumer has credit and the queue has nothing for it
 *     marked  in its consumer's `work`: the queue had something when the consumer had no credit
 *
 * A queue that has a message asks its rotation; whoever has no credit there is marked and leaves. A consumer that gains credit asks its marked
 * queues; one that has nothing goes back to the rotation. Each move is paid for by the delivery or the settlement that caused it,
 * so the cost of either does not grow with the number of queues or of consumers.
 */
import type { QueueOrder } from '@lovage/protocol';
import { BitSet } from '../collections/bit-set.js';
import type { Queue } from './queue.js';
import type { Session } from './session.js';

export class Attachment {
  readonly consumer: Consumer;
  readonly queue: Queue;
  /** Place of the queue in the consumer's list. */
  readonly index: number;
  /** Deliveries in a row before the next queue's turn, in weighted order. */
  readonly weight: number;
  isMarked = false;
  /** Neighbours in the queue's rotation. */
  next: Attachment | null = null;
  prev: Attachment | null = null;

  constructor(consumer: Consumer, queue: Queue, index: number, weight: number) {
    this.consumer = consumer;
    this.queue = queue;
    this.index = index;
    this.weight = weight;
  }
}

export class Consumer {
  readonly session: Session;
  readonly id: number;
  attachments: Attachment[] = [];
  prefetch = 0;
  ack: 'late' | 'early' | 'none' = 'late';
  order: QueueOrder = 'strict';
  isExclusive = false;
  /** Consumers of a higher one are served first. */
  priority = 0;
  /** Deliveries that hold a credit. */
  unsettled = 0;
  /** Bytes of their messages. */
  unsettledBytes = 0;
  /** Of those, the ones that it has started. */
  started = 0;
  /** Of those, the ones that it was asked to give back and has not answered for. */
  recalling = 0;
  /** False before CONSUME (a session that was resumed), after CANCEL, and while the connection is lost. */
  isActive = false;
  /** True while what it has just released is offered to others first. */
  isYielding = false;
  /** Marked attachments by index. */
  readonly work = new BitSet();
  /** Where the next turn starts, for fair and weighted order. */
  #cursor = 0;
  #turnsLeft = 0;

  readonly #bytesMax: number;

  /** Above `bytesMax` bytes unsettled it has no credit: one message more than that at most, however large. */
  constructor(session: Session, id: number, bytesMax: number) {
    this.session = session;
    this.id = id;
    this.#bytesMax = bytesMax;
  }

  hasCredit(): boolean {
    return (
      this.isActive &&
      !this.isYielding &&
      (this.prefetch === 0 || this.unsettled < this.prefetch) &&
      this.unsettledBytes < this.#bytesMax &&
      this.session.isWritable
    );
  }

  mark(attachment: Attachment): void {
    attachment.isMarked = true;
    this.work.add(attachment.index);
  }

  unmark(attachment: Attachment): void {
    attachment.isMarked = false;
    this.work.delete(attachment.index);
    if (attachment.index === this.#cursor) this.#turnsLeft = 0;
  }

  /** The marked attachment whose turn it is, null if none is marked. `served` is to be called for every delivery made from it. */
  nextMarked(): Attachment | null {
    if (this.work.size === 0) return null;
    if (this.order === 'strict') return this.attachments[this.work.next(0)]!;
    if (this.#turnsLeft > 0) return this.attachments[this.#cursor]!;
    this.#cursor = this.work.nextAround(this.#cursor + 1);
    const attachment = this.attachments[this.#cursor]!;
    this.#turnsLeft = this.order === 'weighted' ? attachment.weight : 1;
    return attachment;
  }

  served(): void {
    if (this.#turnsLeft > 0) this.#turnsLeft--;
  }

  resetTurns(): void {
    this.#cursor = this.attachments.length;
    this.#turnsLeft = 0;
    for (const attachment of this.attachments) if (attachment.isMarked) this.unmark(attachment);
  }
}
