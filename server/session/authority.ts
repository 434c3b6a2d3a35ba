/**
 * Who may come in, and who has to go.
 *
 *     a token that is stored            -> what it may do, until it expires or is revoked
 *     the token of --token              -> everything
 *     none, while no token is stored    -> everything, where the broker allows it: on loopback, or with --insecure
 *
 * Wrong tokens are counted by address, so that the one of --token, which may be short, cannot be guessed at the speed of the network; a missing one is no guess. A stored
 * token has 256 random bits that nobody guesses: it is let in from any address, so that a client with a wrong one does not shut out those behind the same proxy.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import { LovageError } from '@lovage/protocol';
import type { Clock } from '../broker/clock.js';
import type { Token, TokenTable } from '../engine/access.js';
import { AttemptLimiter } from './attempt-limiter.js';
import { ANONYMOUS, Identity, OPERATOR } from './identity.js';
import { PublishRate } from './publish-rate.js';

/** `setTimer` is not asked for more at once. */
const TIMER_MS_MAX = 3_600_000;

/** A connection that was let in. */
export interface Member {
  readonly number: number;
  readonly namespace: string;
  readonly identity: Identity;
  /** Says why and closes; what it holds returns at once. */
  expel(code: 'TOKEN_EXPIRED' | 'UNAUTHORIZED', message: string): void;
}

export interface AuthorityOptions {
  readonly tokens: TokenTable;
  /** Connections that a namespace may have at a time, null for no bound of its own. */
  readonly connectionsMaxOf?: (namespace: string) => number | null;
  /** The token of `--token`, null for none. */
  readonly token: string | null;
  /** Whether everybody is let in while there is no token at all. */
  readonly isOpen: boolean;
  readonly clock: Pick<Clock, 'wallMs' | 'monotonicMs' | 'setTimer'>;
}

export class Authority {
  readonly #options: AuthorityOptions;
  readonly #tokenHash: Buffer | null;
  readonly #limiter = new AttemptLimiter();
  readonly #members = new Set<Member>();
  /** Connections of each token, and of each namespace. */
  readonly #byToken = new Map<string, number>();
  readonly #byNamespace = new Map<string, number>();
  /** Made when a token is first used, gone with it. */
  readonly #identities = new WeakMap<Token, Identity>();
  #cancelTimer: (() => void) | null = null;
  #timerAtMs = Number.POSITIVE_INFINITY;

  constructor(options: AuthorityOptions) {
    this.#options = options;
    this.#tokenHash = options.token === null ? null : digestOf(options.token);
  }

  /** True while whoever comes without a token is let in. */
  get isOpen(): boolean {
    return this.#options.isOpen && this.#tokenHash === null && this.#options.tokens.size === 0;
  }

  /** True if there is a token of `--token`. */
  get hasOperator(): boolean {
    return this.#tokenHash !== null;
  }

