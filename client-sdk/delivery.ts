// hot path
/**
 * One message in the hands of this client.
 *
 *     WAITING --handler begins--> STARTED --ack, nack, or the handler is done--> SETTLED
 *        |                           |
 *        | recall, cancel, lost      +--the broker took it back--> LOST (signal aborts; ack and nack reject)
 *        v                           +--settled at the broker already, then the session ended--> DETACHED (ack and nack have nothing to say)
 *       LOST
 *
 * There is one object for each message, so its fields are plain (a `#field` costs at construction) and what is rarely asked for is made when asked.
 */
import {
  type AttemptLog,
  CONTENT_TYPES,
  decodeValue,
  encodeValue,
  FAILURE_CAUSES,
  type FailureCause,
  isContentType,
  LIMITS,
  LovageError,
  NO_FAILURES,
  type Note,
  type ResultFields,
  readAttemptLog,
  readDeadLetters,
  type WireDelivery,
} from '@lovage/protocol';
import { invalidArgument } from './errors.js';
import type { FollowUp } from './follow-ups.js';

/** How `nack` returns a delivery. */
export interface NackOptions {
  /** true (default): back to its old place in the queue. false: to the queue's dead letter queue, or dropped if it has none. */
  readonly requeue?: boolean | undefined;
  /** ms before it is delivered again, 0-315,360,000,000. Default: the queue's backoff, which doubles with each attempt. */
  readonly delayMs?: number | undefined;
  /** For people: with one the broker keeps the attempt in the message's `attemptLog`. Cut at 1,000 characters. */
  readonly reason?: string | undefined;
  /** What the attempt has failed of. Default `failed`. */
  readonly cause?: FailureCause | undefined;
}

/** How `ack` and `complete` settle a delivery. */
export interface AckOptions {
  /**
   * Messages that are published with the settlement, in one record of the broker's journal: all of them and the settlement, or nothing. In one frame of at most
   * 65,536 messages and as many bytes as the largest body. Only in mode `late`.
   */
  readonly publish?: readonly FollowUp[] | undefined;
}

/** How a result is kept. */
export interface CompleteOptions extends AckOptions {
  /** ms that it is kept, 1-315,360,000,000. Default: the `messageTtlMs` of the queue `lovage.results`, a day unless it was declared otherwise. */
  readonly ttlMs?: number | undefined;
  /** As of a message. */
  readonly contentType?: string | undefined;
}

/** A message as a handler sees it. */
export interface Delivery {
  /** The message's number in the broker, as its receipt told it. */
  readonly id: number;
  /** The queue it came from. */
  readonly queue: string;
  /** 0-255, 255 most urgent. */
  readonly priority: number;
  /** 1 for the first handler that starts on this message. */
  readonly attempt: number;
  /** True if the message was with a consumer before, started or not. */
  readonly redelivered: boolean;
  /** Attempts that have failed with a reason: how many were crashes, and the last five, reasons cut at 200 characters. */
  readonly attemptLog: AttemptLog;
  /**
   * The publisher's headers, decoded when first asked for; empty if there are none. Throws BAD_FRAME if they cannot be decoded. A message that was a dead
   * letter has `x-death` among them: which queues have given it up, `[{ queue, reason, time, count }, ...]`, oldest first (`reason` is `rejected`,
   * `expired`, `limit` or `attempts`; `time` is ms since 1970, of the last time; `count` is of all times).
   */
  readonly headers: Record<string, unknown>;
  readonly contentType: string | null;
  /** The bytes that were published: a view of the frame they came in. Copy them (`slice`) to keep a small body of a large frame. */
  readonly body: Uint8Array;
  /**
   * Aborts when going on is in vain, with a LovageError as its reason: REVOKED (somebody has revoked the message; `details.terminate` says whether its work is
   * to be ended by force), SUPERSEDED (the broker took the message back), CONNECTION_LOST or CLIENT_CLOSED (the client gave up).
   */
  readonly signal: AbortSignal;
  /** The body by content type: `text/...` a string, `application/msgpack` the value, anything else the bytes. Throws BAD_FRAME. */
  value(): unknown;
  /**
   * Settles the delivery. Resolves when that is on the broker's disk; rejects with ALREADY_SETTLED, REVOKED, SUPERSEDED, UNKNOWN_TAG, CONNECTION_LOST or
   * CLIENT_CLOSED. A rejection that nobody awaits does no harm. With `publish` it also rejects what `publish` rejects (QUEUE_NOT_FOUND, QUEUE_FULL, FORBIDDEN,
   * FLOW_BLOCKED, ...) and FRAME_TOO_LARGE: the delivery is not settled then.
   */
  ack(options?: AckOptions): Promise<void>;
  /**
   * Settles the delivery and keeps what came of it for `client.results`, both at once: bytes as they are, text as UTF-8, anything else as MessagePack. As `ack`;
   * INVALID_ARGUMENT for a value that cannot be encoded, BODY_TOO_LARGE for one of more bytes than the broker takes (16 MiB unless it was started otherwise). In modes `early` and `none` nothing is kept.
   */
  complete(result: unknown, options?: CompleteOptions): Promise<void>;
  /**
   * Tells whoever waits for the result how far the work is: any value, encoded as by `complete`, 65,536 bytes at most; the latest counts. Sent ten times a second at
   * most, the last one always. Kept in the broker's memory until the delivery is over. Throws INVALID_ARGUMENT for a value that cannot be encoded or is too large.
   */
  progress(value: unknown, options?: Pick<CompleteOptions, 'contentType'>): void;
  /** Adds a line to what people can read of the work: the last 100 lines of 1,000 characters (what is longer is cut) are kept as `progress` is. Throws INVALID_ARGUMENT. */
  log(text: string): void;
  /** Returns or drops the delivery. As `ack`; INVALID_ARGUMENT for an option out of range. In modes `early` and `none` it only frees the credit. */
  nack(options?: NackOptions): Promise<void>;
}

