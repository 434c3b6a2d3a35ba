/** `client.exchanges`: declare exchanges, and bind queues and other exchanges to them. */
import {
  assertName,
  type BindingFields,
  type BindingInfo,
  CLIENT_OPS,
  EXCHANGE_TYPES,
  type ExchangeInfo,
  type ExchangeType,
  HEADER_MATCHES,
  type HeaderMatch,
  type HeaderValue,
  LIMITS,
} from '@lovage/protocol';
import { invalidArgument } from './errors.js';
import { flag, oneOf, whole } from './options.js';
import type { Requests } from './requests.js';

/** Options of `declare`. */
export interface ExchangeOptions {
  /**
   * Which bindings a message follows: `direct` those whose key is its routing key, `fanout` all of them, `topic` those whose pattern its routing key
   * matches, `headers` those whose headers it has.
   */
  readonly type: ExchangeType;
  /** Name of an exchange that gets what no binding matched. Default none. */
  readonly alternate?: string | null | undefined;
}

/** What `declare` tells. */
export interface DeclaredExchange {
  /** False if the exchange was there. */
  readonly created: boolean;
  readonly type: ExchangeType;
  readonly alternate: string | null;
}

/** A binding: what `exchange` leads to, and by what. Exactly one of `queue` and `toExchange` is given. */
export interface ExchangeBinding {
  readonly exchange: string;
  readonly queue?: string | undefined;
  readonly toExchange?: string | undefined;
  /**
   * `direct`: the routing key. `topic`: words separated by dots, of which `*` stands for one word and `#` for none or more. At most 255 bytes of
   * UTF-8, default empty. The other types have none.
   */
  readonly key?: string | undefined;
  /** `headers`: what the message's headers must be, at most 32 of text, numbers or booleans. The other types have none. */
  readonly headers?: Readonly<Record<string, HeaderValue>> | undefined;
  /** `headers`: whether a message must have `all` of them (default) or `any`. */
  readonly match?: HeaderMatch | undefined;
}

const PAGE = { min: 1, max: LIMITS.pageMax, fallback: LIMITS.pageMax } as const;
const BINDING_AFTER = { min: 0, max: Number.MAX_SAFE_INTEGER, fallback: 0 } as const;

/**
 * Exchanges of the client's namespace. Besides these there is the default exchange with the empty name, which leads to every queue by its name and is
 * not listed. Every method rejects INVALID_NAME for what is no name, INVALID_ARGUMENT with `details.field` for what is out of range, and
 * REQUEST_TIMEOUT, CONNECTION_LOST or CLIENT_CLOSED when there is no answer; all but `declare` and `list` reject EXCHANGE_NOT_FOUND.
 */
export class Exchanges {
  readonly #requests: Requests;

  constructor(requests: Requests) {
    this.#requests = requests;
  }

