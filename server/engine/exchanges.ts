/** Exchanges and bindings come, go and are listed; where messages go by them is `router.ts`. */
import {
  type BindingInfo,
  type ErrorCode,
  type ExchangeInfo,
  type ExchangeType,
  isTopicPattern,
} from '@lovage/protocol';
import type {
  BindCommand,
  BindingListCommand,
  ExchangeDeclareCommand,
  ExchangeDeleteCommand,
  ExchangeListCommand,
} from './command.js';
import type { EffectSink } from './effects.js';
import { type Binding, type BindingFacts, bindingKey, Exchange, factsOf, tie, untie } from './exchange.js';
import type { Queue } from './queue.js';
import type { EngineState } from './state.js';

/** Names of a circle that an error tells at most. */
const CYCLE_NAMES_MAX = 20;

interface Request {
  readonly session: number;
  readonly request: number;
}

/** Why a request fails. */
interface Refusal {
  readonly code: ErrorCode;
  readonly state: string;
  readonly details: Record<string, unknown>;
}

export class Exchanges {
  readonly #state: EngineState;
  #lastBindingId = 0;

  constructor(state: EngineState) {
    this.#state = state;
  }

  declare(command: ExchangeDeclareCommand, out: EffectSink): void {
    const { namespace } = this.#state.session(command.session);
    const { name, kind: type, alternate } = command;
    const found = this.#state.exchange(namespace, name);
    const refusal =
      found === null ? this.#whyNotDeclare(namespace, name, alternate) : differing(found, type, alternate);
    if (refusal !== null) return fail(command, `declare exchange "${name}"`, refusal, out);
    if (found === null) {
      this.put(namespace, name, type, alternate);
      out.record({ type: 'exchange', namespace, name, kind: type, alternate });
    }
    out.reply(command.session, command.request, { created: found === null, type, alternate });
  }

  delete(command: ExchangeDeleteCommand, out: EffectSink): void {
    const { namespace } = this.#state.session(command.session);
    const { name } = command;
    const exchange = this.#state.exchange(namespace, name);
    const refusal = exchange === null ? noExchange(name) : command.ifUnused ? this.#whyInUse(exchange) : null;
    if (refusal !== null) return fail(command, `delete exchange "${name}"`, refusal, out);
    const bindings = exchange!.bindings.size + (exchange!.incoming?.size ?? 0);
    this.remove(namespace, name);
    out.record({ type: 'exchange-delete', namespace, name });
    out.reply(command.session, command.request, { bindings });
  }

  bind(command: BindCommand, out: EffectSink): void {
    const { namespace } = this.#state.session(command.session);
    const { binding } = command;
    const refusal = this.#whyNotBind(namespace, binding);
    if (refusal !== null)
      return fail(command, `bind ${binding.to} "${binding.name}" to "${binding.exchange}"`, refusal, out);
    const created = this.putBinding(namespace, binding);
    if (created) out.record({ type: 'bind', namespace, ...binding });
    out.reply(command.session, command.request, { created });
  }

