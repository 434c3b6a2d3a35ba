/** Who is on the other side of a door, and what that one may do. It never changes: a token is made once, and when it ends its sessions end with it. */
import { LovageError, matchesAny, NamePattern, RIGHTS, type Right, type Role } from '@lovage/protocol';
import type { Token } from '../engine/access.js';
import type { PublishRate } from './publish-rate.js';

/** Names whose answer is remembered for each right; when there are more all are forgotten, which costs a match each. */
const ANSWERS_MAX = 1_024;

/** What may be asked of an identity besides a right to a name: to look at queues, and to manage tokens and namespaces. */
export type Need = Right | 'view' | 'admin';

export class Identity {
  /** Null for the operator's own token, and for one who came without. */
  readonly tokenId: string | null;
  readonly name: string;
  readonly role: Role;
  /** The only namespace that is open to it; null for all. */
  readonly namespace: string | null;
  /** ms since 1970, Infinity for never. */
  readonly expiresAt: number;
  /** Connections at a time, Infinity for no bound. */
  readonly connectionsMax: number;
  /** Messages in a second, shared by all connections of the token; null for no bound. */
  readonly rate: PublishRate | null;
  /** May use every name: nothing has to be asked for a message. */
  readonly isUnlimited: boolean;
  readonly #patterns: Readonly<Record<Right, readonly NamePattern[]>>;
  readonly #answers: Readonly<Record<Right, Map<string, boolean>>> = {
    configure: new Map(),
    write: new Map(),
    read: new Map(),
  };

  private constructor(
    token: Omit<Token, 'id' | 'hash' | 'createdAt'>,
    tokenId: string | null,
    rate: PublishRate | null,
  ) {
    this.tokenId = tokenId;
    this.name = token.name;
    this.role = token.role;
    this.namespace = token.namespace;
    this.expiresAt = token.expiresAt ?? Number.POSITIVE_INFINITY;
    this.connectionsMax = token.connectionsMax ?? Number.POSITIVE_INFINITY;
    this.rate = rate;
    this.isUnlimited = RIGHTS.every((right) => token[right].includes('*'));
    this.#patterns = {
      configure: token.configure.map((pattern) => new NamePattern(pattern)),
      write: token.write.map((pattern) => new NamePattern(pattern)),
      read: token.read.map((pattern) => new NamePattern(pattern)),
    };
  }

  /** One for all connections of a token: what it has found out about names serves them all. */
  static of(token: Token, rate: PublishRate | null): Identity {
    return new Identity(token, token.id, rate);
  }

  /** Somebody without a stored token, who may do everything. */
  static unlimited(name: string): Identity {
    const all = ['*'];
    const bounds = { namespace: null, expiresAt: null, connectionsMax: null, publishRateMax: null };
    return new Identity({ name, role: 'admin', configure: all, write: all, read: all, ...bounds }, null, null);
  }

  /** Whether it may use this name so. Remembered: a name is matched once. */
  may(right: Right, name: string): boolean {
    if (this.isUnlimited) return true;
    const answers = this.#answers[right];
    const known = answers.get(name);
    if (known !== undefined) return known;
    const answer = matchesAny(this.#patterns[right], name);
    if (answers.size >= ANSWERS_MAX) answers.clear();
    answers.set(name, answer);
    return answer;
  }

  mayEnter(namespace: string): boolean {
    return this.namespace === null || this.namespace === namespace;
  }

  /** Throws FORBIDDEN unless it may enter the namespace. */
  assertEnters(namespace: string): void {
    if (this.mayEnter(namespace)) return;
    const message = `Cannot enter namespace "${namespace}": token "${this.name}" is for "${this.namespace}", expected one for this namespace`;
    throw new LovageError('FORBIDDEN', message, { details: { namespace } });
  }

  /** Throws FORBIDDEN unless it has the right to the name. `what` is for the message: `QUEUE_DELETE`. */
  assertMay(right: Right, name: string, what: string): void {
    if (!this.may(right, name)) throw this.forbidden(right, name, what);
  }

  assertAdmin(what: string): void {
    if (this.role === 'admin') return;
    const message = `Cannot carry out ${what}: token "${this.name}" has the role ${this.role}, expected admin`;
    throw new LovageError('FORBIDDEN', message, { details: { right: 'admin' } });
  }

  forbidden(right: Right, name: string, what: string): LovageError {
    const message = `Cannot carry out ${what} on "${name}": token "${this.name}" may not ${right} it, expected one that may`;
    return new LovageError('FORBIDDEN', message, { details: { right, name } });
  }
}

/** Anybody, while access is open. No token can bear such a name: parentheses and spaces are in none. */
export const ANONYMOUS = Identity.unlimited('(no token)');
/** The holder of the operator's own token. */
export const OPERATOR = Identity.unlimited('(the token of --token)');
