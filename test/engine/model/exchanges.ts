/** Requests about exchanges and bindings. */
import type { ErrorCode } from '@lovage/protocol';
import type { CommandOf } from './entities.js';
import type { ModelState } from './state.js';

export type ExchangeCommand = CommandOf<
  'exchange-declare' | 'exchange-delete' | 'exchange-list' | 'bind' | 'unbind' | 'binding-list'
>;

export class ModelExchanges {
  readonly #state: ModelState;

  constructor(state: ModelState) {
    this.#state = state;
  }

  apply(command: ExchangeCommand): void {
    const { session, request } = command;
    const { namespace } = this.#state.sessions.get(session)!;
    const result = this.#result(namespace, command);
    if (typeof result === 'string') this.#state.answer({ type: 'fail', session, request, code: result });
    else this.#state.answer({ type: 'reply', session, request, result });
  }

  /** What a request about exchanges is answered with, or the code with which it fails. */
  #result(namespace: string, command: ExchangeCommand): ErrorCode | Record<string, unknown> {
    const model = this.#state.exchanges;
    const { exchangesMax, bindingsMax } = this.#state.options;
    switch (command.type) {
      case 'exchange-declare': {
        const { name, kind: type, alternate } = command;
        const created = model.declare(namespace, name, type, alternate, exchangesMax);
        return typeof created === 'string' ? created : { created, type, alternate };
      }
      case 'exchange-delete': {
        const bindings = model.delete(namespace, command.name, command.ifUnused);
        return typeof bindings === 'string' ? bindings : { bindings };
      }
      case 'bind': {
        const hasQueue = this.#state.queue(namespace, command.binding.name) !== null;
        const created = model.bind(namespace, command.binding, hasQueue, bindingsMax);
        return typeof created === 'string' ? created : { created };
      }
      case 'unbind': {
        const removed = model.unbind(namespace, command.binding);
        return typeof removed === 'string' ? removed : { removed };
      }
      case 'exchange-list':
        return this.#page(namespace, command.after, command.limit);
      case 'binding-list': {
        if (model.find(namespace, command.exchange) === undefined) return 'EXCHANGE_NOT_FOUND';
        const own = model.bindings.filter(
          (binding) => binding.namespace === namespace && binding.exchange === command.exchange,
        );
        // Which ids the engine gave is left open.
        const told = this.#state.told.find((effect) => effect.type === 'reply' && effect.request === command.request);
        const ids = told?.type === 'reply' ? (told.result as { bindings: { id: number }[] }).bindings : [];
        const bindings = own.map(({ namespace, exchange, to, name, key, headers, match }, i) => ({
          id: ids[i]?.id ?? 0,
          namespace,
          exchange,
          queue: to === 'queue' ? name : null,
          toExchange: to === 'exchange' ? name : null,
          key,
          headers,
          match,
        }));
        return { bindings, next: null };
      }
      default:
        return command satisfies never;
    }
  }

  #page(namespace: string, after: string | null, limit: number): Record<string, unknown> {
    const found = this.#state.exchanges.exchanges
      .filter((exchange) => exchange.namespace === namespace && (after === null || exchange.name > after))
      .sort((a, b) => (a.name < b.name ? -1 : 1));
    const page = found.slice(0, limit).map(({ name, type, alternate, totals }) => ({
      name,
      namespace,
      type,
      alternate,
      bindings: this.#state.exchanges.bindings.filter(
        (binding) => binding.namespace === namespace && binding.exchange === name,
      ).length,
      totals: { ...totals },
    }));
    return { exchanges: page, next: found.length > limit ? page.at(-1)!.name : null };
  }
}
