/**
 * An archive in the test's hand: what it is asked takes until the test lets it go, and is refused when the test says so. Behind it is another one, or memory. What was asked is remembered.
 *
 *     store(...) ──► held: the promise waits ── release() ──► done (by the one behind, too), or refused
 */
import {
  type Archive,
  type ArchivedFacts,
  type ArchiveStats,
  FACTS,
  type ResultSlice,
  type Shelf,
} from '../../server/archive/index.js';

export class MemoryArchive implements Archive {
  readonly #shelves = new Map<string, Map<number, ArchivedFacts & { readonly payload: Uint8Array }>>();

  async store({ namespace, era, facts, payloads }: ResultSlice): Promise<void> {
    const key = keyOf({ namespace, era });
    const shelf = this.#shelves.get(key) ?? new Map();
    this.#shelves.set(key, shelf);
    let from = 0;
    for (let at = 0; at < facts.length; at += FACTS) {
      const [id, priority, attempts, expiryMs, flags, bytes] = facts.subarray(at, at + FACTS) as unknown as number[];
      const payload = payloads.slice(from, from + bytes!);
      shelf.set(id!, { priority, attempts, expiryMs, flags, bytes, payload });
      from += bytes!;
    }
  }

  find(shelf: Shelf, id: number, nowMs: number): Uint8Array | null {
    return this.#row(shelf, id, nowMs)?.payload ?? null;
  }

  describe(shelf: Shelf, id: number, nowMs: number): ArchivedFacts | null {
    return this.#row(shelf, id, nowMs);
  }

  count(shelf: Shelf): number {
    return this.#shelves.get(keyOf(shelf))?.size ?? 0;
  }

  hasOthers(isOne: (shelf: Shelf) => boolean): boolean {
    return [...this.#shelves.keys()].some((key) => {
      const [namespace, era] = key.split(' ') as [string, string];
      return !isOne({ namespace, era: Number(era) });
    });
  }

  lastId(): number {
    return Math.max(0, ...[...this.#shelves.values()].flatMap((rows) => [...rows.keys()]));
  }

  async keep(shelves: readonly Shelf[], idsBelow: number): Promise<void> {
    const kept = new Set(shelves.map(keyOf));
    for (const [key, rows] of this.#shelves) {
      if (!kept.has(key)) this.#shelves.delete(key);
      for (const id of rows.keys()) if (id >= idsBelow) rows.delete(id);
    }
  }

  async sweep(nowMs: number): Promise<boolean> {
    for (const rows of this.#shelves.values())
      for (const [id, { expiryMs }] of rows) if (expiryMs > 0 && expiryMs <= nowMs) rows.delete(id);
    return false;
  }

  stats(): ArchiveStats {
    const rows = [...this.#shelves.values()].flatMap((shelf) => [...shelf.values()]);
    const resultBytes = rows.reduce((sum, { bytes }) => sum + bytes, 0);
    return { results: rows.length, resultBytes, fileBytes: 0, failures: 0 };
  }

  async close(): Promise<void> {
    return undefined;
  }

  #row(shelf: Shelf, id: number, nowMs: number) {
    const row = this.#shelves.get(keyOf(shelf))?.get(id) ?? null;
    return row === null || (row.expiryMs > 0 && row.expiryMs <= nowMs) ? null : row;
  }
}

export class HandArchive implements Archive {
  readonly #behind: Archive;
  /** While true, what is asked is carried out at once, and told when the test says so. */
  isHeld = false;
  refusal: Error | null = null;
  /** Results of each store, and names of the calls. */
  readonly stored: number[] = [];
  readonly calls: ('store' | 'keep' | 'sweep')[] = [];
  /** Calls at a time, at most. */
  underWayMax = 0;
  #held: (() => void)[] = [];
  #underWay = 0;

  constructor(behind: Archive = new MemoryArchive()) {
    this.#behind = behind;
  }

  /** Calls that wait for the test. */
  get held(): number {
    return this.#held.length;
  }

  release(): void {
    for (const then of this.#held.splice(0)) then();
  }

  store(slice: ResultSlice): Promise<void> {
    const count = slice.facts.length / FACTS;
    return this.#do('store', async () => {
      await this.#behind.store(slice);
      this.stored.push(count);
    });
  }

  keep(shelves: readonly Shelf[], idsBelow: number): Promise<void> {
    return this.#do('keep', () => this.#behind.keep(shelves, idsBelow));
  }

  sweep(nowMs: number): Promise<boolean> {
    return this.#do('sweep', () => this.#behind.sweep(nowMs));
  }

  find(shelf: Shelf, id: number, nowMs: number): Uint8Array | null {
    return this.#behind.find(shelf, id, nowMs);
  }

  describe(shelf: Shelf, id: number, nowMs: number): ArchivedFacts | null {
    return this.#behind.describe(shelf, id, nowMs);
  }

  count(shelf: Shelf): number {
    return this.#behind.count(shelf);
  }

  hasOthers(isOne: (shelf: Shelf) => boolean): boolean {
    return this.#behind.hasOthers(isOne);
  }

  lastId(): number {
    return this.#behind.lastId();
  }

  stats(): ArchiveStats {
    return this.#behind.stats();
  }

  close(): Promise<void> {
    return this.#behind.close();
  }

  async #do<T>(call: 'store' | 'keep' | 'sweep', work: () => Promise<T>): Promise<T> {
    this.calls.push(call);
    this.underWayMax = Math.max(this.underWayMax, ++this.#underWay);
    try {
      if (this.refusal !== null) throw this.refusal;
      const done = await work();
      if (this.isHeld) await new Promise<void>((then) => this.#held.push(then));
      return done;
    } finally {
      this.#underWay--;
    }
  }
}

function keyOf({ namespace, era }: Shelf): string {
  return `${namespace} ${era}`;
}
