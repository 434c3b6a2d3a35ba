import { LovageError } from './errors.js';
import { LIMITS } from './limits.js';

/** What a queue can be told. Every field has a default, so `{}` is a full declaration. */
export interface QueueSettings {
  /** Priority of a message published without one. 0-255, default 0. */
  defaultPriority: number;
  /** ms that a message lives when its publish gives no `expiresInMs`; 0 (default) means for ever. */
  messageTtlMs: number;
  /** ms before the first redelivery of a message whose handler failed; doubles with each attempt. 0-315,360,000,000, default 1,000. */
  backoffMsMin: number;
  /** ms at which the doubling stops. Default 600,000 (Celery's cap). */
  backoffMsMax: number;
  /** ms during which a `dedupKey` is remembered. 0 turns deduplication off. Default 300,000. */
  dedupWindowMs: number;
  /** Most dedup keys remembered at a time; the oldest goes first. 1-10,000,000, default 100,000. */
  dedupKeysMax: number;
}

interface SettingRow {
  readonly min: number;
  readonly max: number;
  readonly fallback: number;
}

/** One row a setting: integers in `[min, max]`. */
export const QUEUE_SETTINGS = {
  defaultPriority: { min: 0, max: LIMITS.priorityMax, fallback: 0 },
  messageTtlMs: { min: 0, max: LIMITS.delayMsMax, fallback: 0 },
  backoffMsMin: { min: 0, max: LIMITS.delayMsMax, fallback: 1_000 },
  backoffMsMax: { min: 0, max: LIMITS.delayMsMax, fallback: 600_000 },
  dedupWindowMs: { min: 0, max: LIMITS.delayMsMax, fallback: 300_000 },
  dedupKeysMax: { min: 1, max: 10_000_000, fallback: 100_000 },
} as const satisfies Record<keyof QueueSettings, SettingRow>;

const NAMES = Object.keys(QUEUE_SETTINGS) as (keyof QueueSettings)[];

export function defaultQueueSettings(): QueueSettings {
  return parseQueueSettings({});
}

/** Fills defaults in. Throws INVALID_ARGUMENT with `details.field` for an unknown setting or a value outside its range. */
export function parseQueueSettings(input: unknown): QueueSettings {
  const given = input ?? {};
  if (typeof given !== 'object' || Array.isArray(given) || given instanceof Map)
    throw invalid('settings', given, 'a map of settings');
  for (const name of Object.keys(given)) {
    if (!Object.hasOwn(QUEUE_SETTINGS, name)) throw invalid(name, 'an unknown name', `one of ${NAMES.join(', ')}`);
  }
  const settings = {} as QueueSettings;
  for (const name of NAMES) {
    const row = QUEUE_SETTINGS[name];
    const value = (given as Record<string, unknown>)[name] ?? row.fallback;
    if (!Number.isSafeInteger(value) || (value as number) < row.min || (value as number) > row.max) {
      throw invalid(name, value, `an integer from ${row.min} to ${row.max}`);
    }
    settings[name] = value as number;
  }
  if (settings.backoffMsMax < settings.backoffMsMin) {
    throw invalid('backoffMsMax', settings.backoffMsMax, `at least backoffMsMin (${settings.backoffMsMin})`);
  }
  return settings;
}

/** Names of the settings in which two declarations differ. */
export function differingSettings(a: QueueSettings, b: QueueSettings): (keyof QueueSettings)[] {
  return NAMES.filter((name) => a[name] !== b[name]);
}

function invalid(field: string, value: unknown, expected: string): LovageError {
  return new LovageError(
    'INVALID_ARGUMENT',
    `Cannot take queue setting ${JSON.stringify(field.slice(0, 40))}: ${shown(value)}, expected ${expected}`,
    {
      details: { field: field.slice(0, 200) },
    },
  );
}

/** What was given, short, and without asking it: a value from the wire may have a `toString` of its own. */
function shown(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value.slice(0, 40));
  if (Array.isArray(value)) return 'an array';
  return typeof value === 'object' && value !== null ? 'a map' : String(value);
}
