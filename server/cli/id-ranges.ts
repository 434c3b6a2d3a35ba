/** Ids that mostly follow each other, for people to read: `1-1000, 1004`. Keeps a bounded number of ranges however many ids come. */

const RANGES_MAX = 20;

export class IdRanges {
  count = 0;
  readonly #ranges: { readonly first: number; last: number }[] = [];
  #isCut = false;

  add(id: number): void {
    this.count++;
    const range = this.#ranges.at(-1);
    if (range !== undefined && !this.#isCut && id === range.last + 1) range.last = id;
    else if (this.#ranges.length < RANGES_MAX) this.#ranges.push({ first: id, last: id });
    else this.#isCut = true;
  }

  toString(): string {
    const ranges = this.#ranges.map(({ first, last }) => (first === last ? `${first}` : `${first}-${last}`));
    return `${ranges.join(', ')}${this.#isCut ? ', …' : ''}`;
  }
}
