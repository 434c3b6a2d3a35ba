/** Who may do what: roles, rights and tokens as both sides see them. */
import { LovageError } from './errors.js';
import { LIMITS } from './limits.js';
import { isName } from './names.js';
import { isPattern } from './pattern.js';

/** `configure`: make, change and remove. `write`: publish. `read`: consume and look into messages. Each holds for names that match its patterns. */
export const RIGHTS = ['configure', 'write', 'read'] as const;
export type Right = (typeof RIGHTS)[number];

/** Patterns that a role's tokens have when none are given; null: the role cannot have the right. */
type RoleRow = Readonly<Record<Right, readonly string[] | null>>;

const ALL = ['*'] as const;

/** What each role may have. Every role may look at queues and their counts. Only `admin` may manage tokens and namespaces, and its rights cannot be narrowed. */
export const ROLES = {
  admin: { configure: ALL, write: ALL, read: ALL },
  operator: { configure: ALL, write: ALL, read: ALL },
  producer: { configure: [], write: ALL, read: null },
  consumer: { configure: [], write: null, read: ALL },
  viewer: { configure: null, write: null, read: null },
} as const satisfies Record<string, RoleRow>;
export type Role = keyof typeof ROLES;

/** What a token is told when it is made. */
export interface TokenOptions {
  /** For people, and for the audit log. A name. */
  readonly name: string;
  readonly role: Role;
  /** The only namespace that the token may enter; null (default) for every one. */
  readonly namespace?: string | null | undefined;
  /** Patterns of names, at most 32 for each right: `orders.*`. Default by role: `*`, or none. */
  readonly configure?: readonly string[] | null | undefined;
  readonly write?: readonly string[] | null | undefined;
  readonly read?: readonly string[] | null | undefined;
  /** ms since 1970 at which the token ends; null (default) for never. */
  readonly expiresAt?: number | null | undefined;
  /** Connections at a time with this token, 1-1,000,000; null (default) for no bound of its own. */
  readonly connectionsMax?: number | null | undefined;
  /** Messages that may be published with this token in a second, all its connections together, 1-100,000,000; null (default) for no bound. */
  readonly publishRateMax?: number | null | undefined;
}

/** `TokenOptions` checked, with their defaults. */
export interface TokenFields {
  readonly name: string;
  readonly role: Role;
  readonly namespace: string | null;
  readonly configure: readonly string[];
  readonly write: readonly string[];
  readonly read: readonly string[];
  readonly expiresAt: number | null;
  readonly connectionsMax: number | null;
  readonly publishRateMax: number | null;
}

/** A token as listings show it. The secret is told once, when the token is made, and kept nowhere. */
export interface TokenInfo extends TokenFields {
  readonly id: string;
  /** ms since 1970. */
  readonly createdAt: number;
}

const NAMES: Readonly<Record<keyof TokenFields, true>> = {
  name: true,
  role: true,
  namespace: true,
  configure: true,
  write: true,
  read: true,
  expiresAt: true,
  connectionsMax: true,
  publishRateMax: true,
};

/** Numbers among the options, each with its range. */
export const TOKEN_NUMBERS = {
  expiresAt: { min: 1, max: Number.MAX_SAFE_INTEGER },
  connectionsMax: { min: 1, max: 1_000_000 },
  publishRateMax: { min: 1, max: 100_000_000 },
} as const;

/** Fills defaults in. Throws INVALID_NAME or INVALID_ARGUMENT with `details.field` for an unknown option, a value outside its range, or a right that the role cannot have. */
export function parseTokenOptions(input: unknown): TokenFields {
  if (typeof input !== 'object' || input === null || Array.isArray(input))
    throw invalid('options', input, 'a map of options');
  const given = input as { readonly [K in keyof TokenFields]?: unknown };
  for (const name of Object.keys(given))
    if (!Object.hasOwn(NAMES, name)) throw invalid(name, 'an unknown name', `one of ${Object.keys(NAMES).join(', ')}`);
  const { role } = given;
  if (typeof role !== 'string' || !Object.hasOwn(ROLES, role))
    throw invalid('role', role, `one of ${Object.keys(ROLES).join(', ')}`);
  const known = role as Role;
  return {
    name: nameOf('name', given.name),
    role: known,
    namespace: isAbsent(given.namespace) ? null : nameOf('namespace', given.namespace),
    configure: patternsOf('configure', given.configure, known),
    write: patternsOf('write', given.write, known),
    read: patternsOf('read', given.read, known),
    expiresAt: numberOf('expiresAt', given.expiresAt),
    connectionsMax: numberOf('connectionsMax', given.connectionsMax),
    publishRateMax: numberOf('publishRateMax', given.publishRateMax),
  };
}

function nameOf(field: string, value: unknown): string {
  if (isName(value)) return value;
  const message = `Cannot use ${shown(value)} as ${field}: expected 1-${LIMITS.nameLengthMax} of A-Z a-z 0-9 _ . : / -`;
  throw new LovageError('INVALID_NAME', message, { details: { field } });
}

function patternsOf(right: Right, value: unknown, role: Role): readonly string[] {
  const fallback: readonly string[] | null = ROLES[role][right];
  if (isAbsent(value)) return fallback ?? [];
  if (!Array.isArray(value) || value.length > LIMITS.patternsMax || !value.every(isPattern))
    throw invalid(right, value, `at most ${LIMITS.patternsMax} patterns, each 1-200 of A-Z a-z 0-9 _ . : / - *`);
  if (fallback === null && value.length > 0)
    throw invalid(right, value, `none, because the role ${role} has no such right`);
  if (role === 'admin' && (value.length !== 1 || value[0] !== '*'))
    throw invalid(right, value, 'none or ["*"], because the rights of an admin cannot be narrowed');
  return [...value];
}

function numberOf(field: keyof typeof TOKEN_NUMBERS, value: unknown): number | null {
  if (isAbsent(value)) return null;
  const { min, max } = TOKEN_NUMBERS[field];
  if (Number.isSafeInteger(value) && (value as number) >= min && (value as number) <= max) return value as number;
  throw invalid(field, value, `a whole number from ${min} to ${max}`);
}

function isAbsent(value: unknown): value is null | undefined {
  return value === null || value === undefined;
}

function invalid(field: string, value: unknown, expected: string): LovageError {
  const message = `Cannot take ${JSON.stringify(field.slice(0, 40))} of a token: ${shown(value)}, expected ${expected}`;
  return new LovageError('INVALID_ARGUMENT', message, { details: { field: field.slice(0, 200) } });
}

/** What was given, short, and without asking it: a value from the wire may have a `toString` of its own. */
function shown(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value.slice(0, 40));
  if (Array.isArray(value)) return 'an array';
  return typeof value === 'object' && value !== null ? 'a map' : String(value);
}
