// hot path
/** A growing set of small whole numbers that finds the next member from any place on, word by word. */
const NO_WORDS = new Int32Array(0);

export class BitSet {
  #words = NO_WORDS;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  has(index: number): boolean {
    return ((this.#words[index >> 5] ?? 0) & (1 << (index & 31))) !== 0;
  }

  add(index: number): void {
    if (this.has(index)) return;
    const word = index >> 5;
    if (word >= this.#words.length) {
      const grown = new Int32Array(Math.max(word + 1, this.#words.length * 2));
      grown.set(this.#words);
      this.#words = grown;
    }
    this.#words[word]! |= 1 << (index & 31);
    this.#size++;
  }

  delete(index: number): void {
    if (!this.has(index)) return;
    this.#words[index >> 5]! &= ~(1 << (index & 31));
    this.#size--;
  }

  /** The smallest member that is at least `from`; -1 if there is none. */
  next(from: number): number {
    if (this.#size === 0) return -1;
    let word = from >> 5;
    if (word >= this.#words.length) return -1;
    let bits = this.#words[word]! & (-1 << (from & 31));
    while (bits === 0) {
      word++;
      if (word >= this.#words.length) return -1;
      bits = this.#words[word]!;
    }
    return (word << 5) + 31 - Math.clz32(bits & -bits);
  }

  /** As `next`, going on from the start when nothing is left behind `from`; -1 only when the set is empty. */
  nextAround(from: number): number {
    const found = this.next(from);
    return found >= 0 ? found : this.next(0);
  }
}
