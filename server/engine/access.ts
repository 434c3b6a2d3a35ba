/**
 * Tokens: who may come in. The engine keeps what a token may do and the hash of its secret, never the secret; whether a client may do a thing is asked at
 * the session's door. An expired token stays until it is revoked, so that access once closed stays closed.
 */
import { LIMITS, type TokenFields, type TokenInfo } from '@lovage/protocol';
import type { TokenCreateCommand, TokenListCommand, TokenRevokeCommand } from './command.js';
import type { EffectSink } from './effects.js';
import type { EngineState } from './state.js';

/** A token as the broker keeps it. It never changes: it is made, and it is revoked. */
export interface Token extends TokenInfo {
  /** SHA-256 of the secret, in hex. */
  readonly hash: string;
}

/** What the engine knows of tokens. Read by the session's door, written here only. */
export class TokenTable {
  readonly #byId = new Map<string, Token>();
  readonly #byHash = new Map<string, Token>();

  get size(): number {
    return this.#byId.size;
  }

  get(id: string): Token | undefined {
    return this.#byId.get(id);
  }

  /** The token of a secret's hash. */
  find(hash: string): Token | undefined {
    return this.#byHash.get(hash);
  }

  add(token: Token): void {
    this.#byId.set(token.id, token);
    this.#byHash.set(token.hash, token);
  }

  remove(id: string): void {
    const token = this.#byId.get(id);
    if (token === undefined) return;
    this.#byId.delete(id);
    this.#byHash.delete(token.hash);
  }

  [Symbol.iterator](): IterableIterator<Token> {
    return this.#byId.values();
  }
}

export class Access {
  readonly #state: EngineState;

  constructor(state: EngineState) {
    this.#state = state;
  }

  /** The first token ends open access, so it has to be one that can make others. */
  create(command: TokenCreateCommand, out: EffectSink): void {
    const { session, request, id, hash, fields, secret } = command;
    const { tokens, nowMs } = this.#state;
    if (fields.expiresAt !== null && fields.expiresAt <= nowMs) {
      const message = `Cannot make token "${fields.name}": expiresAt is ${fields.expiresAt}, expected a time after ${nowMs}`;
      return out.fail(session, request, 'INVALID_ARGUMENT', message, { field: 'expiresAt' });
    }
    if (tokens.size === 0 && !isBroadAdmin(fields)) {
      const message = `Cannot make token "${fields.name}": it would be the first, expected role admin for all namespaces, because open access ends with it`;
      return out.fail(session, request, 'INVALID_ARGUMENT', message, { field: 'role' });
    }
    if (tokens.size >= LIMITS.tokensMax) {
      const message = `Cannot make token "${fields.name}": there are ${tokens.size}, expected fewer`;
      return out.fail(session, request, 'QUOTA_EXCEEDED', message, { quota: 'tokensMax', limit: LIMITS.tokensMax });
    }
    const token: Token = { id, ...fields, createdAt: nowMs, hash };
    const isFirst = tokens.size === 0;
    tokens.add(token);
    out.record({ type: 'token', token });
    if (isFirst) out.accessClosed(session);
    out.reply(session, request, { token: tokenInfo(token), secret });
  }

  /** Tokens of a namespace (all when null) by id, from behind `after` on. */
  list({ session, request, namespace, after, limit }: TokenListCommand, out: EffectSink): void {
    const found = [...this.#state.tokens]
      .filter((token) => (namespace === null || token.namespace === namespace) && (after === null || token.id > after))
      .sort((a, b) => (a.id < b.id ? -1 : 1));
    const page = found.slice(0, limit).map(tokenInfo);
    out.reply(session, request, { tokens: page, next: found.length > limit ? page.at(-1)!.id : null });
  }

  revoke({ session, request, namespace, id }: TokenRevokeCommand, out: EffectSink): void {
    const token = this.#state.tokens.get(id);
    if (token === undefined || (namespace !== null && token.namespace !== namespace))
      return out.fail(session, request, 'TOKEN_NOT_FOUND', `Cannot revoke token "${id}": it does not exist`, { id });
    if (this.#isLastAdmin(token)) {
      const message = `Cannot revoke token "${id}": nobody else could make tokens, expected another token of role admin for all namespaces`;
      return out.fail(session, request, 'INVALID_ARGUMENT', message, { field: 'id' });
    }
    this.#state.tokens.remove(id);
    out.record({ type: 'token-revoke', id });
    out.revoked(id);
    out.reply(session, request, { id });
  }

  #isLastAdmin(token: Token): boolean {
    if (!isBroadAdmin(token)) return false;
    for (const other of this.#state.tokens)
      if (other !== token && isBroadAdmin(other) && (other.expiresAt === null || other.expiresAt > this.#state.nowMs))
        return false;
    return true;
  }
}

/** Everything but the hash. */
export function tokenInfo({ hash: _, ...info }: Token): TokenInfo {
  return info;
}

function isBroadAdmin({ role, namespace }: TokenFields): boolean {
  return role === 'admin' && namespace === null;
}
