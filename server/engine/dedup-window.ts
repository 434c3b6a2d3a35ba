/**
 * The dedup keys of one queue: each is known for the window, and the newest so many at a time. What is not known any more is a beginning of the list, because
 * engine time never runs back; it is let go a little at a time, so that a million keys that have run out together hold nobody up.
 *
 *     oldest ─► ... ─► ... │ ─► ... ─► ... ─► newest
 *        run out, or too many        known
 */

/** Bytes that a key takes beside its own length: measured 112, and the head of its text. */
const KEY_BYTES = 128;
/** Keys let go with each that comes: more than one, so that their number goes down. */
const PER_ADD = 2;

interface Entry {
  readonly key: string;
  readonly id: number;
  readonly timeMs: number;
  readonly isMemory: boolean;
  /** Keys that came before, of which those behind the first known one are known as well. */
  readonly ordinal: number;
  next: Entry | null;
}

/** Of all windows together. */
export interface DedupUsage {
  keys: number;
  bytes: number;
}

export class DedupWindow {
  #windowMs: number;
  #keysMax: number;
  readonly #usage: DedupUsage;
  readonly #entries = new Map<string, Entry>();
  #oldest: Entry | null = null;
  #newest: Entry | null = null;
  #added = 0;
  #bytes = 0;
  #listed = 0;
  /** Forgotten by a change of the bounds, and not known again under wider ones: what came by then, and so many of the first. */
  #forgottenMs = Number.NEGATIVE_INFINITY;
  #forgotten = 0;
  /** Somebody will call `prune` when the oldest has run out. */
  isWatched = false;

  constructor(windowMs: number, keysMax: number, usage: DedupUsage) {
    this.#windowMs = windowMs;
    this.#keysMax = keysMax;
    this.#usage = usage;
  }

  /** Keys in memory, a few of which may have run out. */
  get size(): number {
    return this.#listed;
  }

  /** When the oldest runs out, Infinity if there is none. */
  get oldestExpiryMs(): number {
    return this.#oldest === null ? Number.POSITIVE_INFINITY : this.#oldest.timeMs + this.#windowMs;
  }

  get windowMs(): number {
    return this.#windowMs;
  }

  /** Id of the message that has this key and is still in the window, 0 if there is none. */
  find(key: string, nowMs: number): number {
    const entry = this.#entries.get(key);
    return entry !== undefined && this.#isKnown(entry, nowMs) ? entry.id : 0;
  }

  /** `isMemory`: the message does not outlive the broker, and neither does its key. */
  add(key: string, id: number, timeMs: number, isMemory: boolean): void {
    if (this.#windowMs === 0) return;
    const entry: Entry = { key, id, timeMs, isMemory, ordinal: this.#added++, next: null };
    if (this.#newest === null) this.#oldest = entry;
    else this.#newest.next = entry;
    this.#newest = entry;
    this.#entries.set(key, entry);
    this.#count(1, KEY_BYTES + key.length);
    this.prune(timeMs, PER_ADD);
  }

  /** Other bounds from now on. What the old ones have let go by now is not known again under wider ones. */
  resize(windowMs: number, keysMax: number, nowMs: number): void {
    // Of this very ms a window of 0 has let go what came before it, and not what may come now.
    if (this.#windowMs === 0) this.#forgotten = this.#added;
    else this.#forgottenMs = Math.max(this.#forgottenMs, nowMs - this.#windowMs);
    this.#forgotten = Math.max(this.#forgotten, this.#added - Math.min(keysMax, this.#keysMax));
    this.#windowMs = windowMs;
    this.#keysMax = keysMax;
  }

  /** Lets go of up to `most` of those that are not known any more; returns how many. */
  prune(nowMs: number, most: number): number {
    for (let gone = 0; gone < most; gone++) {
      const entry = this.#oldest;
      if (entry === null || this.#isKnown(entry, nowMs)) return gone;
      this.#oldest = entry.next;
      if (this.#oldest === null) this.#newest = null;
      // The key may have come again since.
      if (this.#entries.get(entry.key) === entry) this.#entries.delete(entry.key);
      this.#count(-1, -KEY_BYTES - entry.key.length);
    }
    return most;
  }

  /** The queue is gone, and nobody asks for its keys. */
  drop(): void {
    this.#count(-this.#listed, -this.#bytes);
    this.#entries.clear();
    this.#oldest = null;
    this.#newest = null;
  }

  /** Keys known at `nowMs` whose messages are in the journal, oldest first. */
  entries(nowMs: number): [key: string, id: number, timeMs: number][] {
    const found: [key: string, id: number, timeMs: number][] = [];
    for (let entry = this.#oldest; entry !== null; entry = entry.next)
      if (!entry.isMemory && this.#isKnown(entry, nowMs)) found.push([entry.key, entry.id, entry.timeMs]);
    return found;
  }

  #isKnown({ timeMs, ordinal }: Entry, nowMs: number): boolean {
    return (
      timeMs + this.#windowMs > nowMs &&
      timeMs > this.#forgottenMs &&
      ordinal >= this.#added - this.#keysMax &&
      ordinal >= this.#forgotten
    );
  }

  #count(keys: number, bytes: number): void {
    this.#listed += keys;
    this.#bytes += bytes;
    this.#usage.keys += keys;
    this.#usage.bytes += bytes;
  }
}
