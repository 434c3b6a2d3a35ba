// hot path
/** Where a message goes that is published to an exchange: along bindings, from exchange to exchange, to queues. */
import { Exchange } from './exchange.js';
import type { Queue } from './queue.js';
import type { EngineState } from './state.js';

export class Router {
  readonly #state: EngineState;
  /** Exchanges that the message at hand has come to. */
  readonly #reached = new Set<Exchange>();
  readonly #queues = new Set<Queue>();
  /** Whether the last `route` came to an exchange that goes by headers. */
  readsHeaders = false;

  constructor(state: EngineState) {
    this.#state = state;
  }

  /** Indexes of the queues that the message reaches, each once, however many ways lead there, by rising index. */
  route(exchange: Exchange, key: string, headers: Readonly<Record<string, unknown>> | null): number[] {
    this.readsHeaders = false;
    this.#reached.clear();
    this.#queues.clear();
    this.#reached.add(exchange);
    // A set gives what is added to it while it is gone through.
    for (const next of this.#reached) this.#follow(next, key, headers);
    const found: number[] = [];
    for (const queue of this.#queues) found.push(queue.index);
    // So that the same bindings give the same ids, in whichever order they were made.
    return found.sort((a, b) => a - b);
  }

  #follow(exchange: Exchange, key: string, headers: Readonly<Record<string, unknown>> | null): void {
    if (exchange.type === 'headers') this.readsHeaders = true;
    let isMatched = false;
    exchange.matcher.match(key, headers, ({ to }) => {
      isMatched = true;
      if (to instanceof Exchange) this.#reached.add(to);
      else this.#queues.add(to);
    });
    if (isMatched || exchange.alternate === null) return;
    const alternate = this.#state.exchange(exchange.namespace, exchange.alternate);
    if (alternate !== null) this.#reached.add(alternate);
  }
}
