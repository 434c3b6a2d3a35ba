/** Puts a backlog into a queue. */
import { setTimeout as delay } from 'node:timers/promises';
import { showProgress } from '../run/progress.js';
import { LoadProcess } from './load-process.js';
import type { Sample } from './role.js';
import type { Server } from './server.js';

export interface Backlog {
  readonly queue: string;
  readonly messages: number;
  readonly bytes: number;
  readonly window: number;
  readonly priorities: number;
  readonly seed: number;
}

const LOOK_MS = 25;

/** Publishes so many messages and waits for their confirms; returns the seconds that took. `look` is told how far it is, some times a second. */
export async function fill(
  server: Server,
  backlog: Backlog,
  label: string,
  look: (confirmed: number, seconds: number) => void = () => undefined,
): Promise<number> {
  const { queue, messages, ...rest } = backlog;
  const producer = await LoadProcess.start('producer', server.target, { ...rest, queues: [queue], limit: messages });
  const before = await producer.call('sample');
  await producer.call('start');
  const seconds = await watch(producer, before, messages, label, look);
  await producer.close();
  return seconds;
}

/** Looks at a load process until it has done so many messages; returns the seconds since `before`. */
export async function watch(
  load: LoadProcess,
  before: Sample,
  messages: number,
  label: string,
  look: (count: number, seconds: number) => void,
): Promise<number> {
  for (;;) {
    const { timeMs, count, failed } = await load.call('sample');
    if (failed > 0) throw new Error(`Cannot go on with "${label}": ${failed} publishes failed`);
    const seconds = (timeMs - before.timeMs) / 1_000;
    look(count, seconds);
    showProgress(`${label}: ${count} of ${messages}`);
    if (count >= messages) return seconds;
    await delay(LOOK_MS);
  }
}
