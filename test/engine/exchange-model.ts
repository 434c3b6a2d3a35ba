/** Exchanges and bindings as lists, and routing by trying every binding: slow and obviously right. */
import type { ErrorCode, ExchangeType } from '@lovage/protocol';
import type { BindingFacts } from '../../server/engine/exchange.js';

type Headers = Readonly<Record<string, unknown>> | null;

export interface ModelExchange {
  readonly namespace: string;
  readonly name: string;
  readonly type: ExchangeType;
  readonly alternate: string | null;
  readonly totals: { published: number; unrouted: number };
}

export interface ModelBinding extends BindingFacts {
  readonly namespace: string;
}

/** Whether the words of a key fit those of a pattern. */
export function fits(pattern: readonly string[], words: readonly string[]): boolean {
  if (pattern.length === 0) return words.length === 0;
  const [first, ...rest] = pattern;
  if (first === '#') return fits(rest, words) || (words.length > 0 && fits(pattern, words.slice(1)));
  return words.length > 0 && (first === '*' || first === words[0]) && fits(rest, words.slice(1));
}

export class ExchangeModel {
  exchanges: ModelExchange[] = [];
  bindings: ModelBinding[] = [];

  find(namespace: string, name: string): ModelExchange | undefined {
    return this.exchanges.find((exchange) => exchange.namespace === namespace && exchange.name === name);
  }

  /** Names of the queues that a message reaches. */
  route(namespace: string, name: string, key: string, headers: Headers): Set<string> {
    const queues = new Set<string>();
    const seen = new Set<string>();
    const go = (at: string): void => {
      const exchange = this.find(namespace, at);
      if (exchange === undefined || seen.has(at)) return;
      seen.add(at);
      const matched = this.#from(namespace, at).filter((binding) => isMatch(exchange.type, binding, key, headers));
      for (const { to, name } of matched) {
        if (to === 'queue') queues.add(name);
        else go(name);
      }
      if (matched.length === 0 && exchange.alternate !== null) go(exchange.alternate);
    };
    go(name);
    return queues;
  }

