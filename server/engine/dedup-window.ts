/** The dedup keys of one queue: each is remembered for the window, and at most so many at a time. Insertion order is the order of age. */
export class DedupWindow {
  #windowMs: number;
  #keysMax: number;
  readonly #keys = new Map<string, { readonly id: number; readonly timeMs: number; readonly isMemory: boolean }>();

  constructor(windowMs: number, keysMax: number) {
    this.#windowMs = windowMs;
    this.#keysMax = keysMax;
  }

  get size(): number {
    return this.#keys.size;
  }

  /** Id of the message that has this key and is still in the window, 0 if there is none. */
  find(key: string, nowMs: number): number {
    const entry = this.#keys.get(key);
    return entry !== undefined && entry.timeMs + this.#windowMs > nowMs ? entry.id : 0;
  }

  /** `isMemory`: the message does not outlive the broker, and neither does its key. */
  add(key: string, id: number, timeMs: number, isMemory: boolean): void {
    if (this.#windowMs === 0) return;
    this.#keys.delete(key);
    this.#keys.set(key, { id, timeMs, isMemory });
    this.prune(timeMs);
  }

  /** Other bounds from now on. What the old window has let go by now is not known again in a longer one. */
  resize(windowMs: number, keysMax: number, nowMs: number): void {
    this.prune(nowMs);
    this.#windowMs = windowMs;
    this.#keysMax = keysMax;
    this.prune(nowMs);
  }

  prune(nowMs: number): void {
    for (const [key, entry] of this.#keys) {
      if (entry.timeMs + this.#windowMs > nowMs && this.#keys.size <= this.#keysMax) break;
      this.#keys.delete(key);
    }
  }

  /** Keys still in the window at `nowMs` whose messages are in the journal, oldest first. */
  entries(nowMs: number): [key: string, id: number, timeMs: number][] {
    this.prune(nowMs);
    const found: [key: string, id: number, timeMs: number][] = [];
    for (const [key, { id, timeMs, isMemory }] of this.#keys) if (!isMemory) found.push([key, id, timeMs]);
    return found;
  }
}
