// hot path
/**
 * A binary min-heap of whole numbers (items) by a number each (keys), with removal from the middle: `positions` remembers where each item
 * stands, as index + 1, 0 for items outside. The array may be shared, as long as an item is in one heap at a time.
 */
export class IndexedHeap {
  #positions: Int32Array;
  #items: Int32Array;
  #keys: Float64Array;
  #size = 0;

  /** `positions` has a place for every item that will ever be added, or is its own and grows with `reserve`. */
  constructor(positions: Int32Array, firstCapacity = 16) {
    this.#positions = positions;
    this.#items = new Int32Array(firstCapacity);
    this.#keys = new Float64Array(firstCapacity);
  }

  /** Makes room for items below `items`. */
  reserve(items: number): void {
    if (items <= this.#positions.length) return;
    const positions = new Int32Array(Math.max(items, this.#positions.length * 2));
    positions.set(this.#positions);
    this.#positions = positions;
  }

  get size(): number {
    return this.#size;
  }

  /** Item with the smallest key, -1 when empty. */
  top(): number {
    return this.#size === 0 ? -1 : this.#items[0]!;
  }

  /** Smallest key, Infinity when empty. */
  topKey(): number {
    return this.#size === 0 ? Number.POSITIVE_INFINITY : this.#keys[0]!;
  }

  has(item: number): boolean {
    return this.#positions[item] !== 0;
  }

  /** Adds an item that is not in the heap. */
  push(item: number, key: number): void {
    if (this.#size === this.#items.length) this.#grow();
    this.#size++;
    this.#up(this.#size - 1, item, key);
  }

  /** Removes and returns the item with the smallest key, -1 when empty. */
  pop(): number {
    const item = this.top();
    if (item >= 0) this.remove(item);
    return item;
  }

  /** Removes an item that is in the heap. */
  remove(item: number): void {
    const at = this.#positions[item]! - 1;
    this.#positions[item] = 0;
    this.#size--;
    if (at === this.#size) return;
    const last = this.#items[this.#size]!;
    const key = this.#keys[this.#size]!;
    if (at > 0 && key < this.#keys[(at - 1) >> 1]!) this.#up(at, last, key);
    else this.#down(at, last, key);
  }

  /** Calls `visit` for every item, in no particular order. */
  forEach(visit: (item: number, key: number) => void): void {
    for (let i = 0; i < this.#size; i++) visit(this.#items[i]!, this.#keys[i]!);
  }

  #up(from: number, item: number, key: number): void {
    let at = from;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (this.#keys[parent]! <= key) break;
      this.#place(at, this.#items[parent]!, this.#keys[parent]!);
      at = parent;
    }
    this.#place(at, item, key);
  }

  #down(from: number, item: number, key: number): void {
    let at = from;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= this.#size) break;
      if (child + 1 < this.#size && this.#keys[child + 1]! < this.#keys[child]!) child++;
      if (this.#keys[child]! >= key) break;
      this.#place(at, this.#items[child]!, this.#keys[child]!);
      at = child;
    }
    this.#place(at, item, key);
  }

  #place(at: number, item: number, key: number): void {
    this.#items[at] = item;
    this.#keys[at] = key;
    this.#positions[item] = at + 1;
  }

  #grow(): void {
    const items = new Int32Array(this.#items.length * 2);
    items.set(this.#items);
    this.#items = items;
    const keys = new Float64Array(this.#keys.length * 2);
    keys.set(this.#keys);
    this.#keys = keys;
  }
}