  /** True if there is a stored token that holds. */
  get hasTokens(): boolean {
    const nowMs = this.#options.clock.wallMs();
    for (const { expiresAt } of this.#options.tokens) if (expiresAt === null || expiresAt > nowMs) return true;
    return false;
  }

  /** Who has this token. Throws UNAUTHORIZED, TOKEN_EXPIRED, and TOO_MANY_ATTEMPTS with `details.retryAfterMs`. */
  admit(token: string | null, address: string): Identity {
    if (this.isOpen) return ANONYMOUS;
    const digest = token === null ? null : digestOf(token);
    const stored = digest === null ? null : this.#stored(digest);
    if (stored !== null) return stored;
    const nowMs = this.#options.clock.monotonicMs();
    const waitMs = this.#limiter.waitMs(address, nowMs);
    if (waitMs > 0) throw tooManyAttempts(Math.ceil(waitMs));
    if (digest === null) throw new LovageError('UNAUTHORIZED');
    // Both sides are hashes of the same length, so the time it takes says nothing about the token.
    if (this.#tokenHash !== null && timingSafeEqual(digest, this.#tokenHash)) return OPERATOR;
    this.#limiter.fail(address, nowMs);
    throw new LovageError('UNAUTHORIZED');
  }

  /** A connection is let in. Throws QUOTA_EXCEEDED when its token or its namespace has as many as it may have. */
  enter(member: Member): void {
    const { namespace, identity } = member;
    const { tokenId, connectionsMax, expiresAt, name } = identity;
    if (tokenId !== null) assertRoom(`token "${name}"`, this.#byToken.get(tokenId), connectionsMax);
    const most = this.#options.connectionsMaxOf?.(namespace) ?? Number.POSITIVE_INFINITY;
    assertRoom(`namespace "${namespace}"`, this.#byNamespace.get(namespace), most);
    if (tokenId !== null) count(this.#byToken, tokenId, 1);
    count(this.#byNamespace, namespace, 1);
    this.#members.add(member);
    if (expiresAt < this.#timerAtMs) this.#arm(expiresAt);
  }

  /** A connection is gone. */
  leave(member: Member): void {
    if (!this.#members.delete(member)) return;
    const { tokenId } = member.identity;
    if (tokenId !== null) count(this.#byToken, tokenId, -1);
    count(this.#byNamespace, member.namespace, -1);
  }

  /** A token is no longer one. Told in the middle of a command: what follows from it comes after. */
  revoked(tokenId: string): void {
    queueMicrotask(() =>
      this.#expel(({ identity }) => identity.tokenId === tokenId, 'UNAUTHORIZED', 'The token was revoked'),
    );
  }

  /** The first token is made, by session `maker`, which knows it and may stay. */
  accessClosed(maker: number): void {
    queueMicrotask(() =>
      this.#expel(
        ({ identity, number }) => identity === ANONYMOUS && number !== maker,
        'UNAUTHORIZED',
        'Access without a token has ended: there are tokens now',
      ),
    );
  }

  close(): void {
    this.#cancelTimer?.();
    this.#cancelTimer = null;
  }

  /** Who has the stored token of this hash; null if there is none. The hash is the key, so the time it takes says nothing about the tokens. */
  #stored(digest: Buffer): Identity | null {
    const { tokens, clock } = this.#options;
    const token = tokens.find(digest.toString('hex'));
    if (token === undefined) return null;
    if (token.expiresAt !== null && token.expiresAt <= clock.wallMs()) throw new LovageError('TOKEN_EXPIRED');
    const identity = this.#identities.get(token) ?? Identity.of(token, this.#rateOf(token));
    this.#identities.set(token, identity);
    return identity;
  }

  #rateOf({ publishRateMax }: Token): PublishRate | null {
    return publishRateMax === null ? null : new PublishRate(publishRateMax, this.#options.clock.monotonicMs());
  }

  #expel(isMeant: (member: Member) => boolean, code: 'TOKEN_EXPIRED' | 'UNAUTHORIZED', message: string): void {
    for (const member of [...this.#members]) if (isMeant(member)) member.expel(code, message);
  }

  /** Expels whose token has expired, and looks again when the next one does. */
  #expire(): void {
    const nowMs = this.#options.clock.wallMs();
    this.#expel(({ identity }) => identity.expiresAt <= nowMs, 'TOKEN_EXPIRED', 'The token has expired');
    let nextMs = Number.POSITIVE_INFINITY;
    for (const { identity } of this.#members) nextMs = Math.min(nextMs, identity.expiresAt);
    if (nextMs < Number.POSITIVE_INFINITY) this.#arm(nextMs);
  }

  #arm(atMs: number): void {
    this.#cancelTimer?.();
    this.#timerAtMs = atMs;
    const { clock } = this.#options;
    this.#cancelTimer = clock.setTimer(
      () => {
        this.#cancelTimer = null;
        this.#timerAtMs = Number.POSITIVE_INFINITY;
        this.#expire();
      },
      Math.min(TIMER_MS_MAX, Math.max(0, Math.ceil(atMs - clock.wallMs()))),
    );
  }
}

function assertRoom(whose: string, taken: number | undefined, most: number): void {
  if ((taken ?? 0) < most) return;
  const message = `Cannot connect: ${whose} has ${taken} connections, expected fewer than ${most} (connectionsMax)`;
  throw new LovageError('QUOTA_EXCEEDED', message, { details: { quota: 'connectionsMax', limit: most } });
}

function count(counts: Map<string, number>, key: string, change: number): void {
  const now = (counts.get(key) ?? 0) + change;
  if (now > 0) counts.set(key, now);
  else counts.delete(key);
}

function tooManyAttempts(retryAfterMs: number): LovageError {
  const message = `Cannot let this address in: too many wrong tokens came from it, expected a pause of ${retryAfterMs} ms`;
  return new LovageError('TOO_MANY_ATTEMPTS', message, { details: { retryAfterMs } });
}

/** SHA-256 of a token, as it is stored. */
export function digestOf(token: string): Buffer {
  return createHash('sha256').update(token).digest();
}
