/** What every producer of tasks in Node does: see `task-process.ts` for what it is told and answers. */
import { createInterface } from 'node:readline';
import { monotonicMs } from '../run/monotonic-clock.js';

/** Tasks in one list. */
export const LIST_TASKS = 1_000;
/** Lists that are under way at the same time. */
const LISTS_AT_ONCE = 4;

/** Sends as many tasks as it is told, in lists; `sendList` resolves when the broker has taken them. */
export function serveSending(sendList: (count: number) => Promise<unknown>): void {
  createInterface({ input: process.stdin }).on('line', (line) => {
    const startMs = monotonicMs();
    void sendAll(Number(line), sendList).then(() => process.stdout.write(`${startMs}\n`));
  });
  process.stdin.on('end', () => process.exit());
  process.stdout.write('ready\n');
}

async function sendAll(count: number, sendList: (count: number) => Promise<unknown>): Promise<void> {
  let left = count;
  const sender = async (): Promise<void> => {
    while (left > 0) {
      const next = Math.min(left, LIST_TASKS);
      left -= next;
      await sendList(next);
    }
  };
  await Promise.all(Array.from({ length: LISTS_AT_ONCE }, sender));
}
