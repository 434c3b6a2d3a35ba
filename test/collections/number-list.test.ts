import { describe, expect, test } from 'vitest';
import { NumberList } from '../../server/collections/number-list.js';
import { numbersIn } from '../support/numbers-in.js';

describe('number list', () => {
  test('keeps what is pushed in order, whole numbers above 32 bits as well, and forgets it when cleared', () => {
    const list = new NumberList();
    const numbers = Array.from({ length: 1_000 }, (_, i) => (i % 2 === 0 ? i : 2 ** 53 - i));
    for (let times = 0; times < 2; times++) {
      for (const number of numbers) list.push(number);
      expect(numbersIn(list)).toEqual(numbers);
      list.clear();
      expect([list.length, numbersIn(list)]).toEqual([0, []]);
    }
  });

  test('keeps its memory for the next thousand, and not that of a million', () => {
    const list = new NumberList();
    for (let i = 0; i < 1_000; i++) list.push(i);
    list.clear();
    expect(list.values.length).toBeGreaterThanOrEqual(1_000);
    for (let i = 0; i < 1_000_000; i++) list.push(i);
    list.clear();
    expect(list.values.length).toBeLessThan(1_000);
    list.push(7);
    expect(numbersIn(list)).toEqual([7]);
  });
});
