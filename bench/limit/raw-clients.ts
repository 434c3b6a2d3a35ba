// hot path
/** The limit's clients: frames of the right sizes at the right moments, without a message in them. */
import { once } from 'node:events';
import { WebSocket } from 'ws';
import type { Role } from '../load/role.js';
import type { FrameProfile } from './frame-profile.js';
import { CONSUMER_PATH, countedFrame, PRODUCER_PATH } from './relay.js';
import { ShareCounter } from './share-counter.js';
import { windowFrames } from './window-frames.js';

export interface RawClientOptions {
  /** `ws://127.0.0.1:<port>` */
  readonly url: string;
  readonly profile: FrameProfile;
  /** Messages that may be unconfirmed. */
  readonly window: number;
}

/** Keeps its window full. */
export class RawProducer implements Role {
  count = 0;
  readonly failed = 0;
  readonly #options: RawClientOptions;
  #socket: WebSocket | null = null;
  #unconfirmed = 0;

  constructor(options: RawClientOptions) {
    this.#options = options;
  }

  async open(): Promise<void> {
    this.#socket = await connected(`${this.#options.url}${PRODUCER_PATH}`);
    this.#socket.on('message', (frame: Buffer) => {
      const confirmed = frame.readDoubleLE(0);
      this.count += confirmed;
      this.#unconfirmed -= confirmed;
      this.#fill();
    });
  }

  start(): void {
    this.#fill();
  }

  async close(): Promise<void> {
    this.#socket?.terminate();
  }

  #fill(): void {
    const { window, profile } = this.#options;
    const { messages, bytes } = profile.publish;
    for (const count of windowFrames(window - this.#unconfirmed, messages)) {
      this.#unconfirmed += count;
      this.#socket!.send(countedFrame(Math.round((bytes * count) / messages), count));
    }
  }
}

/** Acknowledges what comes. */
export class RawConsumer implements Role {
  count = 0;
  readonly failed = 0;
  readonly #options: RawClientOptions;
  readonly #acks: ShareCounter;
  #socket: WebSocket | null = null;

  constructor(options: RawClientOptions) {
    this.#options = options;
    this.#acks = new ShareCounter(options.profile.ack.perFrame);
  }

  async open(): Promise<void> {
    const { bytes } = this.#options.profile.ack;
    this.#socket = await connected(`${this.#options.url}${CONSUMER_PATH}`);
    this.#socket.on('message', (frame: Buffer) => {
      const messages = frame.readDoubleLE(0);
      if (messages === 0) return;
      this.count += messages;
      for (let left = this.#acks.add(1); left > 0; left--) this.#socket!.send(countedFrame(bytes, 0));
    });
  }

  async close(): Promise<void> {
    this.#socket?.terminate();
  }
}

async function connected(url: string): Promise<WebSocket> {
  const socket = new WebSocket(url, { perMessageDeflate: false });
  await once(socket, 'open');
  return socket;
}
