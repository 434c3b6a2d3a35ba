/**
 * Chance that can be had again: every random test prints its seed and takes it from LOVAGE_TEST_SEED, a whole number.
 */

/** The seed of this run. `what` names the test in the line that is printed. */
export function seedOf(what: string): number {
  const given = process.env.LOVAGE_TEST_SEED;
  const seed = given === undefined ? Math.floor(Math.random() * 0x7fff_ffff) : Number(given);
  if (!Number.isSafeInteger(seed)) throw new Error(`Cannot use LOVAGE_TEST_SEED "${given}": expected a whole number`);
  console.info(`${what}: seed ${seed} (again with LOVAGE_TEST_SEED=${seed})`);
  return seed;
}

/** Mulberry32: 32 bits of state, good enough to choose bytes and moments. */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** A number in [0, 1). */
  next(): number {
    this.#state = (this.#state + 0x6d2b_79f5) >>> 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  }

  /** A whole number from `min` to `max`, both included. */
  whole(min: number, max: number): number {
    return min + Math.floor(this.next() * (max - min + 1));
  }

  pick<T>(choices: readonly T[]): T {
    return choices[this.whole(0, choices.length - 1)]!;
  }

  bytes(length: number): Uint8Array {
    return Uint8Array.from({ length }, () => this.whole(0, 255));
  }
}
