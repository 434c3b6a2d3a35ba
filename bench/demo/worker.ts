/**
 * A worker of the demo, in a process of its own: computes digests until its parent says stop.
 *
 * A digest is published, and its confirm awaited, before the handler returns; only then is the file settled. So when the broker dies in between, the
 * file comes again, and no digest is ever lost.
 */
import { connect } from '@lovage/client';
import { digestOf } from './files.js';
import { DIGESTS_QUEUE, type DigestReport, FILES_QUEUE, type FileJob } from './queues.js';

const PREFETCH = 64;
const CONCURRENCY = 8;

const client = await connect(process.argv[2]!, { name: `demo-worker-${process.pid}` });
await client.consume(
  FILES_QUEUE,
  async (delivery) => {
    const { path } = delivery.value() as FileJob;
    const digest = await digestOf(path);
    const report: DigestReport = { path, digest, worker: process.pid, attempt: delivery.attempt };
    await client.publish(DIGESTS_QUEUE, report);
  },
  { prefetch: PREFETCH, concurrency: CONCURRENCY },
);

process.on('message', () => {
  void client.close().then(() => process.disconnect());
});
// A worker whose parent is gone has nobody to work for.
process.on('disconnect', () => process.exit());
process.on('SIGINT', () => undefined);
