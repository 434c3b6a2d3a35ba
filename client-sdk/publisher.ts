// hot path
/**
 * Publishes on their way to the broker's disk.
 *
 *     publish() -> gathering frame --flush--> [unsent] --send--> [sent, unanswered] --CONFIRM, REJECT--> gone
 *                                                ^                     |
 *                                                +--- connection lost -+   (the same bytes again: the broker drops what it has)
 *
 * While the broker is short of memory or disk (FLOW) nothing is sent. When it has refused a frame for that reason it takes nothing of what was sent behind
 * it either: from that frame on everything is sent again, in its old order and with its old numbers, when it is over. Refusals of what was still on
 * its way then come meanwhile, and are of copies that do not count any more.
 *
 * Whatever one turn brings goes into one frame, or several when it is much. Numbers are given when a frame is first sent, so a frame that never
 * was can be given up without a gap.
 */
import {
  type Durability,
  type ErrorCode,
  FrameWriter,
  LovageError,
  numberPublishFrame,
  PUBLISH_FLAGS,
  PublishFrameWriter,
} from '@lovage/protocol';
import type { Channel, SenderContext } from './channel.js';
import { Deque } from './deque.js';
import { invalidArgument } from './errors.js';
import {
  type ExchangeTarget,
  type MessageLimits,
  messageFields,
  type PublishMessage,
  type PublishOptions,
  type Receipt,
} from './message.js';
import type { ClientOptions } from './options.js';
import { OutgoingFrame } from './outgoing-frame.js';
import type { Blocked } from './status-feed.js';

/** A frame this large is sent at once, so that the broker works on it while the rest is gathered. */
const FRAME_BYTES = 65_536;

type PublisherOptions = Pick<
  ClientOptions,
  'publishTimeoutMs' | 'whenBlocked' | 'publishBufferMessages' | 'publishBufferBytes' | 'autoDeclare'
>;

export class Publisher {
  readonly #options: PublisherOptions;
  readonly #context: SenderContext;
  readonly #channel: Channel;
  readonly #writer = new PublishFrameWriter(new FrameWriter(1_024));
  #gathering: OutgoingFrame | null = null;
  /** Finished frames, oldest first: the first `#sent` of them are with the present connection. */
  readonly #frames = new Deque<OutgoingFrame>();
  #sent = 0;
  /** False from the loss of a connection until requests have been sent again: what they declare is there before what goes into it. */
  #isWelcomed = false;
  #lastSeq = 0;
  /** Messages and bytes in `#frames` and in the gathering frame. */
  #messages = 0;
  #bytes = 0;
  #limits: MessageLimits = { bodyBytesMax: 0, headerBytesMax: 0 };
  #blocked: Blocked | null = null;
  /** Frames from this number on are sent again when the broker is not short any more. */
  #resendSeq = Number.POSITIVE_INFINITY;
  #endError: LovageError | null = null;
  #idleWaiters: (() => void)[] = [];

  constructor(options: PublisherOptions, context: SenderContext) {
    this.#options = options;
    this.#context = context;
    this.#channel = context.channel;
  }

