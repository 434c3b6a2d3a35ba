/**
 * What the engine writes down, so that `restore` can make the same state again. Times, ids and decisions stand in the records: replay asks no
 * clock and decides nothing. Leases that have not started are not written: after a restart their messages wait again.
 *
 * How to change this: add a type; readers of older journals must still know the old ones (`server/broker/record-codec.ts`).
 */
import {
  type AttemptLog,
  type CompleteBatch,
  DEAD_LETTER_REASONS,
  type DeadLetter,
  type ExchangeType,
  type FailureCause,
  type NamespaceSettings,
  type PublishBatch,
  type QueueSettings,
  type Rate,
  type RateTag,
} from '@lovage/protocol';
import type { Token } from './access.js';
import type { BindingFacts } from './exchange.js';

export type JournalRecord =
  | PublishRecord
  | SettleRecord
  | StartRecord
  | SessionRecord
  | SessionEndRecord
  | ReturnRecord
  | QueueRecord
  | QueueDeleteRecord
  | QueueSettingsRecord
  | QueuePauseRecord
  | ResultsEraRecord
  | IdsRecord
  | MoveRecord
  | MessagePriorityRecord
  | FailureRecord
  | TransferRecord
  | CompleteRecord
  | ExchangeRecord
  | ExchangeDeleteRecord
  | BindRecord
  | TokenRecord
  | TokenRevokeRecord
  | NamespaceRecord
  | NamespaceDeleteRecord
  | RateLimitRecord
  | CheckpointRecord;

/** A PUBLISH as it came. Message i has the id `baseId + i`, or, with `routes`, as many ids as copies, from that of the message before on. */
export interface PublishRecord {
  readonly type: 'publish';
  readonly timeMs: number;
  readonly baseId: number;
  readonly namespace: string;
  readonly producer: string | null;
  /** Messages that were not taken: index and 0 (refused) or the id of the message it duplicates; `index, id, index, id, ...`. */
  readonly exceptions: readonly number[];
  /** The scanned frame. On replay the broker scans the bytes again. */
  readonly batch: PublishBatch;
  /** Where the messages went, if the frame names exchanges; null if each went to the queue of its target. */
  readonly routes: PublishRoutes | null;
  /** Set on replay: where the frame's bytes lie. */
  readonly segment: number;
  readonly offset: number;
}

/** Where each message of a frame went: decided once, so that replay matches nothing. */
export interface PublishRoutes {
  /** Lists of indexes of queues, a copy for each; the first lists are those of the frame's targets. */
  readonly lists: readonly (readonly number[])[];
  /** Which list each message took; null: each took that of its target. */
  readonly listOf: readonly number[] | null;
}

export const SETTLE_REASONS = ['acked', 'dropped', 'expired', 'purged', 'evicted', 'exhausted', 'archived'] as const;
export type SettleReason = (typeof SETTLE_REASONS)[number];

/** Numbers in one record at most, so that it stays far below what a reader takes (a multiple of 2 and of 3). */
const NUMBERS_MAX = 300_000;

/** The numbers of a settle, start or return record in parts that one record can hold. */
export function recordParts(numbers: readonly number[]): readonly (readonly number[])[] {
  if (numbers.length <= NUMBERS_MAX) return [numbers];
  const parts: (readonly number[])[] = [];
  for (let from = 0; from < numbers.length; from += NUMBERS_MAX) parts.push(numbers.slice(from, from + NUMBERS_MAX));
  return parts;
}

/** Messages that are done with. `ids`: first, count, first, count, ... */
export interface SettleRecord {
  readonly type: 'settle';
  readonly reason: SettleReason;
  readonly ids: readonly number[];
}

/** Handlers have begun: each is an attempt. `entries`: id, tag, consumer number, id, tag, ... */
export interface StartRecord {
  readonly type: 'start';
  readonly session: number;
  readonly entries: readonly number[];
}

/** Written before a session's first start, so that it can be resumed after a restart. */
export interface SessionRecord {
  readonly type: 'session';
  readonly session: number;
  readonly key: string;
  readonly namespace: string;
  readonly producer: string | null;
}

export interface SessionEndRecord {
  readonly type: 'session-end';
  readonly session: number;
}

/** Started messages go back: id, attempts, due ms (0: at once), id, ... */
export interface ReturnRecord {
  readonly type: 'return';
  readonly entries: readonly number[];
}

/** Attempts at messages have failed, for one reason. `entries`: id, number of the attempt, id, ... */
export interface FailureRecord {
  readonly type: 'failure';
  readonly timeMs: number;
  readonly cause: FailureCause;
  readonly reason: string;
  readonly entries: readonly number[];
}

/** Messages have another priority: id, priority, id, ... */
export interface MessagePriorityRecord {
  readonly type: 'message-priority';
  readonly entries: readonly number[];
}

export interface QueueRecord {
  readonly type: 'queue';
  readonly timeMs: number;
  readonly index: number;
  readonly namespace: string;
  readonly name: string;
  readonly settings: QueueSettings;
  /** Of a queue of results; 0 for others. */
  readonly era: number;
}

export interface QueueDeleteRecord {
  readonly type: 'queue-delete';
  readonly index: number;
}

/** A queue has other settings from `timeMs` on. */
export interface QueueSettingsRecord {
  readonly type: 'queue-settings';
  readonly timeMs: number;
  readonly index: number;
  readonly version: number;
  readonly settings: QueueSettings;
}

export interface QueuePauseRecord {
  readonly type: 'queue-pause';
  readonly index: number;
  readonly isPaused: boolean;
}

