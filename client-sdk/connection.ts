/**
 * The connection to the broker, made again when it is lost.
 *
 *     connecting   the first attempt        -> connected on WELCOME, closed when it fails
 *     connected    frames go both ways      -> reconnecting when the socket goes, heartbeats stop, or the broker ends it; closed by close, terminate,
 *                                              and for errors that would only come again
 *     reconnecting pauses and attempts      -> connected on WELCOME, closed as above
 *     closed       for good
 */
import {
  CLIENT_OPS,
  decodeFrame,
  type ErrorCode,
  encodeFrame,
  type Hello,
  LIMITS,
  LovageError,
  readOp,
  SERVER_OPS,
  type Welcome,
} from '@lovage/protocol';
import { backoffMs } from './backoff.js';
import type { Channel } from './channel.js';
import { errorFromBroker, errorFromClose } from './errors.js';
import type { ClientOptions } from './options.js';
import { type Blocked, StatusFeed } from './status-feed.js';
import type { Platform, Transport } from './transport.js';

/** Unsent bytes above which frames are held back. */
const UNSENT_BYTES_MAX = 4_194_304;
/** ms that the broker has to close the socket after GOODBYE. */
const GOODBYE_MS = 5_000;

/** Errors that another attempt would only meet again. */
const FINAL: ReadonlySet<ErrorCode> = new Set([
  'BAD_FRAME',
  'TEXT_FRAME',
  'FRAME_TOO_LARGE',
  'HELLO_EXPECTED',
  'HELLO_REPEATED',
  'VERSION_UNSUPPORTED',
  'UNAUTHORIZED',
  'TOKEN_EXPIRED',
  'FORBIDDEN',
  'SESSION_TAKEN_OVER',
  'INVALID_NAME',
  'INVALID_ARGUMENT',
]);

/** What the connection tells, and asks of, those who use it. */
export interface ConnectionEvents {
  /** The session to go on with, if there is one. */
  resume(): Hello['resume'];
  welcomed(welcome: Welcome): void;
  /** A frame of a welcomed connection. What it throws ends the connection. */
  received(op: number, frame: Uint8Array): void;
  /** The turn is over, or there is room again: send what has gathered. */
  flush(): void;
  /** Pairs of consumer and unsettled for HEARTBEAT. */
  heartbeat(): number[];
  lost(error: LovageError): void;
  ended(error: LovageError): void;
}

/** What the connection needs of its surroundings. */
export interface ConnectionContext {
  readonly platform: Platform;
  nowMs(): number;
  /** Has `tick` called at that time. */
  wakeAt(deadlineMs: number): void;
}

export class Connection implements Channel {
  readonly status = new StatusFeed();
  readonly #url: string;
  readonly #options: ClientOptions;
  readonly #context: ConnectionContext;
  readonly #events: ConnectionEvents;
  #transport: Transport | null = null;
  #isWelcomed = false;
  #isFlushing = false;
  #isLeaving = false;
  /** Attempts since a connection last stood for a while. */
  #attempt = 0;
  #welcomedMs = 0;
  #error: LovageError | null = null;
  #heartbeatMs = 0;
  /** Times, Infinity when not running. */
  #giveUpMs = Number.POSITIVE_INFINITY;
  #retryMs = Number.POSITIVE_INFINITY;
  #beatMs = Number.POSITIVE_INFINITY;
  #heardMs = 0;

  constructor(url: string, options: ClientOptions, context: ConnectionContext, events: ConnectionEvents) {
    this.#url = url;
    this.#options = options;
    this.#context = context;
    this.#events = events;
  }

  get isOpen(): boolean {
    return this.#isWelcomed;
  }

  get hasRoom(): boolean {
    return this.#isWelcomed && this.#transport!.bufferedBytes < UNSENT_BYTES_MAX;
  }

