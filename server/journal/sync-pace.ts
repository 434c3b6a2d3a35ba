/**
 * Decides which syncs are done on the event loop. One that a thread does costs two wakes, of the thread and of the loop: where a sync takes 0.17 ms by itself
 * it takes 0.30 through the pool (measured on a virtual machine), and the wakes cost processor time besides. But the loop stands still for a sync of
 * its own, so only small batches are synced there, which leave it nothing to do meanwhile, only one a turn, and only while the disk is quick.
 *
 *     on the loop ── one took SLOW_MS ──► in the background ── CALM_SYNCS in a row were quick ──► on the loop
 */

/** Of a batch: encoding and sending more than this takes about as long as its sync, and goes on beside it. */
const BYTES_MAX = 65_536;
const SLOW_MS = 2;
const CALM_SYNCS = 64;

export class SyncPace {
  /** Quick ones still to come before the loop does one again. */
  #toCalm = 0;
  /** One was done in this turn of the event loop: whoever commits as soon as he may must not keep others from it. */
  #wasThisTurn = false;

  /** Whether a sync of so many bytes is to be done now, on the loop. */
  isOnLoop(bytes: number): boolean {
    if (bytes > BYTES_MAX || this.#toCalm > 0 || this.#wasThisTurn) return false;
    this.#wasThisTurn = true;
    setImmediate(() => {
      this.#wasThisTurn = false;
    });
    return true;
  }

  /** A sync took so long, wherever it was done. */
  took(ms: number): void {
    if (ms >= SLOW_MS) this.#toCalm = CALM_SYNCS;
    else if (this.#toCalm > 0) this.#toCalm -= 1;
  }
}
