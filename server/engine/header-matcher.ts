/**
 * The bindings of a headers exchange, found by what a message has: each lies under one of its headers (match all) or under every one (match any), so
 * that a message looks only at bindings with which it shares a header.
 */
import type { HeaderValue } from '@lovage/protocol';
import type { Binding } from './exchange.js';

/** Name and value of a header as one key: values of different kinds differ. */
function keyOf(name: string, value: unknown): string | null {
  return typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean'
    ? JSON.stringify([name, value])
    : null;
}

export class HeaderMatcher {
  readonly #byHeader = new Map<string, Set<Binding>>();
  /** Those that ask for no header at all: every message has that. */
  readonly #always = new Set<Binding>();

  add(binding: Binding): void {
    const keys = keysOf(binding);
    if (keys === null) {
      this.#always.add(binding);
      return;
    }
    for (const key of keys) {
      const found = this.#byHeader.get(key);
      if (found === undefined) this.#byHeader.set(key, new Set([binding]));
      else found.add(binding);
    }
  }

  delete(binding: Binding): void {
    this.#always.delete(binding);
    for (const key of keysOf(binding) ?? []) {
      const found = this.#byHeader.get(key);
      if (found?.delete(binding) && found.size === 0) this.#byHeader.delete(key);
    }
  }

  /** Calls `visit` with each binding that these headers match, with some more than once. */
  match(headers: Readonly<Record<string, unknown>> | null, visit: (binding: Binding) => void): void {
    for (const binding of this.#always) visit(binding);
    if (headers === null || this.#byHeader.size === 0) return;
    for (const name of Object.keys(headers)) {
      const key = keyOf(name, headers[name]);
      const found = key === null ? undefined : this.#byHeader.get(key);
      if (found === undefined) continue;
      for (const binding of found) if (binding.match === 'any' || hasAll(headers, binding.headers!)) visit(binding);
    }
  }
}

/** The keys that a binding lies under: null for one that asks for nothing, none for one that nothing matches. */
function keysOf({ headers, match }: Binding): readonly string[] | null {
  const keys = Object.entries(headers!).map(([name, value]) => keyOf(name, value)!);
  if (match === 'any') return keys;
  return keys.length === 0 ? null : keys.slice(0, 1);
}

function hasAll(headers: Readonly<Record<string, unknown>>, wanted: Readonly<Record<string, HeaderValue>>): boolean {
  for (const name of Object.keys(wanted))
    if (!Object.hasOwn(headers, name) || headers[name] !== wanted[name]) return false;
  return true;
}
