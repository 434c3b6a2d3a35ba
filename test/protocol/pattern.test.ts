/** Patterns of names: what they match, against a slow and plain matcher, and that no pattern is slow. */
import { isPattern, NamePattern } from '@lovage/protocol';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { seedOf } from '../support/random.js';

/** By the letter: a star is nothing, or a character and the star again. */
function plainly(pattern: string, name: string): boolean {
  if (pattern === '') return name === '';
  if (pattern[0] !== '*') return pattern[0] === name[0] && name !== '' && plainly(pattern.slice(1), name.slice(1));
  return plainly(pattern.slice(1), name) || (name !== '' && plainly(pattern, name.slice(1)));
}

describe('a pattern of names', () => {
  test.each([
    ['*', 'anything', true],
    ['orders', 'orders', true],
    ['orders', 'orders.eu', false],
    ['orders.*', 'orders.', true],
    ['orders.*', 'orders', false],
    ['*.dead', 'a.b.dead', true],
    ['a*a', 'a', false],
    ['a*b*a', 'aba', true],
    ['a*ab*b', 'aabb', true],
    ['a*ab*b', 'aab', false],
    ['**', '', true],
  ])('"%s" on "%s" is %s', (pattern, name, matches) => {
    expect(new NamePattern(pattern).matches(name)).toBe(matches);
  });

  test('matches what it says by the letter', () => {
    const text = fc.string({ unit: fc.constantFrom('a', 'b'), maxLength: 12 });
    const pattern = fc.string({ unit: fc.constantFrom('a', 'b', '*'), minLength: 1, maxLength: 8 });
    fc.assert(
      fc.property(pattern, text, (some, name) => new NamePattern(some).matches(name) === plainly(some, name)),
      { numRuns: 5_000, seed: seedOf('patterns') },
    );
  });

  test.each(['', 'a b', 'a?', 'a[b]', 'é', '(a+)+', 'x'.repeat(201), 7, null])('is not %j', (text) => {
    expect(isPattern(text)).toBe(false);
  });

  test('that is made to be slow is not', () => {
    const name = 'a'.repeat(200);
    // Longest parts that nearly match everywhere, and as many stars as there is room for.
    const patterns = [`*${'a'.repeat(98)}b*${'a'.repeat(98)}*`, 'a*'.repeat(99), `${'*a'.repeat(99)}b`];
    const started = performance.now();
    for (const pattern of patterns) {
      const made = new NamePattern(pattern);
      for (let i = 0; i < 10_000; i++) made.matches(name);
    }
    // Some 20 ns a step; one that goes back at every star takes for ever.
    expect(performance.now() - started).toBeLessThan(5_000);
  });
});
