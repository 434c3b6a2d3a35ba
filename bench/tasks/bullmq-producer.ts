/** Adds no-op jobs to BullMQ with `addBulk`. Its argument is the port of Redis. */
import { Queue } from 'bullmq';
import { serveSending } from './send-loop.js';

const queue = new Queue('noop', { connection: { host: '127.0.0.1', port: Number(process.argv[2]) } });
await queue.waitUntilReady();
serveSending((count) => queue.addBulk(Array.from({ length: count }, () => ({ name: 'noop', data: {} }))));
