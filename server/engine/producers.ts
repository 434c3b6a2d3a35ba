/**
 * Which publishes of each producer were taken, so that a publish that is sent again after a lost connection or a restart is confirmed and not
 * stored twice. A producer says with each frame up to where it has its confirms, and what lies below is forgotten.
 */

/** Numbers of one remembered range: first seq, count, first id, and 1 if its messages are kept in memory only. */
const FIELDS = 4;
/** Ranges remembered of one producer; of one that never says what it has its confirms for, the oldest go. */
const RANGES_MAX = 65_536;

export class Producer {
  readonly namespace: string;
  readonly name: string;
  /** Highest sequence number taken. */
  lastSeq = 0;
  /** Every publish up to here was confirmed and will not be sent again. */
  confirmedSeq = 0;
  usedMs = 0;
  /** When it took its place in the order of use. */
  listedMs = 0;
  /** Sessions that use this name now. */
  sessions = 0;
  /** Ranges above `confirmedSeq` in the order in which they were taken. */
  readonly #ranges: number[] = [];
  /** Numbers at the head of `#ranges` that are forgotten. */
  #forgotten = 0;

  constructor(namespace: string, name: string) {
    this.namespace = namespace;
    this.name = name;
  }

  /** Remembers that messages `seq ... seq + count - 1` have the ids `id ...`. */
  remember(seq: number, count: number, id: number, isMemory: boolean): void {
    const ranges = this.#ranges;
    const last = ranges.length - FIELDS;
    const kind = isMemory ? 1 : 0;
    if (
      last >= this.#forgotten &&
      ranges[last]! + ranges[last + 1]! === seq &&
      ranges[last + 2]! + ranges[last + 1]! === id &&
      ranges[last + 3] === kind
    ) {
      ranges[last + 1]! += count;
    } else {
      ranges.push(seq, count, id, kind);
      if (ranges.length - this.#forgotten > RANGES_MAX * FIELDS) this.#forgotten += FIELDS;
      this.#cut();
    }
    if (seq + count - 1 > this.lastSeq) this.lastSeq = seq + count - 1;
  }

  /** The id of a publish that was taken and not yet forgotten, 0 if there is none. */
  idOf(seq: number): number {
    const ranges = this.#ranges;
    for (let i = ranges.length - FIELDS; i >= this.#forgotten; i -= FIELDS) {
      const offset = seq - ranges[i]!;
      if (offset >= 0 && offset < ranges[i + 1]!) return ranges[i + 2]! + offset;
    }
    return 0;
  }

  /** Forgets what the producer has its confirms for. */
  forgetThrough(confirmedSeq: number): void {
    if (confirmedSeq <= this.confirmedSeq) return;
    this.confirmedSeq = confirmedSeq;
    const ranges = this.#ranges;
    while (
      this.#forgotten < ranges.length &&
      ranges[this.#forgotten]! + ranges[this.#forgotten + 1]! <= confirmedSeq + 1
    )
      this.#forgotten += FIELDS;
    this.#cut();
  }

  /** What outlives the broker: first seq, count, first id, ... of the messages that are in the journal. */
  remembered(): number[] {
    const found: number[] = [];
    const ranges = this.#ranges;
    for (let i = this.#forgotten; i < ranges.length; i += FIELDS)
      if (ranges[i + 3] === 0) found.push(ranges[i]!, ranges[i + 1]!, ranges[i + 2]!);
    return found;
  }

  /** Amortised O(1): the array is cut when half of it is forgotten. */
  #cut(): void {
    if (this.#forgotten * 2 <= this.#ranges.length) return;
    this.#ranges.splice(0, this.#forgotten);
    this.#forgotten = 0;
  }
}

export class Producers {
  readonly #max: number;
  readonly #ttlMs: number;
  /** In the order in which they were listed: at the latest one time to live after that, each is looked at. */
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
    producer.listedMs = producer.usedMs;
    this.#byName.set(key, producer);
    return producer;
  }

  /** Forgets those that nobody has used for the time to live; those that were used since they were listed go to the end. */
  prune(nowMs: number): void {
    for (const [key, producer] of this.#byName) {
      if (producer.listedMs + this.#ttlMs > nowMs) break;
      this.#byName.delete(key);
      if (producer.sessions === 0 && producer.usedMs + this.#ttlMs <= nowMs) continue;
      producer.listedMs = nowMs;
      this.#byName.set(key, producer);
    }
  }

  /** After a restart, which may have come late: the time that nobody could publish counts for nobody. */
  awaitReturn(nowMs: number): void {
    for (const producer of this.#byName.values()) {
      producer.usedMs = nowMs;
      producer.listedMs = nowMs;
    }
  }

  clear(): void {
    this.#byName.clear();
  }
}
