/**
 * Goes through the messages of one queue by rising id, a step at a time, so that no request holds the event loop for more than some 5 ms:
 *
 *     a queue of few messages     all of them from its own lists, whatever waits in others: O(its messages)
 *     a queue of many             ids of the table, by blocks of 64: `BLOCKS_MAX` with messages and `GAPS_MAX` without at a step
 *
 * With headers to compare, which have to be read, a step ends sooner. An id is seen once however the queue changes between two steps, and what is published after the first one may be seen or not.
 */
import type { MessageFilter, MessageState } from '@lovage/protocol';
import type { EffectSink } from './effects.js';
import { HeaderFilter } from './header-filter.js';
import { type MessageTable, STATE } from './message-table.js';
import type { Queue } from './queue.js';
import type { EngineState } from './state.js';

/** Messages of a queue, and unsettled ones of all, up to which its own lists are gone through: some 2 ms of work. */
const FEW = 16_384;
/** Blocks of 64 ids that are gone through in one step: some 1 ms of work. */
const BLOCKS_MAX = 256;
/** Blocks that are found empty in one step: 2 ms of work at most. When all of them are, the next that is not is looked for among all. */
const GAPS_MAX = 20_000;
const BLOCK = 64;

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

  /** Slot of a message of any queue of the namespace that is not done yet, -1 if there is none of the id. */
  findIn(namespace: string, id: number): number {
    const { table } = this.#state;
    const slot = table.find(id);
    if (slot < 0 || stateOf(table, slot) === null) return -1;
    const queue = this.#state.queueOf(slot);
    return queue.namespace === namespace && !queue.isResults && !queue.isDeleted ? slot : -1;
  }

  /**
   * Calls `visit` with the slots that fit, by rising id from behind `after`, until it returns false. Returns where to go on: the last id that was looked at,
   * null if nothing is left. `visit` may change and remove what it is given. Headers are read from `source`.
   */
  step(
    queue: Queue,
    filter: MessageFilter,
    after: number,
    visit: (slot: number) => boolean,
    source: Pick<EffectSink, 'headersOf'>,
  ): number | null {
    const { leases, table } = this.#state;
    const headers = filter.headers === undefined ? null : new HeaderFilter(filter.headers, source);
    const first = Math.max(after + 1, filter.idMin ?? 0);
    const below = filter.idBelow ?? Number.POSITIVE_INFINITY;
    const isFew = queue.size <= FEW && leases.size <= FEW;
    const look = (id: number): boolean => {
      const slot = this.find(queue, id);
      if (slot < 0 || !fits(table, slot, filter)) return true;
      if (headers === null) return visit(slot);
      return (!headers.fits(slot) || visit(slot)) && !headers.isSpent;
    };
    if (!isFew) return this.#eachBlock(first, Math.min(below, this.#state.nextId), look);
    for (const id of this.#own(queue, first, below)) if (!look(id)) return id;
    return null;
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

  /** Calls `look` with ids of the table until it returns false, or the step is over. Returns the last id that was looked at, null if nothing is left. */
  #eachBlock(first: number, below: number, look: (id: number) => boolean): number | null {
    const { table } = this.#state;
    let blocks = 0;
    let gaps = 0;
    for (let start = first - (first % BLOCK); start < below; start += BLOCK) {
      if (blocks === BLOCKS_MAX) return start - 1;
      if (gaps === GAPS_MAX) return blocks > 0 ? start - 1 : behindGap(table.nextBlock(start), below);
      if (!table.hasBlock(start)) {
        gaps++;
        continue;
      }
      blocks++;
      for (let id = Math.max(start, first); id < Math.min(start + BLOCK, below); id++) if (!look(id)) return id;
    }
    return null;
  }
}

/** The last id that needs no look, before the block in which the next message is; null if there is none. */
function behindGap(next: number, below: number): number | null {
  return next < below ? next - 1 : null;
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
