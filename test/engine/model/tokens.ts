/** Tokens: who may come in, and that somebody stays who can make more of them. */
import type { CommandOf } from './entities.js';
import type { ModelState } from './state.js';

export class ModelTokens {
  readonly #state: ModelState;

  constructor(state: ModelState) {
    this.#state = state;
  }

  create({ session, request, id, hash, secret, fields }: CommandOf<'token-create'>): void {
    const state = this.#state;
    const isBroad = fields.role === 'admin' && fields.namespace === null;
    const isFirst = state.tokens.size === 0;
    if ((fields.expiresAt !== null && fields.expiresAt <= state.nowMs) || (isFirst && !isBroad))
      return state.answer({ type: 'fail', session, request, code: 'INVALID_ARGUMENT' });
    const info = { id, ...fields, createdAt: state.nowMs };
    state.tokens.set(id, { ...info, hash });
    if (isFirst) state.answer({ type: 'accessClosed', session });
    state.answer({ type: 'reply', session, request, result: { token: info, secret } });
  }

  list({ session, request, namespace, after, limit }: CommandOf<'token-list'>): void {
    const found = [...this.#state.tokens.values()]
      .filter((token) => (namespace === null || token.namespace === namespace) && (after === null || token.id > after))
      .sort((a, b) => (a.id < b.id ? -1 : 1));
    const page = found.slice(0, limit).map(({ hash: _, ...info }) => info);
    const next = found.length > limit ? page.at(-1)!.id : null;
    this.#state.answer({ type: 'reply', session, request, result: { tokens: page, next } });
  }

  revoke({ session, request, namespace, id }: CommandOf<'token-revoke'>): void {
    const state = this.#state;
    const token = state.tokens.get(id);
    if (token === undefined || (namespace !== null && token.namespace !== namespace))
      return state.answer({ type: 'fail', session, request, code: 'TOKEN_NOT_FOUND' });
    const makers = [...state.tokens.values()].filter(
      (other) =>
        other.role === 'admin' &&
        other.namespace === null &&
        (other === token || other.expiresAt === null || other.expiresAt > state.nowMs),
    );
    if (makers.includes(token) && makers.length === 1)
      return state.answer({ type: 'fail', session, request, code: 'INVALID_ARGUMENT' });
    state.tokens.delete(id);
    state.answer({ type: 'revoked', id });
    state.answer({ type: 'reply', session, request, result: { id } });
  }
}
