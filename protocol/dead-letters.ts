/**
 * What a message tells of the queues that have given it up. A delivery of such a message has it behind its body, as a tenth field:
 *
 *     [[queue, reason, timeMs, count], ...]      oldest first, at most `LIMITS.deadLettersMax`
 *
 * How to change this: add fields to the end of an entry, or a reason to the end of the list.
 */
import type { FrameWriter } from './frame-writer.js';
import { decodeValue } from './value-codec.js';

/**
 * Why a queue has given a message up: `rejected` by a consumer (NACK without requeue), `expired`, pushed out by a `limit` of the queue, or back from a
 * handler after as many `attempts` as the queue allows.
 */
export const DEAD_LETTER_REASONS = ['rejected', 'expired', 'limit', 'attempts'] as const;
export type DeadLetterReason = (typeof DEAD_LETTER_REASONS)[number];

/** One entry of a message's history as a dead letter. */
export interface DeadLetter {
  /** The queue that has given it up. */
  readonly queue: string;
  readonly reason: DeadLetterReason;
  /** ms since 1970, the last time. */
  readonly timeMs: number;
  /** How many times this queue has, for this reason. */
  readonly count: number;
}

/** Bytes of an entry's own fields at most, without the queue's name. */
const ENTRY_BYTES = 40;

/** Bytes that `writeDeadLetters` may write. */
export function deadLettersBytes(history: readonly DeadLetter[]): number {
  let bytes = ENTRY_BYTES;
  for (const { queue } of history) bytes += ENTRY_BYTES + queue.length;
  return bytes;
}

export function writeDeadLetters(writer: FrameWriter, history: readonly DeadLetter[]): void {
  writer.arrayHeader(history.length);
  for (const { queue, reason, timeMs, count } of history) {
    writer.arrayHeader(4);
    writer.str(queue);
    writer.str(reason);
    writer.uint(timeMs);
    writer.uint(count);
  }
}

/** Reads what `writeDeadLetters` wrote. Entries that cannot be understood (of a later version) are left out. Throws BAD_FRAME. */
export function readDeadLetters(bytes: Uint8Array): DeadLetter[] {
  const entries = decodeValue(bytes);
  if (!Array.isArray(entries)) return [];
  const found: DeadLetter[] = [];
  for (const entry of entries as unknown[]) {
    if (!Array.isArray(entry)) continue;
    const [queue, reason, timeMs, count] = entry as unknown[];
    if (typeof queue !== 'string' || typeof timeMs !== 'number' || typeof count !== 'number') continue;
    if (DEAD_LETTER_REASONS.includes(reason as DeadLetterReason))
      found.push({ queue, reason: reason as DeadLetterReason, timeMs, count });
  }
  return found;
}
