// hot path
/**
 * The single writer. Commands are applied as they arrive; their records gather in one batch until the turn of the event loop ends, then the
 * batch is written and synced, and only then are its effects released. While a sync is under way the next batch gathers: the disk sets the
 * size of the batch, not a timer.
 *
 *     submit ─► engine.apply ─► records staged, effects in buckets      (any number of times in a turn)
 *     turn ends ─► seal ─► journal.commit ─────────────► committed ─► seal ─► journal.commit ──────► ...
 *                            submit ... gather the next ──────────────┘  release: confirms, deliveries, replies leave
 */
import type { DeliveryFields, FrameWriter, QueueInfo, Rate } from '@lovage/protocol';
import {
  attemptLogBytes,
  DELIVERY_OVERHEAD_BYTES,
  deadLettersBytes,
  writeAttemptLog,
  writeDeadLetters,
  writeDeliveryHead,
} from '@lovage/protocol';
import type { Archive } from '../archive/archive.js';
import type { Command, OpenCommand } from '../engine/command.js';
import type { Opened } from '../engine/effects.js';
import type { Engine } from '../engine/engine.js';
import { FLAG } from '../engine/message-table.js';
import type { Journal } from '../journal/journal.js';
import { Archiver } from './archiver.js';
import type { Clock } from './clock.js';
import { type AccessWatcher, EffectRouter } from './effect-router.js';
import { FlowGate, type FlowLimits, NO_FLOW_LIMITS } from './flow-gate.js';
import { type BatchOwner, Housekeeping } from './housekeeping.js';
import type { Outlet } from './outlet.js';
import { RecordReader } from './record-codec.js';
import { WorkerRegistry } from './worker-registry.js';

/** `setTimeout` fires at once when asked for more than 2^31 - 1 ms (rule W12), so the timer steps an hour at most. */
const TIMER_MS_MAX = 3_600_000;
/**
 * Bytes staged at which a batch goes to an idle disk before the turn is over. A full window of publishes arrives in one turn; taken as one batch it would
 * be applied, synced, confirmed and filled again in turns that all wait for each other. Cut, one part is synced while the next is applied
 * (measured: see bench/README.md). Where no confirm waits for a sync there is nothing to gain.
 */
const EARLY_BATCH_BYTES = 48 * 1024;
/** Bytes staged and not yet written above which connections are not read from (promise P9). */
const STAGED_BYTES_MAX = 32 * 1024 * 1024;
/** Bytes that the lists of queues of one publish may need in the journal: five for each of the copies that a frame may make. */
const ROUTES_BYTES = 5_000_000;
/** ms that settlements gather after a batch, if nobody waits for anything that rests on them. */
const GATHER_MS = 1;
/** Bytes that the settlement of one message may need in the journal: an id and a count, and its share of headers. */
const SETTLE_BYTES = 24;
/** A waiting message's columns, its place in the index of ids and a share of its queue's; a lease's, and its tag. */
const ROW_BYTES = 64;
const LEASE_BYTES = 64;
/** What a key of a rate limit takes with its lane in a queue, measured with 200,000 of them. */
const RATE_KEY_BYTES = 1_130;
/** A journal in memory has as many bytes of what is dead as of what is alive before it is copied forward. */
const MEMORY_JOURNAL_FACTOR = 2;

export interface BrokerOptions {
  readonly engine: Engine;
  readonly journal: Journal;
  readonly clock: Clock;
  /** Where results go by and by; null or absent: they stay in their queues. */
  readonly archive?: Archive | null;
  /** Told when the archive could not be written: what was to go there stays, and is tried again. */
  readonly onArchiveFailure?: (error: unknown) => void;
  /** When publishers are held back. Default: never. */
  readonly flow?: FlowLimits;
}

