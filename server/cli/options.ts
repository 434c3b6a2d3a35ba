/** Turns tables into a command's options: settings from their table, numbers with their range. */
import { LIMITS } from '@lovage/protocol';
import { type Command, InvalidArgumentError, Option } from 'commander';
import {
  allowedText,
  CONFIG_VARIABLE,
  fallbackText,
  flagOf,
  KINDS,
  keysOf,
  rowOf,
  type Scope,
  variableOf,
} from '../settings/index.js';

/** `--json`, on every command that prints. */
export const JSON_OPTION = ['--json', 'print JSON: one document, or one line an item'] as const;

/** Adds `--config` and every setting of a scope; `loadSettings` parses what comes. */
export function addSettings(command: Command, scope: Scope): Command {
  command.option('--config <path>', `JSON file with settings by their key (variable ${CONFIG_VARIABLE})`);
  for (const key of keysOf(scope)) {
    const { kind, text } = rowOf(key);
    const { placeholder } = KINDS[kind];
    const facts = [`default ${fallbackText(key)}`, `variable ${variableOf(key)}`];
    if (placeholder !== null) facts.unshift(allowedText(key));
    command.addOption(
      new Option(
        placeholder === null ? flagOf(key) : `${flagOf(key)} <${placeholder}>`,
        `${text} (${facts.join('; ')})`,
      ),
    );
  }
  return command;
}

/** An option that takes a whole number in `[min, max]`. */
export function integerOption(
  flags: string,
  description: string,
  { min, max }: { readonly min: number; readonly max: number },
): Option {
  return new Option(flags, `${description} (${min} to ${max})`).argParser((text) => {
    const value = /^[0-9]{1,16}$/.test(text) ? Number(text) : Number.NaN;
    if (value >= min && value <= max) return value;
    throw new InvalidArgumentError(`Expected a whole number from ${min} to ${max}.`);
  });
}

/** An option `name=value` that may be repeated; gathers an object without a prototype. */
export function pairsOption(flags: string, description: string): Option {
  return new Option(flags, description).argParser((text, gathered: Record<string, string> | undefined) => {
    const at = text.indexOf('=');
    if (at <= 0) throw new InvalidArgumentError('Expected <name>=<value>.');
    const name = text.slice(0, at);
    if (name === '__proto__') throw new InvalidArgumentError('This name is not allowed.');
    return { ...gathered, [name]: text.slice(at + 1) };
  });
}

/** `<max,min>`, tasks at a time. */
export function parseAutoscale(text: string): { readonly min: number; readonly max: number } {
  const found = /^([1-9][0-9]{0,4}),([1-9][0-9]{0,4})$/.exec(text);
  const [max, min] = [Number(found?.[1]), Number(found?.[2])];
  if (found !== null && max >= min && max <= LIMITS.prefetchMax) return { min, max };
  const message = `Expected two whole numbers from 1 to ${LIMITS.prefetchMax}, the larger one first, got ${JSON.stringify(text)}.`;
  throw new InvalidArgumentError(message);
}
