/** Sessions over a real broker and engine, with a wire that only remembers and a clock that only the test moves. */
import {
  decodeFrame,
  type ErrorCode,
  encodeFrame,
  LIMITS,
  parseTokenOptions,
  readOp,
  SERVER_OPS,
  type TokenOptions,
} from '@lovage/protocol';
import type { Archive } from '../../server/archive/index.js';
import { Broker } from '../../server/broker/broker.js';
import type { Clock } from '../../server/broker/clock.js';
import { Desk } from '../../server/broker/desk.js';
import type { FlowLimits } from '../../server/broker/flow-gate.js';
import { Engine } from '../../server/engine/engine.js';
import type { EngineOptions } from '../../server/engine/state.js';
import { MemoryJournal } from '../../server/journal/index.js';
import type { Journal } from '../../server/journal/journal.js';
import type { AuditLine } from '../../server/session/audit.js';
import { Authority, digestOf } from '../../server/session/authority.js';
import { FramePool } from '../../server/session/frame-pool.js';
import type { Wire } from '../../server/session/outbox.js';
import { Session, type SessionSettings } from '../../server/session/session.js';
import { type Message, publishFrame } from './raw-client.js';

/** Time stands still until `advance`. */
export class VirtualClock implements Clock {
  #nowMs = 1_000_000;
  readonly #timers = new Set<{ readonly atMs: number; readonly callback: () => void }>();

  wallMs(): number {
    return this.#nowMs;
  }

  monotonicMs(): number {
    return this.#nowMs;
  }

