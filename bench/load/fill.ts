/** Puts a backlog into a queue. */
import { setTimeout as delay } from 'node:timers/promises';
import { showProgress } from '../run/progress.js';
import { LoadProcess } from './load-process.js';
import type { Server } from './server.js';
import { STANDARD } from './standard.js';

export interface Backlog {
  readonly queue: string;
  readonly messages: number;
  /** Default: those of the standard set-up. */
  readonly priorities?: number;
  readonly seed: number;
}

const LOOK_MS = 25;

/** Publishes so many messages and resolves when all are confirmed. */
export async function fill(server: Server, backlog: Backlog, label: string): Promise<void> {
  const { queue, messages, seed, priorities = STANDARD.priorities } = backlog;
  const { bytes, window } = STANDARD;
  const options = { queues: [queue], bytes, window, priorities, seed, limit: messages };
  const producer = await LoadProcess.start('producer', server.target, options);
  await producer.call('start');
  for (;;) {
    const { count, failed } = await producer.call('sample');
    if (failed > 0) throw new Error(`Cannot go on with "${label}": ${failed} publishes failed`);
    showProgress(`${label}: ${count} of ${messages}`);
    if (count >= messages) break;
    await delay(LOOK_MS);
  }
  await producer.close();
}
