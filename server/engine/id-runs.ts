// hot path
/** Message ids as `first, count` pairs; ids that come in rising order extend the last pair. */

/** Numbers above which the memory is given up when it is cleared. */
const KEPT_MAX = 16_384;

export class IdRuns {
  /** The pairs, and behind `#length` whatever was there before: an array that is emptied gives its memory up, and growing it again is then garbage each time. */
  #numbers: number[] = [];
  #length = 0;

  get isEmpty(): boolean {
    return this.#length === 0;
  }

  /** first, count, first, count, ...; valid until the next `add`. */
  get pairs(): readonly number[] {
    const numbers = this.#numbers;
    if (numbers.length > this.#length) numbers.length = this.#length;
    return numbers;
  }

  add(id: number): void {
    const numbers = this.#numbers;
    const last = this.#length - 2;
    if (last >= 0 && numbers[last]! + numbers[last + 1]! === id) {
      numbers[last + 1]!++;
      return;
    }
    numbers[this.#length++] = id;
    numbers[this.#length++] = 1;
  }

  clear(): void {
    this.#length = 0;
    if (this.#numbers.length > KEPT_MAX) this.#numbers = [];
  }
}