  setTimer(callback: () => void, ms: number): () => void {
    const timer = { atMs: this.#nowMs + ms, callback };
    this.#timers.add(timer);
    return () => this.#timers.delete(timer);
  }

  atTurnEnd(callback: () => void): void {
    setImmediate(callback);
  }

  advance(ms: number): void {
    this.#nowMs += ms;
    for (const timer of [...this.#timers]) {
      if (timer.atMs > this.#nowMs) continue;
      this.#timers.delete(timer);
      timer.callback();
    }
  }
}

export interface HarnessDelivery {
  readonly tag: number;
  readonly id: number;
  readonly priority: number;
  readonly attempt: number;
  readonly redelivered: boolean;
  readonly text: string;
}

/** Keeps what was sent; the test says how much of it the client has taken. */
export class FakeWire implements Wire {
  bufferedBytes = 0;
  largestFrameBytes = 0;
  /** What `hasMoved` says. */
  isMoving = false;
  readonly frames: Uint8Array[] = [];
  closedWith: { readonly code: number; readonly reason: string } | null = null;
  isTerminated = false;
  isPaused = false;
  /** Called for each frame instead of keeping it taken at once, when set. */
  onSend: ((frame: Uint8Array, taken: (() => void) | undefined) => void) | null = null;

  send(frame: Uint8Array, taken?: () => void): void {
    this.frames.push(Uint8Array.from(frame));
    if (this.onSend === null) taken?.();
    else this.onSend(frame, taken);
  }

  hasMoved(): boolean {
    return this.isMoving;
  }

  cork(): void {
    // Nothing is held back here.
  }

  uncork(): void {
    // Nothing was held back.
  }

  close(code: number, reason: string): void {
    this.closedWith ??= { code, reason };
  }

  terminate(): void {
    this.isTerminated = true;
  }

  pause(): void {
    this.isPaused = true;
  }

  resume(): void {
    this.isPaused = false;
  }

  /** Decoded frames of one op, without the op. DELIVER frames hold headers and bodies; tests here have none that are large. */
  fieldsOf(op: number): unknown[][] {
    return this.frames.filter((frame) => readOp(frame) === op).map((frame) => decodeFrame(frame).slice(1));
  }

  /** What was delivered, in order. */
  get deliveries(): HarnessDelivery[] {
    return this.fieldsOf(SERVER_OPS.DELIVER).flatMap(([, deliveries]) =>
      (deliveries as unknown[][]).map((fields) => {
        const [tag, id, , priority, attempt, redelivered, , , body] = fields;
        const text = Buffer.from(body as Uint8Array).toString();
        return { tag, id, priority, attempt, redelivered, text } as HarnessDelivery;
      }),
    );
  }

  /** Code of the last ERROR, null if there was none. */
  get errorCode(): ErrorCode | null {
    return (this.fieldsOf(SERVER_OPS.ERROR).at(-1)?.[1] as ErrorCode | undefined) ?? null;
  }
}

export interface HarnessOptions {
  readonly engine?: Partial<EngineOptions>;
  readonly settings?: Partial<SessionSettings>;
  readonly token?: string | null;
  readonly journal?: Journal;
  readonly flow?: FlowLimits;
  readonly archive?: Archive;
}

export class SessionHarness {
  readonly clock = new VirtualClock();
  readonly broker: Broker;
  readonly failures: unknown[] = [];
  readonly archiveFailures: unknown[] = [];
  readonly audits: AuditLine[] = [];
  readonly settings: SessionSettings;
  readonly authority: Authority;
  /** Buffers that the pool has had made. */
  framesMade = 0;
  readonly #framePool = new FramePool((bytes) => {
    this.framesMade++;
    return Buffer.allocUnsafeSlow(bytes);
  });
  #tokens = 0;

  constructor(options: HarnessOptions = {}) {
    const engine = new Engine({ graceMs: 10_000, ...options.engine });
    this.broker = new Broker({
      engine,
      journal: options.journal ?? new MemoryJournal(),
      clock: this.clock,
      archive: options.archive ?? null,
      onArchiveFailure: (error) => this.archiveFailures.push(error),
      ...(options.flow && { flow: options.flow }),
    });
    const { token = null } = options;
    this.authority = new Authority({ tokens: engine.state.tokens, token, isOpen: true, clock: this.clock });
    this.broker.watchAccess(this.authority);
    this.settings = {
      heartbeatMs: 20_000,
      graceMs: 10_000,
      bodyBytesMax: LIMITS.bodyBytesMax,
      headerBytesMax: LIMITS.headerBytesMax,
      unsentBytesMax: 8 * 1024 * 1024,
      unsentMsMax: 10_000,
      ...options.settings,
    };
  }

  static async start(options: HarnessOptions = {}): Promise<SessionHarness> {
    const harness = new SessionHarness(options);
    await harness.broker.recover();
    return harness;
  }

  /** A connection from which nothing has come yet. */
  connect(): { readonly session: Session; readonly wire: FakeWire } {
    const wire = new FakeWire();
    const context = {
      broker: this.broker,
      framePool: this.#framePool,
      settings: this.settings,
      authority: this.authority,
      onAudit: (line: AuditLine) => this.audits.push(line),
      onError: (error: unknown) => this.failures.push(error),
    };
    return { session: new Session(context, wire, this.clock.monotonicMs()), wire };
  }

  /** A connection that has been welcomed. */
  async open(hello: Record<string, unknown> = {}): Promise<{ readonly session: Session; readonly wire: FakeWire }> {
    const connection = this.connect();
    this.send(connection.session, [1, { version: LIMITS.version, ...hello }]);
    await this.turn();
    return connection;
  }

  /** The secret of a new token; its name is its role unless given. The first has to be an admin's. */
  async makeToken(options: Partial<TokenOptions> & Pick<TokenOptions, 'role'>): Promise<string> {
    const fields = parseTokenOptions({ name: options.role, ...options });
    const secret = `secret ${++this.#tokens}`;
    const hash = digestOf(secret).toString('hex');
    await new Desk(this.broker).ask('default', (session, request) => {
      return { type: 'token-create', session, request, id: hash.slice(0, 16), hash, secret, fields };
    });
    return secret;
  }

  send(session: Session, fields: readonly unknown[]): void {
    session.receive(encodeFrame(fields), this.clock.monotonicMs());
  }

  publish(session: Session, firstSeq: number, messages: readonly Message[], flags = 0): void {
    session.receive(publishFrame(messages, { firstSeq, flags }), this.clock.monotonicMs());
  }

  /** Time passes, what is due is done and told. */
  async pass(ms: number): Promise<void> {
    this.clock.advance(ms);
    await this.turn();
  }

  /** Everything submitted is committed and told. */
  async turn(): Promise<void> {
    await this.broker.settle();
    // A second look: what was told at the end of a commit may have asked for a turn of its own.
    await new Promise((resolve) => setImmediate(resolve));
    await this.broker.settle();
  }
}
