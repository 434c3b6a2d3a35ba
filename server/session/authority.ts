/** Who may connect. One shared token, or none at all on a broker that only this machine can reach. */
import { createHash, timingSafeEqual } from 'node:crypto';
import type { ErrorCode } from '@lovage/protocol';

export class Authority {
  readonly #tokenHash: Buffer | null;

  constructor(token: string | null) {
    this.#tokenHash = token === null ? null : hash(token);
  }

  /** Why a client with this token is refused, null if it is not. Takes the same time for every wrong token. */
  check(token: string | null): ErrorCode | null {
    if (this.#tokenHash === null) return null;
    return token !== null && timingSafeEqual(hash(token), this.#tokenHash) ? null : 'UNAUTHORIZED';
  }
}

/** Both sides are hashed first: `timingSafeEqual` throws on different lengths. */
function hash(token: string): Buffer {
  return createHash('sha256').update(token).digest();
}
