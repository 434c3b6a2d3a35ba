/** A bound on messages per second: a bucket that holds one second's worth and fills evenly. A frame is taken whole while anything is in it, and what is too much is owed. */
export class PublishRate {
  readonly perSecond: number;
  #level: number;
  #atMs: number;

  /** `nowMs` is monotonic. */
  constructor(perSecond: number, nowMs: number) {
    this.perSecond = perSecond;
    this.#level = perSecond;
    this.#atMs = nowMs;
  }

  /** Takes `count` messages; false, and nothing is taken, when the second is used up. */
  take(count: number, nowMs: number): boolean {
    this.#level = Math.min(this.perSecond, this.#level + ((nowMs - this.#atMs) * this.perSecond) / 1_000);
    this.#atMs = nowMs;
    if (this.#level <= 0) return false;
    this.#level -= count;
    return true;
  }

  /** ms until messages are taken again. */
  waitMs(): number {
    return this.#level > 0 ? 0 : Math.ceil(((1 - this.#level) * 1_000) / this.perSecond);
  }
}
