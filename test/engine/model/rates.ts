/** Rate limits: what may go out under them, by the same rule as the engine and without its heaps. */
import { isSameRate, type Rate, type RateLimitInfo, type RateTag } from '@lovage/protocol';
import type { CommandOf, ModelMessage } from './entities.js';
import type { ModelFlow } from './flow.js';
import type { ModelState } from './state.js';

export interface ModelRateLimit {
  declared: Rate | null;
  override: Rate | null;
  /** ms at which keys have their whole burst again that have not been used since. */
  freshFullMs: number;
  /** The same of the keys that have. */
  readonly fullMs: Map<string | null, number>;
}

export class ModelRates {
  readonly #state: ModelState;

  constructor(state: ModelState) {
    this.#state = state;
  }

  isOpen(message: ModelMessage): boolean {
    const opensAt = this.opensAt(message);
    return opensAt === null || opensAt <= this.#state.nowMs;
  }

  /** ms at which a message may go, null if nothing holds it back. */
  opensAt({ rate, queue }: ModelMessage): number | null {
    if (rate === null) return null;
    const limit = this.#state.rateLimits.get(`${queue.namespace} ${rate.limit}`);
    const inForce = rateOf(limit);
    if (limit === undefined || inForce === null) return null;
    return Math.ceil(fullMsOf(limit, rate) - (inForce.burst - 1) * (inForce.perMs / inForce.count));
  }

  spend({ rate, queue }: ModelMessage): void {
    this.#change(queue.namespace, rate, (fullMs, intervalMs) => Math.max(fullMs, this.#state.nowMs) + intervalMs);
  }

  /** Nobody has begun on it. */
  refund({ rate, queue }: ModelMessage): void {
    this.touching(() => this.#change(queue.namespace, rate, (fullMs, intervalMs) => fullMs - intervalMs));
  }

  /** Queues where messages may go out after it that could not before it are touched. */
  touching(change: () => void): void {
    const closed = [...this.#state.messages.values()].filter((message) => !this.isOpen(message));
    change();
    for (const message of closed) if (this.isOpen(message)) this.#state.touched.add(message.queue);
  }

  set(namespace: string, name: string, declared: Rate | null, override: Rate | null): void {
    const { rateLimits, nowMs } = this.#state;
    const limit = rateLimits.get(`${namespace} ${name}`) ?? {
      declared: null,
      override: null,
      freshFullMs: 0,
      fullMs: new Map(),
    };
    rateLimits.set(`${namespace} ${name}`, limit);
    this.touching(() => {
      const before = rateOf(limit);
      limit.declared = declared;
      limit.override = override;
      const after = rateOf(limit);
      const moved = (fullMs: number): number => fullAfter(after, owed(before, fullMs, nowMs), nowMs);
      limit.freshFullMs = moved(limit.freshFullMs);
      for (const [key, fullMs] of limit.fullMs) limit.fullMs.set(key, moved(fullMs));
    });
  }

  /** After a restart each key begins with nothing. */
  crash(): void {
    for (const limit of this.#state.rateLimits.values()) {
      const rate = rateOf(limit);
      limit.fullMs.clear();
      limit.freshFullMs = rate === null ? 0 : fullAfter(rate, rate.burst, this.#state.nowMs);
    }
  }

  infos(namespace: string): RateLimitInfo[] {
    const found: RateLimitInfo[] = [];
    for (const [at, limit] of this.#state.rateLimits) {
      const [space, name] = at.split(' ') as [string, string];
      if (space !== namespace || rateOf(limit) === null) continue;
      const { declared: rate, override } = limit;
      found.push({ name, namespace, rate, override, waiting: this.#waiting(namespace, name) });
    }
    return found.sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  removeAll(namespace: string): void {
    for (const { name } of this.infos(namespace)) this.set(namespace, name, null, null);
  }

  #waiting(namespace: string, name: string): number {
    return [...this.#state.messages.values()].filter(
      (message) =>
        message.queue.namespace === namespace &&
        message.rate?.limit === name &&
        message.state === 'waiting' &&
        !this.isOpen(message),
    ).length;
  }

  #change(namespace: string, rate: RateTag | null, change: (fullMs: number, intervalMs: number) => number): void {
    const limit = rate === null ? undefined : this.#state.rateLimits.get(`${namespace} ${rate.limit}`);
    const inForce = rateOf(limit);
    if (rate === null || limit === undefined || inForce === null) return;
    limit.fullMs.set(rate.key, change(fullMsOf(limit, rate), inForce.perMs / inForce.count));
  }
}

/** RATE_LIMIT_DECLARE, RATE_LIMIT_OVERRIDE, RATE_LIMIT_DELETE and RATE_LIMIT_LIST. */
export class ModelRateLimits {
  readonly #state: ModelState;
  readonly #rates: ModelRates;
  readonly #flow: ModelFlow;

  constructor(state: ModelState, rates: ModelRates, flow: ModelFlow) {
    this.#state = state;
    this.#rates = rates;
    this.#flow = flow;
  }

  set(command: CommandOf<'rate-limit-declare' | 'rate-limit-override'>): void {
    const { namespace } = this.#state.sessions.get(command.session)!;
    const { name, rate } = command;
    const before = this.#find(namespace, name);
    const isOverride = command.type === 'rate-limit-override';
    if (isOverride && rate === null && before === undefined) return this.#state.fail(command, 'RATE_LIMIT_NOT_FOUND');
    const declared = isOverride ? (before?.rate ?? null) : rate;
    const override = isOverride ? rate : (before?.override ?? null);
    const isChange = !isSameRate(declared, before?.rate ?? null) || !isSameRate(override, before?.override ?? null);
    if (isChange) this.#rates.set(namespace, name, declared, override);
    const gone = { name, namespace, rate: null, override: null, waiting: 0 };
    this.#state.reply(command, this.#find(namespace, name) ?? gone);
    this.#flow.flow();
  }

  delete(command: CommandOf<'rate-limit-delete'>): void {
    const { namespace } = this.#state.sessions.get(command.session)!;
    const found = this.#find(namespace, command.name);
    if (found === undefined) return this.#state.fail(command, 'RATE_LIMIT_NOT_FOUND');
    this.#rates.set(namespace, command.name, null, null);
    this.#state.reply(command, { waiting: found.waiting });
    this.#flow.flow();
  }

  list(command: CommandOf<'rate-limit-list'>): void {
    const { namespace } = this.#state.sessions.get(command.session)!;
    const found = this.#rates.infos(namespace).filter(({ name }) => command.after === null || name > command.after);
    const page = found.slice(0, command.limit);
    const next = found.length > command.limit ? page.at(-1)!.name : null;
    this.#state.reply(command, { rateLimits: page, next });
  }

  #find(namespace: string, name: string): RateLimitInfo | undefined {
    return this.#rates.infos(namespace).find((info) => info.name === name);
  }
}

function rateOf(limit: ModelRateLimit | undefined): Rate | null {
  return limit?.override ?? limit?.declared ?? null;
}

function fullMsOf(limit: ModelRateLimit, { key }: RateTag): number {
  return limit.fullMs.get(key) ?? limit.freshFullMs;
}

/** Messages that have been let through and not got back yet. */
function owed(rate: Rate | null, fullMs: number, nowMs: number): number {
  return rate === null ? 0 : Math.max(0, fullMs - nowMs) / (rate.perMs / rate.count);
}

function fullAfter(rate: Rate | null, owedNow: number, nowMs: number): number {
  return rate === null || owedNow === 0 ? 0 : nowMs + Math.min(owedNow, rate.burst) * (rate.perMs / rate.count);
}
