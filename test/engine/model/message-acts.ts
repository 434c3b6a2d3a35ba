/** Messages by their ids and by filters: what is told of them, and what becomes of them. */
import { type MessageFilter, type MessageSkip, RESULTS_QUEUE } from '@lovage/protocol';
import { headersOf } from '../publish-batch.js';
import type { CommandOf, ModelMessage, ModelQueue } from './entities.js';
import type { ModelFlow } from './flow.js';
import type { ModelMessages } from './messages.js';
import type { ModelResults } from './results.js';
import type { ModelState } from './state.js';

type Act = CommandOf<'message-act'>;

const TOLD_AS = { waiting: 'ready', delayed: 'delayed', leased: 'leased', started: 'started' } as const;

export class ModelMessageActs {
  readonly #state: ModelState;
  readonly #messages: ModelMessages;
  readonly #flow: ModelFlow;
  readonly #results: ModelResults;

  constructor(state: ModelState, messages: ModelMessages, flow: ModelFlow, results: ModelResults) {
    this.#state = state;
    this.#messages = messages;
    this.#flow = flow;
    this.#results = results;
  }

  list(command: CommandOf<'message-list'>): void {
    const { session, request, ids, filter, after, limit, withBodies } = command;
    const queue = this.#state.queue(this.#state.sessions.get(session)!.namespace, command.queue);
    if (queue === null) return this.#state.fail(command, 'QUEUE_NOT_FOUND');
    const found = ids === null ? this.#matching(queue, filter, after).slice(0, limit) : this.#named(queue, ids).found;
    const messages = found.map(infoOf);
    const next = ids === null && found.length === limit ? found.at(-1)!.id : null;
    if (!withBodies) return this.#state.reply(command, { messages, next });
    const result = { messages, ids: found.map(({ id }) => id), next };
    this.#state.answer({ type: 'peeked', session, request, result });
  }

  act(command: Act): void {
    const state = this.#state;
    const { namespace } = state.sessions.get(command.session)!;
    const queue = command.queue === null ? null : state.queue(namespace, command.queue);
    const to = command.act === 'move' ? state.queue(namespace, command.to) : null;
    if ((queue === null && command.queue !== null) || (command.act === 'move' && to === null))
      return state.fail(command, 'QUEUE_NOT_FOUND');
    const skipped: { [S in MessageSkip]?: number } = {};
    const skip = (why: MessageSkip): void => {
      skipped[why] = (skipped[why] ?? 0) + 1;
    };
    const { ids } = command;
    const named = ids === null ? null : queue === null ? this.#namedIn(namespace, ids) : this.#named(queue, ids);
    for (let i = 0; i < (named?.missing ?? 0); i++) skip('MESSAGE_NOT_FOUND');
    const found = named?.found ?? this.#matching(queue!, command.filter, command.after);
    if (ids?.length === 1 && found.length === 0) return state.fail(command, 'MESSAGE_NOT_FOUND');
    let changed = 0;
    for (const message of found) {
      const why = this.#whyNot(command, message);
      if (why !== null) skip(why);
      else if (command.dryRun || this.#change(command, message, to)) changed++;
      else skip('TOO_MANY_QUEUES');
    }
    if (command.act === 'revoke' && !command.dryRun) {
      const revoked = found.filter((message) => message.queue.name !== RESULTS_QUEUE);
      this.#results.keep(
        namespace,
        command.result,
        revoked.map((message) => [message, 0]),
      );
    }
    state.reply(command, { matched: found.length, changed, skipped, next: null });
    this.#flow.flow();
  }

