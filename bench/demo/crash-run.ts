/** The demo itself: publishes files, has them digested, and kills the broker in the middle. */
import { setTimeout as delay } from 'node:timers/promises';
import { type Client, connect } from '@lovage/client';
import { BrokerProcess } from '../broker/broker-process.js';
import { note, showProgress } from '../run/progress.js';
import { filesBelow, priorityOf } from './files.js';
import { Ledger } from './ledger.js';
import { DIGESTS_QUEUE, type DigestReport, FILES_QUEUE, type FileJob } from './queues.js';
import { WorkerProcess } from './worker-process.js';

const WORKERS = 2;
const PUBLISHES_AT_A_TIME = 500;
/** ms between the kill and the new start. */
const DOWN_MS = 500;
/** ms without a new digest after which the missing ones count as lost. */
const SILENCE_MS = 60_000;

export interface CrashRunOptions {
  readonly folder: string;
  readonly limit: number;
  readonly dataDir: string;
}

export interface CrashRunResult {
  readonly ledger: Ledger;
  readonly published: number;
  readonly seconds: number;
  /** Digests that had come when the broker was killed. */
  readonly digestsAtCrash: number;
  /** ms from starting the broker again to its ready line. */
  readonly recoveryMs: number;
}

export async function crashRun({ folder, limit, dataDir }: CrashRunOptions): Promise<CrashRunResult> {
  const broker = await BrokerProcess.start({ dataDir });
  note(`Broker ${broker.pid} at ${broker.url}, data in ${dataDir}`);
  const client = await connect(broker.url, { name: 'demo' });
  await client.queues.declare(FILES_QUEUE);
  await client.queues.declare(DIGESTS_QUEUE);
  const ledger = new Ledger();
  await client.consume(DIGESTS_QUEUE, (delivery) => ledger.reported(delivery.id, delivery.value() as DigestReport));

  const startedMs = performance.now();
  const published = await publishFiles(client, ledger, filesBelow(folder, limit));
  note(`Published ${published} files; ${WORKERS} worker processes begin`);
  const workers = Array.from({ length: WORKERS }, () => new WorkerProcess(broker.url));
  await digestsReach(ledger, Math.ceil(published / 2), published);
  await broker.kill();
  const digestsAtCrash = ledger.done;
  note(`kill -9 ${broker.pid} after ${digestsAtCrash} of ${published} digests`);
  await delay(DOWN_MS);
  const next = await BrokerProcess.start({ dataDir, port: broker.port });
  note(
    `Broker ${next.pid} is ready again after ${Math.round(next.readyMs)} ms; workers and demo reconnect by themselves`,
  );
  await digestsReach(ledger, published, published);
  // What was given to two workers comes before the workers have stopped, so that it is counted.
  await Promise.all(workers.map((worker) => worker.stop()));
  await queueEmpties(client);
  const seconds = (performance.now() - startedMs) / 1_000;
  await client.close();
  await next.stop();
  return { ledger, published, seconds, digestsAtCrash, recoveryMs: next.readyMs };
}

/** One message a file; returns how many were confirmed. */
async function publishFiles(client: Client, ledger: Ledger, files: ReturnType<typeof filesBelow>): Promise<number> {
  let confirmed = 0;
  let waiting: Promise<unknown>[] = [];
  const settle = async (): Promise<void> => {
    confirmed += (await Promise.all(waiting)).length;
    waiting = [];
    showProgress(`published ${confirmed} files`);
  };
  for await (const file of files) {
    const job: FileJob = { path: file.path };
    ledger.published(file);
    waiting.push(client.publish(FILES_QUEUE, job, { priority: priorityOf(file.bytes) }));
    if (waiting.length >= PUBLISHES_AT_A_TIME) await settle();
  }
  await settle();
  return confirmed;
}

/** Resolves when so many files have a digest, or none has come for a long time. */
async function digestsReach(ledger: Ledger, wanted: number, of: number): Promise<void> {
  let last = ledger.done;
  let lastMs = performance.now();
  while (ledger.done < wanted) {
    await delay(10);
    showProgress(`digests ${ledger.done} of ${of}`);
    if (ledger.done > last) {
      last = ledger.done;
      lastMs = performance.now();
    } else if (performance.now() - lastMs > SILENCE_MS) {
      return note(`No digest for ${SILENCE_MS / 1_000} s: what is missing counts as lost`);
    }
  }
}

/** Every digest that a worker has published is in the books. */
async function queueEmpties(client: Client): Promise<void> {
  for (let left = 1; left > 0; await delay(20)) {
    const { ready, leased, started } = await client.queues.inspect(DIGESTS_QUEUE);
    left = ready + leased + started;
  }
}
