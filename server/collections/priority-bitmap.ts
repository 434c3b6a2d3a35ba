// hot path
/**
 * 256 bits and the highest and the lowest one that is set, in constant time: eight words, and a summary that has a bit for each word that is not empty.
 *
 *     summary  0 0 0 0 0 1 0 1          word 2 and word 0 hold something
 *     words[2] ...1.......              bit 23 of word 2 = priority 2 * 32 + 23
 */
export class PriorityBitmap {
  readonly #words = new Int32Array(8);
  #summary = 0;

  get isEmpty(): boolean {
    return this.#summary === 0;
  }

  has(priority: number): boolean {
    return (this.#words[priority >> 5]! & (1 << (priority & 31))) !== 0;
  }

  add(priority: number): void {
    const word = priority >> 5;
    this.#words[word]! |= 1 << (priority & 31);
    this.#summary |= 1 << word;
  }

  delete(priority: number): void {
    const word = priority >> 5;
    this.#words[word]! &= ~(1 << (priority & 31));
    if (this.#words[word] === 0) this.#summary &= ~(1 << word);
  }

  /** The highest priority in the set, -1 if there is none. */
  highest(): number {
    if (this.#summary === 0) return -1;
    const word = 31 - Math.clz32(this.#summary);
    return (word << 5) + 31 - Math.clz32(this.#words[word]!);
  }

  /** The lowest priority in the set, -1 if there is none. */
  lowest(): number {
    if (this.#summary === 0) return -1;
    const word = lowestBit(this.#summary);
    return (word << 5) + lowestBit(this.#words[word]!);
  }
}

function lowestBit(bits: number): number {
  return 31 - Math.clz32(bits & -bits);
}
