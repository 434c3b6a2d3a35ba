/** Results: messages that are completed, and who watches for them. */
import { RESULT_STATUS, RESULTS_QUEUE } from '@lovage/protocol';
import type { CompleteCommand } from '../../../server/engine/command.js';
import { payloadOf } from '../publish-batch.js';
import type { CommandOf, ModelMessage, ModelQueue, ModelSession } from './entities.js';
import type { ModelMessages } from './messages.js';
import { defaultsOf } from './namespaces.js';
import type { ModelSettling } from './settling.js';
import type { ModelState } from './state.js';

export class ModelResults {
  readonly #state: ModelState;
  readonly #messages: ModelMessages;
  readonly #settling: ModelSettling;

  constructor(state: ModelState, messages: ModelMessages, settling: ModelSettling) {
    this.#state = state;
    this.#messages = messages;
    this.#settling = settling;
  }

  complete(command: CompleteCommand): void {
    const { batch, session } = command;
    const { settleSeq, ranges } = batch;
    this.#settling.settle({ type: 'complete', session, settleSeq, ranges: ranges.pairs }, (done) => {
      if (done.length > 0) this.#keep(this.#state.sessions.get(session)!, batch, done);
    });
  }

  watch({ session: number, request, ids }: CommandOf<'result-watch' | 'result-unwatch'>): void {
    const state = this.#state;
    const session = state.sessions.get(number)!;
    state.answer({ type: 'reply', session: number, request, result: null });
    for (const id of ids) {
      const message = this.#find(session.namespace, id);
      if (message === null) this.#tell(number, id, RESULT_STATUS.NOT_THERE);
      else if (message.queue.name === RESULTS_QUEUE)
        state.answer({ type: 'result', session: number, id, status: RESULT_STATUS.DONE, payload: message.payload });
      else if (message.history.length > 0) this.#tell(number, id, RESULT_STATUS.DEAD, message.history.at(-1)!.reason);
      else state.watch(id, number);
    }
  }

  unwatch({ session: number, request, ids }: CommandOf<'result-watch' | 'result-unwatch'>): void {
    for (const id of ids) this.#state.watches.get(id)?.delete(number);
    this.#state.answer({ type: 'reply', session: number, request, result: null });
  }

  states({ session: number, request, ids }: CommandOf<'message-state'>): void {
    const { namespace } = this.#state.sessions.get(number)!;
    const told = this.#state.told.find((effect) => effect.type === 'reply' && effect.request === request);
    const found = ids.map((id) => this.#find(namespace, id));
    const result = { messages: found.map((message) => (message === null ? null : expect(message))) };
    // The rest of it is what MESSAGE_LIST tells, and is compared there.
    const shown = (told as { readonly result: { readonly messages: readonly (object | null)[] } }).result.messages;
    this.#state.answer({
      type: 'reply',
      session: number,
      request,
      result: { messages: result.messages.map((facts, i) => facts && { ...shown[i], ...facts }) },
    });
  }

  /** What has ended by now without a result, or as a dead letter. */
  end(): void {
    const { watches, messages, died } = this.#state;
    for (const [id, sessions] of [...watches]) {
      const reason = died.get(id);
      if (reason === undefined && messages.has(id)) continue;
      watches.delete(id);
      for (const session of sessions)
        if (reason === undefined) this.#tell(session, id, RESULT_STATUS.NOT_THERE);
        else this.#tell(session, id, RESULT_STATUS.DEAD, reason);
    }
    died.clear();
  }

  #keep(
    session: ModelSession,
    batch: CompleteCommand['batch'],
    done: readonly (readonly [ModelMessage, number])[],
  ): void {
    const to = this.#queue(session.namespace);
    for (const [message, index] of done) {
      message.queue.totals.acked++;
      if (message.state === 'leased') message.attempts++;
      const payload = payloadOf(batch, index);
      for (const number of this.#state.watches.get(message.id) ?? [])
        this.#state.answer({ type: 'result', session: number, id: message.id, status: RESULT_STATUS.DONE, payload });
      this.#state.watches.delete(message.id);
      if (to === null) this.#state.messages.delete(message.id);
      else this.#place(message, to, payload, batch.ttlMs[index]!);
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

  #tell(session: number, id: number, status: number, reason: string | null = null): void {
    this.#state.answer({ type: 'result', session, id, status, reason });
  }
}

function expect({ id, queue, attempts, priority, payload }: ModelMessage): Record<string, unknown> {
  return { id, queue: queue.name, attempts, priority, bytes: payload.length };
}
