/** Errors of tasks as bytes: name, message, stack and cause survive the way from the worker to whoever asks for the result. */
import {
  decodeValue,
  type ErrorCode,
  encodeFailureFields,
  type Failure,
  type FailureError,
  isErrorCode,
  LovageError,
} from '@lovage/protocol';
import { textOf } from '../errors.js';

export { FAILURE_TYPE } from '@lovage/protocol';

/** Characters of a message and of a stack that are kept, and causes of causes. */
const MESSAGE_MAX = 10_000;
const STACK_MAX = 20_000;
const CAUSES_MAX = 5;

/** What a task has failed with. `code`: TASK_FAILED for what the function threw, else why (TIME_LIMIT_EXCEEDED, ...). */
export function encodeFailure(code: ErrorCode, error: unknown, attempts: number): Uint8Array {
  return encodeFailureFields({ code, attempts, error: describe(error, CAUSES_MAX) });
}

/** The failure as `handle.result()` throws it: a LovageError of its code, whose `cause` is the error of the task. */
export function decodeFailure(task: number, body: Uint8Array): LovageError {
  const { attempts, error } = decodeValue(body) as Failure;
  const known = failureCode(body);
  if (known === 'REVOKED') return new LovageError(known, `Task ${task} was revoked`);
  const message = `Task ${task} has failed after ${attempts} ${attempts === 1 ? 'attempt' : 'attempts'}: ${error.name}: ${error.message}`;
  return new LovageError(known, message, { cause: revive(error), details: { attempts, errorCode: error.code } });
}

/** Why it has failed; TASK_FAILED for a code of a newer version. */
export function failureCode(body: Uint8Array): ErrorCode {
  const { code } = decodeValue(body) as Failure;
  return isErrorCode(code) ? code : 'TASK_FAILED';
}

/** Whatever was thrown. Never throws. */
function describe(error: unknown, causes: number): FailureError {
  try {
    if (!(error instanceof Error))
      return { name: 'Error', message: thrownText(error), stack: null, code: null, cause: null };
    const { name, message, stack, cause } = error;
    const { code } = error as { readonly code?: unknown };
    return {
      name: String(name),
      message: String(message).slice(0, MESSAGE_MAX),
      stack: typeof stack === 'string' ? stack.slice(0, STACK_MAX) : null,
      code: typeof code === 'string' ? code : null,
      cause: cause === undefined || causes === 0 ? null : describe(cause, causes - 1),
    };
  } catch {
    return { name: 'Error', message: textOf(error).slice(0, MESSAGE_MAX), stack: null, code: null, cause: null };
  }
}

function thrownText(value: unknown): string {
  if (typeof value === 'string') return value.slice(0, MESSAGE_MAX);
  const text = typeof value === 'object' && value !== null ? JSON.stringify(value) : String(value);
  return `thrown: ${text}`.slice(0, MESSAGE_MAX);
}

function revive({ name, message, stack, code, cause }: FailureError): Error {
  const error = new Error(message, cause === null ? undefined : { cause: revive(cause) });
  error.name = name;
  if (stack !== null) error.stack = stack;
  return code === null ? error : Object.assign(error, { code });
}