  publish(target: string | ExchangeTarget, body: unknown, options?: PublishOptions): Promise<Receipt> {
    try {
      this.#reserve(1);
      return this.#add(target, body, options);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  async publishMany(target: string | ExchangeTarget, messages: readonly PublishMessage[]): Promise<Receipt[]> {
    if (!Array.isArray(messages)) throw invalidArgument('messages', messages, 'an array');
    if (messages.length === 0) return [];
    this.#reserve(messages.length);
    const promises: Promise<Receipt>[] = [];
    for (const message of messages) {
      try {
        promises.push(this.#add(target, message?.body, message));
      } catch (error) {
        promises.push(Promise.reject(error));
      }
    }
    const outcomes = await Promise.allSettled(promises);
    const failed = outcomes.filter((outcome) => outcome.status === 'rejected');
    if (failed.length > 0) throw firstFailure(outcomes, failed.length);
    return outcomes.map((outcome) => (outcome as PromiseFulfilledResult<Receipt>).value);
  }

  /** CONFIRM and DUPLICATE. */
  confirmed(firstSeq: number, count: number, firstId: number, duplicate: boolean, durability: Durability): void {
    this.#answer(firstSeq, count, (frame, index, i) =>
      frame.confirm(index, { id: firstId === 0 ? 0 : firstId + i, duplicate, durability }),
    );
  }

  /** REJECT. */
  rejected(firstSeq: number, count: number, error: LovageError): void {
    if (this.#options.whenBlocked === 'wait' && this.#isForNow(error.code))
      this.#visit(firstSeq, count, (frame, index) => {
        frame.refuseForNow(index);
        // While it is not held back, what is refused is on its way again, or about to be.
        if (frame.isRefused && this.#blocked !== null) this.#resendSeq = Math.min(this.#resendSeq, frame.firstSeq);
      });
    else this.#answer(firstSeq, count, (frame, index) => frame.reject(index, error));
  }

  /** What the broker refuses only until FLOW says that it is over. */
  #isForNow(code: ErrorCode): boolean {
    return code === 'FLOW_BLOCKED' || (code === 'DISK_FULL' && this.#blocked !== null);
  }

  /** FLOW: the broker is short of something, or not any more. */
  blocked(blocked: Blocked | null): void {
    this.#blocked = blocked;
    if (blocked !== null) {
      if (this.#options.whenBlocked === 'fail') this.#giveUpUnsent(flowBlocked(blocked));
      return;
    }
    this.#retain((frame) => frame.waiting > 0 || frame.firstSeq < this.#resendSeq);
    while (this.#sent > 0 && this.#frames.at(this.#sent - 1)!.firstSeq >= this.#resendSeq) this.#sent--;
    this.#resendSeq = Number.POSITIVE_INFINITY;
    this.flush();
  }

  /** Sends what has gathered, as far as the connection has room. */
  flush(): void {
    this.#seal();
    this.#send();
  }

  /** The connection is lost. What nobody waits for any more is not sent again. */
  disconnected(): void {
    this.#isWelcomed = false;
    this.#sent = 0;
    this.#blocked = null;
    this.#resendSeq = Number.POSITIVE_INFINITY;
    for (const frame of this.#frames.toArray()) frame.lost();
    this.#seal();
    this.#retain((frame) => frame.waiting > 0);
  }

  /** What the broker takes, as it said last. */
  get limits(): MessageLimits {
    return this.#limits;
  }

  /** A connection stands; everything unanswered is sent again. */
  welcomed(limits: MessageLimits): void {
    this.#limits = limits;
    this.#isWelcomed = true;
    this.flush();
  }

  /** No more publishes, and nobody waits for ever: the client is closed. */
  ended(error: LovageError): void {
    this.#endError = error;
    this.#seal();
    for (const frame of this.#frames.toArray()) frame.giveUp(error);
    this.#retain(() => false);
  }

  /** Gives up what is past its deadline; returns the next deadline. */
  tick(nowMs: number): number {
    let next = this.#gathering?.deadlineMs ?? Number.POSITIVE_INFINITY;
    let hasGivenUp = false;
    for (let i = 0; i < this.#frames.length; i++) {
      const frame = this.#frames.at(i)!;
      if (frame.deadlineMs > nowMs) {
        next = frame.deadlineMs;
        break;
      }
      if (frame.waiting === 0) continue;
      frame.giveUp(this.#timeout(frame));
      hasGivenUp = true;
    }
    // What the present connection has got will be answered; the rest is not sent any more.
    if (hasGivenUp)
      this.#retain((frame) => frame.waiting > 0 || (this.#isWelcomed && frame.firstSeq !== 0 && !frame.isRefused));
    return next;
  }

  /** Resolves when every caller has been told. */
  whenIdle(): Promise<void> {
    if (this.#isIdle) return Promise.resolve();
    return new Promise((resolve) => this.#idleWaiters.push(resolve));
  }

  get #isIdle(): boolean {
    if (this.#gathering !== null) return false;
    for (let i = 0; i < this.#frames.length; i++) if (this.#frames.at(i)!.waiting > 0) return false;
    return true;
  }

  /** Throws unless so many more messages may wait. */
  #reserve(count: number): void {
    if (this.#endError !== null) throw this.#endError;
    if (this.#blocked !== null && this.#options.whenBlocked === 'fail') throw flowBlocked(this.#blocked);
    const { publishBufferMessages, publishBufferBytes } = this.#options;
    const bytes = this.#bytes + (this.#gathering === null ? 0 : this.#writer.bytes);
    if (this.#messages + count <= publishBufferMessages && (this.#messages === 0 || bytes < publishBufferBytes)) return;
    const message = `Cannot publish: ${this.#messages} messages in ${bytes} bytes wait for their confirm, expected room for ${count} more (publishBufferMessages ${publishBufferMessages}, publishBufferBytes ${publishBufferBytes})`;
    throw new LovageError('PUBLISH_BUFFER_FULL', message, { details: { messages: this.#messages, bytes } });
  }

  #add(target: string | ExchangeTarget, body: unknown, options: PublishOptions | undefined): Promise<Receipt> {
    const fields = messageFields(target, body, options, this.#limits);
    const frame = this.#frameFor(this.#flagsOf(options?.durability, options?.mandatory));
    try {
      this.#writer.add(fields);
    } catch (error) {
      if (frame.count === 0) this.#gathering = null;
      throw error;
    }
    this.#messages++;
    const promise = frame.add();
    if (this.#writer.bytes >= FRAME_BYTES || this.#writer.isFull) this.flush();
    return promise;
  }

  #flagsOf(durability: unknown, mandatory: unknown): number {
    let flags = this.#options.autoDeclare ? PUBLISH_FLAGS.AUTO_DECLARE : 0;
    if (mandatory === true) flags |= PUBLISH_FLAGS.MANDATORY;
    else if (mandatory !== undefined && mandatory !== false)
      throw invalidArgument('mandatory', mandatory, 'true or false');
    if (durability === undefined || durability === 'disk') return flags;
    if (durability === 'memory') return flags | PUBLISH_FLAGS.MEMORY;
    throw invalidArgument('durability', durability, 'disk or memory');
  }

  #frameFor(flags: number): OutgoingFrame {
    if (this.#gathering !== null) {
      if (this.#gathering.flags === flags) return this.#gathering;
      this.#seal();
    }
    const deadlineMs = this.#context.nowMs() + this.#options.publishTimeoutMs;
    this.#context.wakeAt(deadlineMs);
    this.#gathering = new OutgoingFrame(flags, deadlineMs);
    this.#writer.begin(0, flags);
    this.#channel.requestFlush();
    return this.#gathering;
  }

  #seal(): void {
    const frame = this.#gathering;
    if (frame === null) return;
    this.#gathering = null;
    frame.bytes = this.#writer.finish(0);
    this.#bytes += frame.bytes.length;
    this.#frames.push(frame);
  }

  #send(): void {
    while (this.#isWelcomed && this.#blocked === null && this.#sent < this.#frames.length && this.#channel.hasRoom) {
      const frame = this.#frames.at(this.#sent++)!;
      if (frame.firstSeq === 0) this.#number(frame);
      frame.sent();
      this.#channel.send(frame.bytes!);
    }
  }

  /** Everything below the oldest frame that is kept will not be sent again. */
  #number(frame: OutgoingFrame): void {
    frame.firstSeq = this.#lastSeq + 1;
    this.#lastSeq += frame.count;
    const oldest = this.#frames.at(0)!;
    numberPublishFrame(frame.bytes!, frame.firstSeq, oldest.firstSeq - 1);
  }

  #answer(firstSeq: number, count: number, visit: (frame: OutgoingFrame, index: number, i: number) => void): void {
    this.#visit(firstSeq, count, visit);
    this.#dropAnswered();
  }

  #visit(firstSeq: number, count: number, visit: (frame: OutgoingFrame, index: number, i: number) => void): void {
    const frames = this.#frames;
    for (let at = 0, i = 0; at < frames.length && i < count; at++) {
      const frame = frames.at(at)!;
      if (frame.firstSeq === 0) break;
      // Below the frame lies what was given up.
      i = Math.max(i, frame.firstSeq - firstSeq);
      for (let index = firstSeq + i - frame.firstSeq; index < frame.count && i < count; index++, i++)
        visit(frame, index, i);
    }
  }

  #dropAnswered(): void {
    for (;;) {
      const oldest = this.#frames.at(0);
      if (oldest === undefined || oldest.unanswered > 0) break;
      this.#frames.shift();
      if (this.#sent > 0) this.#sent--;
      this.#forget(oldest);
    }
    this.#wakeIfIdle();
  }

  /** Only for frames that the present connection has no answer to give to any more. */
  #retain(keeps: (frame: OutgoingFrame) => boolean): void {
    const sent = this.#sent;
    let at = 0;
    this.#frames.retain((frame) => {
      const wasSent = at++ < sent;
      if (keeps(frame)) return true;
      if (wasSent) this.#sent--;
      this.#forget(frame);
      return false;
    });
    this.#wakeIfIdle();
  }

  #forget(frame: OutgoingFrame): void {
    this.#messages -= frame.count;
    this.#bytes -= frame.bytes!.length;
  }

  /** What was not sent yet is told at once that it will not be. */
  #giveUpUnsent(error: LovageError): void {
    this.#seal();
    for (let at = this.#sent; at < this.#frames.length; at++) {
      const frame = this.#frames.at(at)!;
      if (frame.firstSeq === 0) frame.giveUp(error);
    }
    this.#retain((frame) => frame.waiting > 0 || frame.firstSeq !== 0);
  }

  #timeout(frame: OutgoingFrame): LovageError {
    const { publishTimeoutMs } = this.#options;
    const wasSent = frame.firstSeq !== 0 && !frame.isRefused;
    const state = wasSent ? 'it was sent and may still arrive' : 'it was not sent and will not be';
    const why = this.#blocked === null ? '' : `, the broker being short of ${this.#blocked.reason}`;
    const message = `Cannot publish: no confirm within ${publishTimeoutMs} ms${why}; ${state}`;
    const details = { wasSent, ...(this.#blocked !== null && { blocked: this.#blocked.reason }) };
    return new LovageError('PUBLISH_TIMEOUT', message, { details });
  }

  #wakeIfIdle(): void {
    if (this.#idleWaiters.length === 0 || !this.#isIdle) return;
    const waiters = this.#idleWaiters;
    this.#idleWaiters = [];
    for (const wake of waiters) wake();
  }
}

function flowBlocked({ reason, retryAfterMs }: Blocked): LovageError {
  const message = `Cannot publish: the broker is short of ${reason}, expected consumers to make room`;
  return new LovageError('FLOW_BLOCKED', message, { details: { reason, retryAfterMs } });
}

/** One error for a batch: the first message's, telling which that was and how many have failed. */
function firstFailure(outcomes: readonly PromiseSettledResult<Receipt>[], failed: number): unknown {
  const index = outcomes.findIndex((outcome) => outcome.status === 'rejected');
  const cause: unknown = (outcomes[index] as PromiseRejectedResult).reason;
  if (!(cause instanceof LovageError)) return cause;
  const message = `${cause.message} (message ${index} of ${outcomes.length}; ${failed} failed, the others are taken)`;
  return new LovageError(cause.code, message, { cause, details: { ...cause.details, index, failed } });
}
