/** BullMQ running tasks. */
import { fileURLToPath } from 'node:url';
import { Queue } from 'bullmq';
import { bullmq } from '../peers/bullmq.js';
import { libraryVersion } from '../peers/installed.js';
import { TaskProcess } from './task-process.js';
import type { RunningTasks, TaskSystem } from './task-system.js';

const PRODUCER = fileURLToPath(new URL('./bullmq-producer.js', import.meta.url));
const WORKER = fileURLToPath(new URL('./bullmq-worker.js', import.meta.url));

export const bullmqTasks: TaskSystem = {
  title: 'BullMQ on Redis',
  settings:
    'Redis with appendonly and appendfsync always; addBulk of 1,000 jobs, 4 lists at once; Worker with concurrency 100; finished jobs and their results kept.',
  start,
};

async function start(directory: string | undefined): Promise<RunningTasks> {
  const server = await bullmq.start(directory);
  const port = server.target.endpoint;
  const queue = new Queue('noop', { connection: { host: '127.0.0.1', port: Number(port) } });
  await queue.waitUntilReady();
  const worker = await TaskProcess.start({ program: process.execPath, words: [WORKER, port] });
  const producer = await TaskProcess.start({ program: process.execPath, words: [PRODUCER, port] });
  return {
    version: `${libraryVersion('bullmq')} on Redis ${server.version}`,
    brokerPids: server.pids,
    workerPids: worker.pids,
    producerPids: producer.pids,
    died: Promise.race([server.died, worker.died, producer.died]),
    send: (count) => producer.send(count),
    completed: () => queue.getCompletedCount(),
    kept: () => queue.getCompletedCount(),
    async close() {
      await producer.stop();
      await worker.stop();
      await queue.close();
      await server.close();
    },
  };
}