  #whyNot(command: Act, message: ModelMessage): MessageSkip | null {
    const isStarted = message.state === 'started';
    const last = message.history.at(-1);
    switch (command.act) {
      case 'drop':
      case 'move':
        return isStarted && !command.force ? 'STARTED' : null;
      case 'retry':
        return message.state === 'delayed' ? null : 'NOT_DELAYED';
      case 'priority':
        return message.priority === command.priority ? 'SAME_PRIORITY' : null;
      case 'revoke':
        return message.queue.name === RESULTS_QUEUE ? 'MESSAGE_NOT_FOUND' : null;
      case 'redrive':
        if (last === undefined) return 'NOT_A_DEAD_LETTER';
        if (last.queue === message.queue.name) return 'SAME_QUEUE';
        if (isStarted) return 'STARTED';
        return command.dryRun && !this.#messages.mayMake(message.queue.namespace, last.queue)
          ? 'TOO_MANY_QUEUES'
          : null;
      default:
        return command satisfies never;
    }
  }

  /** False if there is no room for the queue that it would need. */
  #change(command: Act, message: ModelMessage, to: ModelQueue | null): boolean {
    switch (command.act) {
      case 'drop':
        this.#callBack(message);
        this.#messages.drop(message, 'rejected');
        return true;
      case 'retry':
        this.#messages.ready(message);
        return true;
      case 'priority':
        message.priority = command.priority;
        return true;
      case 'move':
        this.#transfer(message, to!);
        return true;
      case 'revoke':
        this.#callOff(message, command.terminate);
        message.queue.totals.dropped++;
        return true;
      case 'redrive': {
        const { namespace } = message.queue;
        const { queue: name } = message.history.at(-1)!;
        const back = this.#state.queue(namespace, name) ?? this.#messages.createQueue(namespace, name);
        if (back === null) return false;
        message.history = message.history.slice(0, -1);
        this.#transfer(message, back);
        return true;
      }
      default:
        return command satisfies never;
    }
  }

  #transfer(message: ModelMessage, to: ModelQueue): void {
    this.#callBack(message);
    message.queue.totals.moved++;
    message.attemptLog = { crashes: 0, failures: [] };
    this.#messages.arrive(message, to);
  }

  /** Whoever has it has it no more, and is told so if it has not started. */
  #callBack(message: ModelMessage): void {
    const { lease, state } = message;
    if (lease === null) return;
    if (state === 'leased') this.#state.rates.refund(message);
    const { session, tag } = lease;
    if (state === 'leased') this.#state.calledBack.add(`${session.number} ${tag}`);
    this.#messages.endLease(lease);
    session.revoked.add(tag);
  }

  /** Whoever has it has it no more, and is told why. */
  #callOff(message: ModelMessage, terminate: boolean): void {
    const { lease, state } = message;
    if (lease === null) return;
    if (state === 'leased') this.#state.rates.refund(message);
    const { session, tag } = lease;
    this.#state.answer({ type: 'callOff', session: session.number, tag, terminate });
    session.calledOff.set(tag, terminate);
    this.#messages.endLease(lease);
    session.revoked.add(tag);
  }

  #namedIn(namespace: string, ids: readonly number[]): { found: ModelMessage[]; missing: number } {
    const all = [...new Set(ids)].map((id) => this.#state.messages.get(id));
    const found = all.filter((message) => {
      const queue = message?.queue;
      return queue?.namespace === namespace && queue.name !== RESULTS_QUEUE && !queue.isDeleted;
    }) as ModelMessage[];
    return { found, missing: all.length - found.length };
  }

  #named(queue: ModelQueue, ids: readonly number[]): { found: ModelMessage[]; missing: number } {
    const all = [...new Set(ids)].map((id) => this.#state.messages.get(id));
    const found = all.filter((message) => message?.queue === queue) as ModelMessage[];
    return { found, missing: all.length - found.length };
  }

  #matching(queue: ModelQueue, filter: MessageFilter, after: number): ModelMessage[] {
    const { state, priorityMin = 0, priorityMax = 255, idMin = 0, idBelow = Number.POSITIVE_INFINITY } = filter;
    const { reason, from, headers } = filter;
    return this.#state
      .messagesOf(queue)
      .filter((message) => {
        const { id, priority, history } = message;
        const last = history.at(-1);
        return (
          id > after &&
          id >= idMin &&
          id < idBelow &&
          priority >= priorityMin &&
          priority <= priorityMax &&
          (state === undefined || TOLD_AS[message.state] === state) &&
          (reason === undefined || last?.reason === reason) &&
          (from === undefined || last?.queue === from) &&
          (headers === undefined || hasAll(headersOf(message.payload), headers))
        );
      })
      .sort((a, b) => a.id - b.id);
  }
}

function hasAll(headers: Readonly<Record<string, unknown>>, wanted: Readonly<Record<string, unknown>>): boolean {
  return Object.entries(wanted).every(([name, value]) => headers[name] === value);
}

function infoOf(message: ModelMessage): Record<string, unknown> {
  const { id, state, priority, attempts, payload, dueMs, expiryMs, redelivered, isMemory, history, attemptLog } =
    message;
  return {
    id,
    state: TOLD_AS[state],
    priority,
    attempts,
    bytes: payload.length,
    dueAt: dueMs === 0 ? null : dueMs,
    expiresAt: expiryMs === 0 ? null : expiryMs,
    redelivered,
    memory: isMemory,
    deadLetters: history,
    attemptLog,
  };
}
