// hot path
/**
 * The limit's server: moves the bytes that a broker moves, and does nothing else.
 *
 *     producer ── PUBLISH ──► gather ── write, fdatasync ──► CONFIRM ──► producer
 *     consumer ── ACK ──────►                           └──► DELIVER, SETTLED ──► consumer
 *
 * Whatever arrives during a sync is the next batch, as in the broker.
 */
import { once } from 'node:events';
import { join } from 'node:path';
import { type WebSocket, WebSocketServer } from 'ws';
import type { Role } from '../load/role.js';
import { COUNT_BYTES, type FrameProfile } from './frame-profile.js';
import { ShareCounter } from './share-counter.js';
import { SyncFile } from './sync-file.js';

export interface RelayOptions {
  readonly port: number;
  readonly directory: string;
  readonly profile: FrameProfile;
}

/** What clients say who they are with: the path of their URL. */
export const PRODUCER_PATH = '/producer';
export const CONSUMER_PATH = '/consumer';

export class Relay implements Role {
  /** Batches synced. */
  count = 0;
  readonly failed = 0;
  readonly #options: RelayOptions;
  readonly #confirms: ShareCounter;
  readonly #settles: ShareCounter;
  #server: WebSocketServer | null = null;
  #file: SyncFile | null = null;
  #producer: WebSocket | null = null;
  #consumer: WebSocket | null = null;
  #gathered: Buffer[] = [];
  #bytes = 0;
  #publishFrames = 0;
  #published = 0;
  #ackFrames = 0;
  #undelivered = 0;
  /** Confirmed messages whose confirm is still owed. */
  #unconfirmed = 0;
  #isSyncing = false;

  constructor(options: RelayOptions) {
    this.#options = options;
    this.#confirms = new ShareCounter(options.profile.confirm.perFrame);
    this.#settles = new ShareCounter(options.profile.settled.perFrame);
  }

  async open(): Promise<void> {
    const { port, directory } = this.#options;
    this.#file = await SyncFile.create(join(directory, 'limit'));
    this.#server = new WebSocketServer({ host: '127.0.0.1', port, perMessageDeflate: false });
    this.#server.on('connection', (socket, { url }) => {
      if (url === PRODUCER_PATH) this.#producer = socket;
      else this.#consumer = socket;
      socket.on('message', url === PRODUCER_PATH ? this.#onPublish : this.#onAck);
    });
    await once(this.#server, 'listening');
  }

  async close(): Promise<void> {
    this.#server?.close();
    this.#producer?.terminate();
    this.#consumer?.terminate();
    if (!this.#isSyncing) await this.#file?.close();
  }

  readonly #onPublish = (frame: Buffer): void => {
    this.#publishFrames++;
    this.#published += frame.readDoubleLE(0);
    this.#gather(frame);
  };

  readonly #onAck = (frame: Buffer): void => {
    this.#ackFrames++;
    this.#gather(frame);
  };

  #gather(frame: Buffer): void {
    this.#gathered.push(frame);
    this.#bytes += frame.length;
    if (this.#isSyncing) return;
    this.#isSyncing = true;
    // What has arrived in this turn belongs together.
    setImmediate(() => void this.#sync());
  }

  async #sync(): Promise<void> {
    while (this.#gathered.length > 0) {
      const batch = this.#gathered;
      const { bytes, publishFrames, published, ackFrames } = this.#seal();
      await this.#file!.append(batch, bytes);
      this.count++;
      this.#confirm(publishFrames, published);
      this.#deliver(published);
      this.#settle(ackFrames);
    }
    this.#isSyncing = false;
  }

  #seal(): { bytes: number; publishFrames: number; published: number; ackFrames: number } {
    const sealed = {
      bytes: this.#bytes,
      publishFrames: this.#publishFrames,
      published: this.#published,
      ackFrames: this.#ackFrames,
    };
    this.#gathered = [];
    this.#bytes = 0;
    this.#publishFrames = 0;
    this.#published = 0;
    this.#ackFrames = 0;
    return sealed;
  }

  /** At least one frame for a batch: the producer waits for it. */
  #confirm(frames: number, messages: number): void {
    this.#unconfirmed += messages;
    if (this.#unconfirmed === 0) return;
    const { bytes } = this.#options.profile.confirm;
    for (let left = Math.max(1, this.#confirms.add(frames)); left > 0; left--) {
      this.#producer?.send(countedFrame(bytes, left === 1 ? this.#unconfirmed : 0));
    }
    this.#unconfirmed = 0;
  }

  #deliver(messages: number): void {
    const { messages: perFrame, bytes } = this.#options.profile.deliver;
    this.#undelivered += messages;
    for (; this.#undelivered >= perFrame; this.#undelivered -= perFrame)
      this.#consumer?.send(countedFrame(bytes, perFrame));
  }

  #settle(ackFrames: number): void {
    const { bytes } = this.#options.profile.settled;
    for (let left = this.#settles.add(ackFrames); left > 0; left--) this.#consumer?.send(countedFrame(bytes, 0));
  }
}

/** A frame of so many bytes that stands for so many messages. */
export function countedFrame(bytes: number, messages: number): Buffer {
  const frame = Buffer.allocUnsafe(Math.max(COUNT_BYTES, bytes));
  frame.writeDoubleLE(messages, 0);
  return frame;
}
