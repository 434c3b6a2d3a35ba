/**
 * Goes through the messages of one queue by rising id, a step at a time, so that no request holds the event loop for more than some 5 ms:
 *
 *     a queue of few messages     all of them from its own lists, whatever waits in others: O(its messages)
 *     a queue of many             ids of the table, `BLOCKS_MAX` blocks of 64 at a step
 *
 * An id is seen once however the queue changes between two steps, and what is published after the first one may be seen or not.
 */
import type { MessageFilter, MessageState } from '@lovage/protocol';
import { type MessageTable, STATE } from './message-table.js';
import type { Queue } from './queue.js';
import type { EngineState } from './state.js';

/** Messages of a queue, and unsettled ones of all, up to which its own lists are gone through: some 2 ms of work. */
const FEW = 16_384;
/** Blocks of 64 ids in one step: some 2 ms of work, with finding them among those of ten million messages. */
const BLOCKS_MAX = 256;

const STATES: Readonly<Record<number, MessageState>> = {
  [STATE.READY]: 'ready',
  [STATE.RETURNED]: 'ready',
  [STATE.DELAYED]: 'delayed',
  [STATE.LEASED]: 'leased',
  [STATE.STARTED]: 'started',
};

/** State of a message as clients know it; null of one that is settled already and only waits to be sent. */
export function stateOf(table: MessageTable, slot: number): MessageState | null {
  return STATES[table.state[slot]!] ?? null;
}

export class MessageWalk {
  readonly #state: EngineState;

  constructor(state: EngineState) {
    this.#state = state;
  }

  /** Slot of a message of the queue, -1 if there is none of the id. */
  find(queue: Queue, id: number): number {
    const { table } = this.#state;
    const slot = table.find(id);
    return slot >= 0 && table.queue[slot] === queue.index && stateOf(table, slot) !== null ? slot : -1;
  }

  /**
   * Calls `visit` with the slots that fit, by rising id from behind `after`, until it returns false. Returns where to go on: the last id that was looked at,
   * null if nothing is left. `visit` may change and remove what it is given.
   */
  step(queue: Queue, filter: MessageFilter, after: number, visit: (slot: number) => boolean): number | null {
    const { leases, table } = this.#state;
    const first = Math.max(after + 1, filter.idMin ?? 0);
    const below = filter.idBelow ?? Number.POSITIVE_INFINITY;
    const isFew = queue.size <= FEW && leases.size <= FEW;
    const found = isFew ? { ids: this.#own(queue, first, below), last: null } : this.#some(first, below);
    for (const id of found.ids) {
      const slot = this.find(queue, id);
      if (slot < 0 || !fits(table, slot, filter)) continue;
      if (!visit(slot)) return id;
    }
    return found.last;
  }

  /** Ids of the queue's messages in a range, by rising id. */
  #own(queue: Queue, first: number, below: number): readonly number[] {
    const { table, leases } = this.#state;
    const ids: number[] = [];
    const add = (slot: number): void => {
      const id = table.id[slot]!;
      if (id >= first && id < below) ids.push(id);
    };
    queue.ready.forEach(add);
    for (let slot = queue.delayedHead; slot >= 0; slot = table.next[slot]!) add(slot);
    if (queue.leased + queue.started > 0)
      leases.forEach((lease) => {
        const slot = leases.slot[lease]!;
        if (slot >= 0 && table.queue[slot] === queue.index) add(slot);
      });
    return ids.sort((a, b) => a - b);
  }

  /** Some ids of the table in a range, and the last one that was looked for. */
  #some(first: number, below: number): { readonly ids: readonly number[]; readonly last: number | null } {
    const { table } = this.#state;
    const blocks = table.blocksFrom(first, BLOCKS_MAX);
    const ids: number[] = [];
    for (const start of blocks)
      for (let id = Math.max(start, first); id < Math.min(start + 64, below); id++)
        if (table.find(id) >= 0) ids.push(id);
    const end = (blocks.at(-1) ?? 0) + 63;
    return { ids, last: blocks.length < BLOCKS_MAX || end + 1 >= below ? null : end };
  }
}

function fits(table: MessageTable, slot: number, filter: MessageFilter): boolean {
  const { state, priorityMin = 0, priorityMax = 255, reason, from } = filter;
  const priority = table.priority[slot]!;
  if (priority < priorityMin || priority > priorityMax) return false;
  if (state !== undefined && stateOf(table, slot) !== state) return false;
  if (reason === undefined && from === undefined) return true;
  const last = table.historyOf(slot).at(-1);
  return last !== undefined && (reason ?? last.reason) === last.reason && (from ?? last.queue) === last.queue;
}
