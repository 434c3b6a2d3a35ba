/**
 * One connection, from its first byte to its end.
 *
 *     opening   the socket is there, HELLO is awaited      -> open when HELLO is accepted, closed on anything else or after the time limit
 *     open      frames are carried out, heartbeats run     -> closed by GOODBYE, a violation, two lost heartbeats, the socket's end, the broker's stop
 *     closed    nothing is sent or heard any more; the socket goes when the client has answered the close, or after a while
 */
import { randomBytes } from 'node:crypto';
import {
  CLIENT_OPS,
  DURABILITY,
  decodeFrame,
  ERRORS,
  type ErrorCode,
  encodeFrame,
  isSameRate,
  LIMITS,
  LovageError,
  parseRate,
  readOp,
  SERVER_OPS,
  type Welcome,
} from '@lovage/protocol';
import { type FlowWatcher, RETRY_AFTER_MS } from '../broker/flow-gate.js';
import { Outlet } from '../broker/outlet.js';
import type { Opened } from '../engine/effects.js';
import { type AuditSink, AuditTrail } from './audit.js';
import type { Authority, Member } from './authority.js';
import { type ParsedHello, parseHello } from './fields.js';
import { ANONYMOUS, type Identity } from './identity.js';
import { handleFrame } from './ops.js';
import { Outbox, type OutboxContext, type OutboxEvents, type Wire } from './outbox.js';

/** ms that a client has to read what is on its way and to answer the close, before its socket is dropped. */
const CLOSE_MS = 5_000;
/** PUBLISHes of a connection, while publishers are held back, after which it is not read from until the next look: a MiB of those of the SDK. */
export const HELD_PUBLISHES_MAX = 16;

/** What every connection has in common. */
export interface SessionSettings {
  readonly heartbeatMs: number;
  readonly graceMs: number;
  readonly bodyBytesMax: number;
  readonly headerBytesMax: number;
  /** Bytes unsent to one connection above which it is closed. */
  readonly unsentBytesMax: number;
  /** ms that unsent bytes may stand without any leaving. */
  readonly unsentMsMax: number;
}

export interface SessionContext extends OutboxContext {
  readonly settings: SessionSettings;
  readonly authority: Authority;
  readonly onAudit: AuditSink;
  /** Told of failures that are the broker's own. */
  readonly onError: (error: unknown) => void;
}

/**
 * Bytes of frames after which a connection is not read from until the next turn. A socket that is filled again while it is read from is read from up to 32 times in a row
 * (libuv's `uv__read`), 2 MiB; the others wait, and those with a small prefetch most.
 */
const TURN_BYTES_MAX = 256 * 1024;
/** Intervals after which a session that sends no heartbeat gets one: those of clients, which are answered, come a little late. */
const UNASKED_INTERVALS = 1.25;
/** Least intervals between two answers to heartbeats: more would only cost. */
const ANSWER_INTERVALS = 0.5;

export class Session implements Member, FlowWatcher, OutboxEvents {
  readonly #context: SessionContext;
  readonly #wire: Wire;
  /** IP address of the other side, for the count of wrong tokens and the audit log. */
  readonly address: string;
  /** Its administrative acts. */
  readonly audit: AuditTrail;
  readonly #outbox: Outbox;
  readonly #outlet: Outlet;
  readonly #openedAtMs: number;
  #state: 'opening' | 'open' | 'closed' = 'opening';
  #number = 0;
  #namespace = 'default';
  #clientName: string | null = null;
  #identity: Identity = ANONYMOUS;
  #heartbeatMs: number;
  #heardAtMs: number;
  #beatAtMs: number;
  #movedAtMs: number;
  /** PUBLISHes that came while publishers were held back, since it was not read from last. */
  #heldPublishes = 0;
  /** The turn in which it was read from last, and bytes of frames in it. */
  #turn = 0;
  #turnBytes = 0;
  #isResting = false;
  /** Reasons not to read from the client. */
  #pauses = 0;
  /** Too many answers wait for the client to read them. */
  #isHolding = false;
  /** Frames that came all the same, from what the socket had read already. */
  readonly #held: Uint8Array[] = [];
  /** When the sweep first found the session closed. */
  #closedAtMs: number | null = null;

  constructor(context: SessionContext, wire: Wire, nowMs: number, address = '') {
    this.#context = context;
    this.address = address;
    this.#wire = wire;
    this.audit = new AuditTrail(context.onAudit);
    this.#outbox = new Outbox(context, wire, this.audit, this);
    this.#outlet = new Outlet(this.#outbox);
    this.#openedAtMs = nowMs;
    this.#heardAtMs = nowMs;
    this.#beatAtMs = nowMs;
    this.#movedAtMs = nowMs;
    this.#heartbeatMs = context.settings.heartbeatMs;
  }

