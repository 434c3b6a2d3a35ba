import { LovageError } from './errors.js';
import { LIMITS } from './limits.js';
import { isName } from './names.js';

/** What a queue does with a message too many. */
export const QUEUE_OVERFLOWS = ['reject-publish', 'drop-head', 'dead-letter-head'] as const;
/**
 * `reject-publish`: the publish is refused with QUEUE_FULL. `drop-head`: the oldest message of the lowest priority goes. `dead-letter-head`: it goes to the
 * dead letter queue.
 */
export type QueueOverflow = (typeof QUEUE_OVERFLOWS)[number];

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
  /**
   * Queue of the same namespace that gets what this one gives up: rejected, expired, pushed out, or attempted too often. It is made with default
   * settings when it is first needed. Null (default): such messages are dropped. Not the queue itself.
   */
  deadLetterQueue: string | null;
  /** Attempts after which a message that comes back from a handler is given up. 0-65,535, 0 for no bound, default 20 (RabbitMQ's). */
  attemptsMax: number;
  /** Messages in the queue, unsettled ones included. 0-1,000,000,000, 0 (default) for no bound. */
  messagesMax: number;
  /** Bytes of their payloads (content type, headers, body). 0 to 10^15, 0 (default) for no bound. */
  bytesMax: number;
  /** What happens to a message too many. Default `reject-publish`; `dead-letter-head` needs a `deadLetterQueue`. */
  overflow: QueueOverflow;
  /** ms after which a queue goes, with its messages, that nobody consumes, declares or publishes to. 0 (default): never. */
  expiresAfterUnusedMs: number;
  /** One consumer gets everything while the others stand by. Default false. */
  singleActiveConsumer: boolean;
}

type SettingRow =
  | { readonly kind: 'integer'; readonly min: number; readonly max: number; readonly fallback: number }
  | { readonly kind: 'flag'; readonly fallback: boolean }
  | { readonly kind: 'choice'; readonly choices: readonly string[]; readonly fallback: string }
  /** A name, or null. */
  | { readonly kind: 'name'; readonly fallback: null };

/** One row a setting. */
export const QUEUE_SETTINGS = {
  defaultPriority: { kind: 'integer', min: 0, max: LIMITS.priorityMax, fallback: 0 },
  messageTtlMs: { kind: 'integer', min: 0, max: LIMITS.delayMsMax, fallback: 0 },
  backoffMsMin: { kind: 'integer', min: 0, max: LIMITS.delayMsMax, fallback: 1_000 },
  backoffMsMax: { kind: 'integer', min: 0, max: LIMITS.delayMsMax, fallback: 600_000 },
  dedupWindowMs: { kind: 'integer', min: 0, max: LIMITS.delayMsMax, fallback: 300_000 },
  dedupKeysMax: { kind: 'integer', min: 1, max: 10_000_000, fallback: 100_000 },
  deadLetterQueue: { kind: 'name', fallback: null },
  attemptsMax: { kind: 'integer', min: 0, max: 65_535, fallback: 20 },
  messagesMax: { kind: 'integer', min: 0, max: 1_000_000_000, fallback: 0 },
  bytesMax: { kind: 'integer', min: 0, max: 1_000_000_000_000_000, fallback: 0 },
  overflow: { kind: 'choice', choices: QUEUE_OVERFLOWS, fallback: 'reject-publish' },
  expiresAfterUnusedMs: { kind: 'integer', min: 0, max: LIMITS.delayMsMax, fallback: 0 },
  singleActiveConsumer: { kind: 'flag', fallback: false },
} as const satisfies Record<keyof QueueSettings, SettingRow>;

/** Names of all settings, in the order of the table. */
export const QUEUE_SETTING_NAMES = Object.keys(QUEUE_SETTINGS) as (keyof QueueSettings)[];

type Given = Record<string, unknown>;

export function defaultQueueSettings(): QueueSettings {
  return withDefaults({});
}

/** With the default of every setting that is not there, as in the journal of an older version. */
export function withDefaults(settings: Partial<QueueSettings>): QueueSettings {
  const full: Given = {};
  for (const name of QUEUE_SETTING_NAMES) full[name] = settings[name] ?? QUEUE_SETTINGS[name].fallback;
  return full as unknown as QueueSettings;
}

/**
 * Fills defaults in. Throws INVALID_ARGUMENT with `details.field` for an unknown setting, a value outside its range, or one that does not go with the
 * others. `queue` is whose settings they are.
 */
export function parseQueueSettings(input: unknown, queue?: string): QueueSettings {
  const settings = withDefaults(parseGivenSettings(input));
  const conflict = settingsConflict(settings, queue);
  if (conflict !== null) throw conflict;
  return settings;
}

/** The settings that are given, each checked for itself; one that is given as nil has its default. Throws as `parseQueueSettings`. */
export function parseGivenSettings(input: unknown): Partial<QueueSettings> {
  const given = input ?? {};
  if (typeof given !== 'object' || Array.isArray(given) || given instanceof Map)
    throw invalid('settings', given, 'a map of settings');
  const settings: Given = {};
  for (const [name, value] of Object.entries(given)) {
    if (!Object.hasOwn(QUEUE_SETTINGS, name))
      throw invalid(name, 'an unknown name', `one of ${QUEUE_SETTING_NAMES.join(', ')}`);
    if (value === undefined) continue;
    const row: SettingRow = QUEUE_SETTINGS[name as keyof QueueSettings];
    const chosen: unknown = value ?? row.fallback;
    const expected = expectedOf(row, chosen);
    if (expected !== null) throw invalid(name, chosen, expected);
    settings[name] = chosen;
  }
  return settings as Partial<QueueSettings>;
}

/** What is wrong with settings that are right each for itself, null if nothing is. */
export function settingsConflict(settings: QueueSettings, queue?: string): LovageError | null {
  const { backoffMsMin, backoffMsMax, deadLetterQueue, overflow } = settings;
  if (backoffMsMax < backoffMsMin)
    return invalid('backoffMsMax', backoffMsMax, `at least backoffMsMin (${backoffMsMin})`);
  if (deadLetterQueue !== null && deadLetterQueue === queue)
    return invalid('deadLetterQueue', deadLetterQueue, 'another queue');
  if (overflow === 'dead-letter-head' && deadLetterQueue === null)
    return invalid('overflow', overflow, 'a deadLetterQueue with it');
  return null;
}

/** Names of the settings in which two declarations differ. */
export function differingSettings(a: QueueSettings, b: QueueSettings): (keyof QueueSettings)[] {
  return QUEUE_SETTING_NAMES.filter((name) => a[name] !== b[name]);
}

/** What a row wants of a value that it does not allow; null if it does. */
function expectedOf(row: SettingRow, value: unknown): string | null {
  switch (row.kind) {
    case 'integer': {
      const isInRange = Number.isSafeInteger(value) && (value as number) >= row.min && (value as number) <= row.max;
      return isInRange ? null : `an integer from ${row.min} to ${row.max}`;
    }
    case 'flag':
      return typeof value === 'boolean' ? null : 'true or false';
    case 'choice':
      return row.choices.includes(value as string) ? null : `one of ${row.choices.join(', ')}`;
    case 'name':
      return value === null || isName(value) ? null : 'the name of a queue or nil';
    default:
      return row satisfies never;
  }
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
