/** Runs no-op jobs of BullMQ. Its argument is the port of Redis. */
import { Worker } from 'bullmq';

const CONCURRENCY = 100;

const worker = new Worker('noop', async () => null, {
  connection: { host: '127.0.0.1', port: Number(process.argv[2]) },
  concurrency: CONCURRENCY,
});
worker.on('error', (error) => process.stderr.write(`${String(error)}\n`));
await worker.waitUntilReady();
process.stdout.write('ready\n');
