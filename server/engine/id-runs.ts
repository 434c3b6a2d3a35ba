/** Message ids as `first, count` pairs; ids that come in rising order extend the last pair. */
export class IdRuns {
  readonly pairs: number[] = [];

  get isEmpty(): boolean {
    return this.pairs.length === 0;
  }

  add(id: number): void {
    const { pairs } = this;
    const last = pairs.length - 2;
    if (last >= 0 && pairs[last]! + pairs[last + 1]! === id) pairs[last + 1]!++;
    else pairs.push(id, 1);
  }

  clear(): void {
    this.pairs.length = 0;
  }
}
