/**
 * Apps in a child of a pool. The file with the tasks is loaded there once more, perhaps by another copy of this package, so what a child has to know of the apps that
 * the file makes is in a place that all copies share.
 */
import type { TaskApp } from './app.js';

const KEY = Symbol.for('lovage.tasks.child');

export interface ChildRegistry {
  /** Those that were made, oldest first. */
  readonly apps: TaskApp[];
  /** The file starts a worker: what follows in it is for the parent alone. */
  workerStarted(): void;
}

const shared = globalThis as { [KEY]?: ChildRegistry };

export function setChildRegistry(registry: ChildRegistry): void {
  shared[KEY] = registry;
}

/** null outside of a child. */
export function childRegistry(): ChildRegistry | null {
  return shared[KEY] ?? null;
}
