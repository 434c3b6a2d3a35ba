/** Clients over a broker whose journal is held by the test. */
import { CLIENT_OPS, decodeFrame, readOp, SERVER_OPS } from '@lovage/protocol';
import type { EngineOptions } from '../../server/engine/state.js';
import type { Session } from '../../server/session/session.js';
import type { Message } from '../support/raw-client.js';
import { type FakeWire, SessionHarness } from '../support/session-harness.js';
import { HandJournal, type HandJournalOptions } from './hand-journal.js';

const OP_NAMES = new Map<number, string>(Object.entries(SERVER_OPS).map(([name, op]) => [op, name]));

export class HandClient {
  readonly session: Session;
  readonly wire: FakeWire;
  readonly #harness: SessionHarness;
  #nextSeq = 1;
  #settleSeq = 0;
  #request = 0;

  constructor(harness: SessionHarness, { session, wire }: { session: Session; wire: FakeWire }) {
    this.#harness = harness;
    this.session = session;
    this.wire = wire;
  }

  /** A request; returns its number. */
  ask(op: number, ...fields: unknown[]): number {
    const request = ++this.#request;
    this.#harness.send(this.session, [op, request, ...fields]);
    return request;
  }

  declare(...queues: string[]): void {
    for (const queue of queues) this.ask(CLIENT_OPS.QUEUE_DECLARE, queue, null);
  }

  consume(queues: readonly string[], options: Record<string, unknown> = {}, consumerId = 1): number {
    const map = { queues, prefetch: 10, ack: 'late', queueOrder: 'strict', ...options };
    return this.ask(CLIENT_OPS.CONSUME, consumerId, map);
  }

  /** Publishes with the next numbers; returns the first. */
  publish(messages: readonly Message[], flags = 0): number {
    const firstSeq = this.#nextSeq;
    this.#nextSeq += messages.length;
    this.#harness.publish(this.session, firstSeq, messages, flags);
    return firstSeq;
  }

  /** Returns the number of the frame. */
  settle(op: number, ranges: readonly number[], mayWait = false): number {
    const settleSeq = ++this.#settleSeq;
    const more = op === CLIENT_OPS.NACK ? [true, 0, null] : mayWait ? [true] : [];
    this.#harness.send(this.session, [op, settleSeq, ranges, ...more]);
    return settleSeq;
  }

  /** Names of the ops that have come since the last call, in order. */
  heard(): string[] {
    return this.wire.frames.splice(0).map((frame) => OP_NAMES.get(readOp(frame))!);
  }

  /** The frames that have come since the last call, decoded. */
  frames(): unknown[][] {
    return this.wire.frames.splice(0).map((frame) => decodeFrame(frame));
  }
}

export class HandHarness {
  readonly journal: HandJournal;
  readonly sessions: SessionHarness;

  constructor(journal: HandJournal, sessions: SessionHarness) {
    this.journal = journal;
    this.sessions = sessions;
  }

  static async start(
    options: { engine?: Partial<EngineOptions>; journal?: HandJournalOptions } = {},
  ): Promise<HandHarness> {
    const journal = new HandJournal(options.journal);
    const sessions = await SessionHarness.start({ journal, ...(options.engine && { engine: options.engine }) });
    const harness = new HandHarness(journal, sessions);
    await harness.turns();
    return harness;
  }

  /** A client that has been welcomed, while the journal is not held. */
  async connect(hello: Record<string, unknown> = {}): Promise<HandClient> {
    const client = new HandClient(this.sessions, await this.sessions.open(hello));
    await this.turns();
    client.heard();
    return client;
  }

  /** What can happen without the disk has happened: the turn has ended, whatever asked for one more has had it, and what gathers has gathered for long enough. */
  async turns(): Promise<void> {
    await this.turnsAtOnce();
    this.sessions.clock.advance(1);
    await this.turnsAtOnce();
  }

  /** The same while no time passes. */
  async turnsAtOnce(): Promise<void> {
    for (let turn = 0; turn < 3; turn++) await new Promise((resolve) => setImmediate(resolve));
  }

  /** The batch under way is on disk, and what that causes has happened. */
  async release(): Promise<void> {
    this.journal.release();
    await this.turns();
  }

  /** The batch under way is on disk before this turn is over. A journal and its broker learn of that together: no command comes in between. */
  async releaseInTurn(): Promise<void> {
    this.journal.release();
    for (let i = 0; i < 5; i++) await Promise.resolve();
  }

  /** Lets go of the disk: everything staged is committed. */
  async letGo(): Promise<void> {
    this.journal.isHeld = false;
    while (this.journal.isCommitting) await this.release();
    // A purge takes a turn for each slice.
    while (this.sessions.broker.engine.isSweeping) await this.turns();
    await this.turns();
  }
}