  send(frame: Uint8Array): void {
    const transport = this.#transport!;
    if (transport.bufferedBytes + frame.length < UNSENT_BYTES_MAX) transport.send(frame);
    else transport.send(frame, this.#flushSoon);
  }

  /** Without a connection as well: what one turn brings belongs together, also when it has to wait. */
  requestFlush(): void {
    if (this.#isFlushing) return;
    this.#isFlushing = true;
    this.#context.platform.schedule(this.#flush);
  }

  flush(): void {
    if (this.#isWelcomed) this.#events.flush();
  }

  /** The broker is short of something, or not any more. */
  blocked(blocked: Blocked | null): void {
    if (this.#isWelcomed) this.status.enter('connected', null, blocked);
  }

  /** Makes an attempt now. */
  open(): void {
    this.#retryMs = Number.POSITIVE_INFINITY;
    this.#giveUpMs = this.#context.nowMs() + this.#options.connectTimeoutMs;
    this.#context.wakeAt(this.#giveUpMs);
    this.#error = null;
    // Whatever an attempt tells after it was given up is not heard.
    const mine = (): boolean => this.#transport === transport;
    const transport = this.#context.platform.open(
      this.#url,
      {
        opened: () => mine() && this.#hello(),
        received: (frame) => mine() && this.#received(frame),
        closed: (code, reason) => mine() && this.#closed(code, reason),
      },
      this.#options.tls,
    );
    this.#transport = transport;
  }

  /** Says GOODBYE; the broker closes. */
  leave(): void {
    if (this.#transport === null || !this.#isWelcomed) return this.end(null);
    this.flush();
    this.#isLeaving = true;
    this.#transport.send(encodeFrame([CLIENT_OPS.GOODBYE]));
    this.#giveUpMs = this.#context.nowMs() + GOODBYE_MS;
    this.#context.wakeAt(this.#giveUpMs);
  }

  /** Drops the socket and makes no further attempt. `error` is null when that was wanted. */
  end(error: LovageError | null): void {
    if (this.status.current.state === 'closed') return;
    this.#drop();
    this.#retryMs = Number.POSITIVE_INFINITY;
    this.status.enter('closed', error);
    this.#events.ended(error ?? new LovageError('CLIENT_CLOSED'));
  }

  /** Does what is due; returns the next deadline. */
  tick(nowMs: number): number {
    if (nowMs >= this.#retryMs) this.open();
    if (nowMs >= this.#giveUpMs) this.#tooLate();
    if (this.#isWelcomed) this.#beat(nowMs);
    return Math.min(this.#retryMs, this.#giveUpMs, this.#beatMs);
  }

  readonly #flush = (): void => {
    this.#isFlushing = false;
    this.#events.flush();
  };

  readonly #flushSoon = (): void => this.requestFlush();

  #hello(): void {
    const { token, name, version, namespace, producer, heartbeatMs } = this.#options;
    const client = { ...(name !== null && { name }), ...(version !== null && { version }) };
    const resume = this.#events.resume();
    const hello: Hello = {
      version: LIMITS.version,
      token,
      client,
      namespace,
      producer,
      ...(heartbeatMs !== null && { heartbeatMs }),
      ...(resume && { resume }),
    };
    this.#transport!.send(encodeFrame([CLIENT_OPS.HELLO, hello]));
  }

  #received(frame: Uint8Array): void {
    this.#heardMs = this.#context.nowMs();
    try {
      const op = readOp(frame);
      if (op === SERVER_OPS.ERROR) this.#failed(frame);
      if (this.#isWelcomed) this.#events.received(op, frame);
      else if (op === SERVER_OPS.WELCOME) this.#welcomed(decodeFrame(frame)[1] as Welcome);
    } catch (cause) {
      const message = 'Cannot go on with this connection: the broker sent a frame that cannot be understood';
      this.#lost(new LovageError('BAD_FRAME', message, { cause }));
    }
  }

  #welcomed(welcome: Welcome): void {
    this.#isWelcomed = true;
    this.#giveUpMs = Number.POSITIVE_INFINITY;
    this.#welcomedMs = this.#heardMs;
    this.#heartbeatMs = welcome.heartbeatMs;
    // Clients that have come at once, after a restart of the broker, are not to go on at once.
    this.#beatMs = this.#heardMs + welcome.heartbeatMs * Math.random();
    this.#context.wakeAt(this.#beatMs);
    this.#events.welcomed(welcome);
    if (this.#isWelcomed) this.status.enter('connected', null);
  }

  /** ERROR without a number is the broker's last word before it closes, or before WELCOME a refusal of HELLO. */
  #failed(frame: Uint8Array): void {
    const [, request, code, message, details] = decodeFrame(frame);
    if (request !== null) return;
    this.#error = errorFromBroker(code, message, details);
    if (!this.#isWelcomed) this.#lost(this.#error);
  }

  #closed(code: number, reason: string): void {
    if (this.#isLeaving) return this.end(null);
    this.#lost(errorFromClose(code, reason, this.#error) ?? this.#unexplained(code, reason));
  }

  #unexplained(code: number, reason: string): LovageError {
    const details = { closeCode: code, reason };
    const why = reason === '' ? `close code ${code}` : reason;
    if (this.#isWelcomed)
      return new LovageError('CONNECTION_LOST', `The connection to ${this.#url} was lost: ${why}`, { details });
    return new LovageError('CONNECT_FAILED', `Cannot connect to ${this.#url}: ${why}`, { details });
  }

  #tooLate(): void {
    if (this.#isLeaving) return this.end(null);
    const { connectTimeoutMs } = this.#options;
    this.#lost(
      new LovageError('CONNECT_FAILED', `Cannot connect to ${this.#url}: no WELCOME within ${connectTimeoutMs} ms`),
    );
  }

  /** This connection, or the attempt at one, is over. */
  #lost(error: LovageError): void {
    const { reconnect } = this.#options;
    const isFirst = this.status.current.state === 'connecting';
    const wasWelcomed = this.#isWelcomed;
    this.#drop();
    if (wasWelcomed) this.#events.lost(error);
    if (isFirst || reconnect === null || this.#isLeaving || FINAL.has(error.code)) return this.end(error);
    if (wasWelcomed) this.status.enter('reconnecting', error);
    const nowMs = this.#context.nowMs();
    // A broker that welcomes and then ends the connection each time is no reason to hurry.
    if (wasWelcomed && nowMs - this.#welcomedMs >= reconnect.delayMsMax) this.#attempt = 0;
    this.#retryMs = nowMs + backoffMs(reconnect, this.#attempt++, Math.random());
    this.#context.wakeAt(this.#retryMs);
  }

  #drop(): void {
    const transport = this.#transport;
    this.#transport = null;
    this.#isWelcomed = false;
    this.#giveUpMs = Number.POSITIVE_INFINITY;
    this.#beatMs = Number.POSITIVE_INFINITY;
    transport?.terminate();
  }

  /** HEARTBEAT each interval, the first half of one early at most; two intervals without a frame from the broker end the connection. */
  #beat(nowMs: number): void {
    if (nowMs < this.#beatMs) return;
    const silenceMsMax = this.#heartbeatMs * LIMITS.heartbeatMisses;
    if (nowMs - this.#heardMs >= silenceMsMax) {
      const message = `The connection to ${this.#url} was given up: nothing was heard for ${Math.round(nowMs - this.#heardMs)} ms`;
      return this.#lost(new LovageError('HEARTBEAT_LOST', message));
    }
    this.#beatMs = Math.min(nowMs + this.#heartbeatMs, this.#heardMs + silenceMsMax);
    this.send(encodeFrame([CLIENT_OPS.HEARTBEAT, this.#events.heartbeat()]));
  }
}
