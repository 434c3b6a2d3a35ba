/**
 * What RESULT_WATCH has named and nobody has looked for yet. A frame names up to 65,536 ids, and what is kept of each may be large: they are looked for a slice at
 * a time, by turns of the sessions, and no faster than a connection takes the results.
 *
 *     named ──looked for──► watched for, or told: done, dead, not there
 *
 * A session that has more stands in line while its connection has room; `resume` brings it back when that is so again.
 */
import type { Session } from './session.js';

interface Named {
  readonly ids: Set<number>;
  /** Goes through `ids` as they are taken: a new one would have to pass over all that were. */
  readonly next: Iterator<number>;
}

export class ResultLookups {
  readonly #named = new Map<Session, Named>();
  /** Sessions that have more and whose connections had room when that was last asked. */
  readonly #line = new Set<Session>();

  /** Whether somebody stands in line. */
  get isBusy(): boolean {
    return this.#line.size > 0;
  }

  sizeOf(session: Session): number {
    return this.#named.get(session)?.ids.size ?? 0;
  }

  add(session: Session, ids: readonly number[]): void {
    const named = this.#named.get(session)?.ids ?? new Set();
    for (const id of ids) named.add(id);
    if (named.size > 0 && !this.#named.has(session)) this.#named.set(session, { ids: named, next: named.values() });
  }

  remove(session: Session, id: number): void {
    const ids = this.#named.get(session)?.ids;
    if (ids?.delete(id) && ids.size === 0) this.forget(session);
  }

  forget(session: Session): void {
    this.#named.delete(session);
    this.#line.delete(session);
  }

  /** The session stands in line, if it has more. */
  resume(session: Session): void {
    if (this.#named.has(session)) this.#line.add(session);
  }

  /** Takes the first out of the line; null if nobody stands there. */
  next(): Session | null {
    for (const session of this.#line) {
      this.#line.delete(session);
      return session;
    }
    return null;
  }

  /** Takes the next id of a session; 0 if it has no more. */
  take(session: Session): number {
    const id: number = this.#named.get(session)?.next.next().value ?? 0;
    this.remove(session, id);
    return id;
  }
}
