/** Rate limits: how many messages of a name may be given out in a time, in all queues of a namespace together. */
import { LovageError } from './errors.js';
import { LIMITS } from './limits.js';

/** So many messages in so many ms, evenly spread; `burst` of them at once after a rest. */
export interface Rate {
  /** 1-1,000,000. */
  readonly count: number;
  /** ms, 1-2,592,000,000 (30 days). */
  readonly perMs: number;
  /** 1-1,000,000. Default: what 10 ms bring, at least 1. */
  readonly burst: number;
}

/** A rate as one writes it: `'100/s'`, also per `m`, `h` and `d`; or its fields. */
export type RateInput = string | (Omit<Rate, 'burst'> & { readonly burst?: number | null | undefined });

/** One rate limit, as listings show it. */
export interface RateLimitInfo {
  readonly name: string;
  readonly namespace: string;
  /** As declared; null if it was only overridden. */
  readonly rate: Rate | null;
  /** What is in force instead; null for nothing. */
  readonly override: Rate | null;
  /** Messages that are ready but for this limit. */
  readonly waiting: number;
}

/** Which limit a message is under. Each key of a limit has the whole rate for itself. */
export interface RateTag {
  readonly limit: string;
  /** Null for messages that share the limit without a key. */
  readonly key: string | null;
}

export function isSameRate(a: Rate | null, b: Rate | null): boolean {
  return a?.count === b?.count && a?.perMs === b?.perMs && a?.burst === b?.burst;
}

const UNITS: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };
const FIELDS: readonly string[] = ['count', 'perMs', 'burst'];
/** ms whose messages a rate lets through at once if it says nothing else: timers of the broker are no finer than that under load. */
const BURST_MS = 10;

/** Fills in the burst. Throws INVALID_ARGUMENT with `details.field` for what is no rate. */
export function parseRate(input: unknown): Rate {
  if (typeof input === 'string') return parseRateText(input);
  if (typeof input !== 'object' || input === null || Array.isArray(input))
    throw invalid('rate', input, 'text like "100/s", or a map of count, perMs and burst');
  for (const name of Object.keys(input)) if (!FIELDS.includes(name)) throw invalid(name, name, FIELDS.join(', '));
  const given = input as Readonly<Record<string, unknown>>;
  const count = whole(given, 'count', LIMITS.rateCountMax);
  const perMs = whole(given, 'perMs', LIMITS.ratePeriodMsMax);
  if (given.burst === null || given.burst === undefined) return withBurst(count, perMs);
  return { count, perMs, burst: whole(given, 'burst', LIMITS.rateCountMax) };
}

/** A rate as one writes it; with its burst if that is not what it would have anyway. */
export function rateText({ count, perMs, burst }: Rate): string {
  const unit = Object.keys(UNITS).find((name) => UNITS[name] === perMs);
  const text = unit === undefined ? `${count}/${perMs} ms` : `${count}/${unit}`;
  return burst === withBurst(count, perMs).burst ? text : `${text} burst ${burst}`;
}

function parseRateText(text: string): Rate {
  const [, digits, unit] = /^(\d{1,7})\/([smhd])$/.exec(text) ?? [];
  if (digits === undefined || unit === undefined) throw invalid('rate', text, 'text like "100/s", "5/m", "2/h", "1/d"');
  return withBurst(whole({ count: Number(digits) }, 'count', LIMITS.rateCountMax), UNITS[unit]!);
}

function withBurst(count: number, perMs: number): Rate {
  const burst = Math.min(LIMITS.rateCountMax, Math.max(1, Math.ceil((count * BURST_MS) / perMs)));
  return { count, perMs, burst };
}

function whole(given: Readonly<Record<string, unknown>>, field: string, max: number): number {
  const value = given[field];
  if (Number.isSafeInteger(value) && (value as number) >= 1 && (value as number) <= max) return value as number;
  throw invalid(field, value, `a whole number from 1 to ${max}`);
}

function invalid(field: string, value: unknown, expected: string): LovageError {
  const shown = typeof value === 'string' ? JSON.stringify(value.slice(0, 40)) : String(value).slice(0, 40);
  return new LovageError('INVALID_ARGUMENT', `Cannot use ${shown} as "${field}" of a rate: expected ${expected}`, {
    details: { field: field.slice(0, 200) },
  });
}
