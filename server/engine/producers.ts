/**
 * Which publishes of each producer were taken, so that a publish that is sent again after a lost connection or a restart is confirmed and not
 * stored twice. A producer says with each frame up to where it has its confirms, and what lies below is forgotten.
 */

export class Producer {
  readonly namespace: string;
  readonly name: string;
  /** Highest sequence number taken. */
  lastSeq = 0;
  /** Every publish up to here was confirmed and will not be sent again. */
  confirmedSeq = 0;
  usedMs = 0;
  /** Sessions that use this name now. */
  sessions = 0;
  /** first seq, count, first id, ... in rising order of seq, above `confirmedSeq`. */
  ranges: number[] = [];
  #forgotten = 0;

  constructor(namespace: string, name: string) {
    this.namespace = namespace;
    this.name = name;
  }

  /** Remembers that messages `seq ... seq + count - 1` have the ids `id ...`. */
  remember(seq: number, count: number, id: number): void {
    const { ranges } = this;
    const last = ranges.length - 3;
    if (
      last >= this.#forgotten &&
      ranges[last]! + ranges[last + 1]! === seq &&
      ranges[last + 2]! + ranges[last + 1]! === id
    ) {
      ranges[last + 1]! += count;
    } else {
      ranges.push(seq, count, id);
    }
    if (seq + count - 1 > this.lastSeq) this.lastSeq = seq + count - 1;
  }

  /** The id of a publish that was taken and not yet forgotten, 0 if there is none. */
  idOf(seq: number): number {
    const { ranges } = this;
    for (let i = ranges.length - 3; i >= this.#forgotten; i -= 3) {
      const offset = seq - ranges[i]!;
      if (offset >= 0 && offset < ranges[i + 1]!) return ranges[i + 2]! + offset;
    }
    return 0;
  }

  /** Forgets what the producer has its confirms for. Amortised O(1): the array is cut when half of it is forgotten. */
  forgetThrough(confirmedSeq: number): void {
    if (confirmedSeq <= this.confirmedSeq) return;
    this.confirmedSeq = confirmedSeq;
    const { ranges } = this;
    while (
      this.#forgotten < ranges.length &&
      ranges[this.#forgotten]! + ranges[this.#forgotten + 1]! <= confirmedSeq + 1
    )
      this.#forgotten += 3;
    if (this.#forgotten * 2 > ranges.length) {
      ranges.splice(0, this.#forgotten);
      this.#forgotten = 0;
    }
  }

  /** The ranges still remembered. */
  remembered(): number[] {
    return this.ranges.slice(this.#forgotten);
  }
}

export class Producers {
  readonly #max: number;
  readonly #ttlMs: number;
  /** In order of last use. */
  readonly #byName = new Map<string, Producer>();

  /** At most `max` names, each remembered for `ttlMs` after its last publish and its last session. */
  constructor(max: number, ttlMs: number) {
    this.#max = max;
    this.#ttlMs = ttlMs;
  }

  get size(): number {
    return this.#byName.size;
  }

  [Symbol.iterator](): IterableIterator<Producer> {
    return this.#byName.values();
  }

  get(namespace: string, name: string): Producer | null {
    return this.#byName.get(`${namespace} ${name}`) ?? null;
  }

  /** The producer of this name, made if it is new; null when there are too many. */
  use(namespace: string, name: string, nowMs: number): Producer | null {
    const key = `${namespace} ${name}`;
    let producer = this.#byName.get(key);
    if (producer) {
      this.#byName.delete(key);
    } else {
      this.prune(nowMs);
      if (this.#byName.size >= this.#max) return null;
      producer = new Producer(namespace, name);
    }
    producer.usedMs = Math.max(producer.usedMs, nowMs);
    this.#byName.set(key, producer);
    return producer;
  }

  /** Forgets those that nobody has used for the time to live. */
  prune(nowMs: number): void {
    for (const [key, producer] of this.#byName) {
      if (producer.usedMs + this.#ttlMs > nowMs) break;
      if (producer.sessions === 0) this.#byName.delete(key);
    }
  }

  clear(): void {
    this.#byName.clear();
  }
}
