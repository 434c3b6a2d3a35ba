// hot path
/** How ids lie in a publish record whose messages went to any number of queues: message by message, an id for each copy. */
import type { PublishRecord, PublishRoutes } from './record.js';

/** Calls `visit` with each message that was taken: its index, the id of its first copy, and the indexes of its queues. Returns the number of copies. */
export function forEachRouted(
  { batch, baseId, exceptions }: PublishRecord,
  { lists, listOf }: PublishRoutes,
  visit: (index: number, firstId: number, queues: readonly number[]) => void,
): number {
  let id = baseId;
  let nextException = 0;
  for (let i = 0; i < batch.count; i++) {
    if (exceptions[nextException] === i) {
      nextException += 2;
      continue;
    }
    const queues = lists[listOf === null ? batch.target[i]! : listOf[i]!]!;
    visit(i, id, queues);
    id += queues.length;
  }
  return id - baseId;
}

/**
 * Index, count and first id of each run of messages whose receipts' ids rise by one: `index, count, id, ...`. Messages that reached no queue are a run
 * with the id 0, and so has each of them.
 */
export function receiptRuns(record: PublishRecord, routes: PublishRoutes): number[] {
  const runs: number[] = [];
  forEachRouted(record, routes, (index, firstId, queues) => {
    const last = runs.length - 3;
    const id = queues.length === 0 ? 0 : firstId;
    const next = last < 0 || runs[last + 2] === 0 ? 0 : runs[last + 2]! + runs[last + 1]!;
    if (last >= 0 && runs[last]! + runs[last + 1]! === index && next === id) runs[last + 1]!++;
    else runs.push(index, 1, id);
  });
  return runs;
}
