// hot path
/**
 * A first-in first-out list that can be looked into by index. One growing ring:
 *
 *     [ . . c d e f . . ]      head -> c, length 4; at(1) = d; push writes behind f, shift takes c
 */
const FIRST_CAPACITY = 16;

/** Ring buffer of `T`; `push`, `shift` and `at` are O(1). */
export class Deque<T> {
  #items: (T | undefined)[] = new Array(FIRST_CAPACITY).fill(undefined);
  #head = 0;
  #length = 0;

  get length(): number {
    return this.#length;
  }

  /** Element by place, 0 being the oldest. */
  at(index: number): T | undefined {
    if (index < 0 || index >= this.#length) return undefined;
    return this.#items[(this.#head + index) & (this.#items.length - 1)];
  }

  push(item: T): void {
    if (this.#length === this.#items.length) this.#grow();
    this.#items[(this.#head + this.#length++) & (this.#items.length - 1)] = item;
  }

  shift(): T | undefined {
    if (this.#length === 0) return undefined;
    const item = this.#items[this.#head];
    this.#items[this.#head] = undefined;
    this.#head = (this.#head + 1) & (this.#items.length - 1);
    this.#length--;
    return item;
  }

  /** Keeps what `keeps` says true to, in order. O(n). */
  retain(keeps: (item: T) => boolean): void {
    const kept = this.toArray().filter(keeps);
    this.clear();
    for (const item of kept) this.push(item);
  }

  toArray(): T[] {
    const items: T[] = [];
    for (let i = 0; i < this.#length; i++) items.push(this.at(i) as T);
    return items;
  }

  clear(): void {
    this.#items = new Array(FIRST_CAPACITY).fill(undefined);
    this.#head = 0;
    this.#length = 0;
  }

  #grow(): void {
    const items = this.toArray();
    const capacity = this.#items.length * 2;
    this.#items = items as (T | undefined)[];
    for (let i = items.length; i < capacity; i++) this.#items.push(undefined);
    this.#head = 0;
  }
}
