/** Messages by their ids: which of a queue's are meant, what is told of one, and what has become of those that were to be changed. */
import type { DeadLetter, DeadLetterReason } from './dead-letters.js';
import type { HeaderValue } from './exchanges.js';
import type { AttemptLog } from './failed-attempts.js';

export const MESSAGE_STATES = ['ready', 'delayed', 'leased', 'started'] as const;
/** `ready` and `delayed` wait; `leased` are with a consumer that has not started them, `started` with a handler. */
export type MessageState = (typeof MESSAGE_STATES)[number];

/** Messages of a queue that fit everything given. */
export interface MessageFilter {
  readonly state?: MessageState | undefined;
  /** 0-255, both included. */
  readonly priorityMin?: number | undefined;
  readonly priorityMax?: number | undefined;
  /** Ids from here on, and below there: older messages have smaller ids. */
  readonly idMin?: number | undefined;
  readonly idBelow?: number | undefined;
  /** Dead letters whose last queue gave them up for this reason. */
  readonly reason?: DeadLetterReason | undefined;
  /** Dead letters that came from this queue last. */
  readonly from?: string | undefined;
  /** Headers that it has, each with just this value: at most 32 of text (at most 255 bytes), numbers and booleans. */
  readonly headers?: Readonly<Record<string, HeaderValue>> | undefined;
}

/** 1-1,000 ids, or a filter. */
export type MessageSelection = MessageFilter & { readonly ids?: readonly number[] | undefined };

/** What is told of a message. Times are ms since 1970. */
export interface MessageInfo {
  readonly id: number;
  readonly state: MessageState;
  readonly priority: number;
  /** How often a handler has started it. */
  readonly attempts: number;
  /** Of content type, headers and body as they are kept. */
  readonly bytes: number;
  /** When it is ready, of delayed ones; null of others. */
  readonly dueAt: number | null;
  /** When it expires, null for never. */
  readonly expiresAt: number | null;
  readonly redelivered: boolean;
  /** Kept in memory only. */
  readonly memory: boolean;
  /** Queues that have given it up, oldest first. */
  readonly deadLetters: readonly DeadLetter[];
  /** Attempts that have failed. */
  readonly attemptLog: AttemptLog;
}

/** A message with what is in it. */
export interface PeekedMessage extends MessageInfo {
  readonly contentType: string | null;
  readonly headers: Readonly<Record<string, unknown>> | null;
  /** The first `LIMITS.peekBodyMax` bytes. */
  readonly body: Uint8Array;
  /** Of the whole body. */
  readonly bodyBytes: number;
}

export interface MessagePage<T extends MessageInfo = MessageInfo> {
  readonly messages: readonly T[];
  /** The `after` of the next page, null if this is the last. A page may have less than was asked for, or nothing, and not be the last. */
  readonly next: number | null;
}

/** Why a message that was selected is left as it is. */
export const MESSAGE_SKIPS = [
  'MESSAGE_NOT_FOUND',
  'STARTED',
  'NOT_DELAYED',
  'SAME_PRIORITY',
  'NOT_A_DEAD_LETTER',
  'SAME_QUEUE',
  'TOO_MANY_QUEUES',
] as const;
export type MessageSkip = (typeof MESSAGE_SKIPS)[number];

export interface MessageOutcome {
  /** Messages that were selected. */
  readonly matched: number;
  /** Those that were changed, or would be without `dryRun`. */
  readonly changed: number;
  /** Those that were not, by why; ids that name no message of the queue among them. */
  readonly skipped: { readonly [S in MessageSkip]?: number };
  /** The `after` of the next step, null if this was the last: a filter is gone through in steps of some ms. */
  readonly next: number | null;
}
