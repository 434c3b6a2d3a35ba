/** Bounds of namespaces, and the end of one with everything in it. */
import { defaultQueueSettings, type NamespaceInfo, type QueueSettings } from '@lovage/protocol';
import type { CommandOf } from './entities.js';
import type { ModelQueues } from './queues.js';
import type { ModelState } from './state.js';

export class ModelNamespaces {
  readonly #state: ModelState;
  readonly #queues: ModelQueues;

  constructor(state: ModelState, queues: ModelQueues) {
    this.#state = state;
    this.#queues = queues;
  }

  set(command: CommandOf<'namespace-set'>): void {
    this.#state.namespaces.set(command.name, command.settings);
    this.#state.reply(command, namespaceInfo(this.#state, command.name));
  }

  list(command: CommandOf<'namespace-list'>): void {
    const { only, after, limit } = command;
    const found = namespacesOf(this.#state).filter(
      (name) => (only === null || name === only) && (after === null || name > after),
    );
    const page = found.slice(0, limit);
    this.#state.reply(command, {
      namespaces: page.map((name) => namespaceInfo(this.#state, name)),
      next: found.length > limit ? page.at(-1)! : null,
    });
  }

  delete(command: CommandOf<'namespace-delete'>): void {
    const { tokens } = this.#state;
    const { exchanges } = this.#state;
    if (!namespacesOf(this.#state).includes(command.name)) return this.#state.fail(command, 'NAMESPACE_NOT_FOUND');
    const { queues, messages } = namespaceInfo(this.#state, command.name);
    this.#state.namespaces.delete(command.name);
    for (const { id, namespace } of [...tokens.values()]) {
      if (namespace !== command.name) continue;
      tokens.delete(id);
      this.#state.answer({ type: 'revoked', id });
    }
    this.#queues.deleteAll(command.name);
    exchanges.namespaceDeleted(command.name);
    this.#state.rates.removeAll(command.name);
    this.#state.reply(command, { queues, messages });
  }
}

/** Names of the namespaces that are set or have queues, in order. */
export function namespacesOf(state: ModelState): string[] {
  return [
    ...new Set([
      ...state.namespaces.keys(),
      ...[...state.queues.values()].map(({ namespace }) => namespace),
      ...state.exchanges.exchanges.map(({ namespace }) => namespace),
      ...[...state.rateLimits].flatMap(([at, limit]) =>
        (limit.override ?? limit.declared) === null ? [] : [at.split(' ')[0]!],
      ),
    ]),
  ].sort();
}

export function namespaceInfo(state: ModelState, name: string): NamespaceInfo {
  const queues = [...state.queues.values()].filter(({ namespace }) => namespace === name);
  const messages = queues.flatMap((queue) => state.messagesOf(queue));
  return {
    name,
    settings: state.namespaces.get(name) ?? null,
    queues: queues.length,
    messages: messages.length,
    bytes: messages.reduce((sum, { payload }) => sum + payload.length, 0),
  };
}

/** Whether the namespace has as many queues as it may have. */
export function isFullOfQueues(state: ModelState, namespace: string): boolean {
  const most = state.namespaces.get(namespace)?.queuesMax ?? null;
  return most !== null && namespaceInfo(state, namespace).queues >= most;
}

export function fitsQuotas(state: ModelState, namespace: string, moreMessages: number, moreBytes: number): boolean {
  const { messagesMax = null, bytesMax = null } = state.namespaces.get(namespace) ?? {};
  const { messages, bytes } = namespaceInfo(state, namespace);
  if (messagesMax !== null && messages + moreMessages > messagesMax) return false;
  return bytesMax === null || bytes + moreBytes <= bytesMax;
}

/** What a queue has that is made without settings of its own. */
export function defaultsOf(state: ModelState, namespace: string, name: string): QueueSettings {
  const own = state.namespaces.get(namespace)?.queueDefaults ?? {};
  const settings = { ...defaultQueueSettings(), ...own };
  if (settings.deadLetterQueue !== name) return settings;
  return { ...settings, deadLetterQueue: null, overflow: 'reject-publish' };
}
