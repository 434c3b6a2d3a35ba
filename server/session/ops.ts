// hot path
/** What each op of an open connection does: parse, submit, no rule of queues. */
import {
  CLIENT_OPS,
  type ClientOp,
  CompleteBatch,
  checkFrame,
  decodeFrame,
  FrameReader,
  isContentType,
  LIMITS,
  LovageError,
  type Progress,
  PublishBatch,
  RESULTS_QUEUE,
  readOp,
  SettleFrame,
} from '@lovage/protocol';
import {
  bytes,
  type Fields,
  flag,
  invalid,
  list,
  map,
  name,
  parseBinding,
  parseConsume,
  parseExchange,
  parseMode,
  parseSettings,
  text,
  whole,
} from './fields.js';
import {
  messageDrop,
  messageList,
  messageMove,
  messagePeek,
  messagePriority,
  messageRedrive,
  messageRetry,
  messageRevoke,
} from './message-ops.js';
import { namespaceDelete, namespaceList, namespaceSet } from './namespace-ops.js';
import { refusedPublish } from './publish-guard.js';
import { rateLimitDeclare, rateLimitDelete, rateLimitList, rateLimitOverride } from './rate-limit-ops.js';
import { assertAllowed } from './rights.js';
import type { Session } from './session.js';
import { tokenCreate, tokenList, tokenRevoke } from './token-ops.js';
import { workerAnnounce, workerAnswer, workerControl, workerList } from './worker-ops.js';

const reader = new FrameReader();
const batch = new PublishBatch();
const settle = new SettleFrame();
const completed = new CompleteBatch();

/** A request's fields after op and number, once the session's token is seen to have what the op needs; whatever it throws is answered under that number. */
export type RequestHandler = (session: Session, request: number, fields: Fields) => void;
type FrameHandler = (session: Session, frame: Uint8Array) => void;

