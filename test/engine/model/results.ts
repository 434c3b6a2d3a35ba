/** Results: messages that are completed, and who watches for them. */
import { isDeepStrictEqual } from 'node:util';
import { LIMITS, type Note, RESULT_STATUS, RESULTS_QUEUE } from '@lovage/protocol';
import type { CompleteCommand } from '../../../server/engine/command.js';
import { bytesOf } from '../../../server/engine/notes.js';
import { payloadOf } from '../publish-batch.js';
import type { Answer, CommandOf, ModelMessage, ModelQueue, ModelSession } from './entities.js';
import type { ModelMessages } from './messages.js';
import { defaultsOf } from './namespaces.js';
import type { ModelPublishing } from './publishing.js';
import type { ModelSettling } from './settling.js';
import type { ModelState } from './state.js';

export class ModelResults {
  readonly #state: ModelState;
  readonly #messages: ModelMessages;
  readonly #settling: ModelSettling;
  readonly #publishing: ModelPublishing;

  constructor(state: ModelState, messages: ModelMessages, settling: ModelSettling, publishing: ModelPublishing) {
    this.#state = state;
    this.#messages = messages;
    this.#settling = settling;
    this.#publishing = publishing;
  }

  /** `tableSize`: slots in use before it, which decides whether there is room for what is published with it. */
  complete(command: CompleteCommand, tableSize: number): void {
    const { batch, session, refused = null } = command;
    const { settleSeq, ranges, follow } = batch;
    const { namespace } = this.#state.sessions.get(session)!;
    let take: (() => void) | null = null;
    this.#settling.settle(
      { type: 'complete', session, settleSeq, ranges: ranges.pairs },
      (done) => {
        for (const [message] of done) {
          message.queue.totals.acked++;
          if (message.state === 'leased') message.attempts++;
        }
        this.keep(namespace, batch, done);
        take?.();
      },
      (message) => {
        if (batch.problem !== null) return batch.problem.code;
        if (follow === null) return null;
        if (message === null) return 'INVALID_ARGUMENT';
        const planned = this.#publishing.follow(namespace, follow, refused, tableSize);
        if (typeof planned === 'string') return planned;
        take = planned;
        return null;
      },
    );
  }

  /** They are in the archive, so they go, unless something else has become of them. */
  archived({ ids }: CommandOf<'results-archived'>): void {
    if (!this.#state.isArchiveCurrent) return;
    for (const id of ids) {
      const message = this.#state.messages.get(id);
      if (message === undefined) continue;
      message.queue.totals.archived++;
      this.#state.messages.delete(id);
    }
  }

  watch({ session: number, request, ids }: CommandOf<'result-watch' | 'result-unwatch'>): void {
    const state = this.#state;
    state.answer({ type: 'reply', session: number, request, result: null });
    // What has ended by its time was told to those who watched before. Who watches for it already asks for nothing new.
    const asked = ids.filter((id) => state.watches.get(id)?.has(number) !== true);
    this.end();
    for (const id of asked) state.watch(id, number);
  }

  unwatch({ session: number, request, ids }: CommandOf<'result-watch' | 'result-unwatch'>): void {
    for (const id of ids) this.#state.watches.get(id)?.delete(number);
    this.#state.answer({ type: 'reply', session: number, request, result: null });
  }

  /** A handler tells of its delivery: kept with it, and told to whoever watches and has room. */
  note({ session: number, tag, note }: CommandOf<'note'>): void {
    const lease = this.#state.sessions.get(number)!.leases.get(tag);
    if (lease === undefined || lease.message === null) return;
    const log = [...(lease.note?.log ?? []), ...note.log].slice(-LIMITS.logLinesMax);
    lease.note = { progress: note.progress ?? lease.note?.progress ?? null, log };
    const { id } = lease.message;
    for (const session of this.#state.watches.get(id) ?? []) {
      const { unsentBytes } = this.#state.sessions.get(session)!;
      const isTold = this.#state.told.some((effect) => effect.type === 'noted' && effect.session === session);
      if (!isTold && this.#state.isLookingUp(session)) continue;
      if (unsentBytes < this.#state.options.unsentBytesMax) this.#tellNote(session, id, note);
    }
  }

  #tellNote(number: number, id: number, note: Note): void {
    const bytes = bytesOf(note);
    this.#state.answer({ type: 'noted', session: number, id, note, bytes });
    this.#state.sessions.get(number)!.unsentBytes += bytes;
  }

  /** Who is looked for is told what has been told before. */
  #notes(): void {
    const { told, answers, watches } = this.#state;
    for (const effect of told) {
      if (effect.type !== 'noted' || answers.some((answer) => isDeepStrictEqual(answer, effect))) continue;
      const { session, id } = effect;
      const note = this.#state.messages.get(id)?.lease?.note;
      if (note && watches.get(id)?.has(session)) this.#tellNote(session, id, note);
    }
  }

  states({ session: number, request, ids, withNotes }: CommandOf<'message-state'>): void {
    const { namespace } = this.#state.sessions.get(number)!;
    const told = this.#state.told.find((effect) => effect.type === 'reply' && effect.request === request);
    const found = ids.map((id) => this.#find(namespace, id));
    const result = { messages: found.map((message) => (message === null ? null : expect(message))) };
    const note = withNotes && ids.length === 1 ? found[0]?.lease?.note : null;
    if (note) result.messages[0] = { ...result.messages[0], note };
    // The rest of it is what MESSAGE_LIST tells, and is compared there.
    const shown = (told as { readonly result: { readonly messages: readonly (object | null)[] } }).result.messages;
    this.#state.answer({
      type: 'reply',
      session: number,
      request,
      result: { messages: result.messages.map((facts, i) => facts && { ...without(shown[i]!, 'note'), ...facts }) },
    });
  }

  /**
   * Whoever watches is told what there is to tell: done, not there, dead. When a session is told of what was there before it asked is left open, but it is told
   * before the engine says that it has looked for everything.
   */
  end(): void {
    const { watches, died } = this.#state;
    this.#notes();
    for (const [id, sessions] of [...watches])
      for (const number of [...sessions]) {
        const outcome = this.#outcome(this.#state.sessions.get(number)!, id);
        if (outcome === null) continue;
        if (!this.#isTold(number, id) && this.#state.isLookingUp(number)) continue;
        this.#state.answer(outcome);
        // What was there already takes room on the way to its client.
        this.#state.sessions.get(number)!.unsentBytes += outcome.payload?.length ?? 0;
        sessions.delete(number);
        if (sessions.size === 0) watches.delete(id);
      }
    died.clear();
  }

  #isTold(session: number, id: number): boolean {
    return this.#state.told.some(
      (effect) => effect.type === 'result' && effect.session === session && effect.id === id,
    );
  }

  /** What there is to tell of a message; null while nothing has come of it. */
  #outcome(session: ModelSession, id: number): (Answer & { type: 'result' }) | null {
    const reason = this.#state.died.get(id);
    const present = this.#present(session, id);
    if (reason === undefined || present?.status === RESULT_STATUS.DONE) return present;
    const dead = { type: 'result', session: session.number, id, status: RESULT_STATUS.DEAD, reason } as const;
    // Who was not looked for when the message died is told what it is now.
    const isNow = this.#state.told.some((effect) => isDeepStrictEqual(effect, present));
    return isNow && this.#state.wasLookingUp.has(session.number) ? present : dead;
  }

  /** The same by where the message is now. */
  #present({ number: session, namespace }: ModelSession, id: number): (Answer & { type: 'result' }) | null {
    const message = this.#find(namespace, id);
    const told = { type: 'result', session, id } as const;
    if (message === null) return { ...told, status: RESULT_STATUS.NOT_THERE, reason: null };
    if (message.queue.name === RESULTS_QUEUE) return { ...told, status: RESULT_STATUS.DONE, payload: message.payload };
    const last = message.history.at(-1);
    return last === undefined ? null : { ...told, status: RESULT_STATUS.DEAD, reason: last.reason };
  }

  /** Messages that are with nobody any more have their results, each by its place in the frame. */
  keep(namespace: string, batch: CompleteCommand['batch'], done: readonly (readonly [ModelMessage, number])[]): void {
    const kept = done.filter(([, index]) => batch.payloadLength[index]! > 0);
    for (const [message, index] of done) if (batch.payloadLength[index] === 0) this.#state.messages.delete(message.id);
    if (kept.length === 0) return;
    const to = this.#queue(namespace);
    for (const [message, index] of kept) {
      const payload = payloadOf(batch, index);
      this.#push(message.id, payload);
      if (to === null) this.#state.messages.delete(message.id);
      else this.#place(message, to, payload, batch.ttlMs[index]!);
    }
  }

  /** To whoever watches; who was not looked for yet is told later what is kept. */
  #push(id: number, payload: Uint8Array): void {
    const sessions = this.#state.watches.get(id) ?? new Set();
    for (const session of [...sessions]) {
      if (!this.#isTold(session, id) && this.#state.isLookingUp(session)) continue;
      this.#state.answer({ type: 'result', session, id, status: RESULT_STATUS.DONE, payload });
      sessions.delete(session);
    }
  }

  #place(message: ModelMessage, to: ModelQueue, payload: Uint8Array, ttlMs: number): void {
    const { nowMs } = this.#state;
    const lifeMs = ttlMs || to.settings.messageTtlMs;
    to.totals.arrived++;
    to.usedMs = nowMs;
    Object.assign(message, {
      queue: to,
      payload,
      lease: null,
      history: [],
      attemptLog: { crashes: 0, failures: [] },
      rate: null,
      expiryMs: lifeMs === 0 ? 0 : nowMs + lifeMs,
    });
    this.#messages.ready(message);
  }

  #queue(namespace: string): ModelQueue | null {
    const found = this.#state.queue(namespace, RESULTS_QUEUE);
    if (found !== null) return found;
    return this.#messages.createQueue(namespace, RESULTS_QUEUE, {
      ...defaultsOf(this.#state, namespace, RESULTS_QUEUE),
      messageTtlMs: 86_400_000,
      messagesMax: 1_000_000,
      bytesMax: 0,
      overflow: 'drop-head',
      deadLetterQueue: null,
      expiresAfterUnusedMs: 0,
    });
  }

  /** A message of the namespace that is not settled yet. */
  #find(namespace: string, id: number): ModelMessage | null {
    const message = this.#state.messages.get(id);
    return message !== undefined && message.queue.namespace === namespace ? message : null;
  }
}

function without(facts: object, name: string): object {
  return Object.fromEntries(Object.entries(facts).filter(([key]) => key !== name));
}

function expect({ id, queue, attempts, priority, payload }: ModelMessage): Record<string, unknown> {
  return { id, queue: queue.name, attempts, priority, bytes: payload.length };
}
