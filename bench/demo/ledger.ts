/** The books of the demo: what was published, and what came back. */
import type { FoundFile } from './files.js';
import type { DigestReport } from './queues.js';

interface Entry {
  readonly bytes: number;
  digest: string | null;
  /** How many times a worker has computed the digest. */
  processed: number;
}

export interface LedgerTotals {
  readonly files: number;
  readonly bytes: number;
  readonly processedOnce: number;
  readonly processedAgain: number;
  readonly lost: number;
}

export class Ledger {
  readonly #entries = new Map<string, Entry>();
  /** Ids of the digests' messages: one that is delivered a second time was not computed a second time. */
  readonly #reports = new Set<number>();
  #done = 0;

  published({ path, bytes }: FoundFile): void {
    this.#entries.set(path, { bytes, digest: null, processed: 0 });
  }

  /** A digest has come, in the message of this id. */
  reported(id: number, { path, digest }: DigestReport): void {
    const entry = this.#entries.get(path);
    if (entry === undefined) throw new Error(`Cannot book "${path}": a digest of a file that was not published`);
    if (this.#reports.has(id)) return;
    this.#reports.add(id);
    if (entry.processed++ === 0) this.#done++;
    entry.digest = digest;
  }

  /** Files with a digest. */
  get done(): number {
    return this.#done;
  }

  /** Files that were published. */
  get size(): number {
    return this.#entries.size;
  }

  totals(): LedgerTotals {
    const entries = [...this.#entries.values()];
    return {
      files: entries.length,
      bytes: entries.reduce((sum, { bytes }) => sum + bytes, 0),
      processedOnce: entries.filter(({ processed }) => processed === 1).length,
      processedAgain: entries.filter(({ processed }) => processed > 1).length,
      lost: entries.filter(({ processed }) => processed === 0).length,
    };
  }

  /** Files with a digest, and the digest. */
  *digests(): Generator<readonly [string, string]> {
    for (const [path, { digest }] of this.#entries) if (digest !== null) yield [path, digest];
  }
}
