/**
 * What the engine asks for in answer to a command: records to write, and effects that may be seen only when those records are safe. The
 * broker's sink holds an effect back until the batch is on disk that was gathering when the effect came.
 */
import type { ErrorCode, MessageInfo, MessageWhereabouts, Note } from '@lovage/protocol';
import type { Queue } from './queue.js';
import type { CompleteRecord, JournalRecord, MoveRecord, PublishRecord } from './record.js';

/** What `open` found. */
export interface Opened {
  readonly session: number;
  readonly key: string;
  readonly resumed: boolean;
  /** Tags still held, and those of `calledOff` and `terminated`: first, count, first, count, ... */
  readonly held: readonly number[];
  /** Tags that a client which comes back is told to be revoked, and those whose work is to be ended by force. */
  readonly calledOff: readonly number[];
  readonly terminated: readonly number[];
  /** Last settlement frame processed; null when it cannot be known. */
  readonly settleSeq: number | null;
}

export interface EffectSink {
  /** Stages a record that has no body of its own. */
  record(record: Exclude<JournalRecord, PublishRecord | MoveRecord | CompleteRecord>): void;
  /** Stages a publish and returns where its frame lies in `segment`. */
  publish(record: PublishRecord): number;
  /** Stages messages copied forward and returns where the record's body lies in `segment`. */
  move(record: MoveRecord): number;
  /** Stages results and returns where their frame lies in `segment`. */
  complete(record: CompleteRecord): number;
  /** Segment of the last `publish`, `move` or `complete`. */
  readonly segment: number;

  opened(opened: Opened): void;
  /** Messages from `firstSeq` on have the ids from `firstId` on; with `firstId` 0 none of them reached a queue. */
  confirm(session: number, firstSeq: number, count: number, firstId: number, isMemory: boolean): void;
  duplicate(session: number, seq: number, id: number, isMemory: boolean): void;
  /** The answer to a peek: the broker adds what is in the messages of these slots. */
  peeked(
    session: number,
    request: number,
    messages: readonly MessageInfo[],
    slots: readonly number[],
    next: number | null,
  ): void;
  /** `details`: facts for programs, where the code has some. */
  reject(
    session: number,
    firstSeq: number,
    count: number,
    code: ErrorCode,
    message: string,
    details?: Record<string, unknown>,
  ): void;
  /** A lease to be sent; the sink reads it and its message when it sends. */
  deliver(session: number, lease: number): void;
  /** `mayWait`: nobody waits for it. */
  settled(session: number, settleSeq: number, mayWait: boolean): void;
  refused(session: number, settleSeq: number, firstTag: number, count: number, code: ErrorCode): void;
  recall(session: number, tag: number): void;
  /** A delivery is taken from its consumer, because its message was revoked. */
  callOff(session: number, tag: number, terminate: boolean): void;
  /** Not an effect but a question: the headers of a message as MessagePack, which the engine does not keep. Null if it has none. */
  headersOf(slot: number): Uint8Array | null;
  reply(session: number, request: number, result: unknown): void;
  fail(
    session: number,
    request: number,
    code: ErrorCode,
    message: string,
    details: Record<string, unknown> | null,
  ): void;
  /** The result of a message that the session watches for: `contentType headers body`. The bytes stay as they are. */
  result(session: number, id: number, payload: Uint8Array): void;
  /** The same of one that is kept in a slot; `drained` tells when its bytes have left. */
  storedResult(session: number, id: number, slot: number): void;
  /**
   * Of a message that the engine does not have: its result if it was archived for this queue, else that there is none. Returns the bytes of the result, 0 for none; `drained` tells when they have left.
   */
  archivedResult(session: number, id: number, queue: Queue): number;
  /** The answer to `states`: of the ids that the engine does not have, which are null, the archive may know a result. `queue` null: none was ever kept. */
  whereabouts(
    session: number,
    request: number,
    ids: readonly number[],
    messages: (MessageWhereabouts | null)[],
    queue: Queue | null,
  ): void;
  /** What was archived for a queue of this era counts no more. Returns how many results that were. */
  archiveLeft(queue: Queue, era: number): number;
  /** What a handler tells of a message that the session watches for; `drained` tells when so many bytes have left. */
  noted(session: number, id: number, note: Note, bytes: number): void;
  /** There will be no result: see `RESULT_STATUS`. */
  resultEnded(session: number, id: number, status: number, reason: string | null): void;
  /** A token is no longer one: whoever came in with it has to go. */
  revoked(tokenId: string): void;
  /** The first token is made, by `session`: whoever came in without one has to go. */
  accessClosed(session: number): void;
  /** The broker ended a consumer. */
  cancelled(session: number, consumerId: number, code: ErrorCode): void;
  /** One of a consumer's queues is gone, and others are left. */
  queueGone(session: number, consumerId: number, queue: string, code: ErrorCode): void;
}
