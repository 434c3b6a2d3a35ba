/** Tasks that a worker was given and that nobody here has: who is told of them, and how often. Bounded, because they may come by thousands, again and again. */
import { LIMITS } from '@lovage/protocol';

/** ms in which they are gathered before the broker is told. */
const TELL_MS = 1_000;
/** ms before the worker's `onError` is told of one of them again. */
const TELL_AGAIN_MS = 60_000;

/** Queue and name of a task, and how often it came. */
type UnknownTask = readonly [queue: string, task: string, count: number];

export class UnknownTasks {
  readonly #tellBroker: () => void;
  /** By queue and name; that which came last is at the end. */
  readonly #tasks = new Map<string, UnknownTask>();
  /** By text: monotonic ms at which `onError` was last told. */
  readonly #toldMs = new Map<string, number>();
  #tellTimer: NodeJS.Timeout | null = null;

  /** `tellBroker` is called some time after one has come. */
  constructor(tellBroker: () => void) {
    this.#tellBroker = tellBroker;
  }

  /** The last `LIMITS.workerUnknownMax` of them. */
  get all(): readonly UnknownTask[] {
    return [...this.#tasks.values()];
  }

  /** The broker hears of it, so that it can be seen. */
  add(queue: string, task: string): void {
    const key = `${queue} ${task}`;
    const count = (this.#tasks.get(key)?.[2] ?? 0) + 1;
    this.#tasks.delete(key);
    this.#tasks.set(key, [queue, task.slice(0, LIMITS.nameLengthMax), count]);
    for (const oldest of this.#tasks.keys()) if (this.#tasks.size > LIMITS.workerUnknownMax) this.#tasks.delete(oldest);
    this.#tellTimer ??= setTimeout(() => {
      this.#tellTimer = null;
      this.#tellBroker();
    }, TELL_MS);
  }

  /** Whether `onError` is to be told of this now. */
  isToBeTold(what: string, nowMs: number): boolean {
    const lastMs = this.#toldMs.get(what);
    if (lastMs !== undefined && nowMs - lastMs < TELL_AGAIN_MS) return false;
    if (lastMs === undefined && this.#toldMs.size >= LIMITS.workerUnknownMax) this.#toldMs.clear();
    this.#toldMs.set(what, nowMs);
    return true;
  }

  /** The broker is told nothing any more. */
  stop(): void {
    if (this.#tellTimer !== null) clearTimeout(this.#tellTimer);
  }
}