const OPS: Readonly<Record<ClientOp, FrameHandler | Request>> = {
  HELLO: (session, frame) => {
    checkFrame(frame);
    session.fail('HELLO_REPEATED');
  },
  HEARTBEAT: (session, frame) => heartbeat(session, frame),
  PUBLISH: (session, frame) => publish(session, frame),
  START: (session, frame) => answer(session, frame, 'start'),
  ACK: (session, frame) => answer(session, frame, 'ack'),
  RELEASE: (session, frame) => answer(session, frame, 'release'),
  NACK: (session, frame) => nack(session, frame),
  COMPLETE: (session, frame) => complete(session, frame),
  NOTE: (session, frame) => note(session, frame),
  GOODBYE: (session, frame) => {
    checkFrame(frame);
    session.leave();
  },
  CONSUME: request((session, request, fields) => {
    const consumerId = whole(fields[0], 'consumerId', 0, 0xffff_ffff);
    submit(session, {
      type: 'consume',
      session: session.number,
      request,
      consumerId,
      options: parseConsume(fields[1]),
    });
  }),
  CANCEL: request((session, request, fields) => {
    submit(session, {
      type: 'cancel',
      session: session.number,
      request,
      consumerId: whole(fields[0], 'consumerId', 0, 0xffff_ffff),
    });
  }),
  PREFETCH: request((session, request, fields) => {
    const consumerId = whole(fields[0], 'consumerId', 0, 0xffff_ffff);
    const prefetch = whole(fields[1], 'prefetch', 0, LIMITS.prefetchMax);
    submit(session, { type: 'prefetch', session: session.number, request, consumerId, prefetch });
  }),
  QUEUE_DECLARE: request((session, request, fields) => {
    submit(session, {
      type: 'declare',
      session: session.number,
      request,
      name: name(fields[0], 'queue'),
      settings: parseSettings(fields[1]),
      mode: parseMode(fields[2]),
    });
  }),
  QUEUE_DELETE: request((session, request, fields) => {
    const options = map(fields[1], 'options');
    const ifEmpty = flag(options.ifEmpty, 'ifEmpty');
    const ifUnused = flag(options.ifUnused, 'ifUnused');
    submit(session, {
      type: 'delete',
      session: session.number,
      request,
      name: name(fields[0], 'queue'),
      ifEmpty,
      ifUnused,
    });
  }),
  QUEUE_PURGE: queueRequest('purge'),
  QUEUE_PAUSE: queueRequest('pause'),
  QUEUE_RESUME: queueRequest('resume'),
  QUEUE_INSPECT: queueRequest('inspect'),
  QUEUE_LIST: request((session, request, fields) => {
    const after = fields[0] === null || fields[0] === undefined ? null : name(fields[0], 'after');
    submit(session, {
      type: 'list',
      session: session.number,
      request,
      after,
      limit: whole(fields[1], 'limit', 1, LIMITS.pageMax),
    });
  }),
  EXCHANGE_DECLARE: request((session, request, fields) => {
    submit(session, {
      type: 'exchange-declare',
      session: session.number,
      request,
      name: name(fields[0], 'exchange'),
      ...parseExchange(fields[1]),
    });
  }),
  EXCHANGE_DELETE: request((session, request, fields) => {
    const ifUnused = flag(map(fields[1], 'options').ifUnused, 'ifUnused');
    submit(session, {
      type: 'exchange-delete',
      session: session.number,
      request,
      name: name(fields[0], 'exchange'),
      ifUnused,
    });
  }),
  EXCHANGE_LIST: request((session, request, fields) => {
    const after = fields[0] === null || fields[0] === undefined ? null : name(fields[0], 'after');
    const limit = whole(fields[1], 'limit', 1, LIMITS.pageMax);
    submit(session, { type: 'exchange-list', session: session.number, request, after, limit });
  }),
  BIND: request((session, request, fields) => {
    submit(session, { type: 'bind', session: session.number, request, binding: parseBinding(fields[0]) });
  }),
  UNBIND: request((session, request, fields) => {
    submit(session, { type: 'unbind', session: session.number, request, binding: parseBinding(fields[0]) });
  }),
  BINDING_LIST: request((session, request, fields) => {
    submit(session, {
      type: 'binding-list',
      session: session.number,
      request,
      exchange: name(fields[0], 'exchange'),
      after: fields[1] === null || fields[1] === undefined ? 0 : whole(fields[1], 'after', 0, Number.MAX_SAFE_INTEGER),
      limit: whole(fields[2], 'limit', 1, LIMITS.pageMax),
    });
  }),
  MESSAGE_LIST: request(messageList),
  MESSAGE_PEEK: request(messagePeek),
  MESSAGE_MOVE: request(messageMove),
  MESSAGE_DROP: request(messageDrop),
  MESSAGE_RETRY: request(messageRetry),
  MESSAGE_PRIORITY: request(messagePriority),
  MESSAGE_REDRIVE: request(messageRedrive),
  MESSAGE_REVOKE: request(messageRevoke),
  RESULT_WATCH: request((session, request, fields) => results(session, request, fields, 'result-watch')),
  RESULT_UNWATCH: request((session, request, fields) => results(session, request, fields, 'result-unwatch')),
  MESSAGE_STATE: request((session, request, fields) => {
    const ids = list(fields[0], 'ids', LIMITS.messageIdsMax).map((id) => whole(id, 'ids', 1, Number.MAX_SAFE_INTEGER));
    // What handlers tell is contents, as results are.
    const withNotes = session.identity.may('read', RESULTS_QUEUE);
    submit(session, { type: 'message-state', session: session.number, request, ids, withNotes });
  }),
  TOKEN_CREATE: request(tokenCreate),
  TOKEN_LIST: request(tokenList),
  TOKEN_REVOKE: request(tokenRevoke),
  NAMESPACE_SET: request(namespaceSet),
  NAMESPACE_LIST: request(namespaceList),
  NAMESPACE_DELETE: request(namespaceDelete),
  WORKER_ANNOUNCE: request(workerAnnounce),
  WORKER_LIST: request(workerList),
  WORKER_CONTROL: request(workerControl),
  WORKER_ANSWER: request(workerAnswer),
  RATE_LIMIT_DECLARE: request(rateLimitDeclare),
  RATE_LIMIT_OVERRIDE: request(rateLimitOverride),
  RATE_LIMIT_DELETE: request(rateLimitDelete),
  RATE_LIMIT_LIST: request(rateLimitList),
};

const BY_NUMBER: readonly (FrameHandler | undefined)[] = byNumber();

/** Carries out one frame of an open session. Throws LovageError for what ends the connection. */
export function handleFrame(session: Session, frame: Uint8Array): void {
  const op = readOp(frame);
  const handler = BY_NUMBER[op];
  if (handler === undefined) {
    checkFrame(frame);
    session.refuse(
      null,
      new LovageError('UNKNOWN_OP', `Cannot carry out op ${op}: expected one of the client's table`, {
        details: { op },
      }),
    );
    return;
  }
  handler(session, frame);
}

function byNumber(): readonly (FrameHandler | undefined)[] {
  const handlers: (FrameHandler | undefined)[] = [];
  for (const op of Object.keys(CLIENT_OPS) as ClientOp[]) {
    const row = OPS[op];
    handlers[CLIENT_OPS[op]] = typeof row === 'function' ? row : requestHandler(op, row.handler);
  }
  return handlers;
}

function submit(session: Session, command: Parameters<Session['context']['broker']['submit']>[0]): void {
  session.context.broker.submit(command);
}

function publish(session: Session, frame: Uint8Array): void {
  batch.scan(reader.open(frame), session.context.settings);
  const refused = refusedPublish(session, batch);
  submit(session, { type: 'publish', session: session.number, batch, refused });
}