/** Results of a queue that were archived before count no more. */
export interface ResultsEraRecord {
  readonly type: 'results-era';
  readonly index: number;
  readonly era: number;
}

/** Ids below `below` may have been given to messages that are kept in memory only: never give them again. */
export interface IdsRecord {
  readonly type: 'ids';
  readonly below: number;
}

/**
 * Why a message goes to another queue: because its own has given it up, or because somebody asked for it. `redriven` takes a dead letter back to where
 * it came from.
 */
export const TRANSFER_REASONS = [...DEAD_LETTER_REASONS, 'moved', 'redriven'] as const;
export type TransferReason = (typeof TRANSFER_REASONS)[number];

/** Messages leave one queue and stand in another, both at once. `entries`: id, index of the new queue, expiry ms (0: never), id, ... */
export interface TransferRecord {
  readonly type: 'transfer';
  readonly timeMs: number;
  readonly reason: TransferReason;
  readonly entries: readonly number[];
}

/** Messages are done, and what came of them stands in the queue of results under their ids. What one of them has sent on is published by the same record. */
export interface CompleteRecord {
  readonly type: 'complete';
  readonly timeMs: number;
  /** Index of the queue of results. */
  readonly queue: number;
  /** Index of the result in the frame, id, priority, attempts, expiry ms (0: never), index, ... */
  readonly entries: readonly number[];
  /** Ids of messages that are done and kept nothing; only with `follow`, others have a settle record. */
  readonly settled: readonly number[];
  /** What is published with it: messages whose bytes lie in this record's body. */
  readonly follow: PublishRecord | null;
  /** The scanned frame. On replay the broker scans the bytes again. */
  readonly batch: CompleteBatch;
  /** Set on replay: where the frame's bytes lie. */
  readonly segment: number;
  readonly offset: number;
}

/** One message copied forward from a segment that is to be deleted. */
export interface MovedMessage {
  readonly id: number;
  readonly queue: number;
  readonly priority: number;
  readonly attempts: number;
  readonly dueMs: number;
  readonly expiryMs: number;
  /** Session, tag and consumer number while it is started; session 0 otherwise. */
  readonly session: number;
  readonly tag: number;
  readonly consumerId: number;
  /** Where its payload begins in the record's body, and its length in bytes. */
  readonly offset: number;
  readonly length: number;
  /** The queues that have given it up, oldest first. */
  readonly history: readonly DeadLetter[];
  readonly attemptLog: AttemptLog;
  /** The rate limit that it is under, null for none. */
  readonly rate: RateTag | null;
}

export interface MoveRecord {
  readonly type: 'move';
  readonly messages: readonly MovedMessage[];
  /** The payloads, one behind the other; those of one message that went to several queues once. */
  readonly body: Uint8Array;
  /** Set on replay: where `body` lies. */
  readonly segment: number;
  readonly offset: number;
}

export interface TokenRecord {
  readonly type: 'token';
  readonly token: Token;
}

export interface TokenRevokeRecord {
  readonly type: 'token-revoke';
  readonly id: string;
}

export interface NamespaceRecord {
  readonly type: 'namespace';
  readonly name: string;
  readonly settings: NamespaceSettings;
}

/** Its settings, its queues and the tokens that are for it alone go. */
export interface NamespaceDeleteRecord {
  readonly type: 'namespace-delete';
  readonly name: string;
}

/** What a rate limit says from now on; without rates it is gone. */
export interface RateLimitRecord {
  readonly type: 'rate-limit';
  readonly namespace: string;
  readonly name: string;
  readonly declared: Rate | null;
  readonly override: Rate | null;
}

/** Everything that is not a message: the first record of every segment, so that the segments before it can go. */
export interface CheckpointRecord {
  readonly type: 'checkpoint';
  readonly timeMs: number;
  readonly nextId: number;
  readonly nextSession: number;
  readonly queues: readonly CheckpointQueue[];
  readonly sessions: readonly SessionRecord[];
  readonly producers: readonly CheckpointProducer[];
  readonly exchanges: readonly CheckpointExchange[];
  readonly bindings: readonly CheckpointBinding[];
  readonly tokens: readonly Token[];
  /** Those that are set. */
  readonly namespaces: readonly NamespaceRecord[];
  readonly rateLimits: readonly RateLimitRecord[];
}

export interface CheckpointQueue {
  readonly index: number;
  readonly namespace: string;
  readonly name: string;
  readonly settings: QueueSettings;
  readonly version: number;
  readonly isPaused: boolean;
  /** Of a queue of results. */
  readonly era: number;
  /** Remembered dedup keys, oldest first: key, id, ms. */
  readonly dedup: readonly (readonly [key: string, id: number, timeMs: number])[];
}

export interface CheckpointProducer {
  readonly namespace: string;
  readonly name: string;
  readonly lastSeq: number;
  readonly confirmedSeq: number;
  readonly usedMs: number;
  /** first seq, count, first id, ... of what the producer may resend. */
  readonly ranges: readonly number[];
}

export interface CheckpointExchange {
  readonly namespace: string;
  readonly name: string;
  readonly kind: ExchangeType;
  readonly alternate: string | null;
}

export interface CheckpointBinding extends BindingFacts {
  readonly namespace: string;
}

export interface ExchangeRecord extends CheckpointExchange {
  readonly type: 'exchange';
}

/** Its bindings go with it. */
export interface ExchangeDeleteRecord {
  readonly type: 'exchange-delete';
  readonly namespace: string;
  readonly name: string;
}

export interface BindRecord extends CheckpointBinding {
  readonly type: 'bind' | 'unbind';
}