  /** Declares, and says whether it is new, or why not. */
  declare(
    namespace: string,
    name: string,
    type: ExchangeType,
    alternate: string | null,
    max: number,
  ): ErrorCode | boolean {
    const found = this.find(namespace, name);
    if (found !== undefined) return found.type === type && found.alternate === alternate ? false : 'EXCHANGE_MISMATCH';
    if (alternate !== null && alternate !== name && this.find(namespace, alternate) === undefined)
      return 'EXCHANGE_NOT_FOUND';
    if (alternate !== name && this.exchanges.length >= max) return 'TOO_MANY_EXCHANGES';
    if (alternate !== null && this.#leads(namespace, alternate, name)) return 'BINDING_CYCLE';
    this.exchanges.push({ namespace, name, type, alternate, totals: { published: 0, unrouted: 0 } });
    return true;
  }

  /** Deletes, and says how many bindings went, or why not. */
  delete(namespace: string, name: string, ifUnused: boolean): ErrorCode | number {
    const found = this.find(namespace, name);
    if (found === undefined) return 'EXCHANGE_NOT_FOUND';
    const isAlternate = this.exchanges.some(
      (exchange) => exchange.namespace === namespace && exchange.alternate === name,
    );
    const goes = (binding: ModelBinding): boolean =>
      binding.namespace === namespace &&
      (binding.exchange === name || (binding.to === 'exchange' && binding.name === name));
    const count = this.bindings.filter(goes).length;
    if (ifUnused && (count > 0 || isAlternate)) return 'EXCHANGE_IN_USE';
    this.bindings = this.bindings.filter((binding) => !goes(binding));
    this.exchanges = this.exchanges.filter((exchange) => exchange !== found);
    return count;
  }

  namespaceDeleted(namespace: string): void {
    this.exchanges = this.exchanges.filter((exchange) => exchange.namespace !== namespace);
    this.bindings = this.bindings.filter((binding) => binding.namespace !== namespace);
  }

  queueDeleted(namespace: string, name: string): void {
    this.bindings = this.bindings.filter(
      (binding) => !(binding.namespace === namespace && binding.to === 'queue' && binding.name === name),
    );
  }

  bind(namespace: string, facts: BindingFacts, hasQueue: boolean, max: number): ErrorCode | boolean {
    const from = this.find(namespace, facts.exchange);
    if (from === undefined) return 'EXCHANGE_NOT_FOUND';
    if (facts.to === 'queue' && !hasQueue) return 'QUEUE_NOT_FOUND';
    if (facts.to === 'exchange' && this.find(namespace, facts.name) === undefined) return 'EXCHANGE_NOT_FOUND';
    if ((from.type === 'headers') !== (facts.headers !== null)) return 'INVALID_ARGUMENT';
    if ((from.type === 'headers' || from.type === 'fanout') && facts.key !== '') return 'INVALID_ARGUMENT';
    if (from.type === 'topic' && facts.key.includes('**')) return 'INVALID_ARGUMENT';
    if (this.bindings.some((binding) => isSame(binding, namespace, facts))) return false;
    if (this.bindings.length >= max) return 'TOO_MANY_BINDINGS';
    if (facts.to === 'exchange' && this.#leads(namespace, facts.name, facts.exchange)) return 'BINDING_CYCLE';
    const { exchange, to, name, key, headers, match } = facts;
    this.bindings.push({ namespace, exchange, to, name, key, headers, match });
    return true;
  }

  unbind(namespace: string, facts: BindingFacts): ErrorCode | boolean {
    if (this.find(namespace, facts.exchange) === undefined) return 'EXCHANGE_NOT_FOUND';
    const before = this.bindings.length;
    this.bindings = this.bindings.filter((binding) => !isSame(binding, namespace, facts));
    return this.bindings.length < before;
  }

  #from(namespace: string, exchange: string): ModelBinding[] {
    return this.bindings.filter((binding) => binding.namespace === namespace && binding.exchange === exchange);
  }

  /** Whether a way leads from one exchange to another, whatever the messages; an alternate that is gone may come again. */
  #leads(namespace: string, from: string, to: string, seen = new Set<string>()): boolean {
    if (from === to) return true;
    if (seen.has(from)) return false;
    seen.add(from);
    const next = this.#from(namespace, from)
      .filter((binding) => binding.to === 'exchange')
      .map(({ name }) => name);
    const alternate = this.find(namespace, from)?.alternate ?? null;
    if (alternate !== null) next.push(alternate);
    return next.some((name) => this.#leads(namespace, name, to, seen));
  }
}

function isMatch(type: ExchangeType, binding: ModelBinding, key: string, headers: Headers): boolean {
  if (type === 'fanout') return true;
  if (type === 'direct') return binding.key === key;
  if (type === 'topic') return fits(words(binding.key), words(key));
  const wanted = Object.entries(binding.headers!);
  const has = ([name, value]: [string, unknown]): boolean =>
    headers !== null && Object.hasOwn(headers, name) && headers[name] === value;
  return binding.match === 'any' ? wanted.some(has) : wanted.every(has);
}

function words(key: string): string[] {
  return key === '' ? [] : key.split('.');
}

function isSame(binding: ModelBinding, namespace: string, facts: BindingFacts): boolean {
  const { exchange, to, name, key, match, headers } = facts;
  return (
    binding.namespace === namespace &&
    binding.exchange === exchange &&
    binding.to === to &&
    binding.name === name &&
    binding.key === key &&
    binding.match === match &&
    text(binding.headers) === text(headers)
  );
}

function text(headers: BindingFacts['headers']): string {
  return headers === null ? '' : JSON.stringify(Object.entries(headers).sort());
}