/** Where a delivery is in its life; see the picture above. */
export const DELIVERY_STATE = { WAITING: 0, STARTED: 1, SETTLED: 2, LOST: 3, DETACHED: 4 } as const;

/** What a delivery needs of the consumer it belongs to. */
export interface DeliveryOwner {
  readonly queues: readonly string[];
  settleByHand(delivery: ActiveDelivery, nack: ParsedNack | null): Promise<void>;
  /** Bytes of a result that the broker takes. */
  readonly bodyBytesMax: number;
  completeByHand(delivery: ActiveDelivery, result: ResultFields): Promise<void>;
  /** Settles it with what is published along with it; `result` null: nothing is kept. */
  settleWith(delivery: ActiveDelivery, result: ResultFields | null, publish: readonly FollowUp[]): Promise<void>;
  note(delivery: ActiveDelivery, note: Note): void;
  begun(delivery: ActiveDelivery): Promise<boolean>;
}

/** `NackOptions` with their defaults. */
export interface ParsedNack {
  readonly requeue: boolean;
  readonly delayMs: number;
  readonly reason: string | null;
  readonly cause: FailureCause;
}

const textDecoder = new TextDecoder();
const textEncoder = new TextEncoder();

/** The delivery that handlers get. Its other fields belong to the SDK. */
export class ActiveDelivery implements Delivery {
  readonly wire: WireDelivery;
  readonly owner: DeliveryOwner;
  state: number = DELIVERY_STATE.WAITING;
  /** Number of the START frame that named it; 0 for none yet. */
  startSeq = 0;
  /** Neighbours in the consumer's list of live deliveries. */
  next: ActiveDelivery | null = null;
  previous: ActiveDelivery | null = null;
  /** Why it was lost or aborted. */
  lossError: LovageError | null = null;
  /** A settlement that the broker may refuse, because something is published with it: until it answers the delivery is started. */
  pending: Promise<void> | null = null;
  decodedHeaders: Record<string, unknown> | null = null;
  controller: AbortController | null = null;
  /** Told as the signal is: for the SDK, where making a signal for each delivery would cost too much. */
  onAbort: ((error: LovageError) => void) | null = null;

  constructor(wire: WireDelivery, owner: DeliveryOwner) {
    this.wire = wire;
    this.owner = owner;
  }

  get tag(): number {
    return this.wire.tag;
  }

  get id(): number {
    return this.wire.id;
  }

  get queue(): string {
    return this.owner.queues[this.wire.queueIndex] ?? '';
  }

  get priority(): number {
    return this.wire.priority;
  }

  get attempt(): number {
    return this.wire.attempt;
  }

  get redelivered(): boolean {
    return this.wire.redelivered;
  }

  get contentType(): string | null {
    return this.wire.contentType;
  }

  get body(): Uint8Array {
    return this.wire.body;
  }

  get headers(): Record<string, unknown> {
    if (this.decodedHeaders === null) {
      const { headers, history } = this.wire;
      this.decodedHeaders = headers === null ? {} : (decodeValue(headers) as Record<string, unknown>);
      if (history !== null) this.decodedHeaders['x-death'] = deathsOf(history);
    }
    return this.decodedHeaders;
  }

  get attemptLog(): AttemptLog {
    const { attemptLog } = this.wire;
    return attemptLog === null ? NO_FAILURES : readAttemptLog(attemptLog);
  }

  get signal(): AbortSignal {
    if (this.controller === null) {
      this.controller = new AbortController();
      if (this.lossError !== null) this.controller.abort(this.lossError);
    }
    return this.controller.signal;
  }

  value(): unknown {
    const { contentType, body } = this.wire;
    if (contentType === CONTENT_TYPES.value) return decodeValue(body);
    if (contentType?.startsWith('text/')) return textDecoder.decode(body);
    return body;
  }

