// hot path
/** BullMQ: what is published in one turn goes into one `addBulk`, as its documentation recommends for many jobs. */
import { Queue, Worker } from 'bullmq';
import type { BodyHandler, ConsumeShape, Driver, DriverSession, Target } from '../load/driver.js';

export const bullmqDriver: Driver = {
  async connect({ endpoint }: Target): Promise<DriverSession> {
    return new BullmqSession({ host: '127.0.0.1', port: Number(endpoint) });
  },
};

const CONCURRENCY_MAX = 200;
const JOB_OPTIONS = { removeOnComplete: true, removeOnFail: true } as const;

interface Gathered {
  readonly text: string;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

interface Connection {
  readonly host: string;
  readonly port: number;
}

class BullmqSession implements DriverSession {
  readonly #connection: Connection;
  readonly #queues = new Map<string, Queue>();
  readonly #workers: Worker[] = [];
  readonly #gathered = new Map<string, Gathered[]>();
  #lastBody: Uint8Array | null = null;
  #lastText = '';

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  async declare(queue: string): Promise<void> {
    const made = new Queue(queue, { connection: this.#connection });
    await made.waitUntilReady();
    this.#queues.set(queue, made);
  }

  publish(queue: string, body: Uint8Array): Promise<unknown> {
    const text = this.#textOf(body);
    return new Promise<void>((resolve, reject) => {
      let gathered = this.#gathered.get(queue);
      if (gathered === undefined) {
        gathered = [];
        this.#gathered.set(queue, gathered);
        setImmediate(() => void this.#add(queue));
      }
      gathered.push({ text, resolve, reject });
    });
  }

  async consume(queue: string, { concurrency }: ConsumeShape, handle: BodyHandler): Promise<void> {
    const worker = new Worker(queue, async (job) => handle(Buffer.from(job.data as string, 'base64')), {
      connection: this.#connection,
      concurrency: Math.min(concurrency, CONCURRENCY_MAX),
    });
    worker.on('error', (error) => process.stderr.write(`BullMQ: ${String(error)}\n`));
    this.#workers.push(worker);
    await worker.waitUntilReady();
  }

  async close(): Promise<void> {
    await Promise.all(this.#workers.map((worker) => worker.close()));
    await Promise.all([...this.#queues.values()].map((queue) => queue.close()));
  }

  async #add(name: string): Promise<void> {
    const gathered = this.#gathered.get(name)!;
    this.#gathered.delete(name);
    const jobs = gathered.map(({ text }) => ({ name: 'job', data: text, opts: JOB_OPTIONS }));
    try {
      await this.#queues.get(name)!.addBulk(jobs);
      for (const { resolve } of gathered) resolve();
    } catch (error) {
      for (const { reject } of gathered) reject(error);
    }
  }

  /** Jobs are JSON, which has no bytes: base64 stands for them, cut to the same length. What the body begins with (its stamp) is in it. */
  #textOf(body: Uint8Array): string {
    if (body !== this.#lastBody) {
      this.#lastBody = body;
      this.#lastText = Buffer.from(body).toString('base64').slice(0, body.length);
    }
    return this.#lastText;
  }
}
