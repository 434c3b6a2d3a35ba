/**
 * The frames that are not on the hot path, by their fields. `README.md` specifies each row; the broker checks what a client sends
 * with `server/session/fields.ts`, the SDK trusts its broker.
 */
import type { ErrorCode } from './errors.js';
import type { AckMode, Durability, QueueOrder } from './ops.js';
import type { QueueSettings } from './queue-settings.js';

/** `[1, hello]`: the first frame of a connection. */
export interface Hello {
  /** Protocol version: 1. */
  readonly version: number;
  readonly token?: string | null;
  /** Name and version of the program, for people to read in listings and logs. */
  readonly client?: { readonly name?: string; readonly version?: string } | null;
  /** Default "default". */
  readonly namespace?: string | null;
  /** Name under which publishes are numbered; a session that gives the same name again may resend without duplicates. */
  readonly producer?: string | null;
  /** ms between heartbeats in both directions, 100-600,000; the broker may answer with another value. */
  readonly heartbeatMs?: number | null;
  /** The key of the session to go on with, and the highest tag seen there. */
  readonly resume?: { readonly session: string; readonly lastTag: number } | null;
}

/** `[64, welcome]`. */
export interface Welcome {
  readonly version: number;
  /** Secret key for `resume`. */
  readonly session: string;
  /** True if the session named in `resume` goes on. */
  readonly resumed: boolean;
  /** Tags (`first, count, ...`) of deliveries that this session still holds; every other delivery was taken back. */
  readonly held: readonly number[];
  /** The last START, ACK, NACK or RELEASE frame of the session that the broker has processed; null when it cannot know. */
  readonly settleSeq: number | null;
  /** ms since 1970, the broker's clock. */
  readonly serverTime: number;
  readonly heartbeatMs: number;
  /** ms that started deliveries wait for `resume` after a connection is lost. */
  readonly graceMs: number;
  /** What a confirm without the MEMORY flag means here. */
  readonly durability: Durability;
  readonly limits: { readonly bodyBytesMax: number; readonly headerBytesMax: number; readonly frameBytesMax: number };
}

/** `[4, request, consumerId, options]`. */
export interface ConsumeOptions {
  readonly queues: readonly string[];
  /** Unsettled deliveries at most, 0-65,535; 0 means unlimited. */
  readonly prefetch: number;
  readonly ack: AckMode;
  readonly queueOrder: QueueOrder;
  /** For `weighted`: one whole number, 1-1,000, per queue. */
  readonly weights?: readonly number[] | null;
  /** True: no other consumer on these queues. */
  readonly exclusive?: boolean | null;
  /** 0-255, default 0. While consumers of a higher priority have credit, they get every message. */
  readonly priority?: number | null;
}

/** Counts of one queue now, and totals since the broker started. */
export interface QueueInfo {
  readonly name: string;
  readonly namespace: string;
  readonly isPaused: boolean;
  readonly settings: QueueSettings;
  /** 1, and one more with each change of the settings. */
  readonly version: number;
  /** Waiting to be delivered. */
  readonly ready: number;
  /** Of those, the ones that their rate limit holds back now. */
  readonly limited: number;
  /** Waiting for their due time. */
  readonly delayed: number;
  /** Delivered, handler not started. */
  readonly leased: number;
  /** Handler started, not settled. */
  readonly started: number;
  /** Bytes of payload of all of those. */
  readonly bytes: number;
  readonly consumers: number;
  /** Dedup keys that are remembered; each takes 128 bytes of memory beside the key itself. */
  readonly dedupKeys: number;
  readonly totals: {
    readonly published: number;
    readonly delivered: number;
    readonly acked: number;
    readonly returned: number;
    readonly dropped: number;
    readonly expired: number;
    readonly purged: number;
    readonly duplicates: number;
    /** Given up and sent to the queue's `deadLetterQueue`. */
    readonly deadLettered: number;
    /** Dropped because of a limit of the queue. */
    readonly evicted: number;
    /** Dropped after as many attempts as the queue allows. */
    readonly exhausted: number;
    /** Come from another queue, as a dead letter or moved. */
    readonly arrived: number;
    /** Moved to another queue by hand. */
    readonly moved: number;
    /** Results that have gone from the queue to the archive. */
    readonly archived: number;
  };
}

/** `[65, [consumerId, unsettled, ...]]`: the broker's view of the session's consumers, for the client to compare with its own. */
export type HeartbeatView = readonly number[];

/** `[74, request|nil, code, message, details|nil]`. */
export type ErrorFields = readonly [
  request: number | null,
  code: ErrorCode,
  message: string,
  details: Record<string, unknown> | null,
];
