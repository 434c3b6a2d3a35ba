/** PUBLISH frames as the SDK makes them. */
import { FrameWriter, PublishFrameWriter } from '@lovage/protocol';
import { STANDARD } from '../load/standard.js';
import { randomBytes, randomFrom } from '../run/random.js';

/** Messages of a frame: about as many as a full window gives. */
export const FRAME_MESSAGES = 500;
export const QUEUE = 'micro';

/** Writes frames of `FRAME_MESSAGES` messages at the standard set-up. */
export class PublishFrames {
  readonly #writer = new PublishFrameWriter(new FrameWriter(FRAME_MESSAGES * STANDARD.bytes * 2));
  readonly #messages;
  #nextSeq = 1;

  constructor(seed: number) {
    const random = randomFrom(seed);
    const body = randomBytes(STANDARD.bytes, seed);
    this.#messages = Array.from({ length: FRAME_MESSAGES }, () => ({
      target: QUEUE,
      priority: Math.floor(random() * STANDARD.priorities),
      delayMs: 0,
      expiresInMs: 0,
      dedupKey: null,
      contentType: null,
      headers: null,
      body,
    }));
  }

  next(): Uint8Array {
    this.#writer.begin(this.#nextSeq, 0);
    for (const message of this.#messages) this.#writer.add(message);
    const frame = this.#writer.finish(this.#nextSeq - 1);
    this.#nextSeq += FRAME_MESSAGES;
    return frame;
  }
}
