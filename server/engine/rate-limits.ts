/** Rate limits are declared, overridden while they are in force, listed and deleted; what they do to messages stands in `rate-buckets.ts`. */
import { isSameRate, LIMITS, type Rate, type RateLimitInfo } from '@lovage/protocol';
import type { RateLimitDeleteCommand, RateLimitListCommand, RateLimitSetCommand } from './command.js';
import type { Deliveries } from './deliveries.js';
import type { EffectSink } from './effects.js';
import type { Places } from './places.js';
import type { RateLimitRecord } from './record.js';
import type { EngineState } from './state.js';

export class RateLimits {
  readonly #state: EngineState;
  readonly #places: Places;
  readonly #deliveries: Deliveries;

  constructor(state: EngineState, places: Places, deliveries: Deliveries) {
    this.#state = state;
    this.#places = places;
    this.#deliveries = deliveries;
  }

  /** Declares a limit or overrides it: messages that wait already follow at once. */
  set(command: RateLimitSetCommand, out: EffectSink): void {
    const { namespace } = this.#state.session(command.session);
    const { name, rate } = command;
    const { buckets } = this.#state.table;
    const found = buckets.limits.get(`${namespace} ${name}`);
    const { declared = null, override = null } = found ?? {};
    if (!found?.isSet && rate !== null && buckets.limitsSet >= LIMITS.rateLimitsMax) {
      const message = `Cannot set rate limit "${name}": there are ${LIMITS.rateLimitsMax}, expected fewer`;
      return out.fail(command.session, command.request, 'TOO_MANY_RATE_LIMITS', message, { limit: name });
    }
    const isOverride = command.type === 'rate-limit-override';
    if (isOverride && rate === null && !found?.isSet) return this.#notFound(command, out);
    this.#change(namespace, name, isOverride ? declared : rate, isOverride ? rate : override, out);
    const now = buckets.limits.get(`${namespace} ${name}`);
    const gone: RateLimitInfo = { name, namespace, rate: null, override: null, waiting: 0 };
    out.reply(command.session, command.request, now?.info() ?? gone);
    this.#deliveries.flow(out);
  }

  /** What waited for it may go. */
  delete(command: RateLimitDeleteCommand, out: EffectSink): void {
    const { namespace } = this.#state.session(command.session);
    const found = this.#state.table.buckets.limits.get(`${namespace} ${command.name}`);
    if (!found?.isSet) return this.#notFound(command, out);
    const { waiting } = found.info();
    this.#change(namespace, command.name, null, null, out);
    out.reply(command.session, command.request, { waiting });
    this.#deliveries.flow(out);
  }

  list({ session, request, after, limit }: RateLimitListCommand, out: EffectSink): void {
    const { namespace } = this.#state.session(session);
    const found = [...this.#state.table.buckets.limits.values()]
      .filter((one) => one.isSet && one.namespace === namespace && (after === null || one.name > after))
      .sort((a, b) => (a.name < b.name ? -1 : 1));
    const page = found.slice(0, limit).map((one) => one.info());
    out.reply(session, request, { rateLimits: page, next: found.length > limit ? page.at(-1)!.name : null });
  }

  /** Whether a namespace has limits that are set. */
  hasAny(namespace: string): boolean {
    for (const limit of this.#state.table.buckets.limits.values())
      if (limit.namespace === namespace && limit.isSet) return true;
    return false;
  }

  /** Takes the limits of a namespace away, live or on replay; what waited for them may go, if it stays. */
  removeAll(namespace: string): void {
    for (const limit of [...this.#state.table.buckets.limits.values()])
      if (limit.namespace === namespace) this.put(namespace, limit.name, null, null);
  }

  /** Sets a limit, live or on replay; without rates it is gone. */
  put(namespace: string, name: string, declared: Rate | null, override: Rate | null): void {
    const { table, nowMs } = this.#state;
    table.buckets.set(table.buckets.limit(namespace, name), declared, override, nowMs, this.#places.touched);
  }

  /** Those that are set, for the checkpoint. */
  *records(): Iterable<RateLimitRecord> {
    for (const { namespace, name, declared, override, isSet } of this.#state.table.buckets.limits.values())
      if (isSet) yield { type: 'rate-limit', namespace, name, declared, override };
  }

  #change(namespace: string, name: string, declared: Rate | null, override: Rate | null, out: EffectSink): void {
    const found = this.#state.table.buckets.limits.get(`${namespace} ${name}`);
    if (found !== undefined && isSameRate(found.declared, declared) && isSameRate(found.override, override)) return;
    this.put(namespace, name, declared, override);
    out.record({ type: 'rate-limit', namespace, name, declared, override });
  }

  #notFound({ session, request, name }: { session: number; request: number; name: string }, out: EffectSink): void {
    const message = `Cannot find rate limit "${name}": it does not exist`;
    out.fail(session, request, 'RATE_LIMIT_NOT_FOUND', message, { limit: name });
  }
}
