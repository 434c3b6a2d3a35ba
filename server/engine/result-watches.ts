/**
 * Who waits for the result of which message. A watch ends when it is told: done, a dead letter, or not there any more. What a command ends without a result is told
 * at its end, when its records are written (promise P1).
 */
import { LIMITS, RESULT_STATUS } from '@lovage/protocol';
import type { EffectSink } from './effects.js';
import { ResultLookups } from './result-lookups.js';
import type { Session } from './session.js';

interface Ended {
  readonly id: number;
  readonly status: typeof RESULT_STATUS.NOT_THERE | typeof RESULT_STATUS.DEAD;
  readonly reason: string | null;
}

export class ResultWatches {
  /** Before they are watched for. */
  readonly lookups = new ResultLookups();
  readonly #sessions = new Map<number, Set<Session>>();
  readonly #ids = new Map<Session, Set<number>>();
  #ended: Ended[] = [];

  /** True while nobody watches: then nothing needs to be told here. */
  get isIdle(): boolean {
    return this.#sessions.size === 0;
  }

  /** Ids that are watched for. */
  get size(): number {
    return this.#sessions.size;
  }

  /** Whether a session may watch for so many more. */
  hasRoom(session: Session, more: number): boolean {
    return (this.#ids.get(session)?.size ?? 0) + this.lookups.sizeOf(session) + more <= LIMITS.resultWatchesMax;
  }

  /** A session wants to know of these: they are to be looked for, unless they are watched for already. */
  ask(session: Session, ids: readonly number[]): void {
    const watched = this.#ids.get(session);
    this.lookups.add(session, watched === undefined ? ids : ids.filter((id) => !watched.has(id)));
  }

  add(session: Session, id: number): void {
    const sessions = this.#sessions.get(id);
    if (sessions === undefined) this.#sessions.set(id, new Set([session]));
    else sessions.add(session);
    const ids = this.#ids.get(session);
    if (ids === undefined) this.#ids.set(session, new Set([id]));
    else ids.add(id);
  }

  remove(session: Session, id: number): void {
    this.lookups.remove(session, id);
    const sessions = this.#sessions.get(id);
    if (sessions === undefined || !sessions.delete(session)) return;
    if (sessions.size === 0) this.#sessions.delete(id);
    const ids = this.#ids.get(session)!;
    ids.delete(id);
    if (ids.size === 0) this.#ids.delete(session);
  }

  /** The connection of a session is gone: whoever comes back watches again. */
  forget(session: Session): void {
    this.lookups.forget(session);
    for (const id of this.#ids.get(session) ?? []) this.remove(session, id);
  }

  /** Who watches for a message. */
  of(id: number): Iterable<Session> {
    return this.#sessions.get(id) ?? [];
  }

  /** A message has its result. */
  done(id: number, payload: Uint8Array, out: EffectSink): void {
    for (const session of this.#take(id)) out.result(session.number, id, payload);
  }

  /** A message is gone, without a result or with the one that it had. */
  gone(id: number): void {
    if (this.#sessions.has(id)) this.#ended.push({ id, status: RESULT_STATUS.NOT_THERE, reason: null });
  }

  dead(id: number, reason: string): void {
    if (this.#sessions.has(id)) this.#ended.push({ id, status: RESULT_STATUS.DEAD, reason });
  }

  /** Tells what has ended. */
  flush(out: EffectSink): void {
    if (this.#ended.length === 0) return;
    const ended = this.#ended;
    this.#ended = [];
    // One that has been told its result meanwhile watches no more.
    for (const { id, status, reason } of ended)
      for (const session of this.#take(id)) out.resultEnded(session.number, id, status, reason);
  }

  #take(id: number): readonly Session[] {
    const sessions = [...(this.#sessions.get(id) ?? [])];
    for (const session of sessions) this.remove(session, id);
    return sessions;
  }
}