function answer(session: Session, frame: Uint8Array, type: 'start' | 'ack' | 'release'): void {
  settle.read(reader.open(frame), false);
  const { settleSeq, ranges, delayMs, mayWait } = settle;
  const common = { type, session: session.number, settleSeq, ranges: ranges.pairs };
  submit(session, type === 'release' ? { ...common, delayMs } : { ...common, mayWait });
}

function complete(session: Session, frame: Uint8Array): void {
  completed.scan(reader.open(frame), session.context.settings);
  const refused = completed.follow === null ? null : refusedPublish(session, completed.follow);
  submit(session, { type: 'complete', session: session.number, batch: completed, refused });
}

/** `[43, tag, progress|nil, [line, ...]]`: nobody waits for an answer, so what is out of range is told without a request's number. */
function note(session: Session, frame: Uint8Array): void {
  const [, tag, progress, log] = decodeFrame(frame);
  const number = whole(tag, 'tag', 1, Number.MAX_SAFE_INTEGER);
  try {
    const given = { progress: progressOf(progress), log: logOf(log) };
    submit(session, { type: 'note', session: session.number, tag: number, note: given });
  } catch (error) {
    if (!(error instanceof LovageError) || error.code !== 'INVALID_ARGUMENT') throw error;
    session.refuse(null, error);
  }
}

function progressOf(value: unknown): Progress | null {
  if (value === null || value === undefined) return null;
  const [contentType, body] = list(value, 'progress', 64);
  const given = bytes(body, 'progress');
  if (given.length > LIMITS.progressBytesMax)
    throw invalid('progress', given.length, `at most ${LIMITS.progressBytesMax} bytes`);
  if (contentType === null || contentType === undefined) return [null, given.slice()];
  if (!isContentType(text(contentType, 'contentType')))
    throw invalid('contentType', contentType, `at most ${LIMITS.contentTypeLengthMax} characters of printable ASCII`);
  return [contentType as string, given.slice()];
}

function logOf(value: unknown): string[] {
  return list(value ?? [], 'log', LIMITS.logLinesMax).map((line) => {
    const given = text(line, 'log');
    if (given.length <= LIMITS.logLineLengthMax) return given;
    throw invalid('log', given.length, `at most ${LIMITS.logLineLengthMax} characters in a line`);
  });
}

function results(session: Session, request: number, fields: Fields, type: 'result-watch' | 'result-unwatch'): void {
  const ids = list(fields[0], 'ids', LIMITS.resultsMax).map((id) => whole(id, 'ids', 1, Number.MAX_SAFE_INTEGER));
  submit(session, { type, session: session.number, request, ids });
}

function nack(session: Session, frame: Uint8Array): void {
  const { settleSeq, ranges, requeue, delayMs, reason, cause } = settle.read(reader.open(frame), true);
  const how = { requeue, delayMs, reason, cause };
  submit(session, { type: 'nack', session: session.number, settleSeq, ranges: ranges.pairs, ...how });
}

/** `[2, [consumerId, unsettled, ...]]`: a consumer that the broker does not have is told to the client, which subscribes again. Answered with the broker's view. */
function heartbeat(session: Session, frame: Uint8Array): void {
  const view = decodeFrame(frame)[1] ?? [];
  if (!Array.isArray(view) || view.length % 2 !== 0) throw reader.bad('pairs of consumer and unsettled');
  for (let i = 0; i < view.length; i += 2) {
    const consumerId = whole(view[i], 'consumerId', 0, 0xffff_ffff);
    if (session.context.broker.hasConsumer(session.number, consumerId)) continue;
    const message = `Cannot find consumer ${consumerId}: the session has none of this number`;
    session.refuse(null, new LovageError('CONSUMER_NOT_FOUND', message, { details: { consumerId } }));
  }
  session.answerHeartbeat();
}

interface Request {
  readonly handler: RequestHandler;
}

function request(handler: RequestHandler): Request {
  return { handler };
}

function requestHandler(op: ClientOp, handler: RequestHandler): FrameHandler {
  return (session, frame) => {
    const [, number, ...fields] = decodeFrame(frame);
    const request = whole(number, 'request', 0, Number.MAX_SAFE_INTEGER);
    try {
      assertAllowed(session, op, request, fields);
      handler(session, request, fields);
    } catch (error) {
      if (!(error instanceof LovageError) || error.code === 'INTERNAL_ERROR') throw error;
      session.refuse(request, error);
    }
  };
}

function queueRequest(type: 'purge' | 'pause' | 'resume' | 'inspect'): Request {
  return request((session, request, fields) => {
    submit(session, { type, session: session.number, request, name: name(fields[0], 'queue') });
  });
}
