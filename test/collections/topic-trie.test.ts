import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { TopicTrie } from '../../server/collections/topic-trie.js';
import { fits } from '../engine/exchange-model.js';
import { seedOf } from '../support/random.js';

function words(text: string): string[] {
  return text === '' ? [] : text.split('.');
}

/** The patterns that a key matches, in order of their text. */
function matches(trie: TopicTrie<string>, key: string): string[] {
  const found: string[] = [];
  trie.match(words(key), (pattern) => found.push(pattern));
  return found.sort();
}

function trieOf(...patterns: string[]): TopicTrie<string> {
  const trie = new TopicTrie<string>();
  for (const pattern of patterns) trie.add(words(pattern), pattern);
  return trie;
}

describe('topic trie', () => {
  test('matches words, one word and any number of words', () => {
    const trie = trieOf('a.b', 'a.*', 'a.#', '#.b', '*', '#', '', 'a.*.c', '#.#');
    expect(matches(trie, 'a.b')).toEqual(['#', '#.#', '#.b', 'a.#', 'a.*', 'a.b']);
    expect(matches(trie, 'a')).toEqual(['#', '#.#', '*', 'a.#']);
    expect(matches(trie, '')).toEqual(['', '#', '#.#']);
    expect(matches(trie, 'a.x.c')).toEqual(['#', '#.#', 'a.#', 'a.*.c']);
    expect(matches(trie, 'b')).toEqual(['#', '#.#', '#.b', '*']);
  });

  test('takes an empty word of a key for a word', () => {
    const trie = trieOf('a.*.b', 'a.b', 'a.#');
    expect(matches(trie, 'a..b')).toEqual(['a.#', 'a.*.b']);
  });

  test('keeps several values at a pattern, each once, and forgets one alone', () => {
    const trie = new TopicTrie<number>();
    expect([trie.add(['a'], 1), trie.add(['a'], 2), trie.add(['a'], 1)]).toEqual([true, true, false]);
    expect(trie.size).toBe(2);
    expect([trie.delete(['a'], 1), trie.delete(['a'], 1), trie.delete(['b'], 2)]).toEqual([true, false, false]);
    const found: number[] = [];
    trie.match(['a'], (value) => found.push(value));
    expect(found).toEqual([2]);
  });

  test('looks at each place of the key once, however many ways lead there', () => {
    // As many ways as there are to share 60 words among 20 wildcards, and none of them to the end.
    const trie = trieOf(`${'#.a.'.repeat(20)}z`);
    expect(matches(trie, Array(60).fill('a').join('.'))).toEqual([]);
  });

  test('does what trying every pattern does, while patterns come and go', () => {
    const word = fc.constantFrom('a', 'b', 'c', '');
    const keys = fc.array(word, { maxLength: 6 });
    const patterns = fc.array(fc.constantFrom('a', 'b', 'c', '*', '*', '#', '#'), { maxLength: 5 });
    const steps = fc.array(
      fc.oneof(
        { weight: 4, arbitrary: fc.record({ pattern: patterns, adds: fc.constant(true) }) },
        { weight: 2, arbitrary: fc.record({ pattern: patterns, adds: fc.constant(false) }) },
      ),
      { maxLength: 120 },
    );
    fc.assert(
      fc.property(steps, fc.array(keys, { minLength: 1, maxLength: 20 }), (drawn, looked) => {
        const trie = new TopicTrie<string>();
        const model = new Map<string, string[]>();
        for (const { pattern, adds } of drawn) {
          const text = JSON.stringify(pattern);
          expect(adds ? trie.add(pattern, text) : trie.delete(pattern, text)).toBe(adds !== model.has(text));
          if (adds) model.set(text, pattern);
          else model.delete(text);
        }
        expect(trie.size).toBe(model.size);
        for (const key of looked) {
          const found: string[] = [];
          trie.match(key, (value) => found.push(value));
          const expected = [...model].filter(([, pattern]) => fits(pattern, key)).map(([text]) => text);
          expect(found.sort()).toEqual(expected.sort());
        }
      }),
      { seed: seedOf('topic trie'), numRuns: 300 },
    );
  });
});
