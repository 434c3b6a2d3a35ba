/**
 * What each op needs, in one table. The door looks here before a request is carried out; publishes are looked at target by target, in `publish-guard.ts`.
 *
 * How to add an op: a row here. `names` gives the names that the right must cover, as they stand in the frame behind the request's number: what is no text is
 * left to the handler, which refuses it.
 */
import { type ClientOp, RESULTS_QUEUE } from '@lovage/protocol';
import { auditStart } from './audit.js';
import type { Fields } from './fields.js';
import type { Need } from './identity.js';
import type { Session } from './session.js';

/** `null`: nothing is needed but to be let in, or the op looks for itself. */
interface NeedRow {
  readonly need: Need;
  readonly names?: (fields: Fields) => readonly unknown[];
  /** Names that must be covered by `write` as well, because the request sends messages there. */
  readonly writes?: (fields: Fields) => readonly unknown[];
  /** True for a request that only needs to be let in. */
  readonly unless?: (session: Session, fields: Fields) => boolean;
  /** What an audit line names; default the first of `names`. */
  readonly target?: (fields: Fields) => unknown;
  /** True for a request that changes nothing, though it needs what others need to change something. */
  readonly isLook?: true;
}

const first = (fields: Fields): readonly unknown[] => [fields[0]];

export const NEEDS: Readonly<Record<ClientOp, NeedRow | null>> = {
  HELLO: null,
  HEARTBEAT: null,
  // Target by target.
  PUBLISH: null,
  CONSUME: { need: 'read', names: (fields) => queuesOf(fields[1]) },
  // Of the session's own consumers and deliveries.
  CANCEL: null,
  PREFETCH: null,
  START: null,
  ACK: null,
  NACK: null,
  RELEASE: null,
  COMPLETE: null,
  NOTE: null,
  // Whoever takes a queue as it is changes nothing.
  QUEUE_DECLARE: {
    need: 'configure',
    names: first,
    writes: ([, settings]) => [(settings as { readonly deadLetterQueue?: unknown } | null)?.deadLetterQueue],
    unless: (session, [name, settings]) => (settings ?? null) === null && session.hasQueue(name),
  },
  QUEUE_DELETE: { need: 'configure', names: first },
  QUEUE_PURGE: { need: 'configure', names: first },
  QUEUE_PAUSE: { need: 'configure', names: first },
  QUEUE_RESUME: { need: 'configure', names: first },
  QUEUE_INSPECT: { need: 'view' },
  QUEUE_LIST: { need: 'view' },
  GOODBYE: null,
  EXCHANGE_DECLARE: {
    need: 'configure',
    names: first,
    writes: ([, exchange]) => [(exchange as { readonly alternate?: unknown } | null)?.alternate],
  },
  EXCHANGE_DELETE: { need: 'configure', names: first },
  EXCHANGE_LIST: { need: 'view' },
  BIND: { need: 'configure', names: endsOf, writes: (fields) => endsOf(fields).slice(1) },
  UNBIND: { need: 'configure', names: endsOf },
  BINDING_LIST: { need: 'view' },
  MESSAGE_LIST: { need: 'view' },
  MESSAGE_PEEK: { need: 'read', names: first },
  MESSAGE_MOVE: {
    need: 'configure',
    names: first,
    writes: ([, , , options]) => [(options as { readonly to?: unknown } | null)?.to],
  },
  MESSAGE_DROP: { need: 'configure', names: first },
  MESSAGE_RETRY: { need: 'configure', names: first },
  MESSAGE_PRIORITY: { need: 'configure', names: first },
  // They go back to where they came from.
  MESSAGE_REDRIVE: { need: 'configure', names: first },
  // What is named by its ids alone is looked at one by one.
  MESSAGE_REVOKE: { need: 'configure', names: first },
  // Ids are easily guessed, and results are contents.
  RESULT_WATCH: { need: 'read', names: () => [RESULTS_QUEUE] },
  RESULT_UNWATCH: { need: 'view' },
  MESSAGE_STATE: { need: 'view' },
  TOKEN_CREATE: { need: 'admin', target: ([options]) => (options as { readonly name?: unknown } | null)?.name },
  TOKEN_LIST: { need: 'admin', isLook: true },
  TOKEN_REVOKE: { need: 'admin', target: ([id]) => id },
  NAMESPACE_SET: { need: 'admin', target: ([name]) => name },
  NAMESPACE_LIST: { need: 'admin', isLook: true },
  NAMESPACE_DELETE: { need: 'admin', target: ([name]) => name },
  // Of the session's own workers.
  WORKER_ANNOUNCE: null,
  WORKER_LIST: { need: 'view' },
  // The queues that the worker serves are looked at one by one.
  WORKER_CONTROL: { need: 'configure', target: ([worker]) => worker },
  WORKER_ANSWER: null,
  // Whoever declares a limit as it is changes nothing.
  RATE_LIMIT_DECLARE: {
    need: 'configure',
    names: first,
    unless: (session, [name, rate]) => session.hasRateLimit(name, rate),
  },
  RATE_LIMIT_OVERRIDE: { need: 'configure', names: first },
  RATE_LIMIT_DELETE: { need: 'configure', names: first },
  RATE_LIMIT_LIST: { need: 'view' },
};

/**
 * Throws FORBIDDEN unless the session's token has what the request needs. A request that configures or manages is an administrative act: allowed or not, it
 * goes to the audit log.
 */
export function assertAllowed(session: Session, op: ClientOp, request: number, fields: Fields): void {
  const row = NEEDS[op];
  if (row === null || row.need === 'view' || row.unless?.(session, fields)) return;
  const { identity } = session;
  if ((row.need === 'configure' || row.need === 'admin') && !row.isLook)
    session.audit.asked(request, auditStart(op, row.target?.(fields) ?? row.names?.(fields)[0], session));
  if (row.need === 'admin') return identity.assertAdmin(op);
  if (identity.isUnlimited) return;
  for (const name of row.names?.(fields) ?? []) if (typeof name === 'string') identity.assertMay(row.need, name, op);
  for (const name of row.writes?.(fields) ?? []) if (typeof name === 'string') identity.assertMay('write', name, op);
}

function queuesOf(options: unknown): readonly unknown[] {
  const { queues } = (options ?? {}) as { readonly queues?: unknown };
  return Array.isArray(queues) ? queues : [];
}

/** The exchange of a binding, and where it leads. */
function endsOf([binding]: Fields): readonly unknown[] {
  const { exchange, queue, toExchange } = (binding ?? {}) as Readonly<Record<string, unknown>>;
  return [exchange, queue ?? toExchange];
}
