/** The log of a message's failed attempts. Logs are never changed in place: one may be on its way to a client. */
import { type AttemptLog, type FailedAttempt, LIMITS } from '@lovage/protocol';

/** With one more entry; beyond `LIMITS.failuresMax` the oldest goes. */
export function withFailure({ crashes, failures }: AttemptLog, failure: FailedAttempt): AttemptLog {
  return {
    crashes: crashes + (failure.cause === 'crashed' ? 1 : 0),
    failures: [...failures.slice(-(LIMITS.failuresMax - 1)), failure],
  };
}

/** As much of a reason as is kept, never half of a character: what is read back is what was written. */
export function keptReason(reason: string): string {
  const last = reason.charCodeAt(LIMITS.failureReasonMax - 1);
  const isHalf = reason.length > LIMITS.failureReasonMax && last >= 0xd800 && last <= 0xdbff;
  return reason.slice(0, LIMITS.failureReasonMax - (isHalf ? 1 : 0));
}
