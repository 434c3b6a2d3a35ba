/** The history that a message carries once a queue has given it up. Entries are never changed in place: a history may be on its way to a client. */
import { type DeadLetter, type DeadLetterReason, LIMITS } from '@lovage/protocol';

/** With one more event. The same queue and reason as before count one up and stand last; beyond `LIMITS.deadLettersMax` the oldest goes. */
export function withDeadLetter(
  history: readonly DeadLetter[],
  queue: string,
  reason: DeadLetterReason,
  timeMs: number,
): readonly DeadLetter[] {
  const isSame = (entry: DeadLetter): boolean => entry.queue === queue && entry.reason === reason;
  const count = (history.find(isSame)?.count ?? 0) + 1;
  const others = history.filter((entry) => !isSame(entry));
  return [...others.slice(-(LIMITS.deadLettersMax - 1)), { queue, reason, timeMs, count }];
}

/** Without the last event: the message is back where that took it from. */
export function withoutLast(history: readonly DeadLetter[]): readonly DeadLetter[] {
  return history.slice(0, -1);
}