  /**
   * Makes the exchange unless it is there; it outlives a restart of the broker. Idempotent. Rejects EXCHANGE_MISMATCH if it was declared otherwise,
   * with what differs in `details.fields`; EXCHANGE_NOT_FOUND if there is no alternate of this name; BINDING_CYCLE if messages could come
   * back to it, with the way in `details.cycle`; TOO_MANY_EXCHANGES.
   */
  async declare(exchange: string, options: ExchangeOptions): Promise<DeclaredExchange> {
    if (typeof options !== 'object' || options === null) throw invalidArgument('options', options, 'an object');
    const type = oneOf('type', options.type, EXCHANGE_TYPES);
    const { alternate = null } = options;
    if (alternate !== null) assertName(alternate, 'alternate');
    const op = CLIENT_OPS.EXCHANGE_DECLARE;
    return (await this.#send('declare', op, exchange, true, { type, alternate })) as DeclaredExchange;
  }

  /**
   * Deletes the exchange with the bindings from it and to it; `ifUnused`: only if it has none and is nobody's alternate (EXCHANGE_IN_USE). Resolves
   * with how many bindings went.
   */
  async delete(exchange: string, options: { ifUnused?: boolean } = {}): Promise<{ bindings: number }> {
    const fields = { ifUnused: flag('ifUnused', options.ifUnused) };
    return (await this.#send('delete', CLIENT_OPS.EXCHANGE_DELETE, exchange, false, fields)) as { bindings: number };
  }

  /** One page of the exchanges, by name: at most `limit` (1-1,000, the default) behind `after`, the last name of the page before. */
  async list(options: { after?: string | undefined; limit?: number | undefined } = {}): Promise<ExchangeInfo[]> {
    const { after = null } = options;
    if (after !== null) assertName(after, 'after');
    const limit = whole('limit', options.limit, PAGE);
    const page = await this.#requests.send('list the exchanges', CLIENT_OPS.EXCHANGE_LIST, [after, limit], true);
    return (page as { exchanges: ExchangeInfo[] }).exchanges;
  }

  /**
   * Has the exchange lead messages to a queue or to another exchange. Idempotent: false if the binding was there. It outlives a restart. Rejects
   * QUEUE_NOT_FOUND; INVALID_ARGUMENT also for a pattern that is none and for what the exchange's type does not go by; BINDING_CYCLE if
   * messages could come back to the exchange, with the way in `details.cycle`; TOO_MANY_BINDINGS.
   */
  async bind(binding: ExchangeBinding): Promise<{ created: boolean }> {
    return (await this.#bind('bind', CLIENT_OPS.BIND, binding)) as { created: boolean };
  }

  /** Removes the binding that was made with the same values. Idempotent: false if there was none. */
  async unbind(binding: ExchangeBinding): Promise<{ removed: boolean }> {
    return (await this.#bind('unbind', CLIENT_OPS.UNBIND, binding)) as { removed: boolean };
  }

  /**
   * One page of the bindings that lead from an exchange, in the order in which they were made: at most `limit` (1-1,000, the default) behind `after`,
   * the last `id` of the page before. A restart of the broker gives them new ids.
   */
  async bindings(
    exchange: string,
    options: { after?: number | undefined; limit?: number | undefined } = {},
  ): Promise<BindingInfo[]> {
    const after = whole('after', options.after, BINDING_AFTER);
    const limit = whole('limit', options.limit, PAGE);
    const page = await this.#send('list the bindings of', CLIENT_OPS.BINDING_LIST, exchange, true, after, limit);
    return (page as { bindings: BindingInfo[] }).bindings;
  }

  async #bind(verb: string, op: number, binding: ExchangeBinding): Promise<unknown> {
    if (typeof binding !== 'object' || binding === null) throw invalidArgument('binding', binding, 'an object');
    const { exchange, queue, toExchange, key, headers, match } = binding;
    assertName(exchange, 'exchange');
    if (queue !== undefined) assertName(queue, 'queue');
    if (toExchange !== undefined) assertName(toExchange, 'toExchange');
    if ((queue === undefined) === (toExchange === undefined))
      throw invalidArgument('queue', queue, 'one of "queue" and "toExchange"');
    if (key !== undefined && typeof key !== 'string') throw invalidArgument('key', key, 'text');
    if (headers !== undefined && (typeof headers !== 'object' || headers === null || Array.isArray(headers)))
      throw invalidArgument('headers', headers, 'an object');
    if (match !== undefined) oneOf('match', match, HEADER_MATCHES);
    const fields: { [K in keyof BindingFields]: unknown } = { exchange, queue, toExchange, key, headers, match };
    const what = `${verb} ${queue === undefined ? `exchange "${toExchange}"` : `queue "${queue}"`} and "${exchange}"`;
    return this.#requests.send(what, op, [fields], true);
  }

  #send(verb: string, op: number, exchange: string, isRepeatable: boolean, ...fields: unknown[]): Promise<unknown> {
    if (typeof exchange !== 'string') throw invalidArgument('exchange', exchange, 'the name of an exchange');
    assertName(exchange, 'exchange');
    return this.#requests.send(`${verb} exchange "${exchange}"`, op, [exchange, ...fields], isRepeatable);
  }
}
