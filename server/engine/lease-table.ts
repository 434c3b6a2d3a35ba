// hot path
/**
 * Unsettled deliveries, one row each. A lease holds one credit of its consumer from the moment the delivery is decided until the consumer is
 * done with it; its message may be gone before that (ack modes early and none).
 */
import type { Consumer } from './consumer.js';

export class LeaseTable {
  /** The message, -1 once it is settled. */
  slot = new Int32Array(256);
  tag = new Float64Array(256);
  /** A number that no other lease ever had: it tells whether a row still is the lease that it was. 0 in a free row. */
  serial = new Float64Array(256);
  readonly consumer: (Consumer | null)[] = [];
  /** Index of the message's queue in the consumer's list. */
  queueIndex = new Uint16Array(256);
  /** Engine time at which it was decided. */
  sinceMs = new Float64Array(256);
  /** Bytes of its message. */
  bytes = new Uint32Array(256);
  /** 1 while the client is asked to give it back. */
  isRecalled = new Uint8Array(256);
  /** 1 once a handler has it. */
  isStarted = new Uint8Array(256);
  #freeHead = -1;
  #neverUsed = 0;
  #size = 0;
  #lastSerial = 0;

  get size(): number {
    return this.#size;
  }

  add(slot: number, tag: number, consumer: Consumer, queueIndex: number, nowMs: number, bytes: number): number {
    let lease = this.#freeHead;
    if (lease >= 0) this.#freeHead = this.slot[lease]!;
    else {
      lease = this.#neverUsed++;
      if (lease >= this.slot.length) this.#grow();
    }
    this.slot[lease] = slot;
    this.tag[lease] = tag;
    this.serial[lease] = ++this.#lastSerial;
    this.consumer[lease] = consumer;
    this.queueIndex[lease] = queueIndex;
    this.sinceMs[lease] = nowMs;
    this.bytes[lease] = bytes;
    this.isRecalled[lease] = 0;
    this.isStarted[lease] = 0;
    this.#size++;
    return lease;
  }

  free(lease: number): void {
    this.consumer[lease] = null;
    this.slot[lease] = this.#freeHead;
    this.tag[lease] = 0;
    this.serial[lease] = 0;
    this.#freeHead = lease;
    this.#size--;
  }

  /** Calls `visit` with every lease in use; it may free the one it is given. */
  forEach(visit: (lease: number) => void): void {
    for (let lease = 0; lease < this.#neverUsed; lease++) if (this.consumer[lease] !== null) visit(lease);
  }

  #grow(): void {
    const length = this.slot.length * 2;
    const slot = new Int32Array(length);
    slot.set(this.slot);
    this.slot = slot;
    const tag = new Float64Array(length);
    tag.set(this.tag);
    this.tag = tag;
    const serial = new Float64Array(length);
    serial.set(this.serial);
    this.serial = serial;
    const queueIndex = new Uint16Array(length);
    queueIndex.set(this.queueIndex);
    this.queueIndex = queueIndex;
    const sinceMs = new Float64Array(length);
    sinceMs.set(this.sinceMs);
    this.sinceMs = sinceMs;
    const bytes = new Uint32Array(length);
    bytes.set(this.bytes);
    this.bytes = bytes;
    const isRecalled = new Uint8Array(length);
    isRecalled.set(this.isRecalled);
    this.isRecalled = isRecalled;
    const isStarted = new Uint8Array(length);
    isStarted.set(this.isStarted);
    this.isStarted = isStarted;
  }
}
