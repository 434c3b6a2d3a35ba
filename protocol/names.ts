import { LovageError } from './errors.js';
import { LIMITS } from './limits.js';

const NAME = new RegExp(`^[A-Za-z0-9_.:/-]{1,${LIMITS.nameLengthMax}}$`);

/** True for a name that queues, namespaces, producers and clients may bear: `^[A-Za-z0-9_.:/-]{1,200}$`. Linear time. */
export function isName(name: unknown): name is string {
  return typeof name === 'string' && NAME.test(name);
}

/** Throws INVALID_NAME unless `name` is one. `what` says which field: "queue", "namespace". */
export function assertName(name: unknown, what: string): asserts name is string {
  if (isName(name)) return;
  const shown = typeof name === 'string' ? JSON.stringify(name.slice(0, 40)) : typeof name;
  throw new LovageError(
    'INVALID_NAME',
    `Cannot use ${shown} as ${what}: expected 1-${LIMITS.nameLengthMax} of A-Z a-z 0-9 _ . : / -`,
    {
      details: { field: what },
    },
  );
}
