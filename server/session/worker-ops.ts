/** WORKER_ANNOUNCE, WORKER_LIST, WORKER_CONTROL and WORKER_ANSWER. */
import { isErrorCode, LIMITS, SERVER_OPS, WORKER_ACTIONS, type WorkerFacts } from '@lovage/protocol';
import type { WorkerAnswer } from '../broker/worker-registry.js';
import { type Fields, invalid, list, map, name, oneOf, text, whole } from './fields.js';
import type { Session } from './session.js';

const UINT = Number.MAX_SAFE_INTEGER;

/** `[44, request, number, facts|nil]`; nil: it has stopped. */
export function workerAnnounce(session: Session, request: number, fields: Fields): void {
  const { workers } = session.context.broker;
  const number = whole(fields[0], 'number', 0, 0xffff_ffff);
  if (fields[1] === null || fields[1] === undefined) workers.withdraw(session.number, number);
  else {
    const { number: own, namespace, clientName } = session;
    workers.announce({ session: own, namespace, clientName }, number, parseFacts(fields[1]), Date.now());
  }
  reply(session, request, null);
}

/** `[45, request]`. */
export function workerList(session: Session, request: number): void {
  reply(session, request, session.context.broker.workers.list(session.namespace));
}

/** `[46, request, worker, action, options]`. Whoever may configure all queues that the worker serves. */
export function workerControl(session: Session, request: number, fields: Fields): void {
  const { workers } = session.context.broker;
  const { number, namespace, identity } = session;
  const id = text(fields[0], 'worker');
  const action = oneOf(fields[1], 'action', WORKER_ACTIONS);
  const queues = workers.queuesOf(namespace, id);
  if (!identity.isUnlimited) for (const queue of queues) identity.assertMay('configure', queue, 'WORKER_CONTROL');
  workers.control({ session: number, namespace, request }, id, action, map(fields[2], 'options'));
}

/** `[47, request, control, value]` or `[47, request, control, nil, code, message]`. */
export function workerAnswer(session: Session, request: number, fields: Fields): void {
  const control = whole(fields[0], 'control', 1, UINT);
  const [, value, code, message] = fields;
  const answer: WorkerAnswer =
    code === null || code === undefined
      ? { code: null, value: value ?? null }
      : {
          code: isErrorCode(code) ? code : 'INTERNAL_ERROR',
          message: text(message ?? '', 'message').slice(0, LIMITS.reasonLengthMax),
        };
  session.context.broker.workers.answered(session.number, control, answer);
  reply(session, request, null);
}

function reply(session: Session, request: number, result: unknown): void {
  session.context.broker.answer(session.number, [SERVER_OPS.REPLY, request, result]);
}

function parseFacts(value: unknown): WorkerFacts {
  const facts = map(value, 'facts') as { readonly [K in keyof WorkerFacts]?: unknown };
  return {
    host: short(facts.host, 'host'),
    pid: whole(facts.pid, 'pid', 0, UINT),
    version: optional(facts.version, 'version'),
    pool: short(facts.pool, 'pool'),
    concurrency: whole(facts.concurrency, 'concurrency', 0, UINT),
    queues: list(facts.queues ?? [], 'queues', LIMITS.workerQueuesMax).map((queue) => name(queue, 'queues')),
    tasks: list(facts.tasks ?? [], 'tasks', LIMITS.workerTasksMax).map((entry) => {
      const [task, version] = list(entry, 'tasks', 64);
      return [name(task, 'tasks'), optional(version, 'tasks')];
    }),
    unknown: list(facts.unknown ?? [], 'unknown', LIMITS.workerUnknownMax).map((entry) => {
      const [queue, task, count] = list(entry, 'unknown', 64);
      return [name(queue, 'unknown'), short(task, 'unknown'), whole(count, 'unknown', 0, UINT)];
    }),
  };
}

function short(value: unknown, what: string): string {
  const given = text(value, what);
  if (given.length > LIMITS.nameLengthMax)
    throw invalid(what, given.length, `at most ${LIMITS.nameLengthMax} characters`);
  return given;
}

function optional(value: unknown, what: string): string | null {
  return value === null || value === undefined ? null : short(value, what);
}