  get isOpen(): boolean {
    return this.#state === 'open';
  }

  /** The engine's number of the session. */
  get number(): number {
    return this.#number;
  }

  get namespace(): string {
    return this.#namespace;
  }

  get clientName(): string | null {
    return this.#clientName;
  }

  /** Who it is; means something once the session is open. */
  get identity(): Identity {
    return this.#identity;
  }

  /** Monotonic ms at which the frame at hand came. */
  get heardAtMs(): number {
    return this.#heardAtMs;
  }

  /** Whether its namespace has a queue of this name. */
  hasQueue(name: unknown): boolean {
    return typeof name === 'string' && this.#context.broker.queueExists(this.#namespace, name);
  }

  /** Whether its namespace has a rate limit of this name that is declared with this rate. */
  hasRateLimit(name: unknown, rate: unknown): boolean {
    if (typeof name !== 'string') return false;
    const declared = this.#context.broker.declaredRate(this.#namespace, name);
    return declared !== null && isSameRate(declared, parseRate(rate));
  }

  get context(): SessionContext {
    return this.#context;
  }

  /** One binary message has come. `nowMs` is monotonic. An exception ends this connection and no other (promise P11). */
  receive(frame: Uint8Array, nowMs: number): void {
    if (this.#state === 'closed') return;
    this.#heardAtMs = nowMs;
    this.#restAfter(frame.length);
    if (this.#isHolding) this.#held.push(frame);
    else this.#carryOut(frame, nowMs);
  }

  /** Lets others be read from when enough has come in this turn. */
  #restAfter(bytes: number): void {
    const { broker } = this.#context;
    if (this.#turn !== broker.turns) {
      this.#turn = broker.turns;
      this.#turnBytes = 0;
    }
    this.#turnBytes += bytes;
    if (this.#turnBytes < TURN_BYTES_MAX || this.#isResting) return;
    this.#isResting = true;
    this.#pause();
    broker.afterTurn(() => {
      this.#isResting = false;
      this.#resume();
    });
  }

  #carryOut(frame: Uint8Array, nowMs: number): void {
    try {
      if (this.#state === 'opening') this.#hello(frame, nowMs);
      else handleFrame(this, frame);
    } catch (error) {
      this.#violation(error);
    }
    if (this.isOpen) this.#slowDown(frame);
  }

  /** Publishers are held back, or not any more. */
  flowChanged(): void {
    const { reason } = this.#context.broker.flow;
    const fields = reason === null ? [false, null, 0] : [true, reason, RETRY_AFTER_MS];
    this.#context.broker.answer(this.#number, [SERVER_OPS.FLOW, ...fields]);
  }

  receiveText(): void {
    this.fail('TEXT_FRAME');
  }

  /** Answers a request with an error; the connection goes on. */
  refuse(request: number | null, error: LovageError): void {
    this.#context.broker.answer(this.#number, [
      SERVER_OPS.ERROR,
      request,
      error.code,
      error.message,
      error.details ?? null,
    ]);
  }

