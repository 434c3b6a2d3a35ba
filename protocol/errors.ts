/**
 * Every error that Lovage reports, by its stable code. Match `error.code`; messages may change.
 *
 * `close` is the WebSocket close code (4000-4999 are for applications, RFC 6455 section 7.4.2) when the error ends the connection, and
 * null when the connection goes on. `by` is who raises it first: `broker` (it travels on the wire), `client` (the SDK, about the wire), `command`
 * (the program, before there is a wire). `protocol/README.md` lists the same rows; a test compares the two.
 *
 * How to add one: a row here, a row in the README's table, a test that provokes it (`test/wire/errors.test.ts` for the broker's).
 */
export const ERRORS = {
  // The connection itself.
  BAD_FRAME: { by: 'broker', close: 4400, text: 'the frame is not a MessagePack array of the shape its op asks for' },
  TEXT_FRAME: { by: 'broker', close: 4401, text: 'a text frame arrived; Lovage speaks binary frames only' },
  FRAME_TOO_LARGE: { by: 'broker', close: 1009, text: 'the frame is longer than the limit in force' },
  HELLO_EXPECTED: { by: 'broker', close: 4402, text: 'the first frame must be HELLO' },
  HELLO_TIMEOUT: { by: 'broker', close: 4403, text: 'HELLO did not arrive in time' },
  HELLO_REPEATED: { by: 'broker', close: 4404, text: 'HELLO was sent twice on one connection' },
  VERSION_UNSUPPORTED: { by: 'broker', close: 4405, text: 'the broker does not speak this protocol version' },
  UNAUTHORIZED: { by: 'broker', close: 4406, text: 'the token is missing or wrong' },
  HEARTBEAT_LOST: { by: 'broker', close: 4407, text: 'two heartbeats in a row did not arrive' },
  SLOW_CONSUMER: { by: 'broker', close: 4408, text: 'too many bytes wait unread for this connection' },
  SESSION_TAKEN_OVER: { by: 'broker', close: 4409, text: 'another connection has resumed this session' },
  SHUTTING_DOWN: { by: 'broker', close: 4410, text: 'the broker is stopping' },
  TOO_MANY_CONNECTIONS: { by: 'broker', close: 4411, text: 'the broker has as many connections as it may have' },
  TOKEN_EXPIRED: { by: 'broker', close: 4413, text: 'the token has expired' },
  TOO_MANY_ATTEMPTS: {
    by: 'broker',
    close: 4414,
    text: 'too many wrong tokens came from this address, try again later',
  },
  INTERNAL_ERROR: { by: 'broker', close: 4500, text: 'the broker failed on this frame; the connection is closed' },
  // One request.
  UNKNOWN_OP: { by: 'broker', close: null, text: 'the broker does not know this op' },
  INVALID_NAME: { by: 'broker', close: null, text: 'the name does not match ^[A-Za-z0-9_.:/-]{1,200}$' },
  INVALID_ARGUMENT: { by: 'broker', close: null, text: 'a field has a value outside its range' },
  QUEUE_NOT_FOUND: { by: 'broker', close: null, text: 'there is no queue of this name' },
  QUEUE_MISMATCH: { by: 'broker', close: null, text: 'the queue exists with other settings' },
  QUEUE_FULL: { by: 'broker', close: null, text: 'the queue holds as much as its settings allow' },
  QUEUE_NOT_EMPTY: { by: 'broker', close: null, text: 'the queue holds messages' },
  QUEUE_IN_USE: { by: 'broker', close: null, text: 'the queue has consumers' },
  QUEUE_EXCLUSIVE: {
    by: 'broker',
    close: null,
    text: 'an exclusive consumer holds the queue, or others stand in the way of one',
  },
  QUEUE_DELETED: { by: 'broker', close: null, text: 'the queue was deleted while it was consumed' },
  EXCHANGE_NOT_FOUND: { by: 'broker', close: null, text: 'there is no exchange of this name' },
  EXCHANGE_MISMATCH: { by: 'broker', close: null, text: 'the exchange exists with another type or alternate' },
  EXCHANGE_IN_USE: { by: 'broker', close: null, text: 'the exchange has bindings, or is the alternate of another' },
  BINDING_CYCLE: { by: 'broker', close: null, text: 'the binding or alternate would lead messages in a circle' },
  UNROUTABLE: { by: 'broker', close: null, text: 'the exchange leads the message to no queue' },
  CONSUMER_EXISTS: { by: 'broker', close: null, text: 'the session already has a consumer of this number' },
  CONSUMER_NOT_FOUND: { by: 'broker', close: null, text: 'the session has no consumer of this number' },
  TOO_MANY_QUEUES: { by: 'broker', close: null, text: 'the broker has as many queues as it may have' },
  TOO_MANY_EXCHANGES: { by: 'broker', close: null, text: 'the broker has as many exchanges as it may have' },
  TOO_MANY_BINDINGS: { by: 'broker', close: null, text: 'the broker has as many bindings as it may have' },
  TOO_MANY_CONSUMERS: { by: 'broker', close: null, text: 'the session has as many consumers as it may have' },
  TOO_MANY_MESSAGES: { by: 'broker', close: null, text: 'the broker holds as many messages as it may hold' },
  TOO_MANY_PRODUCERS: { by: 'broker', close: 4412, text: 'the broker remembers as many producers as it may' },
  BODY_TOO_LARGE: { by: 'broker', close: null, text: 'the message body is longer than the limit in force' },
  HEADERS_TOO_LARGE: { by: 'broker', close: null, text: 'the message headers are longer than the limit in force' },
  DISK_FULL: { by: 'broker', close: null, text: 'the disk has no room for more messages; settling goes on' },
  FLOW_BLOCKED: {
    by: 'broker',
    close: null,
    text: 'the broker is short of memory or disk and takes no messages now, nor any before one that it refused for that; consuming goes on',
  },
  MESSAGE_NOT_FOUND: { by: 'broker', close: null, text: 'there is no message of this id in the queue' },
  UNKNOWN_TAG: { by: 'broker', close: null, text: 'no delivery of this tag was sent on this session' },
  ALREADY_SETTLED: { by: 'broker', close: null, text: 'this delivery is settled already' },
  SUPERSEDED: {
    by: 'broker',
    close: null,
    text: 'this attempt was taken back; the message belongs to another attempt or is gone',
  },
  FORBIDDEN: { by: 'broker', close: null, text: 'the token does not have the right that this needs' },
  TOKEN_NOT_FOUND: { by: 'broker', close: null, text: 'there is no token of this id' },
  WORKER_NOT_FOUND: { by: 'broker', close: null, text: 'there is no worker of this id, or it has left' },
  NAMESPACE_NOT_FOUND: { by: 'broker', close: null, text: 'there is no namespace of this name' },
  RATE_LIMIT_NOT_FOUND: { by: 'broker', close: null, text: 'there is no rate limit of this name' },
  TOO_MANY_RATE_LIMITS: {
    by: 'broker',
    close: null,
    text: 'the broker has as many rate limits, or keys of them, as it may have',
  },
  QUOTA_EXCEEDED: { by: 'broker', close: null, text: 'a quota of the token or the namespace is used up' },
  // The SDK's own.
  CONNECT_FAILED: { by: 'client', close: null, text: 'no connection could be made' },
  CONNECTION_LOST: { by: 'client', close: null, text: 'the connection was lost and the outcome is not known' },
  CLIENT_CLOSED: { by: 'client', close: null, text: 'the client is closed' },
  PUBLISH_TIMEOUT: {
    by: 'client',
    close: null,
    text: 'the publish was not confirmed before its deadline; it may still arrive',
  },
  PUBLISH_BUFFER_FULL: { by: 'client', close: null, text: 'too many publishes wait for their confirm' },
  REQUEST_TIMEOUT: { by: 'client', close: null, text: 'the broker did not answer before the deadline' },
  RESULT_NOT_FOUND: { by: 'client', close: null, text: 'there is no message and no result of this id' },
  RESULT_TIMEOUT: { by: 'client', close: null, text: 'there was no result before the deadline' },
  DEAD_LETTERED: { by: 'client', close: null, text: 'the queue has given the message up' },
  TASK_FAILED: { by: 'client', close: null, text: 'the task threw an error' },
  TASK_CRASHED: { by: 'client', close: null, text: 'the thread or process that ran the task has died' },
  REVOKED: { by: 'client', close: null, text: 'the message was revoked' },
  TASK_EXISTS: { by: 'client', close: null, text: 'the app has a task of this name already' },
  MODULE_FAILED: { by: 'client', close: null, text: 'the module with the tasks cannot be used' },
  TIME_LIMIT_EXCEEDED: { by: 'client', close: null, text: 'the task took longer than it may' },
  RESULT_TOO_LARGE: { by: 'client', close: null, text: 'the result of the task is longer than the limit in force' },
  RESULT_NOT_ENCODABLE: { by: 'client', close: null, text: 'the result of the task cannot be encoded' },
  // The command's own, and those of a start.
  INVALID_SETTING: { by: 'command', close: null, text: 'a setting has a value that is not allowed' },
  DATA_DIR_LOCKED: { by: 'command', close: null, text: 'another process uses the data directory' },
  JOURNAL_MISSING: { by: 'command', close: null, text: 'there is no journal in the directory' },
  JOURNAL_DAMAGED: { by: 'command', close: null, text: 'the journal is damaged where it must be whole' },
  ARCHIVE_DAMAGED: { by: 'command', close: null, text: 'the archive is damaged, or a database of something else' },
  ARCHIVE_TOO_NEW: { by: 'command', close: null, text: 'a later version of the broker has written the archive' },
  ADDRESS_IN_USE: { by: 'command', close: null, text: 'the address is taken by another process' },
} as const satisfies Record<string, { by: 'broker' | 'client' | 'command'; close: number | null; text: string }>;

export type ErrorCode = keyof typeof ERRORS;

export function isErrorCode(code: unknown): code is ErrorCode {
  return typeof code === 'string' && Object.hasOwn(ERRORS, code);
}

/** What every Lovage failure is: an `Error` whose `code` is stable. `message` reads `Cannot <do what>: <state now>, expected <state wanted>`. */
export class LovageError extends Error {
  readonly code: ErrorCode;
  /** Facts for programs: the name of the field, the limit, the position. Depends on the code. */
  readonly details: Readonly<Record<string, unknown>> | undefined;

  constructor(
    code: ErrorCode,
    message: string = ERRORS[code].text,
    options?: { cause?: unknown; details?: Record<string, unknown> },
  ) {
    super(message, options?.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'LovageError';
    this.code = code;
    this.details = options?.details;
  }
}
