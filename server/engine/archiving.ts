/**
 * Results on their way to the archive. The broker takes the oldest, stores them, and only when that is on disk has them settled here:
 *
 *     READY in "lovage.results" ──take──► (the same) ──stored──► settle record "archived" ──► gone from here, found in the archive
 *
 * Between the two nothing of a result changes, so a crash there means that it is stored once more. What has happened to it meanwhile (it has expired, was purged, moved) wins.
 */
import type { ResultsArchivedCommand } from './command.js';
import type { EffectSink } from './effects.js';
import { IdRuns } from './id-runs.js';
import { FLAG, STATE } from './message-table.js';
import type { Places } from './places.js';
import type { Queue } from './queue.js';
import type { EngineState } from './state.js';

/** Results that are looked at for a slice, and passed over because they are gone. */
const LOOKED_MAX = 2_000;
const NEVER = Number.POSITIVE_INFINITY;
/** A message with one of these was brought here by hand, and the archive has no columns for it. */
const NO_RESULT = FLAG.HISTORY | FLAG.FAILED | FLAG.RATED;

export class Archiving {
  readonly #state: EngineState;
  readonly #places: Places;
  readonly #archived = new IdRuns();

  constructor(state: EngineState, places: Places) {
    this.#state = state;
    this.#places = places;
  }

  /** There is an archive: from now on it is known when results came. To be called before anything is replayed. */
  begin(): void {
    this.#state.arrivals.isOn = true;
  }

  /** After replay: what is there has come just now. */
  recovered(): void {
    const { arrivals, queuesByName, table, nowMs } = this.#state;
    if (!arrivals.isOn) return;
    for (const queue of queuesByName.values()) {
      if (!queue.isResults) continue;
      queue.ready.forEach((slot) => {
        arrivals.add(queue, table.id[slot]!, nowMs);
      });
    }
  }

  /** ms at which the oldest result came that a queue has; Infinity if it has none that may be archived. */
  oldestMs(queue: Queue): number {
    // What expires there is to become a dead letter.
    if (queue.settings.deadLetterQueue !== null) return NEVER;
    this.#state.arrivals.passGone(queue, LOOKED_MAX);
    return this.#state.arrivals.firstMs(queue);
  }

  /**
   * Takes up to `most` results of a queue, the oldest first, that came until `untilMs`, as long as their payloads are within `bytesMax` (but for the last). Returns their slots by rising id. `isReady` says whether the bytes
   * of a slot are on disk. Who does not store them in the end gives them back.
   */
  take(
    queue: Queue,
    { most, untilMs, bytesMax }: { readonly most: number; readonly untilMs: number; readonly bytesMax: number },
    isReady: (slot: number) => boolean,
  ): number[] {
    const { arrivals, table } = this.#state;
    const slots: number[] = [];
    for (let bytes = 0, looked = 0; slots.length < most && bytes < bytesMax && looked < LOOKED_MAX; looked++) {
      const firstMs = arrivals.firstMs(queue);
      if (firstMs === NEVER || firstMs > untilMs) break;
      const slot = table.find(arrivals.first(queue));
      if (slot >= 0 && !isReady(slot)) break;
      arrivals.drop(queue);
      if (slot < 0 || !this.#isResult(slot, queue) || isSwept(queue, table.id[slot]!)) continue;
      slots.push(slot);
      bytes += table.length[slot]!;
    }
    return slots.sort((a, b) => table.id[a]! - table.id[b]!);
  }

  /** Results that were taken and not stored have come anew. */
  giveBack(queue: Queue, ids: readonly number[]): void {
    for (const id of ids) this.#state.arrivals.add(queue, id, this.#state.nowMs);
  }

  /** Results are in the archive. */
  settle({ queue: index, era, ids }: ResultsArchivedCommand, out: EffectSink): void {
    const { table, queues } = this.#state;
    const queue = queues[index];
    // What was purged meanwhile is swept by its purge.
    if (queue === undefined || queue.isDeleted || queue.era !== era) return;
    for (const id of ids) {
      const slot = table.find(id);
      if (slot < 0 || !this.#isResult(slot, queue)) continue;
      this.#places.unlink(slot, queue);
      queue.totals.archived++;
      if (!table.isMemory(slot)) this.#archived.add(id);
      this.#places.forget(slot, queue);
    }
    if (!this.#archived.isEmpty) out.record({ type: 'settle', reason: 'archived', ids: this.#archived.pairs });
    this.#archived.clear();
  }

  #isResult(slot: number, { index }: Queue): boolean {
    const { table } = this.#state;
    const state = table.state[slot];
    const isReady = state === STATE.READY || state === STATE.RETURNED;
    return table.queue[slot] === index && isReady && (table.flags[slot]! & NO_RESULT) === 0;
  }
}

/** Whether the message goes with the purge or delete that is under way: in the archive it would be there again. */
function isSwept({ isDeleted, purgeBelowId }: Queue, id: number): boolean {
  return isDeleted || id < purgeBelowId;
}
