/** Checks arguments by a schema of any library that has the Standard Schema interface (https://standardschema.dev, version 1): zod, valibot, arktype. */
import { LovageError } from '@lovage/protocol';
import { textOf } from '../errors.js';

/** The part of Standard Schema that is used here: a schema of the tuple of arguments. */
export interface ArgumentSchema {
  readonly '~standard': {
    readonly version: 1;
    readonly validate: (value: unknown) => SchemaResult | Promise<SchemaResult>;
  };
}

interface SchemaResult {
  readonly value?: unknown;
  readonly issues?: readonly { readonly message: string; readonly path?: readonly unknown[] | undefined }[] | undefined;
}

/** The arguments as the schema gives them back. Throws INVALID_ARGUMENT, with the schema's own words in `details.issues`. */
export async function checkArguments(
  task: string,
  schema: ArgumentSchema,
  args: readonly unknown[],
): Promise<unknown[]> {
  const { value, issues } = await validated(task, schema, args);
  if (issues === undefined && Array.isArray(value)) return value;
  const texts = (issues ?? [{ message: 'the schema gave no array back' }]).slice(0, 10).map(({ message }) => message);
  const message = `Cannot take the arguments of task "${task}": ${texts.join('; ')}`;
  throw new LovageError('INVALID_ARGUMENT', message, { details: { field: 'args', issues: texts } });
}

/** A schema that throws instead of telling what is wrong. */
async function validated(task: string, schema: ArgumentSchema, args: readonly unknown[]): Promise<SchemaResult> {
  try {
    return await schema['~standard'].validate(args);
  } catch (cause) {
    const message = `Cannot take the arguments of task "${task}": the schema has failed: ${textOf(cause)}`;
    throw new LovageError('INVALID_ARGUMENT', message, { cause, details: { field: 'args', issues: [] } });
  }
}
