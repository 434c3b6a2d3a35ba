// hot path
/** A growing list of numbers that keeps its memory when it is cleared: an array gives it up, and what is filled again and again is then garbage each time. */
const LENGTH_MIN = 16;
/** Numbers above which the memory is given up all the same. */
const KEPT_MAX = 16_384;

export class NumberList {
  /** The numbers, and behind `length` whatever was there before. */
  values = new Float64Array(LENGTH_MIN);
  length = 0;

  push(value: number): void {
    if (this.length === this.values.length) this.#grow();
    this.values[this.length++] = value;
  }

  clear(): void {
    this.length = 0;
    if (this.values.length > KEPT_MAX) this.values = new Float64Array(LENGTH_MIN);
  }

  #grow(): void {
    const grown = new Float64Array(this.length * 2);
    grown.set(this.values);
    this.values = grown;
  }
}
