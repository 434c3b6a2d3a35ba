/** Namespaces are there because somebody uses them; this is about those that are given bounds, and about the end of one with everything in it. */
import { LIMITS } from '@lovage/protocol';
import type { NamespaceDeleteCommand, NamespaceListCommand, NamespaceSetCommand, RefusedPublish } from './command.js';
import type { EffectSink } from './effects.js';
import type { Exchanges } from './exchanges.js';
import { Space } from './queue-directory.js';
import type { Queues } from './queues.js';
import type { RateLimits } from './rate-limits.js';
import type { EngineState } from './state.js';

export class Namespaces {
  readonly #state: EngineState;
  readonly #queues: Queues;
  readonly #exchanges: Exchanges;
  readonly #rateLimits: RateLimits;

  constructor(state: EngineState, queues: Queues, exchanges: Exchanges, rateLimits: RateLimits) {
    this.#state = state;
    this.#queues = queues;
    this.#exchanges = exchanges;
    this.#rateLimits = rateLimits;
  }

  /** What is there already stays, also beyond the bounds: they hold for what comes. */
  set({ session, request, name, settings }: NamespaceSetCommand, out: EffectSink): void {
    const { queuesByName } = this.#state;
    if (queuesByName.space(name)?.settings == null && this.#countSet() >= LIMITS.namespacesMax) {
      const message = `Cannot set namespace "${name}": there are ${LIMITS.namespacesMax} that are set, expected fewer`;
      return out.fail(session, request, 'QUOTA_EXCEEDED', message, {
        quota: 'namespacesMax',
        limit: LIMITS.namespacesMax,
      });
    }
    queuesByName.configure(name, settings);
    out.record({ type: 'namespace', name, settings });
    out.reply(session, request, queuesByName.space(name)!.info());
  }

  /** Namespaces that are set or have queues, exchanges or rate limits, by name, from behind `after` on; `only` one of them, if it is not null. */
  list({ session, request, only, after, limit }: NamespaceListCommand, out: EffectSink): void {
    const { queuesByName, exchanges } = this.#state;
    const spaces = new Map([...queuesByName.spaces()].map((space) => [space.namespace, space]));
    for (const { namespace } of [...exchanges.values(), ...this.#rateLimits.records()])
      if (!spaces.has(namespace)) spaces.set(namespace, new Space(namespace));
    const found = [...spaces.values()]
      .filter(({ namespace }) => (only === null || namespace === only) && (after === null || namespace > after))
      .sort((a, b) => (a.namespace < b.namespace ? -1 : 1));
    const page = found.slice(0, limit).map((space) => space.info());
    out.reply(session, request, { namespaces: page, next: found.length > limit ? page.at(-1)!.name : null });
  }

  /** Its queues, its exchanges, its rate limits, its settings and the tokens that are for it alone go, in one record. */
  delete({ session, request, name }: NamespaceDeleteCommand, out: EffectSink): void {
    const space = this.#state.queuesByName.space(name);
    if (space === undefined && !this.#exchanges.hasAny(name) && !this.#rateLimits.hasAny(name)) {
      const message = `Cannot delete namespace "${name}": it has no queues, exchanges or rate limits and was never set`;
      return out.fail(session, request, 'NAMESPACE_NOT_FOUND', message, { namespace: name });
    }
    const { queues = 0, messages = 0 } = space ?? {};
    out.record({ type: 'namespace-delete', name });
    for (const id of this.#removeTokens(name)) out.revoked(id);
    this.#state.queuesByName.configure(name, null);
    this.#queues.deleteAll(name, out);
    this.#exchanges.removeAll(name);
    this.#rateLimits.removeAll(name);
    out.reply(session, request, { queues, messages });
  }

  /** Replay of a delete. */
  remove(name: string, out: EffectSink): void {
    this.#removeTokens(name);
    this.#state.queuesByName.configure(name, null);
    for (const queue of [...this.#state.queuesByName.values()])
      if (queue.namespace === name) this.#queues.remove(queue.index, out);
    this.#exchanges.removeAll(name);
    this.#rateLimits.removeAll(name);
  }

  #removeTokens(namespace: string): string[] {
    const { tokens } = this.#state;
    const ids = [...tokens].filter((token) => token.namespace === namespace).map(({ id }) => id);
    for (const id of ids) tokens.remove(id);
    return ids;
  }

  #countSet(): number {
    let count = 0;
    for (const { settings } of this.#state.queuesByName.spaces()) if (settings !== null) count++;
    return count;
  }
}

/** Why so many more messages, of so many bytes together, do not fit into the quotas of their namespace; null if they do. */
export function exceededQuota(
  state: EngineState,
  namespace: string,
  more: { readonly messages: number; readonly bytes: number },
): RefusedPublish | null {
  const space = state.queuesByName.space(namespace);
  if (space === undefined || space.settings === null) return null;
  const { messagesMax, bytesMax } = space.settings;
  if (messagesMax !== null && space.messages + more.messages > messagesMax)
    return exceeded(namespace, 'messagesMax', space.messages, more.messages, messagesMax);
  if (bytesMax !== null && space.bytes + more.bytes > bytesMax)
    return exceeded(namespace, 'bytesMax', space.bytes, more.bytes, bytesMax);
  return null;
}

function exceeded(
  namespace: string,
  quota: 'messagesMax' | 'bytesMax',
  now: number,
  more: number,
  limit: number,
): RefusedPublish {
  const unit = quota === 'messagesMax' ? 'messages' : 'bytes';
  const message = `Cannot publish: namespace "${namespace}" holds ${now} ${unit} and ${more} more come, expected at most ${limit} (${quota})`;
  return { code: 'QUOTA_EXCEEDED', message, details: { quota, limit, namespace }, targets: null };
}
