/** Exchanges and bindings as they travel, and the grammar of topic patterns. */
import type { ExchangeType, HeaderMatch } from './ops.js';

/** What a header of a binding may be; a message's header of another kind matches nothing. */
export type HeaderValue = string | number | boolean;

/** A binding as BIND and UNBIND name it. One of `queue` and `toExchange` is given. */
export interface BindingFields {
  readonly exchange: string;
  readonly queue?: string | null;
  readonly toExchange?: string | null;
  /** direct: the routing key. topic: a pattern. Default empty. */
  readonly key?: string | null;
  /** headers: what the message's headers must be. */
  readonly headers?: Readonly<Record<string, HeaderValue>> | null;
  /** headers: default `all`. */
  readonly match?: HeaderMatch | null;
}

/** One exchange, and its totals since the broker started. */
export interface ExchangeInfo {
  readonly name: string;
  readonly namespace: string;
  readonly type: ExchangeType;
  /** Name of the exchange that gets what no binding matched, null for none. */
  readonly alternate: string | null;
  /** Bindings that lead from it. */
  readonly bindings: number;
  readonly totals: {
    /** Messages that were published to it by its name. */
    readonly published: number;
    /** Those of them that reached no queue. */
    readonly unrouted: number;
  };
}

/** One binding. */
export interface BindingInfo {
  /** Names it until the broker restarts; rises in the order in which they were made. */
  readonly id: number;
  readonly namespace: string;
  readonly exchange: string;
  /** One of `queue` and `toExchange` is a name, the other null. */
  readonly queue: string | null;
  readonly toExchange: string | null;
  readonly key: string;
  /** Null unless it is of a headers exchange. */
  readonly headers: Readonly<Record<string, HeaderValue>> | null;
  readonly match: HeaderMatch | null;
}

/** The words of a routing key: what stands between its dots. An empty key has none. */
export function wordsOf(key: string): string[] {
  return key === '' ? [] : key.split('.');
}

/**
 * True for the pattern of a topic binding: words separated by dots, each `*` (one word), `#` (no word or more) or text without those two
 * characters. The empty pattern has no words and matches the empty key.
 */
export function isTopicPattern(pattern: string): boolean {
  return wordsOf(pattern).every((word) => word === '*' || word === '#' || (word !== '' && !/[*#]/.test(word)));
}
