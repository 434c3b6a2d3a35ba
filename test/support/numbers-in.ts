import type { NumberList } from '../../server/collections/number-list.js';

export function numbersIn({ values, length }: NumberList): number[] {
  return [...values.subarray(0, length)];
}
