/** TOKEN_CREATE, TOKEN_LIST and TOKEN_REVOKE. The secret is drawn here: the engine, which decides nothing by chance, keeps only its hash. */
import { randomBytes } from 'node:crypto';
import { LIMITS, LovageError, parseTokenOptions } from '@lovage/protocol';
import type { TokenCreateCommand, TokenListCommand, TokenRevokeCommand } from '../engine/command.js';
import { digestOf } from './authority.js';
import { type Fields, map, name, whole } from './fields.js';
import type { Identity } from './identity.js';
import type { Session } from './session.js';

/** Bytes of a token's secret: 256 bits. */
const SECRET_BYTES = 32;
/** What a token begins with, so that one that stands where it should not is found by whoever looks for such things. */
const PREFIX = 'lvg_';
/** Hex digits of the hash that name a token in listings and logs. */
const ID_LENGTH = 16;

/** Who asks, and where the answer goes. */
interface Asker {
  readonly identity: Identity;
  readonly session: number;
  readonly request: number;
}

/** A new token by the options that came from a client. Throws INVALID_ARGUMENT, INVALID_NAME, FORBIDDEN. */
export function tokenCreateCommand({ identity, session, request }: Asker, options: unknown): TokenCreateCommand {
  const fields = parseTokenOptions(options);
  if (identity.namespace !== null && fields.namespace !== identity.namespace) {
    const message = `Cannot make a token for ${fields.namespace === null ? 'all namespaces' : `"${fields.namespace}"`}: token "${identity.name}" is for "${identity.namespace}", expected this namespace`;
    throw new LovageError('FORBIDDEN', message, { details: { namespace: fields.namespace } });
  }
  const secret = PREFIX + randomBytes(SECRET_BYTES).toString('base64url');
  const hash = digestOf(secret).toString('hex');
  return { type: 'token-create', session, request, id: hash.slice(0, ID_LENGTH), hash, secret, fields };
}

/** A page of the tokens that the asker may see: those of its own namespace, or all. */
export function tokenListCommand(
  { identity, session, request }: Asker,
  page: { readonly after: string | null; readonly limit: number },
): TokenListCommand {
  return { type: 'token-list', session, request, namespace: identity.namespace, ...page };
}

export function tokenRevokeCommand({ identity, session, request }: Asker, id: string): TokenRevokeCommand {
  return { type: 'token-revoke', session, request, namespace: identity.namespace, id };
}

export function tokenCreate(session: Session, request: number, fields: Fields): void {
  session.context.broker.submit(tokenCreateCommand(asker(session, request), map(fields[0], 'options')));
}

export function tokenList(session: Session, request: number, fields: Fields): void {
  const after = fields[0] === null || fields[0] === undefined ? null : name(fields[0], 'after');
  const limit = whole(fields[1], 'limit', 1, LIMITS.pageMax);
  session.context.broker.submit(tokenListCommand(asker(session, request), { after, limit }));
}

export function tokenRevoke(session: Session, request: number, fields: Fields): void {
  session.context.broker.submit(tokenRevokeCommand(asker(session, request), name(fields[0], 'id')));
}

function asker(session: Session, request: number): Asker {
  return { identity: session.identity, session: session.number, request };
}
