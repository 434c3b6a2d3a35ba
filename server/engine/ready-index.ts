// hot path
/**
 * The waiting messages of one queue: the most urgent first, and inside a priority by id, which is journal order (promise P3).
 *
 *     bitmap of 256 priorities ──► highest ──► level { list: 17 ⇄ 18 ⇄ 40,  returned: heap(12, 31) }     next is 12
 *
 * Fresh messages have the highest id yet, so they are appended to the list and it stays sorted. Whatever comes back (returned, due, copied
 * forward) goes to a heap by id beside it, and the smaller of the two heads is next. So every message takes its old place, at O(log r)
 * for r messages that came back, wherever in a long backlog that place is.
 */
import { IndexedHeap } from '../collections/indexed-heap.js';
import { PriorityBitmap } from '../collections/priority-bitmap.js';
import { type MessageTable, STATE } from './message-table.js';

interface Level {
  head: number;
  tail: number;
  returned: IndexedHeap | null;
}

export class ReadyIndex {
  readonly #table: MessageTable;
  readonly #bitmap = new PriorityBitmap();
  readonly #levels: (Level | undefined)[] = [];
  #size = 0;

  constructor(table: MessageTable) {
    this.#table = table;
  }

  get size(): number {
    return this.#size;
  }

  /** Adds a message in its place by priority and id, and sets its state. */
  add(slot: number): void {
    const table = this.#table;
    const priority = table.priority[slot]!;
    const level = this.#levels[priority] ?? this.#addLevel(priority);
    if (level.tail < 0 && (level.returned === null || level.returned.size === 0)) this.#bitmap.add(priority);
    this.#size++;
    const { tail } = level;
    if (tail >= 0 && table.id[tail]! > table.id[slot]!) {
      level.returned ??= new IndexedHeap(table.prev);
      table.state[slot] = STATE.RETURNED;
      table.prev[slot] = 0;
      level.returned.push(slot, table.id[slot]!);
      return;
    }
    table.state[slot] = STATE.READY;
    table.prev[slot] = tail;
    table.next[slot] = -1;
    if (tail < 0) level.head = slot;
    else table.next[tail] = slot;
    level.tail = slot;
  }

  /** The next message to deliver, -1 if none waits. */
  peek(): number {
    const priority = this.#bitmap.highest();
    return priority < 0 ? -1 : this.#oldest(this.#levels[priority]!);
  }

  /** The oldest message of the lowest priority, -1 if none waits. */
  peekLowest(): number {
    const priority = this.#bitmap.lowest();
    return priority < 0 ? -1 : this.#oldest(this.#levels[priority]!);
  }

  /** Priorities of the most urgent messages, at most so many, the highest first. */
  priorities(limit: number): number[] {
    const found: number[] = [];
    for (let priority = this.#bitmap.highest(); priority >= 0 && found.length < limit; priority--) {
      const level = this.#levels[priority];
      if (level === undefined) continue;
      let returned = level.returned?.size ?? 0;
      for (; returned > 0 && found.length < limit; returned--) found.push(priority);
      for (let slot = level.head; slot >= 0 && found.length < limit; slot = this.#table.next[slot]!)
        found.push(priority);
    }
    return found;
  }

  /** A waiting message with an id below `id`, the smallest of the most urgent priority that has one; -1 if there is none. */
  peekBelow(id: number): number {
    for (let priority = this.#bitmap.highest(); priority >= 0; priority--) {
      const level = this.#levels[priority];
      if (level === undefined) continue;
      if (level.head >= 0 && this.#table.id[level.head]! < id) return level.head;
      if (level.returned !== null && level.returned.topKey() < id) return level.returned.top();
    }
    return -1;
  }

  /** Calls `visit` with every waiting message, in no particular order. */
  forEach(visit: (slot: number) => void): void {
    for (const level of this.#levels) {
      if (level === undefined) continue;
      for (let slot = level.head; slot >= 0; slot = this.#table.next[slot]!) visit(slot);
      level.returned?.forEach(visit);
    }
  }

  /** Takes a waiting message out. */
  remove(slot: number): void {
    const table = this.#table;
    const priority = table.priority[slot]!;
    const level = this.#levels[priority]!;
    if (table.state[slot] === STATE.RETURNED) {
      level.returned!.remove(slot);
    } else {
      const prev = table.prev[slot]!;
      const next = table.next[slot]!;
      if (prev < 0) level.head = next;
      else table.next[prev] = next;
      if (next < 0) level.tail = prev;
      else table.prev[next] = prev;
    }
    this.#size--;
    if (level.head < 0 && (level.returned === null || level.returned.size === 0)) this.#bitmap.delete(priority);
  }

  #oldest({ head, returned }: Level): number {
    if (returned === null || returned.size === 0) return head;
    return head < 0 || returned.topKey() < this.#table.id[head]! ? returned.top() : head;
  }

  #addLevel(priority: number): Level {
    const level: Level = { head: -1, tail: -1, returned: null };
    this.#levels[priority] = level;
    return level;
  }
}
