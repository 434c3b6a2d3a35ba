/**
 * Revoking: a message is completed from outside, whatever it does, with a result that whoever revokes it gives. From there on it is a result like others, see `results.ts`.
 *
 *     ready, delayed    taken out of its queue
 *     leased, started   taken from its consumer, which is told, once more when it comes back after a lost connection: a later answer is SUPERSEDED
 */
import type { CompleteBatch } from '@lovage/protocol';
import type { Deliveries } from './deliveries.js';
import type { EffectSink } from './effects.js';
import { STATE } from './message-table.js';
import type { Places } from './places.js';
import type { Queue } from './queue.js';
import type { Results } from './results.js';
import type { EngineState } from './state.js';

/** Index of the one result of the frame. */
const THE_RESULT = 0;

export class Revoking {
  readonly #state: EngineState;
  readonly #places: Places;
  readonly #deliveries: Deliveries;
  readonly #results: Results;
  /** Deliveries that were taken back by the command at hand: session, tag, session, ... */
  readonly #calledOff: number[] = [];

  constructor(state: EngineState, places: Places, deliveries: Deliveries, results: Results) {
    this.#state = state;
    this.#places = places;
    this.#deliveries = deliveries;
    this.#results = results;
  }

  /** Takes a message from wherever it is. `flush` must follow. */
  revoke(slot: number, queue: Queue): void {
    const { table, leases } = this.#state;
    if (table.state[slot] === STATE.LEASED || table.state[slot] === STATE.STARTED) {
      const lease = table.prev[slot]!;
      this.#calledOff.push(leases.consumer[lease]!.session.number, leases.tag[lease]!);
      this.#deliveries.revoke(lease, queue);
    } else {
      this.#places.unlink(slot, queue);
      table.dueMs[slot] = 0;
    }
    queue.totals.dropped++;
    this.#results.add(slot, THE_RESULT);
  }

  /** Writes the results, and then tells consumers. */
  flush(namespace: string, result: CompleteBatch, terminate: boolean, out: EffectSink): void {
    this.#results.flush(namespace, result, out);
    const calledOff = this.#calledOff;
    for (let i = 0; i < calledOff.length; i += 2) {
      const session = calledOff[i]!;
      const tag = calledOff[i + 1]!;
      this.#state.session(session).callOff(tag, terminate);
      out.callOff(session, tag, terminate);
    }
    calledOff.length = 0;
  }
}