export class Broker implements BatchOwner {
  readonly engine: Engine;
  readonly flow: FlowGate;
  readonly archive: Archive | null;
  readonly #journal: Journal;
  readonly #clock: Clock;
  readonly #router: EffectRouter;
  readonly #housekeeping: Housekeeping;
  readonly #archiver: Archiver | null;
  readonly #earlyBatchBytes: number;
  readonly #syncObservers: ((ms: number) => void)[] = [];
  readonly #congested: (() => void)[] = [];
  readonly #resting: (() => void)[] = [];
  /** Turns of the event loop in which anything has arrived. */
  turns = 0;
  #isTurnAsked = false;
  #isCommitting = false;
  #commitDone: Promise<void> = Promise.resolve();
  /** Monotonic ms at which the last batch was on disk. */
  #committedAtMs = Number.NEGATIVE_INFINITY;
  /** Nothing is to gather any longer. */
  #isSettling = false;
  #cancelGathering: (() => void) | null = null;
  #cancelTimer: (() => void) | null = null;
  #timerAtMs = Number.POSITIVE_INFINITY;
  #isClosed = false;
  /** True when recovery is done. */
  isReady = false;
  recoveredShare = 0;
  /** Bytes that wait in the sockets of all connections, as last counted. */
  unsentBytes = 0;

  constructor(options: BrokerOptions) {
    const { engine, journal, clock, flow = NO_FLOW_LIMITS, archive = null } = options;
    this.engine = engine;
    this.#journal = journal;
    this.#clock = clock;
    this.#earlyBatchBytes = journal.syncClass === 'always' ? EARLY_BATCH_BYTES : Number.POSITIVE_INFINITY;
    this.#router = new EffectRouter(engine.state, journal, archive);
    this.flow = new FlowGate(
      flow,
      () => this.memoryBytes(),
      (bytes) => journal.hasRoom(bytes),
    );
    this.#housekeeping = new Housekeeping(engine, journal, this.#router, this);
    this.archive = archive;
    this.#archiver = archive === null ? null : this.#archiverOf(archive, options);
  }

