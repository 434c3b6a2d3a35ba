/** One exchange: its bindings, and which of them a message follows. */
import { type ExchangeInfo, type ExchangeType, type HeaderMatch, type HeaderValue, wordsOf } from '@lovage/protocol';
import { TopicTrie } from '../collections/topic-trie.js';
import { HeaderMatcher } from './header-matcher.js';
import type { Queue } from './queue.js';

/** A binding by its facts, as it is asked for, written down and listed. */
export interface BindingFacts {
  readonly exchange: string;
  /** What it leads to: a queue, or another exchange. */
  readonly to: 'queue' | 'exchange';
  /** Name of that. */
  readonly name: string;
  readonly key: string;
  /** Null unless the exchange goes by headers. */
  readonly headers: Readonly<Record<string, HeaderValue>> | null;
  readonly match: HeaderMatch | null;
}

export interface Binding {
  /** Rises in the order in which they were made in this run of the broker. */
  readonly id: number;
  readonly from: Exchange;
  readonly to: Queue | Exchange;
  readonly key: string;
  readonly headers: Readonly<Record<string, HeaderValue>> | null;
  readonly match: HeaderMatch | null;
}

type Visit = (binding: Binding) => void;

interface Matcher {
  add(binding: Binding): void;
  delete(binding: Binding): void;
  /** Calls `visit` with each binding that the message follows, with some more than once. */
  match(key: string, headers: Readonly<Record<string, unknown>> | null, visit: Visit): void;
}

const MATCHERS: Readonly<Record<ExchangeType, () => Matcher>> = {
  direct: keyMatcher,
  fanout: everyMatcher,
  topic: topicMatcher,
  headers: headersMatcher,
};

export class Exchange {
  readonly namespace: string;
  readonly name: string;
  readonly type: ExchangeType;
  /** Name of the exchange that gets what no binding matched; there may be none of that name any more. */
  readonly alternate: string | null;
  /** Bindings that lead from here, by `bindingKey`. */
  readonly bindings = new Map<string, Binding>();
  /** Bindings that lead here; null for none. */
  incoming: Set<Binding> | null = null;
  /** How many of `bindings` lead to each other exchange. */
  readonly exchangesTo = new Map<Exchange, number>();
  readonly matcher: Matcher;
  readonly totals = { published: 0, unrouted: 0 };

  constructor(namespace: string, name: string, type: ExchangeType, alternate: string | null) {
    this.namespace = namespace;
    this.name = name;
    this.type = type;
    this.alternate = alternate;
    this.matcher = MATCHERS[type]();
  }

  info(): ExchangeInfo {
    const { name, namespace, type, alternate, totals } = this;
    return { name, namespace, type, alternate, bindings: this.bindings.size, totals: { ...totals } };
  }
}

/** Two bindings of an exchange with the same text here are the same binding. */
export function bindingKey({ to, name, key, headers, match }: Omit<BindingFacts, 'exchange'>): string {
  if (headers === null) return `${to} ${name} ${key}`;
  const sorted = Object.entries(headers).sort(([a], [b]) => (a < b ? -1 : 1));
  return `${to} ${name} ${match} ${JSON.stringify(sorted)} ${key}`;
}

export function factsOf({ from, to, key, headers, match }: Binding): BindingFacts {
  return { exchange: from.name, to: to instanceof Exchange ? 'exchange' : 'queue', name: to.name, key, headers, match };
}

/** Puts a binding in its place at both of its ends. */
export function tie(binding: Binding): void {
  const { from, to } = binding;
  from.bindings.set(bindingKey(factsOf(binding)), binding);
  from.matcher.add(binding);
  to.incoming ??= new Set();
  to.incoming.add(binding);
  if (to instanceof Exchange) from.exchangesTo.set(to, (from.exchangesTo.get(to) ?? 0) + 1);
}

export function untie(binding: Binding): void {
  const { from, to } = binding;
  from.bindings.delete(bindingKey(factsOf(binding)));
  from.matcher.delete(binding);
  to.incoming!.delete(binding);
  if (to.incoming!.size === 0) to.incoming = null;
  if (!(to instanceof Exchange)) return;
  const left = from.exchangesTo.get(to)! - 1;
  if (left === 0) from.exchangesTo.delete(to);
  else from.exchangesTo.set(to, left);
}

function keyMatcher(): Matcher {
  const byKey = new Map<string, Set<Binding>>();
  return {
    add(binding) {
      const found = byKey.get(binding.key);
      if (found === undefined) byKey.set(binding.key, new Set([binding]));
      else found.add(binding);
    },
    delete(binding) {
      const found = byKey.get(binding.key);
      if (found?.delete(binding) && found.size === 0) byKey.delete(binding.key);
    },
    match(key, _headers, visit) {
      for (const binding of byKey.get(key) ?? []) visit(binding);
    },
  };
}

function everyMatcher(): Matcher {
  const all = new Set<Binding>();
  return {
    add: (binding) => void all.add(binding),
    delete: (binding) => void all.delete(binding),
    match(_key, _headers, visit) {
      for (const binding of all) visit(binding);
    },
  };
}

function topicMatcher(): Matcher {
  const trie = new TopicTrie<Binding>();
  return {
    add: (binding) => void trie.add(wordsOf(binding.key), binding),
    delete: (binding) => void trie.delete(wordsOf(binding.key), binding),
    match: (key, _headers, visit) => trie.match(wordsOf(key), visit),
  };
}

function headersMatcher(): Matcher {
  const matcher = new HeaderMatcher();
  return {
    add: (binding) => matcher.add(binding),
    delete: (binding) => matcher.delete(binding),
    match: (_key, headers, visit) => matcher.match(headers, visit),
  };
}