  unbind(command: BindCommand, out: EffectSink): void {
    const { namespace } = this.#state.session(command.session);
    const { binding } = command;
    if (this.#state.exchange(namespace, binding.exchange) === null)
      return fail(command, `unbind from "${binding.exchange}"`, noExchange(binding.exchange), out);
    const removed = this.removeBinding(namespace, binding);
    if (removed) out.record({ type: 'unbind', namespace, ...binding });
    out.reply(command.session, command.request, { removed });
  }

  list(command: ExchangeListCommand, out: EffectSink): void {
    const { namespace } = this.#state.session(command.session);
    const exchanges = this.infos(namespace, command.after, command.limit + 1);
    const page = exchanges.slice(0, command.limit);
    const next = exchanges.length > command.limit ? page.at(-1)!.name : null;
    out.reply(command.session, command.request, { exchanges: page, next });
  }

  bindings(command: BindingListCommand, out: EffectSink): void {
    const { namespace } = this.#state.session(command.session);
    if (this.#state.exchange(namespace, command.exchange) === null)
      return fail(command, `list the bindings of "${command.exchange}"`, noExchange(command.exchange), out);
    const bindings = this.bindingInfos(namespace, command.exchange, command.after, command.limit + 1);
    const page = bindings.slice(0, command.limit);
    const next = bindings.length > command.limit ? page.at(-1)!.id : null;
    out.reply(command.session, command.request, { bindings: page, next });
  }

  /** Exchanges of one namespace (all of them when null) by name, from behind `after` on. */
  infos(namespace: string | null, after: string | null, limit: number): ExchangeInfo[] {
    return [...this.#state.exchanges.values()]
      .filter(
        (found) => (namespace === null || found.namespace === namespace) && (after === null || found.name > after),
      )
      .sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : a.namespace < b.namespace ? -1 : 1))
      .slice(0, limit)
      .map((exchange) => exchange.info());
  }

  /** Bindings of one exchange (of all when null) in the order of their ids, from behind `after` on. */
  bindingInfos(namespace: string | null, exchange: string | null, after: number, limit: number): BindingInfo[] {
    const found: BindingInfo[] = [];
    const of = namespace === null || exchange === null ? null : this.#state.exchange(namespace, exchange);
    for (const binding of of?.bindings.values() ?? this.#state.bindings) {
      if (found.length >= limit) break;
      const { from } = binding;
      if (binding.id <= after || (namespace !== null && from.namespace !== namespace)) continue;
      if (exchange === null || from.name === exchange) found.push(infoOf(binding));
    }
    return found;
  }

  /** Makes an exchange, live or on replay, unless it is there. */
  put(namespace: string, name: string, type: ExchangeType, alternate: string | null): void {
    if (this.#state.exchange(namespace, name) !== null) return;
    this.#state.exchanges.set(`${namespace} ${name}`, new Exchange(namespace, name, type, alternate));
  }

  /** Removes an exchange with the bindings from it and to it, live or on replay. */
  remove(namespace: string, name: string): void {
    const exchange = this.#state.exchange(namespace, name);
    if (exchange === null) return;
    for (const binding of exchange.bindings.values()) this.#untie(binding);
    this.forgetDestination(exchange);
    this.#state.exchanges.delete(`${namespace} ${name}`);
  }

  /** Whether a namespace has exchanges. */
  hasAny(namespace: string): boolean {
    for (const exchange of this.#state.exchanges.values()) if (exchange.namespace === namespace) return true;
    return false;
  }

  /** Removes all exchanges of a namespace, live or on replay. */
  removeAll(namespace: string): void {
    for (const exchange of [...this.#state.exchanges.values()])
      if (exchange.namespace === namespace) this.remove(namespace, exchange.name);
  }

  /** Makes a binding, live or on replay; false if it is there. */
  putBinding(namespace: string, facts: BindingFacts): boolean {
    const from = this.#state.exchange(namespace, facts.exchange);
    const to = this.#destination(namespace, facts);
    if (from === null || to === null || from.bindings.has(bindingKey(facts))) return false;
    const { key, headers, match } = facts;
    const binding: Binding = { id: ++this.#lastBindingId, from, to, key, headers, match };
    tie(binding);
    this.#state.bindings.add(binding);
    return true;
  }

  /** Removes a binding, live or on replay; false if it is not there. */
  removeBinding(namespace: string, facts: BindingFacts): boolean {
    const binding = this.#state.exchange(namespace, facts.exchange)?.bindings.get(bindingKey(facts));
    if (binding === undefined) return false;
    this.#untie(binding);
    return true;
  }

  /** A queue or an exchange goes, and the bindings that lead there with it. */
  forgetDestination(destination: Queue | Exchange): void {
    for (const binding of destination.incoming ?? []) this.#untie(binding);
  }

  #untie(binding: Binding): void {
    untie(binding);
    this.#state.bindings.delete(binding);
  }

  #destination(namespace: string, { to, name }: BindingFacts): Queue | Exchange | null {
    return to === 'queue' ? this.#state.queue(namespace, name) : this.#state.exchange(namespace, name);
  }

  #whyNotDeclare(namespace: string, name: string, alternate: string | null): Refusal | null {
    if (alternate === name) return cycle([name, name]);
    if (alternate !== null && this.#state.exchange(namespace, alternate) === null) return noExchange(alternate);
    const { exchangesMax } = this.#state.options;
    if (this.#state.exchanges.size >= exchangesMax)
      return refusal('TOO_MANY_EXCHANGES', `there are ${exchangesMax} exchanges, expected fewer`, { exchangesMax });
    return alternate === null ? null : this.#cycleBy(namespace, name, alternate);
  }

  #whyInUse(exchange: Exchange): Refusal | null {
    const bindings = exchange.bindings.size + (exchange.incoming?.size ?? 0);
    const of = [...this.#state.exchanges.values()].filter(
      ({ namespace, alternate }) => namespace === exchange.namespace && alternate === exchange.name,
    ).length;
    if (bindings + of === 0) return null;
    const state = `it has ${bindings} bindings and is the alternate of ${of} exchanges, expected none`;
    return refusal('EXCHANGE_IN_USE', state, { exchange: exchange.name });
  }

  #whyNotBind(namespace: string, facts: BindingFacts): Refusal | null {
    const from = this.#state.exchange(namespace, facts.exchange);
    if (from === null) return noExchange(facts.exchange);
    if (this.#destination(namespace, facts) === null)
      return facts.to === 'exchange'
        ? noExchange(facts.name)
        : refusal('QUEUE_NOT_FOUND', `queue "${facts.name}" does not exist`, { queue: facts.name });
    const misfit = misfitOf(from.type, facts);
    if (misfit !== null) return misfit;
    if (from.bindings.has(bindingKey(facts))) return null;
    const { bindingsMax } = this.#state.options;
    if (this.#state.bindings.size >= bindingsMax)
      return refusal('TOO_MANY_BINDINGS', `there are ${bindingsMax} bindings, expected fewer`, { bindingsMax });
    return facts.to === 'exchange' ? this.#cycleBy(namespace, from.name, facts.name) : null;
  }

  /** The circle that a new way from one exchange to another closes: one that a way leads back already. */
  #cycleBy(namespace: string, from: string, to: string): Refusal | null {
    const cameFrom = new Map<string, string>([[to, from]]);
    if (to === from) return cycle([from, to]);
    // A map gives what is added to it while it is gone through.
    for (const at of cameFrom.keys()) {
      for (const next of this.#waysFrom(namespace, at)) {
        if (next === from) return cycle(pathOf(cameFrom, from, at));
        if (!cameFrom.has(next)) cameFrom.set(next, at);
      }
    }
    return null;
  }

  /** Names of the exchanges that a message may go to next; of an alternate also one that is gone, because it may come again. */
  *#waysFrom(namespace: string, name: string): IterableIterator<string> {
    const exchange = this.#state.exchange(namespace, name);
    if (exchange === null) return;
    for (const to of exchange.exchangesTo.keys()) yield to.name;
    if (exchange.alternate !== null) yield exchange.alternate;
  }
}

/** `from`, the way from there to `last`, and `from` again. */
function pathOf(cameFrom: ReadonlyMap<string, string>, from: string, last: string): string[] {
  const path = [from];
  for (let at = last; at !== from; at = cameFrom.get(at)!) path.push(at);
  path.push(from);
  return path.reverse();
}

function cycle(path: readonly string[]): Refusal {
  const shown = path.length <= CYCLE_NAMES_MAX ? path : [...path.slice(0, CYCLE_NAMES_MAX - 1), '...', path.at(-1)!];
  const state = `messages would go ${shown.map((name) => (name === '...' ? name : `"${name}"`)).join(' -> ')}, expected no circle`;
  return refusal('BINDING_CYCLE', state, { cycle: shown });
}

function differing(found: Exchange, type: ExchangeType, alternate: string | null): Refusal | null {
  const fields = [...(found.type === type ? [] : ['type']), ...(found.alternate === alternate ? [] : ['alternate'])];
  if (fields.length === 0) return null;
  const told = found.alternate === null ? 'no alternate' : `the alternate "${found.alternate}"`;
  return refusal('EXCHANGE_MISMATCH', `it is of type ${found.type} with ${told}, expected the same`, { fields });
}

/** What a binding says that an exchange of this type does not go by. */
function misfitOf(type: ExchangeType, { key, headers, match }: BindingFacts): Refusal | null {
  if (type === 'headers') {
    if (headers === null) return wrongField('headers', 'none are given', 'the headers that a message must have');
    return key === '' ? null : wrongField('key', `"${key}"`, 'none, because the exchange goes by headers');
  }
  if (headers !== null || match !== null)
    return wrongField(headers === null ? 'match' : 'headers', 'given', `none, because the exchange is of type ${type}`);
  if (type === 'fanout' && key !== '')
    return wrongField('key', `"${key}"`, 'none, because the exchange is of type fanout');
  if (type === 'topic' && !isTopicPattern(key))
    return wrongField('key', `"${key}"`, 'words separated by dots, each "*", "#" or text without these');
  return null;
}

function wrongField(field: string, state: string, expected: string): Refusal {
  return refusal('INVALID_ARGUMENT', `field "${field}" is ${state}, expected ${expected}`, { field });
}

function noExchange(exchange: string): Refusal {
  return refusal('EXCHANGE_NOT_FOUND', `exchange "${exchange}" does not exist`, { exchange });
}

function refusal(code: ErrorCode, state: string, details: Record<string, unknown>): Refusal {
  return { code, state, details };
}

function fail({ session, request }: Request, what: string, { code, state, details }: Refusal, out: EffectSink): void {
  out.fail(session, request, code, `Cannot ${what}: ${state}`, details);
}

function infoOf(binding: Binding): BindingInfo {
  const { exchange, to, name, key, headers, match } = factsOf(binding);
  return {
    id: binding.id,
    namespace: binding.from.namespace,
    exchange,
    queue: to === 'queue' ? name : null,
    toExchange: to === 'exchange' ? name : null,
    key,
    headers,
    match,
  };
}
