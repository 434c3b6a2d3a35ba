/**
 * Who waits for the result of which message. A watch ends when it is told: done, a dead letter, or not there any more. What a command ends without a result is told
 * at its end, when its records are written (promise P1).
 */
import { LIMITS, RESULT_STATUS } from '@lovage/protocol';
import type { EffectSink } from './effects.js';
import { ResultLookups } from './result-lookups.js';
import type { Session } from './session.js';

/** Ids that are forgotten at a time: some 3 ms of work. */
const SLICE = 5_000;

interface Ended {
  readonly id: number;
  readonly status: typeof RESULT_STATUS.NOT_THERE | typeof RESULT_STATUS.DEAD;
  readonly reason: string | null;
}

export class ResultWatches {
  /** Before they are watched for. */
  readonly lookups = new ResultLookups();
  /** Who watches for an id, or has stopped to and is still to be taken out. */
  readonly #sessions = new Map<number, Set<Session>>();
  /** What sessions have stopped to watch for, the oldest first: a million ids go slice by slice. */
  readonly #left: { readonly session: Session; readonly ids: Iterator<number> }[] = [];
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

  /** A session wants to know of these no longer. */
  remove(session: Session, ids: readonly number[]): void {
    const watched = this.#ids.get(session);
    for (const id of ids) {
      this.lookups.remove(session, id);
      watched?.delete(id);
    }
    if (watched?.size === 0) this.#ids.delete(session);
    this.#leave(session, ids);
  }

  /** The connection of a session is gone: whoever comes back watches again. */
  forget(session: Session): void {
    this.lookups.forget(session);
    const watched = this.#ids.get(session);
    this.#ids.delete(session);
    if (watched !== undefined) this.#leave(session, watched);
  }

  /** Whether `sweep` wants to be called without waiting. */
  get isSweeping(): boolean {
    return this.#left.length > 0;
  }

  /** Forgets a slice of what sessions have stopped to watch for. */
  sweep(): void {
    const [oldest] = this.#left;
    if (oldest === undefined) return;
    const { session, ids } = oldest;
    for (let count = 0; count < SLICE; count++) {
      const { value: id, done } = ids.next();
      if (done) {
        this.#left.shift();
        return;
      }
      if (this.#isWatching(session, id)) continue;
      const sessions = this.#sessions.get(id);
      if (sessions?.delete(session) && sessions.size === 0) this.#sessions.delete(id);
    }
  }

  #leave(session: Session, ids: Iterable<number>): void {
    this.#left.push({ session, ids: ids[Symbol.iterator]() });
    this.sweep();
  }

  #isWatching(session: Session, id: number): boolean {
    return this.#ids.get(session)?.has(id) === true;
  }

  /** Who watches for a message. */
  of(id: number): readonly Session[] {
    return [...(this.#sessions.get(id) ?? [])].filter((session) => this.#isWatching(session, id));
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
    const sessions = this.of(id);
    for (const session of sessions) {
      const watched = this.#ids.get(session)!;
      watched.delete(id);
      if (watched.size === 0) this.#ids.delete(session);
    }
    this.#sessions.delete(id);
    return sessions;
  }
}
