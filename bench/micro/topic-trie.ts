/** A topic exchange's bindings: which of so many patterns a key matches. */
import { TopicTrie } from '@lovage/server/internal/collections/topic-trie';
import { whole } from '../report/format.js';
import type { Micro } from './micro.js';

const PATTERNS = [10, 1_000, 100_000] as const;
const LOOKUPS = 10_000;

/** Each key matches one pattern of its own, one with `*`, and one with `#`, however many others there are. */
export function topicTrieMicros(): readonly Micro[] {
  return PATTERNS.map((patterns) => {
    let trie = new TopicTrie<number>();
    const keys = Array.from({ length: Math.min(patterns, LOOKUPS) }, (_, i) => ['order', `${i}`, 'paid', 'eu']);
    return {
      name: `topic trie, a key of 4 words, ${whole(patterns)} patterns`,
      unit: 'key',
      unitsPerRun: LOOKUPS,
      unitBytes: 0,
      open: () => {
        trie = new TopicTrie();
        for (let i = 0; i < patterns; i++) {
          const word = `${Math.floor(i / 3)}`;
          const pattern = [
            ['order', word, 'paid', 'eu'],
            ['order', word, '*', 'eu'],
            ['order', word, '#'],
          ][i % 3]!;
          trie.add(pattern, i);
        }
      },
      run: () => {
        let found = 0;
        for (let i = 0; i < LOOKUPS; i++)
          trie.match(keys[i % keys.length]!, () => {
            found++;
          });
        if (found === 0) throw new Error('Cannot trust the lookups: they found nothing');
      },
    };
  });
}
