/** Standard error of a command: failures, and notes about what goes on. Written at once, because the process may end right after. */
import { writeSync } from 'node:fs';

/** Nobody reads standard error any more, or not now; the exit code still tells. */
const UNREAD: readonly unknown[] = ['EPIPE', 'EAGAIN', 'EBADF', 'EIO'];

export function writeError(text: string): void {
  try {
    writeSync(2, text);
  } catch (error) {
    if (!UNREAD.includes((error as NodeJS.ErrnoException).code)) throw error;
  }
}

/** A note that is neither a result nor a failure: `text` for people, `{"note": value}` on a line of its own with --json. */
export function writeNote(value: Readonly<Record<string, unknown>>, text: string, isJson: boolean): void {
  writeError(isJson ? `${JSON.stringify({ note: value })}\n` : `${text}\n`);
}
