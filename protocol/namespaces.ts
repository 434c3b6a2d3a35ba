/** Namespaces: what one is told, and what a listing shows. */
import { LovageError } from './errors.js';
import { parseGivenSettings, type QueueSettings, settingsConflict, withDefaults } from './queue-settings.js';

type Quota = Exclude<keyof NamespaceSettings, 'queueDefaults'>;

/** Bounds of a namespace, which holds names, settings and rights of its own. Null (default): none but the broker's. */
export interface NamespaceSettings {
  /** Queues, 1-1,000,000. */
  readonly queuesMax: number | null;
  /** Messages in its queues, waiting and unsettled, 1-134,217,728. */
  readonly messagesMax: number | null;
  /** Bytes of payload of those, 1-2^53-1. */
  readonly bytesMax: number | null;
  /** Connections at a time, 1-1,000,000. */
  readonly connectionsMax: number | null;
  /** Settings of queues declared from now on, in place of the defaults of all. Default: none. */
  readonly queueDefaults: Partial<QueueSettings>;
}

/** A namespace as listings show it: one that was set, or that has queues. */
export interface NamespaceInfo {
  readonly name: string;
  /** Null if it was never set. */
  readonly settings: NamespaceSettings | null;
  readonly queues: number;
  readonly messages: number;
  readonly bytes: number;
}

/** One row a quota: whole numbers in `[min, max]`. */
export const NAMESPACE_QUOTAS = {
  queuesMax: { min: 1, max: 1_000_000 },
  messagesMax: { min: 1, max: 134_217_728 },
  bytesMax: { min: 1, max: Number.MAX_SAFE_INTEGER },
  connectionsMax: { min: 1, max: 1_000_000 },
} as const satisfies Record<Quota, { readonly min: number; readonly max: number }>;

const QUOTAS = Object.keys(NAMESPACE_QUOTAS) as Quota[];
const NAMES: readonly string[] = [...QUOTAS, 'queueDefaults'];

/** With null for every bound that is not there, as in the journal of an older version. */
export function withNamespaceDefaults(settings: Partial<NamespaceSettings>): NamespaceSettings {
  const none = { queuesMax: null, messagesMax: null, bytesMax: null, connectionsMax: null, queueDefaults: {} };
  return { ...none, ...settings };
}

/** Fills in null for what is not given. Throws INVALID_ARGUMENT with `details.field` for an unknown setting or a value outside its range. */
export function parseNamespaceSettings(input: unknown): NamespaceSettings {
  const given = input ?? {};
  if (typeof given !== 'object' || Array.isArray(given)) throw invalid('settings', 'expected a map of settings');
  for (const name of Object.keys(given))
    if (!NAMES.includes(name)) throw invalid(name, `expected one of ${NAMES.join(', ')}`);
  const fields = given as Readonly<Record<string, unknown>>;
  const quotas = {} as Record<Quota, number | null>;
  for (const name of QUOTAS) quotas[name] = quotaOf(name, fields[name]);
  return { ...quotas, queueDefaults: queueDefaultsOf(fields.queueDefaults) };
}

function queueDefaultsOf(value: unknown): Partial<QueueSettings> {
  const given = parseGivenSettings(value);
  const conflict = settingsConflict(withDefaults(given));
  if (conflict !== null) throw conflict;
  return given;
}

function quotaOf(name: Quota, value: unknown): number | null {
  if (value === null || value === undefined) return null;
  const { min, max } = NAMESPACE_QUOTAS[name];
  if (Number.isSafeInteger(value) && (value as number) >= min && (value as number) <= max) return value as number;
  throw invalid(name, `expected a whole number from ${min} to ${max}`);
}

function invalid(field: string, expected: string): LovageError {
  return new LovageError(
    'INVALID_ARGUMENT',
    `Cannot take setting ${JSON.stringify(field.slice(0, 40))} of a namespace: ${expected}`,
    { details: { field: field.slice(0, 200) } },
  );
}
