/** Checks what stands in a URL. Every refusal is INVALID_ARGUMENT or INVALID_NAME with `details.field`. */
import { isName } from '@lovage/protocol';
import { HttpError } from './errors.js';

/** Query fields by name, each once and each known. */
export function readQuery(query: unknown, known: readonly string[]): ReadonlyMap<string, string> {
  const fields = new Map<string, string>();
  for (const [field, value] of Object.entries(query as Record<string, unknown>)) {
    if (!known.includes(field)) throw invalid(field, `it is unknown, expected one of ${known.join(', ')}`);
    if (typeof value !== 'string') throw invalid(field, 'it is given more than once, expected once');
    fields.set(field, value);
  }
  return fields;
}

/** A whole number in `[min, max]`, or `fallback` when the field is not given. */
export function integerField(
  fields: ReadonlyMap<string, string>,
  field: string,
  { min, max, fallback }: { readonly min: number; readonly max: number; readonly fallback: number },
): number {
  const text = fields.get(field);
  if (text === undefined) return fallback;
  const value = /^[0-9]{1,15}$/.test(text) ? Number(text) : Number.NaN;
  if (value >= min && value <= max) return value;
  throw invalid(field, `${JSON.stringify(text.slice(0, 40))}, expected a whole number from ${min} to ${max}`);
}

/** true or false, false when the field is not given. */
export function flagField(fields: ReadonlyMap<string, string>, field: string): boolean {
  const text = fields.get(field) ?? 'false';
  if (text === 'true' || text === 'false') return text === 'true';
  throw invalid(field, `${JSON.stringify(text.slice(0, 40))}, expected true or false`);
}

/** The name of a queue or namespace; null when the field is not given. */
export function nameField(fields: ReadonlyMap<string, string>, field: string): string | null {
  const text = fields.get(field);
  return text === undefined ? null : checkedName(text, field);
}

export function checkedName(text: unknown, field: string): string {
  if (isName(text)) return text;
  throw new HttpError('INVALID_NAME', `Cannot use the ${field}: expected 1-200 of A-Z a-z 0-9 _ . : / -`, { field });
}

function invalid(field: string, state: string): HttpError {
  return new HttpError('INVALID_ARGUMENT', `Cannot take query field ${JSON.stringify(field.slice(0, 40))}: ${state}`, {
    field: field.slice(0, 40),
  });
}
