/**
 * What has become of a message's attempts that failed: a NACK with a reason adds an entry. It goes with a delivery as
 *
 *     [crashes, [[attempt, cause, timeMs, reason], ...]]      oldest first, the last `LIMITS.failuresMax`
 */
import type { FrameWriter } from './frame-writer.js';
import { decodeValue } from './value-codec.js';

/** `failed`: the handler said so. `crashed`: what ran it has died. On the wire and in the journal by their places here. */
export const FAILURE_CAUSES = ['failed', 'crashed'] as const;
export type FailureCause = (typeof FAILURE_CAUSES)[number];

export interface FailedAttempt {
  /** Its number, from 1. */
  readonly attempt: number;
  readonly cause: FailureCause;
  /** ms since 1970. */
  readonly timeMs: number;
  /** The first `LIMITS.failureReasonMax` characters of it. */
  readonly reason: string;
}

export interface AttemptLog {
  /** Of all attempts since the message was published, came as a dead letter, or was moved. */
  readonly crashes: number;
  /** The last `LIMITS.failuresMax`, oldest first. */
  readonly failures: readonly FailedAttempt[];
}

export const NO_FAILURES: AttemptLog = { crashes: 0, failures: [] };

/** Bytes of an entry's own fields at most, without the reason, whose characters take up to 3 each. */
const ENTRY_BYTES = 40;

/** Bytes that `writeAttemptLog` may write, and about what a log takes in memory. */
export function attemptLogBytes({ failures }: AttemptLog): number {
  let bytes = ENTRY_BYTES;
  for (const { reason } of failures) bytes += ENTRY_BYTES + reason.length * 3;
  return bytes;
}

export function writeAttemptLog(writer: FrameWriter, { crashes, failures }: AttemptLog): void {
  writer.arrayHeader(2);
  writer.uint(crashes);
  writer.arrayHeader(failures.length);
  for (const { attempt, cause, timeMs, reason } of failures) {
    writer.arrayHeader(4);
    writer.uint(attempt);
    writer.uint(FAILURE_CAUSES.indexOf(cause));
    writer.uint(timeMs);
    writer.str(reason);
  }
}

/** Reads what `writeAttemptLog` wrote. Entries that cannot be understood (of a later version) are left out. Throws BAD_FRAME. */
export function readAttemptLog(bytes: Uint8Array): AttemptLog {
  return attemptLogOf(decodeValue(bytes));
}

/** The same of a decoded value. */
export function attemptLogOf(value: unknown): AttemptLog {
  if (!Array.isArray(value)) return NO_FAILURES;
  const [crashes, entries] = value as unknown[];
  const failures: FailedAttempt[] = [];
  for (const entry of Array.isArray(entries) ? (entries as unknown[]) : []) {
    if (!Array.isArray(entry)) continue;
    const [attempt, cause, timeMs, reason] = entry as unknown[];
    const known = FAILURE_CAUSES[cause as number];
    if (typeof attempt !== 'number' || typeof timeMs !== 'number' || typeof reason !== 'string') continue;
    if (known !== undefined) failures.push({ attempt, cause: known, timeMs, reason });
  }
  return { crashes: typeof crashes === 'number' ? crashes : 0, failures };
}

/** As the journal keeps it. */
export function attemptLogRow({ crashes, failures }: AttemptLog): readonly unknown[] {
  const rows = failures.map(({ attempt, cause, timeMs, reason }) => [
    attempt,
    FAILURE_CAUSES.indexOf(cause),
    timeMs,
    reason,
  ]);
  return [crashes, rows];
}