  /** Says what is wrong and closes with the code's close number. Without `keep` what it holds returns at once. */
  fail(code: ErrorCode, message: string = ERRORS[code].text, keep = true): void {
    if (this.#state === 'closed') return;
    this.#wire.send(encodeFrame([SERVER_OPS.ERROR, null, code, message, null]));
    this.#end(ERRORS[code].close ?? 4500, code, keep);
  }

  /** The token that opened the session is none any more: the session ends with it. */
  expel(code: 'TOKEN_EXPIRED' | 'UNAUTHORIZED', message: string): void {
    this.fail(code, message, false);
  }

  /** GOODBYE: the client is done, everything it holds returns. */
  leave(): void {
    this.#end(1000, 'GOODBYE', false);
  }

  /** Another connection goes on with this session. */
  superseded(): void {
    this.fail('SESSION_TAKEN_OVER');
  }

  /** The socket is gone. */
  closed(): void {
    this.#outbox.abandon();
    if (this.#state === 'closed') return;
    this.#state = 'closed';
    this.#forget(true);
  }

  /**
   * Heartbeats, the time limit of HELLO, and clients that do not read. Called when it has asked for it, once a second while the connection has unsent bytes or
   * is being closed, and whenever else; answers in how many ms it is due again at the latest, Infinity for a session that is closed.
   */
  sweep(nowMs: number): number {
    if (this.#state === 'closed') return this.#sweepClosed(nowMs);
    if (this.#state === 'opening') {
      const leftMs = this.#openedAtMs + LIMITS.helloTimeoutMs - nowMs;
      if (leftMs >= 0) return leftMs + 1;
      this.fail('HELLO_TIMEOUT');
      return Number.POSITIVE_INFINITY;
    }
    return this.#sweepOpen(nowMs);
  }

  #sweepClosed(nowMs: number): number {
    this.#closedAtMs ??= nowMs;
    if (nowMs - this.#closedAtMs >= CLOSE_MS) this.#wire.terminate();
    return Number.POSITIVE_INFINITY;
  }

  #sweepOpen(nowMs: number): number {
    // Nobody is silent whom the broker does not listen to.
    if (this.#pauses > 0) this.#heardAtMs = nowMs;
    const silenceMs = nowMs - this.#heardAtMs;
    const silenceMsMax = this.#heartbeatMs * LIMITS.heartbeatMisses;
    if (silenceMs > silenceMsMax) this.fail('HEARTBEAT_LOST');
    else if (this.#isStuck(nowMs)) this.fail('SLOW_CONSUMER');
    else if (nowMs - this.#beatAtMs >= this.#heartbeatMs * UNASKED_INTERVALS) this.#beat(nowMs);
    if (!this.isOpen) return Number.POSITIVE_INFINITY;
    return Math.min(this.#beatAtMs + this.#heartbeatMs * UNASKED_INTERVALS - nowMs, silenceMsMax - silenceMs + 1);
  }

  /**
   * Who goes on publishing although publishers are held back is not read from for a while, unless there are deliveries to answer for: those make room. What was on its way
   * when that was said is heard soon, or a consumer that is asked for behind it would wait for long.
   */
  #slowDown(frame: Uint8Array): void {
    const { broker } = this.#context;
    if (broker.isCongested(this.#resume)) this.#pause();
    if (this.#hasManyAnswers) this.#hold();
    const { flow } = broker;
    if (flow.reason === null || readOp(frame) !== CLIENT_OPS.PUBLISH || broker.hasDeliveries(this.#number)) return;
    if (++this.#heldPublishes < HELD_PUBLISHES_MAX) return;
    this.#heldPublishes = 0;
    flow.pause(this.#resume);
    this.#pause();
  }

  /** Half of what closes the connection: whoever asks for more than it reads is not heard until it has read. */
  get #hasManyAnswers(): boolean {
    const bytes = this.#outlet.answerBytes + this.#outbox.answerBytes;
    return bytes > this.#context.settings.unsentBytesMax / 2;
  }

  /** What has come from the socket already is kept: a chunk of small requests may have large answers. */
  #hold(): void {
    if (this.#isHolding) return;
    this.#isHolding = true;
    this.#pause();
  }

  /** Answers have left: goes on with what was held, until there are too many again. */
  answered(): void {
    if (!this.#isHolding) return;
    const held = this.#held;
    let next = 0;
    while (next < held.length && this.isOpen && !this.#hasManyAnswers) this.#carryOut(held[next++]!, this.#heardAtMs);
    held.splice(0, next);
    if (held.length > 0 || this.#hasManyAnswers) return;
    this.#isHolding = false;
    this.#resume();
  }

  #pause(): void {
    if (this.#pauses++ === 0) this.#wire.pause();
  }

  readonly #resume = (): void => {
    if (--this.#pauses === 0) this.#wire.resume();
  };

  #hello(frame: Uint8Array, nowMs: number): void {
    if (frame.length > LIMITS.helloBytesMax) return this.fail('FRAME_TOO_LARGE');
    if (readOp(frame) !== CLIENT_OPS.HELLO) return this.fail('HELLO_EXPECTED');
    const hello = parseHello(decodeFrame(frame)[1], this.#context.settings.heartbeatMs);
    if (hello.version !== LIMITS.version) {
      return this.fail(
        'VERSION_UNSUPPORTED',
        `Cannot speak protocol version ${hello.version}: this broker speaks ${LIMITS.version}`,
      );
    }
    this.#identity = this.#context.authority.admit(hello.token, this.address);
    this.#identity.assertEnters(hello.namespace);
    this.#open(hello, nowMs);
  }

  #open(hello: ParsedHello, nowMs: number): void {
    this.#namespace = hello.namespace;
    this.#clientName = hello.clientName;
    this.#heartbeatMs = hello.heartbeatMs;
    const command = {
      type: 'open',
      key: randomBytes(16).toString('base64url'),
      namespace: hello.namespace,
      producer: hello.producer,
      resumeKey: hello.resumeKey,
      lastTag: hello.lastTag,
    } as const;
    this.#context.authority.enter(this);
    const opened = this.#context.broker.open(command, this.#outlet);
    if (opened.session === 0) return this.fail('TOO_MANY_PRODUCERS');
    this.#number = opened.session;
    this.#state = 'open';
    this.#beatAtMs = nowMs;
    // What WELCOME says of a resumed session may rest on a batch that is on its way to the disk.
    const { broker } = this.#context;
    broker.answer(this.#number, [SERVER_OPS.WELCOME, this.#welcome(opened)]);
    const { calledOff, terminated } = opened;
    if (calledOff.length > 0) broker.answer(this.#number, [SERVER_OPS.REVOKED, calledOff, false]);
    if (terminated.length > 0) broker.answer(this.#number, [SERVER_OPS.REVOKED, terminated, true]);
    const { flow } = broker;
    flow.watch(this);
    if (flow.reason !== null) this.flowChanged();
  }

  #welcome(opened: Opened): Welcome {
    const { settings, broker } = this.#context;
    const { syncClass } = broker.journal;
    return {
      version: LIMITS.version,
      session: opened.key,
      resumed: opened.resumed,
      held: [...opened.held],
      settleSeq: opened.settleSeq,
      serverTime: broker.wallMs(),
      heartbeatMs: this.#heartbeatMs,
      graceMs: settings.graceMs,
      durability: syncClass === 'always' ? DURABILITY[0] : syncClass,
      limits: {
        bodyBytesMax: settings.bodyBytesMax,
        headerBytesMax: settings.headerBytesMax,
        frameBytesMax: settings.bodyBytesMax + LIMITS.frameOverheadBytes,
      },
    };
  }

  #violation(error: unknown): void {
    if (!(error instanceof LovageError) || error.code === 'INTERNAL_ERROR') {
      this.#context.onError(error);
      this.fail('INTERNAL_ERROR');
    } else if (ERRORS[error.code].close !== null) {
      this.fail(error.code, error.message);
    } else if (this.#state === 'opening') {
      // A HELLO with a value out of range may be mended and sent again.
      this.#wire.send(encodeFrame([SERVER_OPS.ERROR, null, error.code, error.message, error.details ?? null]));
    } else {
      this.fail('BAD_FRAME', error.message);
    }
  }

  /** The client's heartbeat has come. It is answered while everything of the connection is at hand: at a moment of its own it would have to be fetched from memory once more. */
  answerHeartbeat(): void {
    const nowMs = this.#heardAtMs;
    if (nowMs - this.#beatAtMs >= this.#heartbeatMs * ANSWER_INTERVALS) this.#beat(nowMs);
  }

  /**
   * The broker's view of this session's consumers, for the client to compare with its own. While nothing else waits to be told it goes out at once: thousands of
   * idle connections take no turn of the broker, and no batch goes to disk for them.
   */
  #beat(nowMs: number): void {
    const { broker } = this.#context;
    this.#beatAtMs = nowMs;
    const fields = [SERVER_OPS.HEARTBEAT, broker.unsettledOf(this.#number)];
    if (this.#outlet.isEmpty) this.#wire.send(encodeFrame(fields));
    else broker.answer(this.#number, fields);
  }

  /** One frame may be larger than the bound, so the largest is not counted; a client that takes it slowly is not stuck while it takes any of it. */
  #isStuck(nowMs: number): boolean {
    const { unsentBytesMax, unsentMsMax } = this.#context.settings;
    const { bufferedBytes } = this.#wire;
    if (this.#wire.hasMoved() || bufferedBytes === 0) this.#movedAtMs = nowMs;
    if (bufferedBytes - this.#wire.largestFrameBytes > unsentBytesMax) return true;
    return nowMs - this.#movedAtMs > unsentMsMax;
  }

  drained(bytes: number): void {
    if (this.#state === 'open') this.#context.broker.submit({ type: 'drained', session: this.#number, bytes });
  }

  #end(closeCode: number, reason: string, keep: boolean): void {
    this.#state = 'closed';
    this.#wire.close(closeCode, reason);
    this.#forget(keep);
  }

  #forget(keep: boolean): void {
    this.#held.length = 0;
    this.#context.broker.flow.unwatch(this);
    this.audit.close();
    this.#context.authority.leave(this);
    if (this.#number !== 0) this.#context.broker.leave(this.#number, this.#outlet, keep);
  }
}
