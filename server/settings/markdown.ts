/** The settings as the README shows them. */

import { KINDS, type KindValues, type Range } from './kinds.js';
import { CONFIG_VARIABLE } from './load.js';
import { flagOf, keysOf, rowOf, type Scope, type SettingKey, variableOf } from './table.js';

/** What stands around the table in the README; the test looks for these two lines. */
export const SETTINGS_MARKERS = { begin: '<!-- settings -->', end: '<!-- /settings -->' } as const;

const CONFIG_ROW = [
  '`--config`',
  `\`${CONFIG_VARIABLE}\``,
  '',
  KINDS.path.allowed({ min: 0, max: 0 }),
  'none',
  'JSON file with settings by their key.',
];

/** Two tables, of `lovage start` and of the commands that talk to a broker, to stand between `SETTINGS_MARKERS`. */
export function settingsMarkdown(): string {
  return [
    'Settings of `lovage start`:',
    '',
    ...table('broker'),
    '',
    'Settings of every command that talks to a broker:',
    '',
    ...table('client'),
  ].join('\n');
}

function table(scope: Scope): string[] {
  const heads = ['Flag', 'Variable', 'Config key', 'Allowed', 'Default', 'What it does'];
  const rows = [heads, heads.map(() => '---'), CONFIG_ROW, ...keysOf(scope).map(cells)];
  return rows.map((row) => `| ${row.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`);
}

function cells(key: SettingKey): string[] {
  const { text } = rowOf(key);
  return [
    `\`${flagOf(key)}\``,
    `\`${variableOf(key)}\``,
    `\`${key}\``,
    allowedText(key),
    `\`${fallbackText(key)}\``,
    text,
  ];
}

/** What a setting allows, in words. */
export function allowedText(key: SettingKey): string {
  const { kind, range } = rowOf(key);
  return KINDS[kind].allowed(range ?? NO_RANGE);
}

/** A setting's default as a person would type it. */
export function fallbackText(key: SettingKey): string {
  const { kind, fallback } = rowOf(key);
  const show = KINDS[kind].show as (value: KindValues[keyof KindValues]) => string;
  return show(fallback);
}

const NO_RANGE: Range = { min: 0, max: Number.MAX_SAFE_INTEGER };
