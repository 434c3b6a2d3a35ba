/** Celery with RabbitMQ running tasks. */
import { existsSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { ROOT } from '../broker/build.js';
import { packageVersion } from '../peers/installed.js';
import { rabbitmqClassic } from '../peers/rabbitmq.js';
import { tempDirectory } from '../run/temp-directory.js';
import { TaskProcess } from './task-process.js';
import type { RunningTasks, TaskSystem } from './task-system.js';

/** Debian's Celery is a module of Debian's Python. */
const PYTHON = '/usr/bin/python3';
const MODULE = join(ROOT, 'bench/tasks/celery_noop.py');
const WORKER_WORDS = ['-A', 'celery_noop', 'worker', '--pool', 'prefork', '--concurrency', '2'];
const QUIET_WORDS = ['--without-gossip', '--without-mingle', '--without-heartbeat', '--loglevel', 'WARNING'];

export const celeryTasks: TaskSystem = {
  title: 'Celery on RabbitMQ',
  settings:
    'A durable classic queue, persistent messages; delay() for each task from one process, without publisher confirms (the default); prefork with 2 children, worker_prefetch_multiplier 128 as its documentation advises for short tasks, acknowledgement before the task runs (the default), without gossip, mingle and heartbeat; results ignored.',
  start,
};

async function start(parent: string | undefined): Promise<RunningTasks> {
  const server = await rabbitmqClassic.start(parent);
  const directory = await tempDirectory(parent);
  const doneFile = join(directory.path, 'done');
  const variables = {
    PYTHONPATH: dirname(MODULE),
    PYTHONDONTWRITEBYTECODE: '1',
    LOVAGE_BENCH_BROKER: server.target.endpoint,
    LOVAGE_BENCH_DONE: doneFile,
  };
  const program = PYTHON;
  const worker = await TaskProcess.start({
    program,
    words: ['-m', 'celery', ...WORKER_WORDS, ...QUIET_WORDS],
    variables,
  });
  const producer = await TaskProcess.start({ program, words: [MODULE], variables });
  return {
    version: `${packageVersion('python3-celery')} on RabbitMQ ${server.version}`,
    brokerPids: server.pids,
    workerPids: worker.pids,
    producerPids: producer.pids,
    died: Promise.race([server.died, worker.died, producer.died]),
    send: (count) => producer.send(count),
    completed: async () => (existsSync(doneFile) ? statSync(doneFile).size : 0),
    kept: async () => null,
    async close() {
      await producer.stop();
      await worker.stop();
      await server.close();
      await directory.remove();
    },
  };
}
