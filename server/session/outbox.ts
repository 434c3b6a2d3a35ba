// hot path
/** Turns buckets into frames for one connection, and watches how much of it the connection has not taken. */
import {
  beginDeliver,
  beginMore,
  beginRun,
  DELIVER_RUN_OVERHEAD_BYTES,
  encodeFrame,
  endRun,
  FrameWriter,
  SERVER_OPS,
} from '@lovage/protocol';
import type { Broker } from '../broker/broker.js';
import type { Bucket } from '../broker/bucket.js';
import type { BucketSender } from '../broker/outlet.js';
import { NumberList } from '../collections/number-list.js';
import type { AuditTrail } from './audit.js';
import type { FramePool } from './frame-pool.js';

/** Bytes of one DELIVER: large enough to share its cost, small enough for handlers to begin while the next one travels. */
const DELIVER_BYTES = 128 * 1024;

/** What carries frames to the client: a WebSocket. */
export interface Wire {
  /** Bytes given to `send` and not yet taken by the operating system. */
  readonly bufferedBytes: number;
  /** Bytes of the largest frame since `bufferedBytes` was last 0. */
  readonly largestFrameBytes: number;
  /** Whether the operating system has taken anything since the last call. */
  hasMoved(): boolean;
  /** Sends one binary message; calls back when the operating system has it, or never if the connection is lost. */
  send(frame: Uint8Array, taken?: () => void): void;
  /** Frames sent until `uncork` leave together. */
  cork(): void;
  uncork(): void;
  close(code: number, reason: string): void;
  /** Drops the connection at once. */
  terminate(): void;
  /** Stops and goes on reading from the client. */
  pause(): void;
  resume(): void;
}

/** Of the frame's array and op, and of the array of the runs behind the first. */
const FRAME_HEAD_BYTES = 8;

/** Of all connections: what they send is encoded by one after the other. */
const small = new FrameWriter(256);
const order = new NumberList();

export interface OutboxContext {
  readonly broker: Broker;
  /** Of all connections. */
  readonly framePool: FramePool;
}

export interface OutboxEvents {
  /** The operating system has taken answers. */
  answered(): void;
  /** It has taken deliveries, or kept results, of so many bytes of payload. */
  drained(payloadBytes: number): void;
  /** Another connection has taken the session over. */
  superseded(): void;
}

export class Outbox implements BucketSender {
  readonly #broker: Broker;
  readonly #wire: Wire;
  readonly #pool: FramePool;
  readonly #audit: AuditTrail;
  readonly #events: OutboxEvents;
  /** Bytes that the frame of the last `#endOfFrame` may take, and its runs of deliveries to one consumer. */
  #frameBytes = 0;
  #frameRuns = 0;
  #answerBytes = 0;
  /** Buffers of the pool that the socket has not taken yet; null: none so far. */
  #pooled: Buffer[] | null = null;
  #isAbandoned = false;

  /** `audit` sees the answers leave; `events` are told when they, or the payload of a bucket's deliveries, have left. */
  constructor({ broker, framePool }: OutboxContext, wire: Wire, audit: AuditTrail, events: OutboxEvents) {
    this.#broker = broker;
    this.#pool = framePool;
    this.#wire = wire;
    this.#audit = audit;
    this.#events = events;
  }

