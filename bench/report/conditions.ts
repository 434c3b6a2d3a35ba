import { STANDARD } from '../load/standard.js';
import { whole } from './format.js';
import type { Conditions } from './result.js';

/** The standard set-up's conditions, with what a scenario changes. */
export function conditions(changes: Partial<Conditions> = {}): Conditions {
  return {
    sync: 'always',
    window: whole(STANDARD.window),
    prefetch: whole(STANDARD.prefetch),
    body: `${STANDARD.bytes} B`,
    priorities: `random, 0-${STANDARD.priorities - 1}`,
    ...changes,
  };
}

/** `sync always | window 1,000 | ...` */
export function conditionsLine(all: Conditions): string {
  return Object.entries(all)
    .map(([name, value]) => `${name} ${value}`)
    .join(' | ');
}
