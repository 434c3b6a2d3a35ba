/** What the reference model keeps in mind: plain objects that point at each other. */
import type { AttemptLog, DeadLetter, Note, QueueSettings, RateTag } from '@lovage/protocol';
import type { Command } from '../../../server/engine/command.js';
import type { QueueTotals } from '../../../server/engine/queue.js';
import type { Effect } from '../recorder.js';

export type CommandOf<T extends Command['type']> = Extract<Command, { type: T }>;
export type Answer = Exclude<Effect, { type: 'deliver' | 'recall' }>;
export type MessageState = 'waiting' | 'delayed' | 'leased' | 'started';

export interface ModelMessage {
  readonly id: number;
  priority: number;
  readonly isMemory: boolean;
  payload: Uint8Array;
  queue: ModelQueue;
  expiryMs: number;
  state: MessageState;
  attempts: number;
  dueMs: number;
  /** Which of the delayed ones was delayed last. */
  delayTurn: number;
  redelivered: boolean;
  lease: ModelLease | null;
  history: DeadLetter[];
  attemptLog: AttemptLog;
  readonly rate: RateTag | null;
}

export interface ModelLease {
  readonly tag: number;
  readonly session: ModelSession;
  readonly consumer: ModelConsumer;
  readonly sinceMs: number;
  readonly bytes: number;
  /** Null once the message is settled. */
  message: ModelMessage | null;
  /** Ack mode none: its bytes have not left yet. */
  isUnsent: boolean;
  isRecalled: boolean;
  hasStarted: boolean;
  /** What its handler has told. */
  note: Note | null;
}

export interface ModelConsumer {
  readonly id: number;
  readonly session: ModelSession;
  /** Queues in the consumer's order; null where one was deleted. */
  queues: (ModelQueue | null)[];
  prefetch: number;
  ack: 'late' | 'early' | 'none';
  order: 'strict' | 'weighted' | 'fair';
  isExclusive: boolean;
  priority: number;
  isActive: boolean;
  /** Which of two consumers came first. */
  turn: number;
}

export interface ModelSession {
  readonly number: number;
  readonly key: string;
  readonly namespace: string;
  readonly producer: string | null;
  readonly consumers: Map<number, ModelConsumer>;
  readonly leases: Map<number, ModelLease>;
  revoked: Set<number>;
  /** Of those, tags whose messages were revoked, and whether by force. */
  calledOff: Map<number, boolean>;
  /** Tags up to here are from before a restart: whether they were taken back or settled may be forgotten. */
  forgottenTag: number;
  lastTag: number;
  settleSeq: number | null;
  isAttached: boolean;
  /** Something that started here is in the journal. */
  isRecorded: boolean;
  graceEndMs: number;
  /** Which of two sessions that end in the same ms lost its connection first. */
  graceTurn: number;
  unsentBytes: number;
  /** Numbers of what was refused for now: one of them has to come before anything behind them. */
  heldBack: number[];
}

export interface ModelQueue {
  readonly namespace: string;
  readonly name: string;
  settings: QueueSettings;
  version: number;
  /** As in the engine: of two queues that hold too much the lower one evicts first. */
  index: number;
  /** Who is served, of a single active consumer. */
  active: ModelConsumer | null;
  usedMs: number;
  /** Oldest first. */
  readonly dedup: Map<string, { id: number; timeMs: number; isMemory: boolean }>;
  isPaused: boolean;
  isDeleted: boolean;
  purgeBelowId: number;
  /** How often it was purged. */
  purges: number;
  readonly totals: QueueTotals;
}

export interface ModelProducer {
  readonly taken: Map<number, { id: number; isMemory: boolean }>;
  confirmedSeq: number;
}

export interface Sweep {
  readonly queue: ModelQueue;
  readonly isDelete: boolean;
  /** 0: nobody waits for an answer. */
  readonly session: number;
  readonly request: number;
  removed: number;
}
