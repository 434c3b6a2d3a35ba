/** A set of tags given as ranges, `first, count, first, count, ...`, for lookups. */
export class TagSet {
  /** Ranges by rising first tag. */
  readonly #ranges: readonly (readonly [first: number, end: number])[];

  /** `pairs` as they stand on the wire, in any order. */
  constructor(pairs: readonly number[]) {
    const ranges: [number, number][] = [];
    for (let i = 0; i + 1 < pairs.length; i += 2) ranges.push([pairs[i]!, pairs[i]! + pairs[i + 1]!]);
    this.#ranges = ranges.sort((a, b) => a[0] - b[0]);
  }

  get isEmpty(): boolean {
    return this.#ranges.length === 0;
  }

  has(tag: number): boolean {
    let low = 0;
    let high = this.#ranges.length - 1;
    while (low <= high) {
      const middle = (low + high) >>> 1;
      const [first, end] = this.#ranges[middle]!;
      if (tag < first) high = middle - 1;
      else if (tag >= end) low = middle + 1;
      else return true;
    }
    return false;
  }

  /** Every tag, rising. */
  *[Symbol.iterator](): IterableIterator<number> {
    for (const [first, end] of this.#ranges) for (let tag = first; tag < end; tag++) yield tag;
  }
}
