/** Errors that the SDK raises itself. */
import { ERRORS, type ErrorCode, isErrorCode, LovageError } from '@lovage/protocol';

/** Close code -> error code, for the codes that end a connection. */
const BY_CLOSE_CODE = new Map<number, ErrorCode>();
for (const [code, { close }] of Object.entries(ERRORS)) if (close !== null) BY_CLOSE_CODE.set(close, code as ErrorCode);

/** INVALID_ARGUMENT that names the option or argument. */
export function invalidArgument(field: string, value: unknown, expected: string): LovageError {
  const message = `Cannot accept "${field}": ${shown(value)}, expected ${expected}`;
  return new LovageError('INVALID_ARGUMENT', message, { details: { field } });
}

function shown(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value.slice(0, 40));
  if (typeof value === 'number' || typeof value === 'boolean' || value === null || value === undefined)
    return String(value);
  if (typeof value === 'bigint') return `${value}n`;
  return Array.isArray(value) ? 'an array' : `a value of type ${typeof value}`;
}

/** What a broker reported. A code that this version does not know, because the broker is newer, becomes INTERNAL_ERROR and keeps its name. */
export function errorFromBroker(code: unknown, message: unknown, details: unknown): LovageError {
  const known = isErrorCode(code) ? code : 'INTERNAL_ERROR';
  const text = typeof message === 'string' && message !== '' ? message : undefined;
  const facts = typeof details === 'object' && details !== null ? (details as Record<string, unknown>) : undefined;
  if (known === code) return new LovageError(known, text, facts === undefined ? undefined : { details: facts });
  return new LovageError(known, `${text ?? 'The broker reported an error'} (${String(code)})`, {
    details: { ...facts, brokerCode: code },
  });
}

/** What a close code means, in the words of the ERROR that came before it, if one did; null for one that only says that the connection is gone. */
export function errorFromClose(code: number, reason: string, told: LovageError | null): LovageError | null {
  const found = BY_CLOSE_CODE.get(code);
  if (found === undefined) return null;
  const text = told?.code === found ? told.message : ERRORS[found].text;
  return new LovageError(found, `The broker closed the connection: ${text}`, { details: { closeCode: code, reason } });
}

/** Text of whatever was thrown, for people. Never throws. */
export function textOf(error: unknown): string {
  try {
    return String(error instanceof Error ? error.message || error.name : error);
  } catch {
    return 'an error without text';
  }
}
