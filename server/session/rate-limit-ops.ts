/** RATE_LIMIT_DECLARE, RATE_LIMIT_OVERRIDE, RATE_LIMIT_DELETE and RATE_LIMIT_LIST. */
import { LIMITS, parseRate, type Rate } from '@lovage/protocol';
import { type Fields, name, whole } from './fields.js';
import type { Session } from './session.js';

export function rateLimitDeclare(session: Session, request: number, fields: Fields): void {
  set(session, request, { type: 'rate-limit-declare', fields, rate: parseRate(fields[1]) });
}

/** Nil ends the override. */
export function rateLimitOverride(session: Session, request: number, fields: Fields): void {
  const given = fields[1] ?? null;
  set(session, request, { type: 'rate-limit-override', fields, rate: given === null ? null : parseRate(given) });
}

export function rateLimitDelete(session: Session, request: number, fields: Fields): void {
  const { broker } = session.context;
  broker.submit({ type: 'rate-limit-delete', session: session.number, request, name: name(fields[0], 'rateLimit') });
}

export function rateLimitList(session: Session, request: number, fields: Fields): void {
  const after = fields[0] === null || fields[0] === undefined ? null : name(fields[0], 'after');
  const limit = whole(fields[1], 'limit', 1, LIMITS.pageMax);
  session.context.broker.submit({ type: 'rate-limit-list', session: session.number, request, after, limit });
}

function set(
  session: Session,
  request: number,
  what: { type: 'rate-limit-declare' | 'rate-limit-override'; fields: Fields; rate: Rate | null },
): void {
  const { type, fields, rate } = what;
  session.context.broker.submit({
    type,
    session: session.number,
    request,
    name: name(fields[0], 'rateLimit'),
    rate,
  });
}
