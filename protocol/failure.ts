/**
 * Results that are errors, as the SDK's tasks keep them: content type `FAILURE_TYPE`, and as the body a MessagePack map
 *
 *     {code, attempts, error: {name, message, stack|nil, code|nil, cause: {name, ...}|nil}}
 *
 * whose `code` is one of `errors.ts`. The broker does not look into results; it writes one only for who revokes over HTTP.
 */
import type { ErrorCode } from './errors.js';
import { encodeValue } from './value-codec.js';

/** Content type of a result that is an error. */
export const FAILURE_TYPE = 'application/vnd.lovage.failure+msgpack';

/** An error as far as it can be kept. */
export interface FailureError {
  readonly name: string;
  readonly message: string;
  readonly stack: string | null;
  /** `code` of the error, if it is text. */
  readonly code: string | null;
  readonly cause: FailureError | null;
}

export interface Failure {
  readonly code: ErrorCode;
  /** Attempts that were made; 0 where that is not said. */
  readonly attempts: number;
  readonly error: FailureError;
}

export function encodeFailureFields(failure: Failure): Uint8Array {
  return encodeValue(failure);
}

/** The result of whatever is revoked. */
export function revokedFailure(): Uint8Array {
  const error = { name: 'LovageError', message: 'The message was revoked', stack: null, code: 'REVOKED', cause: null };
  return encodeFailureFields({ code: 'REVOKED', attempts: 0, error });
}
