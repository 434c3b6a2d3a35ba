/** How a command ends when it cannot do what it was told: an exit code, and `CODE: message` on standard error. Never a stack trace. */
import { ERRORS, LovageError } from '@lovage/protocol';
import { CommanderError } from 'commander';
import { ReaderGone } from './output.js';

/** What the process ends with. */
export const EXIT = { done: 0, failed: 1, usage: 2 } as const;

/** A command line that makes no sense, found after parsing: ends with exit code 2. */
export class UsageError extends LovageError {
  constructor(message: string) {
    super('INVALID_ARGUMENT', message);
    this.name = 'UsageError';
  }
}

/** A failure as it is shown. */
export interface Failure {
  readonly code: string;
  readonly message: string;
  readonly details?: Readonly<Record<string, unknown>>;
  /** What the user can do about it. */
  readonly hint?: string;
  readonly exitCode: number;
}

/** What to do about a failure, where the message alone does not say it. */
const HINTS: Readonly<Partial<Record<string, string>>> = {
  DATA_DIR_LOCKED: 'Stop the broker that uses the directory, or give another one with --data-dir.',
  ADDRESS_IN_USE: 'Stop the process that listens there, or give another port with --port (0 takes any free one).',
  JOURNAL_DAMAGED:
    'See what is wrong with "lovage journal verify <data-dir>", and what a repair would do with "lovage journal repair <data-dir>".',
  ARCHIVE_DAMAGED: 'Restore a backup, or move the archive away: the results in it are lost then, and nothing else is.',
  ARCHIVE_TOO_NEW: 'Start the version of Lovage that has written it, or a later one.',
  CONNECT_FAILED: 'Is the broker running? Start one with "lovage start", or give its address with --url.',
  QUEUE_NOT_FOUND: 'Make the queue with "lovage queues declare <queue>", or give --declare to publish and consume.',
  QUEUE_MISMATCH:
    'See its settings with "lovage queues inspect <queue>". To change them, delete the queue and declare it again.',
  UNAUTHORIZED: "Give the broker's token with --token or LOVAGE_TOKEN.",
};

/** Any thrown value as a failure. Errors of the system keep their own code (ENOENT, ENOSPC); a reader that has gone is none. */
export function failureOf(error: unknown): Failure {
  if (error instanceof CommanderError) return usageFailure(error);
  if (error instanceof ReaderGone) return { code: error.code, message: error.message, exitCode: EXIT.done };
  if (!(error instanceof Error)) return { code: 'INTERNAL_ERROR', message: String(error), exitCode: EXIT.failed };
  const code = codeOf(error);
  const { details } = error as { details?: Readonly<Record<string, unknown>> };
  const hint = HINTS[code];
  return {
    code,
    // Node puts the code into the message as well.
    message: error.message.replace(`${code}: `, ''),
    ...(details === undefined ? {} : { details }),
    ...(hint === undefined ? {} : { hint }),
    exitCode: error instanceof UsageError || code === 'INVALID_SETTING' ? EXIT.usage : EXIT.failed,
  };
}

/** The failure as it goes to standard error: text, or one line of JSON. */
export function failureText({ code, message, details, hint }: Failure, isJson: boolean): string {
  if (isJson) return `${JSON.stringify({ error: { code, message, details, hint } })}\n`;
  return `${code}: ${message}\n${hint === undefined ? '' : `${hint}\n`}`;
}

function codeOf(error: Error): string {
  const { code } = error as { code?: unknown };
  const isKnown = typeof code === 'string' && (Object.hasOwn(ERRORS, code) || /^E[A-Z0-9]+$/.test(code));
  return isKnown ? code : 'INTERNAL_ERROR';
}

/** Commander ends `--help` and `--version` with an error, too. */
function usageFailure(error: CommanderError): Failure {
  const message = error.message.replace(/^error: /, '').replaceAll('\n', ' ');
  return { code: 'INVALID_ARGUMENT', message, exitCode: error.exitCode === 0 ? EXIT.done : EXIT.usage };
}
