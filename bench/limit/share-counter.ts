/** Turns a share into whole frames: of 0.4 frames for each, the third, fifth, eighth, ... gets one. */
export class ShareCounter {
  readonly #share: number;
  #owed = 0;

  constructor(share: number) {
    this.#share = share;
  }

  /** How many frames `count` more of the others entail. */
  add(count: number): number {
    this.#owed += count * this.#share;
    const frames = Math.floor(this.#owed);
    this.#owed -= frames;
    return frames;
  }
}