  /** Resolves when the broker has on its disk that the handler has begun, or does not answer in the time of a request: false if the delivery is lost by then. */
  begun(): Promise<boolean> {
    return this.owner.begun(this);
  }

  ack(options?: AckOptions): Promise<void> {
    if (isFollowed(options)) return this.owner.settleWith(this, null, options.publish);
    return this.owner.settleByHand(this, null);
  }

  complete(result: unknown, options?: CompleteOptions): Promise<void> {
    try {
      const fields = resultFields(result, this.owner.bodyBytesMax, options);
      if (isFollowed(options)) return this.owner.settleWith(this, fields, options.publish);
      return this.owner.completeByHand(this, fields);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  progress(value: unknown, options?: Pick<CompleteOptions, 'contentType'>): void {
    const { contentType, body } = progressFields(value, options);
    this.owner.note(this, { progress: [contentType, body], log: [] });
  }

  log(text: string): void {
    if (typeof text !== 'string') throw invalidArgument('text', text, 'text');
    this.owner.note(this, { progress: null, log: [text.slice(0, LIMITS.logLineLengthMax)] });
  }

  nack(options?: NackOptions): Promise<void> {
    try {
      return this.owner.settleByHand(this, parseNack(options));
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /** Tells the handler that going on is in vain. */
  abort(error: LovageError): void {
    this.lossError ??= error;
    this.controller?.abort(this.lossError);
    this.onAbort?.(this.lossError);
  }
}

function isFollowed(options: AckOptions | undefined): options is { readonly publish: readonly FollowUp[] } {
  const publish = options?.publish;
  return publish !== undefined && !(Array.isArray(publish) && publish.length === 0);
}

function deathsOf(history: Uint8Array): { queue: string; reason: string; time: number; count: number }[] {
  return readDeadLetters(history).map(({ queue, reason, timeMs, count }) => ({ queue, reason, time: timeMs, count }));
}

/** The return of a delivery whose handler failed: after the queue's backoff, with the error's text. */
export function nackOfFailure(reason: string): ParsedNack {
  return { requeue: true, delayMs: -1, reason: reason.slice(0, LIMITS.reasonLengthMax), cause: 'failed' };
}

function resultFields(
  result: unknown,
  bytesMax: number,
  { ttlMs = 0, contentType }: CompleteOptions = {},
): ResultFields {
  if (!(Number.isSafeInteger(ttlMs) && ttlMs >= 0 && ttlMs <= LIMITS.delayMsMax))
    throw invalidArgument('ttlMs', ttlMs, `a whole number from 1 to ${LIMITS.delayMsMax}`);
  if (contentType !== undefined && !isContentType(contentType))
    throw invalidArgument(
      'contentType',
      contentType,
      `at most ${LIMITS.contentTypeLengthMax} characters of printable ASCII`,
    );
  const isText = typeof result === 'string';
  const isBytes = result instanceof Uint8Array;
  const body = isText ? textEncoder.encode(result) : isBytes ? result : encodeValue(result);
  if (body.length > bytesMax) {
    const message = `Cannot complete the delivery: the result has ${body.length} bytes, expected at most ${bytesMax}`;
    throw new LovageError('BODY_TOO_LARGE', message, {
      details: { bytes: body.length, bytesMax },
    });
  }
  const own = isText ? CONTENT_TYPES.text : isBytes ? null : CONTENT_TYPES.value;
  return { ttlMs, contentType: contentType ?? own, body };
}

function progressFields(value: unknown, options?: Pick<CompleteOptions, 'contentType'>): ResultFields {
  try {
    return resultFields(value, LIMITS.progressBytesMax, options);
  } catch {
    throw invalidArgument('value', value, `what can be encoded in at most ${LIMITS.progressBytesMax} bytes`);
  }
}

function parseNack(options: NackOptions = {}): ParsedNack {
  const { requeue = true, delayMs, reason, cause = 'failed' } = options;
  if (typeof requeue !== 'boolean') throw invalidArgument('requeue', requeue, 'true or false');
  if (delayMs !== undefined && !(Number.isSafeInteger(delayMs) && delayMs >= 0 && delayMs <= LIMITS.delayMsMax))
    throw invalidArgument('delayMs', delayMs, `a whole number from 0 to ${LIMITS.delayMsMax}`);
  if (reason !== undefined && typeof reason !== 'string') throw invalidArgument('reason', reason, 'text');
  if (!FAILURE_CAUSES.includes(cause)) throw invalidArgument('cause', cause, `one of ${FAILURE_CAUSES.join(', ')}`);
  return {
    requeue,
    cause,
    delayMs: requeue ? (delayMs ?? -1) : 0,
    reason: reason?.slice(0, LIMITS.reasonLengthMax) ?? null,
  };
}
