/** What the engine told, in an order in which it can be compared with what was expected. */
import type { Answer } from './entities.js';

/** Numbers in rising order as `first, count` pairs. */
export function runs(numbers: readonly number[]): number[] {
  const pairs: number[] = [];
  for (const number of numbers) {
    const last = pairs.length - 2;
    if (last >= 0 && pairs[last]! + pairs[last + 1]! === number) pairs[last + 1]!++;
    else pairs.push(number, 1);
  }
  return pairs;
}

/** A refusal tag by tag: how they are gathered is left open. */
export function spread(answer: Answer): Answer[] {
  if (answer.type !== 'refused' || answer.count === 1 || answer.count > 1_000) return [answer];
  return Array.from({ length: answer.count }, (_, i) => ({ ...answer, firstTag: answer.firstTag + i, count: 1 }));
}

/** Answers to one frame come in any order, but what a settlement refuses comes before it is said to be settled. */
export function sorted(answers: readonly Answer[]): Answer[] {
  const rank = (answer: Answer): string => {
    if (answer.type === 'confirm' || answer.type === 'duplicate' || answer.type === 'reject')
      return `publish ${String(answer.seq).padStart(12)}`;
    if (answer.type === 'refused') return `refused ${String(answer.firstTag).padStart(12)}`;
    if (answer.type === 'result') return `result ${answer.session} ${answer.id}`;
    if (answer.type === 'noted') return `noted ${answer.session} ${answer.id}`;
    if (answer.type === 'callOff') return `callOff ${answer.session} ${answer.tag}`;
    if (answer.type === 'cancelled') return `cancelled ${answer.session} ${answer.consumerId}`;
    if (answer.type === 'queueGone') return `queueGone ${answer.session} ${answer.consumerId} ${answer.queue}`;
    return answer.type;
  };
  return [...answers].sort((a, b) => (rank(a) < rank(b) ? -1 : rank(a) > rank(b) ? 1 : 0));
}
