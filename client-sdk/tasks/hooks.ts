/** What an app is told of its tasks, where they run: in the thread of the worker, or in the child. */
import { invalidArgument, textOf } from '../errors.js';
import type { TaskContext } from './context.js';

/** Each is called and, if it gives a promise, waited for. What one throws is a warning of the process and changes nothing. */
export interface TaskHooks {
  /** Before the function, with arguments that fit the schema. */
  readonly before?: ((ctx: TaskContext, args: readonly unknown[]) => unknown) | undefined;
  /** Behind a function that has returned. */
  readonly after?: ((ctx: TaskContext, result: unknown) => unknown) | undefined;
  /** Behind an attempt that has failed and is made again after so many ms. */
  readonly retried?: ((ctx: TaskContext, error: unknown, delayMs: number) => unknown) | undefined;
  /** Behind the last attempt, which has failed. Not for a task whose thread or process was killed. */
  readonly failed?: ((ctx: TaskContext, error: unknown) => unknown) | undefined;
}

const NAMES = ['before', 'after', 'retried', 'failed'] as const satisfies readonly (keyof TaskHooks)[];

/** null for none. Throws INVALID_ARGUMENT. */
export function parseHooks(given: TaskHooks | undefined): TaskHooks | null {
  if (given === undefined) return null;
  if (typeof given !== 'object' || given === null) throw invalidArgument('hooks', given, 'an object');
  for (const [name, hook] of Object.entries(given)) {
    if (!NAMES.includes(name as keyof TaskHooks))
      throw invalidArgument(`hooks.${name}`, 'an unknown name', `one of ${NAMES.join(', ')}`);
    if (hook !== undefined && typeof hook !== 'function') throw invalidArgument(`hooks.${name}`, hook, 'a function');
  }
  return given;
}

export async function callHook(name: keyof TaskHooks, call: () => unknown): Promise<void> {
  try {
    await call();
  } catch (error) {
    process.emitWarning(`The hook "${name}" has failed: ${textOf(error)}`, { code: 'LOVAGE_HOOK_FAILED' });
  }
}