  #archiverOf(archive: Archive, { engine, journal, clock, onArchiveFailure }: BrokerOptions): Archiver {
    return new Archiver({
      archive,
      engine,
      journal,
      router: this.#router,
      clock,
      isDiskScarce: () => this.flow.isDiskScarce,
      submit: (command) => this.submit(command),
      onFailure: onArchiveFailure ?? (() => undefined),
    });
  }

  /** Workers whose connections stand. */
  readonly workers = new WorkerRegistry((session, fields) => this.answer(session, fields));

  get journal(): Journal {
    return this.#journal;
  }

  get refusedMessages(): number {
    return this.#router.refusedMessages;
  }

  /** Replays the journal. Nothing may be submitted before it is done. */
  async recover(): Promise<void> {
    const reader = new RecordReader();
    await this.#journal.replay(
      (replayed) => this.engine.restore(reader.read(replayed)),
      (share) => {
        this.recoveredShare = share;
      },
    );
    this.recoveredShare = 1;
    this.engine.recovered(this.#clock.wallMs());
    await this.#archiver?.recovered();
    this.isReady = true;
    this.tick();
  }

  /** A connection has said HELLO: `outlet` is told what concerns the session that was found or made. Session 0: too many producers. */
  open(command: OpenCommand, outlet: Outlet): Opened {
    this.begin();
    this.engine.apply(command, this.#clock.wallMs(), this.#router);
    const opened = this.#router.lastOpened!;
    if (opened.session !== 0) {
      const before = this.#router.outlet(opened.session);
      this.#router.attach(opened.session, outlet);
      before?.superseded();
    }
    this.#askTurn();
    return opened;
  }

  /** The connection of a session is gone. Without `keep` the session ends at once, with it a resume may follow. */
  leave(session: number, outlet: Outlet, keep: boolean): void {
    if (this.#router.outlet(session) !== outlet) return;
    this.#router.detach(session);
    this.workers.left(session);
    this.submit({ type: keep ? 'detach' : 'close', session });
  }

  submit(command: Command): void {
    this.begin();
    if (command.type === 'publish') {
      const { bytes, exchanges } = command.batch;
      this.#lookForRoom(bytes.length + (exchanges.length > 0 ? ROUTES_BYTES : 0));
    }
    if (command.type === 'complete' && command.batch.follow !== null) this.#lookForRoom(command.batch.bytes.length);
    if (command.type === 'complete') this.engine.refuseResults(!this.#journal.hasRoom(command.batch.bytes.length));
    if (command.type === 'message-act' && command.act === 'revoke')
      this.engine.refuseResults(!this.#journal.hasRoom(command.result.bytes.length));
    this.engine.apply(command, this.#clock.wallMs(), this.#router);
    if (!this.#isCommitting && this.#journal.stagedBytes >= this.#earlyBatchBytes) this.#commitDone = this.#commit();
    this.#askTurn();
  }

  /** Publishes are refused while there is no room for so many bytes. */
  #lookForRoom(bytes: number): void {
    const hasRoom = this.#journal.hasRoom(bytes);
    if (!hasRoom) this.flow.foundNoRoom(bytes);
    const code = this.flow.refusal() ?? (hasRoom ? null : 'DISK_FULL');
    this.engine.refusePublishes(code, this.flow.reason !== null);
  }

  /** An answer that the session has itself, told in its place among the engine's. */
  answer(session: number, fields: readonly unknown[]): void {
    this.#router.frame(session, fields);
    this.#askTurn();
  }

  /** Lets the engine do what is due. */
  tick(): void {
    if (this.#isClosed) return;
    this.begin();
    this.engine.tick(this.#clock.wallMs(), this.#router);
    this.#askTurn();
  }

  /** True while so much waits to be written that connections should not be read from; `then` is called once when it is over. */
  isCongested(then: () => void): boolean {
    if (this.#journal.stagedBytes < STAGED_BYTES_MAX) return false;
    this.#congested.push(then);
    return true;
  }

  /** Has `then` called when this turn is over. */
  afterTurn(then: () => void): void {
    this.#resting.push(then);
    this.#askTurn();
  }

  /**
   * Bytes of memory that messages take: their rows, the bodies that are kept in memory only, leases, dedup keys, logs of
   * failed attempts, and what is not written or not sent yet. The
   * cache is not among them, because it has a bound of its own.
   */
  memoryBytes(): number {
    const { table, leases, dedupUsage, notes } = this.engine.state;
    const journalBytes = this.#journal.syncClass === 'memory' ? table.journalUsage.bytes * MEMORY_JOURNAL_FACTOR : 0;
    const rows = table.size * ROW_BYTES + leases.size * LEASE_BYTES + table.buckets.inUse * RATE_KEY_BYTES;
    const bodies = table.memoryFrames.bytes + journalBytes + notes.bytes;
    return rows + bodies + dedupUsage.bytes + table.attemptLogBytes + this.#journal.stagedBytes + this.unsentBytes;
  }

  /** True while the session has consumers, or deliveries to answer for: it has to be heard. */
  hasDeliveries(session: number): boolean {
    const { consumers, tags } = this.engine.state.session(session);
    return consumers.size > 0 || tags.size > 0;
  }

  /** Bytes that `writeDelivery` may write for a lease. */
  deliveryBytes(lease: number): number {
    const { table, leases } = this.engine.state;
    const slot = leases.slot[lease]!;
    const bytes = table.length[slot]! + DELIVERY_OVERHEAD_BYTES;
    if ((table.flags[slot]! & (FLAG.HISTORY | FLAG.FAILED)) === 0) return bytes;
    return bytes + deadLettersBytes(table.historyOf(slot)) + attemptLogBytes(table.attemptLogOf(slot));
  }

  /** Whether a row of the lease table still is the lease of this serial number, with its message. */
  isLeased(lease: number, serial: number): boolean {
    const { leases } = this.engine.state;
    return leases.serial[lease] === serial && leases.slot[lease]! >= 0;
  }

  /** Consumer number of a lease. */
  consumerOf(lease: number): number {
    return this.engine.state.leases.consumer[lease]!.id;
  }

  /** Writes one delivery, head and payload, and tells the engine that it is on its way. */
  writeDelivery(writer: FrameWriter, lease: number): void {
    const { table, leases } = this.engine.state;
    const slot = leases.slot[lease]!;
    const fields = this.#delivery;
    fields.tag = leases.tag[lease]!;
    fields.id = table.id[slot]!;
    fields.queueIndex = leases.queueIndex[lease]!;
    fields.priority = table.priority[slot]!;
    fields.attempt = table.attempts[slot]! + 1;
    fields.redelivered = (table.flags[slot]! & FLAG.REDELIVERED) !== 0;
    const hasHistory = (table.flags[slot]! & FLAG.HISTORY) !== 0;
    const hasFailed = (table.flags[slot]! & FLAG.FAILED) !== 0;
    writeDeliveryHead(writer, fields, hasFailed ? 2 : hasHistory ? 1 : 0);
    const length = table.length[slot]!;
    writer.ensure(length);
    const segment = table.segment[slot]!;
    const offset = table.offset[slot]!;
    if (table.isMemory(slot))
      writer.bytes.set(table.memoryFrames.get(segment).subarray(offset, offset + length), writer.length);
    else this.#journal.copyTo(segment, offset, length, writer.bytes, writer.length);
    writer.length += length;
    if (hasHistory) writeDeadLetters(writer, table.historyOf(slot));
    else if (hasFailed) writer.nil();
    if (hasFailed) writeAttemptLog(writer, table.attemptLogOf(slot));
    this.engine.sent(lease);
  }

  readonly #delivery: { -readonly [K in keyof DeliveryFields]: DeliveryFields[K] } = {
    tag: 0,
    id: 0,
    queueIndex: 0,
    priority: 0,
    attempt: 0,
    redelivered: false,
  };

  wallMs(): number {
    return this.#clock.wallMs();
  }

  hasConsumer(session: number, consumerId: number): boolean {
    return this.engine.state.session(session).consumers.get(consumerId)?.isActive === true;
  }

  /** consumer, unsettled, consumer, unsettled, ... of a session. */
  unsettledOf(session: number): number[] {
    const view: number[] = [];
    for (const consumer of this.engine.state.session(session).consumers.values())
      if (consumer.isActive) view.push(consumer.id, consumer.unsettled);
    return view;
  }

  queueExists(namespace: string, name: string): boolean {
    return this.engine.state.queue(namespace, name) !== null;
  }

  /** What a rate limit is declared with, null if it is not. */
  declaredRate(namespace: string, name: string): Rate | null {
    return this.engine.state.table.buckets.limits.get(`${namespace} ${name}`)?.declared ?? null;
  }

  /** Name of the queue that a message is in and not done yet; null if there is none. */
  queueOf(namespace: string, id: number): string | null {
    return this.engine.queueOf(namespace, id);
  }

  /** Who is told that a token was revoked, or that the first one was made; in the middle of a command. */
  watchAccess(watcher: AccessWatcher): void {
    this.#router.accessWatcher = watcher;
  }

  queueInfo(namespace: string, name: string): QueueInfo | null {
    return this.engine.queueInfo(namespace, name);
  }

  onSync(observe: (ms: number) => void): void {
    this.#syncObservers.push(observe);
  }

  /** Commits what has arrived and tells its effects. */
  async settle(): Promise<void> {
    this.#isSettling = true;
    this.#endTurn();
    while (this.#isCommitting) await this.#commitDone;
    this.#isSettling = false;
  }

  /** Finishes what is under way, syncs, and lets go of the journal. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#cancelTimer?.();
    await this.#housekeeping.close();
    await this.#archiver?.close();
    await this.settle();
    await this.#journal.close();
  }

  /** Before anything is staged in a batch: a new segment starts with a checkpoint. */
  begin(): void {
    if (this.#journal.stagedBytes === 0 && this.#journal.prepare()) this.#router.record(this.engine.checkpoint());
  }

  staged(): void {
    this.#askTurn();
  }

  #askTurn(): void {
    if (this.#isTurnAsked) return;
    this.#isTurnAsked = true;
    this.#clock.atTurnEnd(() => this.#endTurn());
  }

  #endTurn(): void {
    this.#isTurnAsked = false;
    this.#router.flushNow();
    this.#commitIfDue();
    if (this.engine.isSweeping) this.#clock.atTurnEnd(() => this.tick());
    this.#archiver?.look();
    this.#armTimer();
    this.turns++;
    if (this.#resting.length > 0) for (const then of this.#resting.splice(0)) then();
  }

  /**
   * One batch after the other until nothing is staged. What a batch made safe is sent when the next one is already on its way to the disk: encoding
   * and sending take as long as the sync, and go on beside it.
   */
  async #commit(): Promise<void> {
    this.#isCommitting = true;
    this.#cancelGathering?.();
    this.#cancelGathering = null;
    for (let goesOn = true; goesOn; ) {
      this.#router.seal();
      this.#housekeeping.sealed();
      this.#archiver?.sealed();
      this.#journal.reserve(this.engine.state.table.size * SETTLE_BYTES);
      const startMs = this.#clock.monotonicMs();
      const committed = this.#journal.commit();
      this.#router.release();
      await committed;
      this.#committedAtMs = this.#clock.monotonicMs();
      const syncMs = this.#committedAtMs - startMs;
      for (const observe of this.#syncObservers) observe(syncMs);
      this.#router.committed();
      this.#relieve();
      this.#housekeeping.committed();
      this.#archiver?.committed();
      goesOn = this.#router.hasStaged && this.#isDue();
      if (!goesOn) this.#router.release();
    }
    this.#isCommitting = false;
    this.#commitIfDue();
    this.#archiver?.look();
  }

  #commitIfDue(): void {
    if (!this.#router.hasStaged || this.#isCommitting) return;
    if (this.#isDue()) this.#commitDone = this.#commit();
    else this.#cancelGathering ??= this.#clock.setTimer(() => this.#gathered(), GATHER_MS);
  }

  #gathered(): void {
    this.#cancelGathering = null;
    if (this.#router.hasStaged && !this.#isCommitting) this.#commitDone = this.#commit();
  }

  /**
   * Whether what is staged goes to disk now. What somebody waits for does; settlements shortly after another batch wait for more of their kind: each batch is a sync, which
   * what is published meanwhile would have to wait for, and an answer to each client.
   */
  #isDue(): boolean {
    if (this.#journal.syncClass !== 'always' || this.#isSettling || this.#router.isAwaited) return true;
    return this.#clock.monotonicMs() - this.#committedAtMs >= GATHER_MS;
  }

  #relieve(): void {
    if (this.#congested.length === 0 || this.#journal.stagedBytes >= STAGED_BYTES_MAX) return;
    for (const then of this.#congested.splice(0)) then();
  }

  #armTimer(): void {
    if (this.#isClosed) return;
    const nextMs = this.engine.nextDeadline();
    if (nextMs === this.#timerAtMs) return;
    this.#cancelTimer?.();
    this.#cancelTimer = null;
    this.#timerAtMs = nextMs;
    if (nextMs === Number.POSITIVE_INFINITY) return;
    const waitMs = Math.min(TIMER_MS_MAX, Math.max(0, Math.ceil(nextMs - this.#clock.wallMs())));
    this.#cancelTimer = this.#clock.setTimer(() => {
      this.#timerAtMs = Number.POSITIVE_INFINITY;
      this.#cancelTimer = null;
      this.tick();
    }, waitMs);
  }
}