  flush(bucket: Bucket): void {
    const wire = this.#wire;
    bucket.end();
    wire.cork();
    if (bucket.frames.length > 0) this.#sendAnswers(bucket);
    if (this.#audit.isWaiting) for (const frame of bucket.frames) this.#audit.told(frame);
    this.#sendConfirms(bucket.confirms);
    if (bucket.settleSeq > 0) this.#sendSettled(bucket.settleSeq);
    if (bucket.leases.length > 0) this.#sendDeliveries(bucket);
    if (!bucket.recalls.isEmpty) wire.send(encodeFrame([SERVER_OPS.RECALL, bucket.recalls.pairs]));
    wire.uncork();
    bucket.clear();
  }

  superseded(): void {
    this.#events.superseded();
  }

  /** Bytes of answers that the socket has not taken yet. */
  get answerBytes(): number {
    return this.#answerBytes;
  }

  /** The socket is gone, and what was on its way with it. */
  abandon(): void {
    this.#isAbandoned = true;
    for (const buffer of this.#pooled?.splice(0) ?? []) this.#pool.give(buffer);
  }

  /** A WebSocket keeps the order of its frames: when the last one has left, all have. */
  #sendAnswers(bucket: Bucket): void {
    const { frames, frameBytes: bytes, keptBytes } = bucket;
    bucket.frameBytes = 0;
    this.#answerBytes += bytes;
    const last = frames.length - 1;
    for (let i = 0; i < last; i++) this.#wire.send(frames[i]!);
    this.#wire.send(frames[last]!, () => {
      this.#answerBytes -= bytes;
      this.#events.answered();
      if (keptBytes > 0) this.#events.drained(keptBytes);
    });
  }

  #sendConfirms(confirms: readonly number[]): void {
    for (let i = 0; i < confirms.length; i += 4) {
      small.arrayHeader(5);
      small.uint(SERVER_OPS.CONFIRM);
      for (let j = 0; j < 4; j++) small.uint(confirms[i + j]!);
      this.#wire.send(small.copy());
    }
  }

  #sendSettled(settleSeq: number): void {
    small.arrayHeader(2);
    small.uint(SERVER_OPS.SETTLED);
    small.uint(settleSeq);
    this.#wire.send(small.copy());
  }

  /** In the order in which they were decided; what is no longer leased is left out. */
  #sendDeliveries({ leases, serials, payloadBytes }: Bucket): void {
    const drained = (): void => this.#events.drained(payloadBytes);
    this.#orderLive(leases, serials);
    const { length } = order;
    if (length === 0) return drained();
    for (let from = 0; from < length; ) {
      const to = this.#endOfFrame(leases, from, length);
      this.#sendFrame(leases, from, to, to === length ? drained : undefined);
      from = to;
    }
  }

  /** Puts into `order` the indexes of the leases that still hold. */
  #orderLive({ values: leases, length }: NumberList, { values: serials }: NumberList): void {
    order.clear();
    for (let i = 0; i < length; i++) if (this.#broker.isLeased(leases[i]!, serials[i]!)) order.push(i);
  }

  /** Measures the frame that begins at `from`: how many bytes it may take, and in how many runs of one consumer. */
  #endOfFrame({ values: leases }: NumberList, from: number, end: number): number {
    const broker = this.#broker;
    const { values: indexes } = order;
    let lastConsumer = -1;
    let runs = 0;
    let bytes = FRAME_HEAD_BYTES;
    let to = from;
    for (; to < end && bytes < DELIVER_BYTES; to++) {
      const lease = leases[indexes[to]!]!;
      const consumer = broker.consumerOf(lease);
      if (consumer !== lastConsumer) {
        runs++;
        bytes += DELIVER_RUN_OVERHEAD_BYTES;
      }
      lastConsumer = consumer;
      bytes += broker.deliveryBytes(lease);
    }
    this.#frameBytes = bytes;
    this.#frameRuns = runs;
    return to;
  }

  #sendFrame(leases: NumberList, from: number, to: number, then?: () => void): void {
    // Nobody would tell when a socket that is gone has taken it.
    const pooled = this.#isAbandoned ? null : this.#pool.take(this.#frameBytes);
    const buffer = pooled ?? Buffer.allocUnsafe(this.#frameBytes);
    const frame = this.#encode(buffer, leases, from, to);
    if (pooled === null) return this.#wire.send(frame, then);
    this.#pooled ??= [];
    this.#pooled.push(pooled);
    this.#wire.send(frame, () => {
      if (this.#giveBack(pooled)) then?.();
    });
  }

  /** False if it was given back already, with the socket. */
  #giveBack(buffer: Buffer): boolean {
    const at = this.#pooled!.indexOf(buffer);
    if (at < 0) return false;
    this.#pooled!.splice(at, 1);
    this.#pool.give(buffer);
    return true;
  }

  #encode(buffer: Buffer, { values: leases }: NumberList, from: number, to: number): Uint8Array {
    const broker = this.#broker;
    const { values: indexes } = order;
    const writer = new FrameWriter(buffer.length, (bytes) =>
      bytes > buffer.length ? Buffer.allocUnsafeSlow(bytes) : buffer,
    );
    beginDeliver(writer, this.#frameRuns);
    for (let i = from; i < to; ) {
      const consumer = broker.consumerOf(leases[indexes[i]!]!);
      const countAt = beginRun(writer, consumer);
      const first = i;
      for (; i < to; i++) {
        const lease = leases[indexes[i]!]!;
        if (broker.consumerOf(lease) !== consumer) break;
        broker.writeDelivery(writer, lease);
      }
      endRun(writer, countAt, i - first);
      if (first === from && i < to) beginMore(writer, this.#frameRuns);
    }
    return writer.bytes.subarray(0, writer.length);
  }
}
