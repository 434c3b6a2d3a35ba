/**
 * What the HTTP API answers when it cannot do as asked: `{"error": {"code", "message", "details"?}}` with the status of the code's row. Codes
 * that the protocol knows too mean the same there.
 */

import { LovageError } from '@lovage/protocol';

/** Status and meaning of each code of the HTTP API. */
export const HTTP_ERRORS = {
  BAD_REQUEST: { status: 400, text: 'the request is not well-formed HTTP' },
  INVALID_ARGUMENT: { status: 400, text: 'a field has a value outside its range' },
  INVALID_NAME: { status: 400, text: 'the name does not match ^[A-Za-z0-9_.:/-]{1,200}$' },
  UNAUTHORIZED: { status: 401, text: 'the token is missing or wrong, expected Authorization: Bearer <token>' },
  TOKEN_EXPIRED: { status: 401, text: 'the token has expired' },
  FORBIDDEN: { status: 403, text: 'the token does not have the right that this needs' },
  HOST_NOT_ALLOWED: { status: 403, text: 'the Host header names a host that is not allowed here (see --allow-hosts)' },
  NOT_FOUND: { status: 404, text: 'there is nothing at this address' },
  NAMESPACE_NOT_FOUND: { status: 404, text: 'there is no namespace of this name' },
  TOKEN_NOT_FOUND: { status: 404, text: 'there is no token of this id' },
  QUEUE_NOT_FOUND: { status: 404, text: 'there is no queue of this name' },
  EXCHANGE_NOT_FOUND: { status: 404, text: 'there is no exchange of this name' },
  RATE_LIMIT_NOT_FOUND: { status: 404, text: 'there is no rate limit of this name' },
  MESSAGE_NOT_FOUND: { status: 404, text: 'there is no message of this id in the queue' },
  REQUEST_TIMEOUT: { status: 408, text: 'the request did not arrive in time' },
  REQUEST_TOO_LARGE: { status: 413, text: 'the request is longer than the limit' },
  QUEUE_MISMATCH: { status: 409, text: 'the queue exists with other settings' },
  EXCHANGE_MISMATCH: { status: 409, text: 'the exchange exists with another type or alternate' },
  EXCHANGE_IN_USE: { status: 409, text: 'the exchange has bindings, or is the alternate of another' },
  BINDING_CYCLE: { status: 409, text: 'the binding would close a circle of exchanges' },
  TOO_MANY_EXCHANGES: { status: 409, text: 'there are as many exchanges as there may be' },
  TOO_MANY_BINDINGS: { status: 409, text: 'there are as many bindings as there may be' },
  TOO_MANY_RATE_LIMITS: { status: 409, text: 'there are as many rate limits as there may be' },
  QUEUE_NOT_EMPTY: { status: 409, text: 'the queue holds messages' },
  QUEUE_IN_USE: { status: 409, text: 'the queue has consumers' },
  TOO_MANY_QUEUES: { status: 409, text: 'the broker has as many queues as it may have' },
  QUOTA_EXCEEDED: { status: 409, text: 'a quota of the token or the namespace is used up' },
  TOO_MANY_ATTEMPTS: { status: 429, text: 'too many wrong tokens came from this address, try again later' },
  HEADERS_TOO_LARGE: { status: 431, text: 'the headers are longer than the limit' },
  INTERNAL_ERROR: { status: 500, text: 'the broker failed on this request' },
  NOT_READY: { status: 503, text: 'the broker is still reading its journal' },
} as const satisfies Record<string, { status: number; text: string }>;

export type HttpErrorCode = keyof typeof HTTP_ERRORS;

/** The body of every answer that is not a success. */
export interface HttpErrorBody {
  readonly error: {
    readonly code: HttpErrorCode;
    readonly message: string;
    readonly details?: Readonly<Record<string, unknown>>;
  };
}

/** Thrown by a route or a hook; the error handler answers with the code's status. */
export class HttpError extends Error {
  readonly code: HttpErrorCode;
  readonly details: Readonly<Record<string, unknown>> | undefined;

  constructor(
    code: HttpErrorCode,
    message: string = HTTP_ERRORS[code].text,
    details?: Readonly<Record<string, unknown>>,
  ) {
    super(message);
    this.name = 'HttpError';
    this.code = code;
    this.details = details;
  }

  get status(): number {
    return HTTP_ERRORS[this.code].status;
  }

  get body(): HttpErrorBody {
    const { code, message, details } = this;
    return { error: details === undefined ? { code, message } : { code, message, details } };
  }
}

const BY_STATUS: ReadonlyMap<number, HttpErrorCode> = new Map<number, HttpErrorCode>([
  [404, 'NOT_FOUND'],
  [408, 'REQUEST_TIMEOUT'],
  [413, 'REQUEST_TOO_LARGE'],
  [414, 'REQUEST_TOO_LARGE'],
  [431, 'HEADERS_TOO_LARGE'],
]);

/** Any failure as one of ours. What the framework refused keeps its meaning; everything unknown is INTERNAL_ERROR and says nothing more. */
export function asHttpError(error: unknown): HttpError {
  if (error instanceof HttpError) return error;
  // A field of the wrong type, which would end a connection.
  if (error instanceof LovageError && error.code === 'BAD_FRAME')
    return new HttpError('INVALID_ARGUMENT', error.message, error.details);
  if (error instanceof LovageError && Object.hasOwn(HTTP_ERRORS, error.code))
    return new HttpError(error.code as HttpErrorCode, error.message, error.details);
  const status = (error as { statusCode?: unknown }).statusCode;
  if (typeof status !== 'number' || status >= 500 || status < 400) return new HttpError('INTERNAL_ERROR');
  return new HttpError(BY_STATUS.get(status) ?? 'BAD_REQUEST');
}
