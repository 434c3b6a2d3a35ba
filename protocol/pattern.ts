/**
 * Patterns of names: `*` stands for any characters, also none; every other character for itself. No regular expressions: a pattern is cut at its stars,
 * the first part must begin the name, the last must end it, and those between are found one behind the other, each at its first place. A part is found
 * with the table of Knuth, Morris and Pratt, so that a match costs at most so many steps as name and pattern have characters together.
 */
import { LIMITS } from './limits.js';

const PATTERN = new RegExp(`^[A-Za-z0-9_.:/*-]{1,${LIMITS.nameLengthMax}}$`);

/** True for a pattern of names: 1-200 of `A-Z a-z 0-9 _ . : / - *`. */
export function isPattern(pattern: unknown): pattern is string {
  return typeof pattern === 'string' && PATTERN.test(pattern);
}

/** Part of a pattern between two stars. `borders[i]`: length of the longest proper prefix of the part that ends at i. */
interface Part {
  readonly text: string;
  readonly borders: readonly number[];
}

export class NamePattern {
  readonly #first: string;
  readonly #last: string;
  readonly #middle: readonly Part[];
  readonly #isExact: boolean;

  /** `pattern` is one by `isPattern`. */
  constructor(pattern: string) {
    const parts = pattern.split('*');
    this.#isExact = parts.length === 1;
    this.#first = parts[0]!;
    this.#last = parts.at(-1)!;
    this.#middle = parts
      .slice(1, -1)
      .filter((text) => text !== '')
      .map((text) => ({ text, borders: bordersOf(text) }));
  }

  matches(name: string): boolean {
    if (this.#isExact) return name === this.#first;
    const end = name.length - this.#last.length;
    if (end < this.#first.length || !name.startsWith(this.#first) || !name.endsWith(this.#last)) return false;
    let at = this.#first.length;
    for (const part of this.#middle) {
      at = endOf(part, name, at, end);
      if (at < 0) return false;
    }
    return true;
  }
}

/** True if one of the patterns matches. */
export function matchesAny(patterns: readonly NamePattern[], name: string): boolean {
  return patterns.some((pattern) => pattern.matches(name));
}

function bordersOf(text: string): number[] {
  const borders = [0];
  for (let i = 1, border = 0; i < text.length; i++) {
    while (border > 0 && text[i] !== text[border]) border = borders[border - 1]!;
    if (text[i] === text[border]) border++;
    borders.push(border);
  }
  return borders;
}

/** Index behind the part's first place in `name` from `from` on and before `end`; -1 if there is none. */
function endOf({ text, borders }: Part, name: string, from: number, end: number): number {
  for (let i = from, found = 0; i < end; i++) {
    while (found > 0 && name[i] !== text[found]) found = borders[found - 1]!;
    if (name[i] === text[found]) found++;
    if (found === text.length) return i + 1;
  }
  return -1;
}
