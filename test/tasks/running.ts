/** Apps and workers of a test: they end with it. */
import { TaskApp, type TaskAppOptions, type Worker, type WorkerOptions } from '../../client-sdk/tasks/index.js';
import type { BrokerProcess } from '../support/broker-process.js';
import { atEnd } from '../support/cleanup.js';

/** An app in a namespace of its own. */
export function appOf(broker: BrokerProcess, namespace: string, options: TaskAppOptions = {}): TaskApp {
  const app = new TaskApp({ url: broker.url, namespace, reconnect: { delayMsMin: 5, delayMsMax: 100 }, ...options });
  atEnd(() => app.close({ graceMs: 0 }));
  return app;
}

export async function started(app: TaskApp, options: WorkerOptions = {}): Promise<Worker> {
  const worker = app.worker({ concurrency: 8, ...options });
  await worker.start();
  return worker;
}
