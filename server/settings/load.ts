/** Puts settings together: a flag wins over its `LOVAGE_*` variable, that over the config file, that over the default. */
import { readFileSync } from 'node:fs';
import { LovageError } from '@lovage/protocol';
import { KINDS, type KindValues } from './kinds.js';
import {
  flagOf,
  isSettingKey,
  keysOf,
  rowOf,
  type Scope,
  type SettingKey,
  type SettingsOf,
  variableOf,
} from './table.js';

/** Where `--config` may also come from. */
export const CONFIG_VARIABLE = 'LOVAGE_CONFIG';

const CONFIG_BYTES_MAX = 1_048_576;

/** Raw values by setting; `undefined` where nothing was given. */
export interface SettingSources {
  /** Texts as they stood on the command line, `true` for a flag without a value. Keys as in the table, and `config`. */
  readonly flags: Readonly<Record<string, unknown>>;
  readonly variables: Readonly<Record<string, string | undefined>>;
}

interface Given {
  readonly raw: unknown;
  readonly from: string;
}

/**
 * All settings of a scope. Throws INVALID_SETTING, with `details: {setting, from}`, for a value that is not allowed, a config file that cannot be
 * read, or a key in it that no setting has.
 */
export function loadSettings<S extends Scope>(scope: S, sources: SettingSources): SettingsOf[S] {
  const file = configFile(sources);
  const settings: Partial<Record<SettingKey, unknown>> = {};
  for (const key of keysOf(scope)) {
    const given = firstGiven(key, sources, file);
    settings[key] = given === null ? rowOf(key).fallback : parseSetting(key, given);
  }
  return settings as SettingsOf[S];
}

/** Whether somebody has said what a setting is to be, so that it is not the default. Throws as `loadSettings` for a config file that cannot be read. */
export function isGiven(key: SettingKey, sources: SettingSources): boolean {
  return firstGiven(key, sources, configFile(sources)) !== null;
}

/** The parsed value of one setting. `from` says where the raw value stood, for the message. Throws INVALID_SETTING. */
export function parseSetting(key: SettingKey, { raw, from }: Given): KindValues[keyof KindValues] {
  const { kind, range } = rowOf(key);
  const bounds = range ?? { min: 0, max: Number.MAX_SAFE_INTEGER };
  const value = KINDS[kind].parse(raw, bounds);
  if (value !== undefined) return value;
  const shown = kind === 'secret' ? 'a value that is not shown' : JSON.stringify(raw)?.slice(0, 200);
  throw invalid(key, from, `Cannot set ${key} from ${from}: ${shown}, expected ${KINDS[kind].allowed(bounds)}`);
}

function firstGiven(key: SettingKey, sources: SettingSources, file: ConfigFile): Given | null {
  const flag = sources.flags[key];
  if (flag !== undefined) return { raw: flag, from: `the flag ${flagOf(key)}` };
  const variable = sources.variables[variableOf(key)];
  if (variable !== undefined) return { raw: variable, from: `the variable ${variableOf(key)}` };
  if (Object.hasOwn(file.values, key)) return { raw: file.values[key], from: `the config file ${file.path}` };
  return null;
}

interface ConfigFile {
  readonly path: string;
  readonly values: Readonly<Record<string, unknown>>;
}

function configFile(sources: SettingSources): ConfigFile {
  const path = sources.flags.config ?? sources.variables[CONFIG_VARIABLE];
  if (path === undefined) return { path: '', values: {} };
  const name = String(path);
  const values = parseConfig(readConfig(name), name);
  const unknown = Object.keys(values).find((key) => !isSettingKey(key));
  if (unknown === undefined) return { path: name, values };
  const near = `a setting's name such as ${keysOf('broker').slice(0, 4).join(', ')}`;
  throw invalid(
    'config',
    name,
    `Cannot use the config file ${name}: unknown key ${JSON.stringify(unknown)}, expected ${near}`,
  );
}

function readConfig(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code ?? 'unknown error';
    throw invalid('config', path, `Cannot read the config file ${path}: ${code}, expected a readable JSON file`, cause);
  }
}

function parseConfig(text: string, path: string): Record<string, unknown> {
  if (text.length > CONFIG_BYTES_MAX) {
    throw invalid('config', path, `Cannot use the config file ${path}: expected at most ${CONFIG_BYTES_MAX} bytes`);
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : 'it does not parse';
    throw invalid('config', path, `Cannot use the config file ${path}: ${reason}, expected JSON`, cause);
  }
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  throw invalid('config', path, `Cannot use the config file ${path}: expected a JSON object of settings`);
}

function invalid(setting: string, from: string, message: string, cause?: unknown): LovageError {
  return new LovageError('INVALID_SETTING', message, { cause, details: { setting, from } });
}
