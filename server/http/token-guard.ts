/** Lets a request in that carries the shared token, and nobody else. */
import { createHash, timingSafeEqual } from 'node:crypto';
import { AttemptLimiter } from './attempt-limiter.js';
import { HttpError } from './errors.js';

const BEARER = /^Bearer ([\x21-\x7e]{1,512})$/i;

export class TokenGuard {
  readonly #digest: Buffer | null;
  readonly #limiter = new AttemptLimiter();

  /** `token` null: everybody is let in. */
  constructor(token: string | null) {
    this.#digest = token === null ? null : digestOf(token);
  }

  /**
   * Throws UNAUTHORIZED for an Authorization header without the token, TOO_MANY_ATTEMPTS (with `details.retryAfterMs`) for an address that sent
   * too many wrong ones. A request without any token is not a guess and is not counted.
   */
  check(authorization: string | undefined, address: string, nowMs: number): void {
    if (this.#digest === null) return;
    const waitMs = this.#limiter.waitMs(address, nowMs);
    if (waitMs > 0) throw new HttpError('TOO_MANY_ATTEMPTS', undefined, { retryAfterMs: Math.ceil(waitMs) });
    if (authorization === undefined) throw new HttpError('UNAUTHORIZED');
    const token = BEARER.exec(authorization)?.[1];
    // Both sides are hashed first: timingSafeEqual wants equal lengths, and the time it takes then says nothing about the token.
    if (token !== undefined && timingSafeEqual(digestOf(token), this.#digest)) return;
    this.#limiter.fail(address, nowMs);
    throw new HttpError('UNAUTHORIZED');
  }
}

function digestOf(token: string): Buffer {
  return createHash('sha256').update(token).digest();
}
